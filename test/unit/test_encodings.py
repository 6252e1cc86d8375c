"""Raw images: every encoding is read from its bytes, padded or not, or refused with a sentence."""
from array import array

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.core.encodings import LAYOUTS, check_layout, to_rgb8

PIXELS = {  # what stands where in a pixel; x is alpha
    "rgb8": "rgb", "bgr8": "bgr", "rgba8": "rgbx", "bgra8": "bgrx", "8UC3": "bgr", "8UC4": "bgrx",
    "rgb16": "rgb", "bgr16": "bgr", "rgba16": "rgbx", "bgra16": "bgrx",
}
GREY = ("mono8", "8UC1", "mono16")
YUV422 = {"uyvy": "uyvy", "yuv422": "uyvy", "yuyv": "yuyv", "yuv422_yuy2": "yuyv"}
YUV420 = {"nv12": "uv", "nv21": "vu"}
BAYER = [f"bayer_{pattern}{bits}" for pattern in ("rggb", "bggr", "gbrg", "grbg") for bits in (8, 16)]
SIZES = [(6, 8), (1, 1), (1, 2), (2, 1), (2, 2), (3, 5)]
random = np.random.default_rng(12)


def is_wide(encoding):
    return encoding.endswith("16")


def samples(values, encoding, big_endian=False):
    """Rows of numbers as the encoding's bytes."""
    kind = ("u2" if is_wide(encoding) else "u1")
    return np.ascontiguousarray(values, (">" if big_endian else "<") + kind).view(np.uint8).reshape(len(values), -1)


def read(rows, encoding, height, width, padding=0, big_endian=False, make=bytes):
    """rgb8 from rows of bytes, each with so much behind it that is no pixel."""
    padded = np.hstack([rows, np.full((len(rows), padding), 201, np.uint8)])
    step = padded.size * 2 // 3 // height if encoding in YUV420 else padded.shape[1]
    return to_rgb8(make(padded.tobytes()), encoding, height, width, step, big_endian, 10**7)


def colours(height, width, encoding):
    """Random pixels (rgbx) in the encoding's samples, and the same as rgb8."""
    bits = 16 if is_wide(encoding) else 8
    values = random.integers(0, 2**bits, (height, width, 4))
    return values, (values[..., :3] >> bits - 8).astype(np.uint8)


def rgb_of(y, u, v):
    """BT.601 in video range, as rec. 601 has it: black is 16, white 235, no colour 128."""
    y, u, v = (np.asarray(plane, float) for plane in (y, u, v))
    luma = 255 / 219 * np.maximum(y - 16, 0)  # darker than black is black
    red = luma + 1.402 * 255 / 224 * (v - 128)
    green = luma - (0.344136 * (u - 128) + 0.714136 * (v - 128)) * 255 / 224
    blue = luma + 1.772 * 255 / 224 * (u - 128)
    return np.clip(np.stack([red, green, blue], -1), 0, 255)


def test_no_encoding_is_left_untested():
    assert {*PIXELS, *GREY, *YUV422, *YUV420, "nv24", *BAYER} == set(LAYOUTS)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("height, width", SIZES)
