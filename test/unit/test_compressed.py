"""Compressed images: JPEG and PNG as cameras and image_transport send them; the rest gets a sentence."""
import struct
import zlib
from array import array

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.core.compressed import MAX_PIXELS, decode, read_header, to_jpeg
from vla_ros.core.images import resize

LIMIT = 10**7
SCENE = np.zeros((48, 64, 3), np.uint8)  # rgb8, four areas of one colour each
SCENE[:24, :32], SCENE[:24, 32:], SCENE[24:, :32], SCENE[24:, 32:] = (220, 30, 20), (20, 200, 40), (30, 20, 210), 128


def encoded(kind, pixels=SCENE, *parameters):
    """A file's bytes; colours are given as RGB."""
    return cv2.imencode(f".{kind}", pixels[..., ::-1] if pixels.ndim == 3 else pixels, parameters)[1].tobytes()


def near(got, want, most=12):
    """Equal but for what JPEG loses, off the edges of areas."""
    away = np.abs(got.astype(int) - want)
    return got.shape == want.shape and away[4:20, 4:28].max() <= most and away[28:44, 36:60].max() <= most


JPEG, PNG = encoded("jpg"), encoded("png")


def png(width, height, bits, colour, rows, *chunks):
    """A PNG from its parts: rows are bytes without their filter bytes."""
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    body = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
            + b"".join(chunk(name, content) for name, content in chunks) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def exif(orientation):
    """What says that an image is to be turned, as TIFF."""
    return b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)


def segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


