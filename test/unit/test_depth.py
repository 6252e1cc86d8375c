"""Depth images: metres of every layout, NaN where nothing was measured; and each with the image that it belongs to."""
import struct
from array import array
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.core.depth import (
    FARTHEST_APART_NS,
    WAITING,
    DepthPairing,
    check_aligned,
    decode_depth,
    depth_of,
)
from vla_ros.core.images import as_mounted, resize, resize_depth
from vla_ros.core.robot_cameras import Camera

MS = 1_000_000
MM = np.array([[0, 1, 500], [1000, 4567, 65535]])
NAN = np.nan


def message(values, encoding="16UC1", big_endian=False, padding=0):
    """The arguments of depth_of, of H x W numbers."""
    kind = (">" if big_endian else "<") + {"16UC1": "u2", "32FC1": "f4"}[encoding]
    rows = np.ascontiguousarray(values, kind).view(np.uint8).reshape(len(values), -1)
    rows = np.hstack([rows, np.full((len(rows), padding), 201, np.uint8)])
    return {"data": rows.tobytes(), "encoding": encoding, "height": len(values), "width": np.shape(values)[1],
            "step": rows.shape[1], "big_endian": big_endian, "max_bytes": 10**6}


# -- from bytes ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 6])
def test_16uc1_is_millimetres_and_0_is_unknown(padding, big_endian):
    depth = depth_of(**message(MM, "16UC1", big_endian, padding))
    assert depth.dtype == np.float32 and depth == pytest.approx(
        np.array([[NAN, 0.001, 0.5], [1.0, 4.567, 65.535]]), nan_ok=True)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 6])
def test_32fc1_is_metres_and_what_is_no_distance_is_unknown(padding, big_endian):
    sent = [[0.25, NAN, np.inf, -np.inf], [7.5, 0.0, -1.0, 1e-3]]
    depth = depth_of(**message(sent, "32FC1", big_endian, padding))
    assert depth.dtype == np.float32 and depth.dtype.isnative
    assert depth == pytest.approx(np.array([[0.25, NAN, NAN, NAN], [7.5, NAN, NAN, 0.001]]), nan_ok=True)


def test_millimetres_are_what_opencv_makes_of_them():
    mm = np.random.default_rng(3).integers(1, 2**16, (40, 60)).astype(np.uint16)
    assert depth_of(**message(mm)) == pytest.approx(cv2.multiply(mm, 0.001, dtype=cv2.CV_32F))


def test_the_message_is_not_written_to_and_its_buffer_may_be_one_of_rclpy():
    data = array("B", message([[NAN, 1.0]], "32FC1")["data"])
    before = bytes(data)
    depth = depth_of(**{**message([[NAN, 1.0]], "32FC1"), "data": data})
    depth[:] = 9.0
    assert bytes(data) == before


@pytest.mark.parametrize("change, says", [
    ({"encoding": "mono16"}, "encoding 'mono16' is no depth image; give a topic of 16UC1 or 32FC1"),
    ({"encoding": "x" * 10**6}, "encoding 'x{40}' is no depth image"),
    ({"height": 0}, "empty: 3x0"), ({"width": 0}, "empty: 0x2"),
    ({"step": 5}, "step is 5, but 3 pixels of 16UC1 need 6 bytes a row"),
    ({"step": 7}, "data has 12 bytes, but step 7 x height 2 is 14"),
    ({"data": bytes(13)}, "data has 13 bytes, but step 6 x height 2 is 12"),
    ({"max_bytes": 11}, r"has 12 bytes; at most 11 are accepted \(max_bytes\)"),
    ({"encoding": "32FC1"}, "step is 6, but 3 pixels of 32FC1 need 12"),
    ({"height": 2**32 - 1, "step": 2**32 - 1}, "data has 12 bytes"),
])
def test_a_bad_field_gets_a_sentence_with_the_value(change, says):
    assert depth_of(**{**message(MM), "max_bytes": 12}).shape == (2, 3)
    with pytest.raises(ValueError, match=says):
        depth_of(**{**message(MM), **change})


@settings(max_examples=300)
@given(st.sampled_from(["16UC1", "32FC1", "mono16"]), st.integers(0, 9), st.integers(0, 9), st.integers(0, 40),
       st.binary(max_size=200), st.booleans())