@pytest.mark.parametrize("encoding", PIXELS)
def test_colours_come_out_as_they_went_in(encoding, height, width, padding, big_endian):
    values, want = colours(height, width, encoding)
    order = ["rgbx".index(name) for name in PIXELS[encoding]]
    rows = samples(values[..., order].reshape(height, -1), encoding, big_endian)
    got = read(rows, encoding, height, width, padding, big_endian)
    assert got.dtype == np.uint8 and (got == want).all()


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("height, width", SIZES)
@pytest.mark.parametrize("encoding", GREY)
def test_grey_is_the_same_in_all_three_channels(encoding, height, width, padding, big_endian):
    values, want = colours(height, width, encoding)
    got = read(samples(values[..., 0], encoding, big_endian), encoding, height, width, padding, big_endian)
    assert got.shape == (height, width, 3) and (got == want[..., :1]).all()


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("height, width", [(6, 8), (1, 2), (2, 2), (3, 4)])
@pytest.mark.parametrize("encoding", YUV422)
def test_two_pixels_share_a_colour_in_yuv_422(encoding, height, width, padding):
    quads = random.integers(0, 256, (height, width // 2, 4)).astype(np.uint8)
    order = YUV422[encoding]
    u, v = (quads[..., order.index(name)].repeat(2, 1) for name in "uv")
    y = quads[..., [place for place in range(4) if order[place] == "y"]].reshape(height, width)
    got = read(quads.reshape(height, -1), encoding, height, width, padding)
    assert np.abs(got - rgb_of(y, u, v)).max() < 1


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("height, width", [(6, 8), (2, 2), (2, 4), (4, 2)])
@pytest.mark.parametrize("encoding", YUV420)
def test_four_pixels_share_a_colour_in_yuv_420(encoding, height, width, padding):
    y = random.integers(0, 256, (height, width)).astype(np.uint8)
    pairs = random.integers(0, 256, (height // 2, width // 2, 2)).astype(np.uint8)
    u, v = (pairs[..., YUV420[encoding].index(name)].repeat(2, 0).repeat(2, 1) for name in "uv")
    rows = np.vstack([y, pairs.reshape(height // 2, width)])
    assert np.abs(read(rows, encoding, height, width, padding) - rgb_of(y, u, v)).max() < 1


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("height, width", SIZES)
def test_each_pixel_has_its_colour_in_nv24(height, width, padding):
    y = random.integers(0, 256, (height, width)).astype(np.uint8)
    pairs = random.integers(0, 256, (height, width, 2)).astype(np.uint8)
    luma = np.hstack([y, np.full((height, padding), 201, np.uint8)])
    chroma = np.hstack([pairs.reshape(height, -1), np.full((height, 2 * padding), 201, np.uint8)])
    got = to_rgb8(luma.tobytes() + chroma.tobytes(), "nv24", height, width, width + padding, False, 10**7)
    assert np.abs(got - rgb_of(y, pairs[..., 0], pairs[..., 1])).max() < 1


@pytest.mark.parametrize("encoding, factor", [("nv12", 1.5), ("nv21", 1.5), ("nv24", 3)])
def test_a_step_that_counts_all_planes_is_understood(encoding, factor):
    data = random.integers(0, 256, int(4 * 6 * factor)).astype(np.uint8).tobytes()
    luma_only = to_rgb8(data, encoding, 4, 6, 6, False, 10**7)
    assert (to_rgb8(data, encoding, 4, 6, int(6 * factor), False, 10**7) == luma_only).all()


SCENE = np.zeros((24, 32, 3), int)  # four areas of one colour each, in 0 to 1000
SCENE[:12, :16], SCENE[:12, 16:], SCENE[12:, :16], SCENE[12:, 16:] = (
    (1000, 80, 40), (40, 1000, 120), (120, 40, 1000), (900, 700, 300))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", BAYER)
def test_a_mosaic_shows_the_colours_of_the_scene(encoding, padding, big_endian):
    scene = SCENE * (65 if is_wide(encoding) else 0.25)
    mosaic = np.empty(scene.shape[:2])
    for place, colour in enumerate(encoding[len("bayer_"):][:4]):
        row, column = divmod(place, 2)
        mosaic[row::2, column::2] = scene[row::2, column::2, "rgb".index(colour)]
    got = read(samples(mosaic.astype(int), encoding, big_endian), encoding, 24, 32, padding, big_endian)
    want = (scene.astype(int) >> (8 if is_wide(encoding) else 0))
    inside = np.ones((24, 32), bool)
    inside[10:14] = inside[:, 14:18] = False  # where two colours meet, they mix
    assert (got[inside] == want[inside]).all()


@pytest.mark.parametrize("height, width", [(3, 3), (3, 4), (5, 3)])
def test_the_smallest_mosaic_has_colours(height, width):
    assert (read(np.full((height, width), 77, np.uint8), "bayer_grbg8", height, width) == 77).all()


@pytest.mark.parametrize("encoding", LAYOUTS)
def test_a_buffer_from_a_message_and_one_that_is_read_only_give_the_same(encoding):
    data = random.integers(0, 256, 4 * 6 * 8).astype(np.uint8).tobytes()
    step = 6 * LAYOUTS[encoding].channels * LAYOUTS[encoding].sample_bytes
    data = data[:int(4 * step * LAYOUTS[encoding].planes)]
    frozen = to_rgb8(data, encoding, 4, 6, step, False, 10**7)
    assert frozen.shape == (4, 6, 3) and frozen.dtype == np.uint8
    assert (to_rgb8(array("B", data), encoding, 4, 6, step, False, 10**7) == frozen).all()


@pytest.mark.parametrize("padding", [0, 3])
def test_rgb8_is_not_copied(padding):
    data = array("B", bytes(4 * (18 + padding)))
    assert np.shares_memory(to_rgb8(data, "rgb8", 4, 6, 18 + padding, False, 10**7), np.frombuffer(data, np.uint8))


def test_the_codes_are_what_opencv_makes_of_whole_images():
    y, chroma = random.integers(0, 256, (2, 60, 80)).astype(np.uint8)
    packed = np.stack([y, chroma], -1)
    assert (read(packed.reshape(60, -1), "yuyv", 60, 80) == cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_YUYV)).all()
    assert (read(y, "nv21", 40, 80) == cv2.cvtColor(y, cv2.COLOR_YUV2RGB_NV21)).all()


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_a_depth_image_is_not_taken_for_a_colour_image(encoding):
    with pytest.raises(ValueError, match=f"'{encoding}' is a depth image; give the topic of the camera's colour image"):
        to_rgb8(bytes(4 * 6 * 4), encoding, 4, 6, 24, False, 10**7)


def test_a_good_image_passes_and_gives_its_step():
    assert check_layout("rgb8", 480, 640, 1920, 921600, 10**7) == 1920


@pytest.mark.parametrize("change, says", [
    ({"encoding": "jpeg-xl"}, "encoding 'jpeg-xl' is not known; use one of rgb8, bgr8"),
    ({"encoding": ""}, "encoding '' is not known"),
    ({"encoding": "x" * 10**6}, "encoding 'x{40}' is not known"),
    ({"height": 0}, "empty: 640x0"),
    ({"width": 0}, "empty: 0x480"),
    ({"step": 1919}, "step is 1919, but 640 pixels of rgb8 need 1920"),
    ({"length": 921599}, "data has 921599 bytes, but step 1920 x height 480 is 921600"),
    ({"length": 921601}, "921601"),
    ({"length": 100_000_000}, "at most 10000000 are accepted"),
    ({"encoding": "yuyv", "width": 639}, "639x480 pixels, but yuyv needs a width divisible by 2"),
    ({"encoding": "uyvy", "width": 1}, "1x480 pixels, but uyvy needs a width divisible by 2"),
    ({"encoding": "nv12", "height": 479}, "640x479 pixels, but nv12 needs width and height divisible by 2"),
    ({"encoding": "nv21", "width": 639}, "639x480 pixels, but nv21 needs width and height divisible by 2"),
    ({"encoding": "nv12"}, r"data has 921600 bytes, but step 1920 x height 480 x 1.5 \(all planes\) is 1382400"),
    ({"encoding": "nv24", "step": 640, "length": 640 * 480}, r"x 3 \(all planes\) is 921600"),
    ({"encoding": "bayer_rggb8", "width": 2}, "2x480 pixels, but bayer_rggb8 needs at least 3x3"),
    ({"encoding": "bayer_grbg16", "height": 1}, "640x1 pixels, but bayer_grbg16 needs at least 3x3"),
    ({"encoding": "rgb16"}, "step is 1920, but 640 pixels of rgb16 need 3840"),
    ({"encoding": "mono16", "step": 1279}, "step is 1279, but 640 pixels of mono16 need 1280"),
])
def test_a_bad_layout_gets_a_sentence_with_the_value(change, says):
    good = {"encoding": "rgb8", "height": 480, "width": 640, "step": 1920, "length": 921600, "max_bytes": 10**7}
    with pytest.raises(ValueError, match=says):
        check_layout(**{**good, **change})


@settings(max_examples=500)
@given(st.sampled_from([*LAYOUTS, "16UC1", "RGB8"]), st.integers(0, 9), st.integers(0, 9), st.integers(0, 40),
       st.integers(0, 300), st.booleans())
def test_any_fields_give_an_image_of_that_size_or_a_sentence(encoding, height, width, step, length, big_endian):
    try:
        image = to_rgb8(bytes(length), encoding, height, width, step, big_endian, 200)
    except ValueError as error:
        assert str(error)
    else:
        assert image.shape == (height, width, 3) and image.dtype == np.uint8