@pytest.mark.parametrize("image_format", ["jpeg", "jpg", "", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8"])
def test_a_jpeg_has_its_colours(image_format):
    assert near(decode(array("B", JPEG), image_format, LIMIT), SCENE)


@pytest.mark.parametrize("shape, size, mode, decoded", [
    ((480, 640), (224, 224), "pad", (240, 320)),  # 168 rows are filled: more than twice that, and less than four times
    ((480, 640), (224, 224), "crop", (240, 320)), ((480, 640), (224, 224), "stretch", (240, 320)),
    ((480, 640), (240, 320), "pad", (480, 640)),  # just half is left to `resize`, which averages
    ((480, 644), (239, 319), "pad", (240, 322)),
    ((480, 640), (119, 159), "pad", (120, 160)), ((482, 642), (60, 60), "pad", (241, 321)),  # a quarter has a row to spare
    ((960, 1280), (32, 32), "pad", (120, 160)),  # an eighth is the least
    ((47, 63), (8, 8), "pad", (47, 63)), ((48, 64), (224, 224), "pad", (48, 64))])
def test_a_jpeg_is_decoded_at_the_scale_that_it_is_resized_to(shape, size, mode, decoded):
    pixels = cv2.resize(SCENE, shape[::-1], interpolation=cv2.INTER_NEAREST)
    small = decode(encoded("jpg", pixels), "jpeg", LIMIT, (size, mode))
    assert small.shape[:2] == decoded
    whole = resize(decode(encoded("jpg", pixels), "jpeg", LIMIT), size, mode)
    assert np.abs(resize(small, size, mode).astype(int) - whole).mean() < 2.0
    assert decode(encoded("png", pixels), "png", LIMIT, (size, mode)).shape == pixels.shape  # gains nothing there


@pytest.mark.parametrize("image_format", ["png", "rgb8; png compressed bgr8", "bgra8; png compressed bgr8"])
def test_a_png_has_its_colours(image_format):
    assert (decode(PNG, image_format, LIMIT) == SCENE).all()


@pytest.mark.parametrize("kind, image_format", [("jpg", "mono8; jpeg compressed "), ("png", "mono8; png compressed "),
                                                ("png", "8UC1; png compressed "), ("jpg", "jpeg")])
def test_grey_is_the_same_in_all_three_channels(kind, image_format):
    got = decode(encoded(kind, SCENE[..., 1]), image_format, LIMIT)
    assert near(got, SCENE[..., 1:2].repeat(3, -1), 3) and (got == got[..., :1]).all()


def test_a_colour_png_of_16_bits_keeps_its_higher_bytes():
    wide = SCENE.astype(np.uint16) * 256 + 255
    assert (decode(encoded("png", wide), "rgb16; png compressed bgr16", LIMIT) == SCENE).all()


def test_a_grey_png_of_16_bits_that_says_so_keeps_its_higher_bytes():
    wide = SCENE[..., 0].astype(np.uint16) * 256 + 255
    got = decode(encoded("png", wide), "mono16; png compressed ", LIMIT)
    assert (got == SCENE[..., :1]).all()


def test_a_palette_and_alpha_become_colours():
    palette = png(2, 1, 8, 3, [[1, 0]], (b"PLTE", bytes([10, 20, 30, 40, 50, 60])))
    assert decode(palette, "png", LIMIT).tolist() == [[[40, 50, 60], [10, 20, 30]]]
    alpha = png(2, 1, 8, 6, [[1, 2, 3, 0, 4, 5, 6, 255]])
    assert decode(alpha, "png", LIMIT).tolist() == [[[1, 2, 3], [4, 5, 6]]]


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_an_image_of_one_pixel_is_decoded(kind):
    assert decode(encoded(kind, np.full((1, 1, 3), 90, np.uint8)), kind, LIMIT).tolist() == [[[90, 90, 90]]]


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits, kind", [(8, "png"), (8, "jpg"), (16, "png")])
def test_a_compressed_mosaic_shows_the_colours_of_the_scene(pattern, bits, kind):
    mosaic = np.empty(SCENE.shape[:2], np.uint16 if bits == 16 else np.uint8)
    for place, colour in enumerate(pattern):
        row, column = divmod(place, 2)
        mosaic[row::2, column::2] = SCENE[row::2, column::2, "rgb".index(colour)]
    data = encoded(kind, mosaic << bits - 8, *((cv2.IMWRITE_JPEG_QUALITY, 100) if kind == "jpg" else ()))
    assert near(decode(data, f"bayer_{pattern}{bits}; {kind} compressed ", LIMIT), SCENE)
    assert near(decode(JPEG, f"bayer_{pattern}{bits}; jpeg compressed bgr8", LIMIT), SCENE)  # has its colours already


# -- depth ------------------------------------------------------------------------------------------------------
DEPTH_PNG = encoded("png", np.full((48, 64), 1500, np.uint16))


@pytest.mark.parametrize("image_format, data", [
    ("16UC1; png compressed ", DEPTH_PNG), ("png", DEPTH_PNG), ("", DEPTH_PNG), ("8UC1; png compressed ", DEPTH_PNG),
    ("rgb8; png compressed bgr8", DEPTH_PNG), ("nv12; png compressed ", DEPTH_PNG),
    ("16UC1; compressedDepth png", bytes(12) + DEPTH_PNG), ("16UC1; compressedDepth", bytes(12) + DEPTH_PNG),
    ("16UC1; compressedDepth rvl", bytes(40)), ("32FC1; compressedDepth png", bytes(12) + DEPTH_PNG),
    ("32FC1; tiff compressed ", b"II*\0" + bytes(40)), ("png", bytes(12) + DEPTH_PNG), ("16UC1; jpeg compressed ", JPEG),
])
def test_a_depth_image_is_not_taken_for_a_colour_image(image_format, data):
    with pytest.raises(ValueError, match="a depth image.*; give the topic of the camera's colour image"):
        decode(data, image_format, LIMIT)


# -- files that say how they want to be turned, and files larger than they look -----------------------------------
@pytest.mark.parametrize("orientation", range(1, 9))
def test_metadata_does_not_turn_an_image(orientation):
    turned = JPEG[:2] + segment(0xE1, b"Exif\0\0" + exif(orientation)) + JPEG[2:]
    assert (decode(turned, "jpeg", LIMIT) == decode(JPEG, "jpeg", LIMIT)).all()
    turned = png(64, 48, 8, 2, SCENE.reshape(48, -1), (b"eXIf", exif(orientation)))
    assert (decode(turned, "png", LIMIT) == SCENE).all()


def huge_png():
    """12000 x 12000 grey pixels in 140 kB, as rows of zeros are."""
    body = zlib.compress(bytes(12001) * 12000, 9)
    data = png(12000, 12000, 8, 0, [])
    at = data.index(b"IDAT") - 4
    return data[:at] + struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))


def huge_jpeg(width=12000, height=12000):
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", height, width) + JPEG[at + 4:]


@pytest.mark.parametrize("make", [huge_png, huge_jpeg])
def test_a_small_file_that_holds_a_huge_image_is_refused_before_it_is_decoded(make, monkeypatch):
    data = make()
    assert len(data) < 200_000
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ValueError, match="12000x12000 pixels; at most 33554432 are decoded"):
        decode(data, "png", LIMIT)


def test_the_limit_counts_pixels():
    assert read_header(huge_jpeg(8192, 4096)).width * 4096 == MAX_PIXELS
    with pytest.raises(ValueError, match="8193x4096"):
        read_header(huge_jpeg(8193, 4096))