def test_any_fields_give_metres_of_that_size_or_a_sentence(encoding, height, width, step, data, big_endian):
    try:
        depth = depth_of(data, encoding, height, width, step, big_endian, 150)
    except ValueError as error:
        assert str(error)
    else:
        assert depth.shape == (height, width) and depth.dtype == np.float32
        assert (np.isnan(depth) | (depth > 0) & np.isfinite(depth)).all()


# -- compressedDepth -----------------------------------------------------------------------------------------
def packed(samples, header=(0, 0.0, 0.0)):
    """As image_transport's compressedDepth writes it."""
    return struct.pack("<iff", *header) + cv2.imencode(".png", samples)[1].tobytes()


@pytest.mark.parametrize("kind", ["16UC1; compressedDepth png", "16UC1; compressedDepth", "16UC1;compressedDepth png"])
def test_compressed_millimetres_are_the_same(kind):
    assert decode_depth(packed(MM.astype(np.uint16)), kind, 10**6) == pytest.approx(depth_of(**message(MM)), nan_ok=True)


def test_compressed_metres_come_back_within_their_quantisation():
    """Written as compressed_depth_image_transport does, with its defaults: depth_max 10 m, quantisation 100."""
    metres = np.random.default_rng(4).uniform(0.3, 9.9, (40, 60)).astype(np.float32)
    metres[0, :5] = NAN
    scale = 100.0 * 101.0
    offset = 1.0 - scale / 10.0
    inverse = np.where(np.isnan(metres), 0, np.nan_to_num(scale / metres) + offset).astype(np.uint16)
    depth = decode_depth(packed(inverse, (0, scale, offset)), "32FC1; compressedDepth png", 10**6)
    assert np.isnan(depth[0, :5]).all() and not np.isnan(depth[1:]).any()
    assert np.abs(depth[1:] - metres[1:]).max() < 0.011 and np.abs(depth - metres)[metres < 1.0].max() < 2e-4