# -- headers --------------------------------------------------------------------------------------------------------
def test_a_header_tells_size_and_samples():
    assert read_header(PNG) == (48, 64, 3, 8) and read_header(DEPTH_PNG) == (48, 64, 1, 16)
    assert read_header(JPEG) == (48, 64, 3, 8) and read_header(encoded("jpg", SCENE[..., 0])) == (48, 64, 1, 8)


def test_a_progressive_jpeg_has_a_header_too():
    progressive = encoded("jpg", SCENE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert b"\xff\xc2" in progressive and read_header(progressive) == (48, 64, 3, 8)
    assert near(decode(progressive, "jpeg", LIMIT), SCENE)


@pytest.mark.parametrize("between", [
    segment(0xE1, b"Exif\0\0" + encoded("jpg", SCENE[:8, :8])),  # a thumbnail
    segment(0xFE, b"\xff\xc0\0\x11\x08\0\x01\0\x01\x03"), b"\xff\xff\xff", b"\0\0junk", b"\xff\0", b"\xff\xd3\xff\x01",
])
def test_what_stands_before_the_frame_header_is_skipped_as_libjpeg_does(between):
    first = 4 + 16  # the end of the first segment
    data = JPEG[:first] + between + JPEG[first:]
    assert read_header(data) == (48, 64, 3, 8)
    if between[:1] == b"\xff" and between[1] in (0xE1, 0xFE, 0xFF):  # by version, it does not decode the others
        assert near(decode(data, "jpeg", LIMIT), SCENE)


# -- what is no image ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("data, says", [
    (b"", "has 0 bytes; 1 to 10000000 are accepted"),
    (bytes(LIMIT + 1), "has 10000001 bytes"),
    (bytes(1000), "'jpeg', 1000 bytes. is neither JPEG nor PNG"),
    (encoded("bmp"), "neither JPEG nor PNG; choose one of them in the camera's driver"),
    (JPEG[:20], "its header is not whole"), (b"\xff\xd8\xff", "its header is not whole"),
    (b"\xff\xd8\xff\xe0not a jpeg", "its header is not whole"),
    (PNG[:8], "its header is not whole"), (PNG[:20], "its header is not whole"),
    (PNG[:12] + b"JUNK" + PNG[16:], "its header is not whole"),
    (PNG[:60], "is corrupt"), (PNG[:40] + bytes(100), "is corrupt"),
    (huge_jpeg(0, 48), "is empty: 0x48"), (huge_jpeg(64, 0), "is empty: 64x0"), (png(0, 5, 8, 0, []), "is empty: 0x5"),
], ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes")  # the bytes themselves would be 40 MB of name
def test_what_is_no_image_gets_a_sentence(data, says):
    with pytest.raises(ValueError, match=says):
        decode(data, "jpeg", LIMIT)


def test_a_mosaic_too_small_for_colours_gets_a_sentence():
    with pytest.raises(ValueError, match="2x2 pixels, but bayer_rggb8 needs at least 3x3"):
        decode(encoded("png", np.zeros((2, 2), np.uint8)), "bayer_rggb8; png compressed ", LIMIT)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([JPEG, PNG, DEPTH_PNG, encoded("jpg", SCENE[..., 0])]), st.integers(0, 3000),
       st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=4),
       st.sampled_from(["jpeg", "mono16; png compressed", "bayer_rggb8; jpeg compressed", "; ; ;"]))
def test_a_damaged_file_gives_an_image_of_the_size_it_says_or_a_sentence(data, cut, changes, image_format):
    damaged = bytearray(data[:cut] if cut < 500 else data)
    for place, value in changes:
        if damaged:
            damaged[place % len(damaged)] = value
    try:
        image = decode(bytes(damaged), image_format, LIMIT)
    except ValueError as error:
        assert str(error)
    else:
        assert image.shape[:2] == read_header(bytes(damaged))[:2]


@pytest.mark.parametrize("marker", [0xC4, 0xC8, 0xCC])
def test_tables_before_a_jpeg_s_frame_are_no_frame(marker):
    """DHT, JPG and DAC lie among the frames' markers; their bytes are not a size."""
    table = segment(marker, bytes(range(1, 30)))
    assert read_header(JPEG[:2] + table + JPEG[2:])[:2] == SCENE.shape[:2]


def test_rgb_pixels_become_a_jpeg_of_the_same_colours():
    pixels = np.full((16, 16, 3), (200, 30, 40), np.uint8)
    back = cv2.imdecode(np.frombuffer(to_jpeg(pixels), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(back.astype(int) - pixels).max() < 8


def test_an_image_that_a_jpeg_cannot_hold_is_a_sentence():
    with pytest.raises(ValueError, match="an image of 65536 x 1 cannot be made into a JPEG"):
        to_jpeg(np.zeros((1, 65536, 3), np.uint8))