GOOD = packed(MM.astype(np.uint16))
COLOURS = cv2.imencode(".png", np.zeros((2, 3, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize("data, kind, says", [
    (b"", "16UC1; compressedDepth png", "has 0 bytes; 13 to 10000 are accepted"),
    (GOOD[:12], "16UC1; compressedDepth png", "has 12 bytes; 13 to 10000"),
    (bytes(10001), "16UC1; compressedDepth png", "has 10001 bytes"),
    (GOOD, "jpeg", "is not '16UC1; compressedDepth png' or '32FC1; compressedDepth png'; give the topic that ends in"),
    (GOOD, "16UC1; png compressed", "give the topic that ends in compressedDepth"),
    (GOOD, "16UC1; compressedDepth rvl", "packed as RVL; set its format to png"),
    (GOOD[12:], "16UC1; compressedDepth png", "is neither JPEG nor PNG"),
    (packed(MM.astype(np.uint8)), "16UC1; compressedDepth png", "holds 1 channels of 8 bits; one of 16 is right"),
    (GOOD[:12] + COLOURS, "16UC1; compressedDepth png", "holds 3 channels of 8 bits; one of 16 is right"),
    (GOOD[:40], "16UC1; compressedDepth png", "its header is not whole"),
    (GOOD[:60], "16UC1; compressedDepth png", "is corrupt"),
    (packed(MM.astype(np.uint16), (1, 1.0, 1.0)), "32FC1; compressedDepth png", "has the header 1, 1, 1; a kind of 0"),
    (packed(MM.astype(np.uint16), (0, 0.0, 1.0)), "32FC1; compressedDepth png", "has the header 0, 0, 1"),
    (packed(MM.astype(np.uint16), (0, NAN, 1.0)), "32FC1; compressedDepth png", "has the header 0, nan, 1"),
    (packed(MM.astype(np.uint16), (0, 1.0, np.inf)), "32FC1; compressedDepth png", "has the header 0, 1, inf"),
], ids=lambda value: value[:30] if isinstance(value, str) else "")
def test_a_bad_file_gets_a_sentence(data, kind, says):
    with pytest.raises(ValueError, match=says):
        decode_depth(data, kind, 10000)


def test_a_file_that_holds_too_many_pixels_is_refused_before_it_is_decoded():
    bomb = cv2.imencode(".png", np.zeros((6000, 6000), np.uint16))[1].tobytes()
    with pytest.raises(ValueError, match="holds 6000x6000 pixels; at most"):
        decode_depth(GOOD[:12] + bomb, "16UC1; compressedDepth png", 10**7)


@settings(max_examples=200)
@given(st.binary(max_size=60), st.sampled_from(["16UC1", "32FC1"]), st.integers(0, len(GOOD)))
def test_any_bytes_give_metres_or_a_sentence(noise, encoding, kept):
    try:
        depth = decode_depth(GOOD[:kept] + noise, f"{encoding}; compressedDepth png", 10**5)
    except ValueError as error:
        assert str(error)
    else:
        assert depth.dtype == np.float32 and (np.isnan(depth) | (depth > 0)).all()


# -- as its colour -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("size", [(8, 8), (5, 3), (24, 16), (1, 1), (7, 20)])
@pytest.mark.parametrize("source", [(12, 16), (16, 12), (1, 1), (40, 8)])
def test_depth_lies_where_its_colour_lies(source, size, mode):
    """A colour image that is 200 everywhere is padded with 0 where depth is padded with NaN."""
    colour = resize(np.full((*source, 3), 200, np.uint8), size, mode)
    depth = resize_depth(np.full(source, 2.0, np.float32), size, mode)
    assert depth.shape == size and depth.dtype == np.float32
    assert (np.isnan(depth) == (colour[..., 0] == 0)).all() and (depth[~np.isnan(depth)] == 2.0).all()


@pytest.mark.parametrize("size", [(3, 4), (5, 7), (12, 16), (13, 17), (30, 41)])
def test_depth_is_never_averaged_across_an_edge(size):
    scene = np.where(np.arange(16) < 7, 0.5, 3.0).astype(np.float32) * np.ones((12, 1), np.float32)
    depth = resize_depth(scene, size, "stretch")
    assert set(np.unique(depth)) == {np.float32(0.5), np.float32(3.0)}
    edge = np.argmax(depth[0] == 3.0) / size[1]
    assert edge == pytest.approx(7 / 16, abs=1 / size[1])


def test_each_pixel_is_the_one_under_its_centre():
    assert resize_depth(np.arange(9, dtype=np.float32).reshape(1, 9), (1, 3), "stretch").tolist() == [[1.0, 4.0, 7.0]]
    assert resize_depth(np.array([[1.0, 2.0]], np.float32), (1, 4), "stretch").tolist() == [[1.0, 1.0, 2.0, 2.0]]


def test_unknown_stays_unknown_and_touches_no_neighbour():
    scene = np.ones((4, 4), np.float32)
    scene[1, 1] = NAN
    assert np.isnan(resize_depth(scene, (8, 8))).sum() == 4


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_depth_is_cropped_and_turned_as_its_colour(rotate):
    camera = Camera("eye", "/eye", rotate=rotate, crop=(1, 2, 5, 3))
    values = np.arange(8 * 9).reshape(8, 9)
    colour = as_mounted(np.dstack([values.astype(np.uint8)] * 3), camera)
    assert (as_mounted(values.astype(np.float32), camera) == colour[..., 0]).all()


def test_depth_of_another_size_than_its_colour_is_refused_with_both():
    check_aligned((4, 6, 3), np.ones((4, 6), np.float32), "eye")
    for shape in ((6, 4), (2, 3), (4, 5)):
        with pytest.raises(ValueError, match=rf"depth image is {shape[0]} x {shape[1]} and the colour image 4 x 6 .*'eye'.*align"):
            check_aligned((4, 6, 3), np.ones(shape, np.float32), "eye")


# -- which belongs to which ----------------------------------------------------------------------------------
DEPTH = np.ones((1, 1), np.float32)


class Camera2:
    """Images and depth images by their stamps; what was joined, as (image, stamp of depth)."""

    def __init__(self, exact=False):
        self.drops = Counter()
        self.pairing = DepthPairing(self.drops, exact)
        self.pairs = []
        self.stamps = []

    def image(self, *stamps):
        for stamp in stamps:
            self._keep(self.pairing.add_image(stamp, stamp))

    def depth(self, *stamps):
        for stamp in stamps:
            self._keep(self.pairing.add_depth(stamp, np.full((1, 1), stamp)))

    def _keep(self, pair):
        if pair:
            self.pairs.append((pair.image, int(pair.depth[0, 0])))
            self.stamps.append(pair.stamp)


@pytest.mark.parametrize("depth_first", [False, True])
def test_what_has_the_same_stamp_belongs_together_whichever_comes_first(depth_first):
    camera = Camera2()
    for stamp in (100, 133, 166):
        for take in (camera.depth, camera.image) if depth_first else (camera.image, camera.depth):
            take(stamp * MS)
    assert camera.pairs == [(s * MS, s * MS) for s in (100, 133, 166)] and not camera.drops


@pytest.mark.parametrize("late, joined", [(15 * MS, True), (16 * MS, True), (16 * MS + 1, False), (-16 * MS, True), (-17 * MS, False)])
def test_else_what_lies_within_half_a_period(late, joined):
    camera = Camera2()
    camera.image(*(i * 32 * MS for i in range(1, 4)))  # alone: its depth was not sent yet
    camera.pairing._images.clear()
    camera.depth(*(i * 32 * MS + late for i in range(1, 4)))
    camera.pairing._depths.clear()
    camera.image(128 * MS)
    camera.depth(128 * MS + late)
    assert camera.pairs == ([(128 * MS, 128 * MS + late)] if joined else [])
    if joined:
        assert camera.stamps == [128 * MS + min(late, 0)]  # the older one's


def test_before_its_period_is_known_only_the_same_stamp_will_do():
    camera = Camera2()
    camera.image(100 * MS)
    camera.depth(100 * MS + 1)
    assert not camera.pairs
    camera.depth(100 * MS)
    assert camera.pairs == [(100 * MS, 100 * MS)]


def test_a_slow_camera_s_depth_is_not_far_away():
    camera = Camera2()
    for i in range(1, 5):
        camera.image(i * 1000 * MS)
        camera.depth(i * 1000 * MS + FARTHEST_APART_NS + 1)
    assert not camera.pairs
    camera.image(5000 * MS)
    camera.depth(5000 * MS + FARTHEST_APART_NS)
    assert camera.pairs == [(5000 * MS, 5000 * MS + FARTHEST_APART_NS)]


def test_of_a_faster_depth_camera_the_same_stamp_is_waited_for():
    """Depth at 30 Hz, images at 15 Hz: the depth between two images is none's."""
    camera = Camera2()
    for i in range(20):
        if i % 2 == 0:
            camera.image(i * 33 * MS)
        camera.depth(i * 33 * MS)
    assert camera.pairs == [(i * 33 * MS, i * 33 * MS) for i in range(0, 20, 2)]


def test_an_image_whose_depth_is_lost_is_dropped_and_counted_and_the_next_pairs():
    camera = Camera2(exact=True)
    camera.image(1, 2)
    camera.depth(2)
    camera.image(1)  # the lost one's depth never comes
    camera.depth(3)
    camera.image(3)
    assert camera.pairs == [(2, 2), (3, 3)] and camera.drops == {"image without depth": 2}


def test_exact_takes_nothing_else():
    camera = Camera2(exact=True)
    for i in range(5):
        camera.image(i * 30 * MS)
        camera.depth(i * 30 * MS + 1)
    assert not camera.pairs


def test_what_waits_is_bounded_and_what_is_dropped_is_counted():
    camera = Camera2()
    camera.image(*range(MS, 100 * MS, MS))
    assert camera.pairing.waiting == WAITING and camera.drops == {"image without depth": 99 - WAITING}
    other = Camera2()
    other.depth(*range(MS, 100 * MS, MS))
    assert other.pairing.waiting == 0 and other.drops == {"depth without image": 99 - WAITING}
    camera.pairing.clear()
    assert camera.pairing.waiting == 0


def test_a_clock_that_steps_back_costs_few_images():
    camera = Camera2()
    for start in (10**12, 10**6):
        for i in range(8):
            camera.image(start + i * 33 * MS)
            camera.depth(start + i * 33 * MS)
    assert len(camera.pairs) == 16


@settings(max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=60), st.booleans())
def test_each_is_used_once_and_never_further_apart_than_half_the_shortest_period(events, exact):
    camera = Camera2(exact)
    for is_image, stamp in events:
        (camera.image if is_image else camera.depth)(stamp * MS)
    for image, depth in camera.pairs:
        assert abs(image - depth) <= (0 if exact else FARTHEST_APART_NS)
    sent = Counter(stamp * MS for is_image, stamp in events if is_image)
    assert not Counter(image for image, _ in camera.pairs) - sent
    assert camera.pairing.waiting <= WAITING
