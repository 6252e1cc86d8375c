"""Point clouds for a policy: of any layout, without NaN, at most so many, the same each time, in bounded time."""
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_clouds import XYZ, packed

from vla_ros.core.point_cloud import (
    LEAST_READ,
    MOST_POINTS,
    CloudField,
    CloudLayout,
    cloud_array,
    read_column,
)

POINTS = np.arange(1.0, 25.0).reshape(8, 3) / 8.0
WIDE = tuple(CloudField(name, 8 * i + 3, 8, 1) for i, name in enumerate("xyz"))
RGB = CloudField("rgb", 12, 7, 1)


@pytest.mark.parametrize("layout", [
    {}, {"kind": ">f4"}, {"kind": "<f8", "fields": WIDE, "step": 30}, {"rows": 4, "padding": 7}, {"rows": 8}], ids=str)
def test_points_are_read_from_any_layout(layout):
    points = cloud_array(*packed(POINTS, **layout), 100)
    assert points.dtype == np.float32 and points.shape == (8, 3) and points == pytest.approx(POINTS)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_point_without_a_number_is_left_out_whole(bad):
    points = POINTS.copy()
    points[2, 0] = points[5, 2] = bad
    assert cloud_array(*packed(points), 100) == pytest.approx(np.delete(POINTS, [2, 5], 0))
    assert cloud_array(*packed(np.full((4, 3), bad)), 100).shape == (0, 3)


@pytest.mark.parametrize("order, big_endian", [("<", False), (">", True)])
@pytest.mark.parametrize("field", [RGB, CloudField("rgba", 12, 6, 1)])
def test_colours_follow_as_red_green_and_blue_from_0_to_1(field, order, big_endian):
    raw = np.zeros((2, 4), order + "f4")
    raw[:, :3] = [[1, 2, 3], [4, 5, 6]]
    raw.view(order + "u4")[:, 3] = [0xFF0000, 0x7F3300FF]
    layout = CloudLayout(2, 1, 16, 32, big_endian, (*XYZ, field))
    points = cloud_array(raw.tobytes(), layout, 10, color=True)
    assert points == pytest.approx(np.array([[1, 2, 3, 1, 0, 0], [4, 5, 6, 0x33 / 255, 0, 1]]))


def test_a_cloud_without_colours_says_so():
    with pytest.raises(ValueError, match="it has no field rgb or rgba; its fields are x, y, z"):
        cloud_array(*packed(POINTS), 10, color=True)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000])
def test_of_more_than_so_many_a_regular_share_is_taken_the_same_each_time(count):
    data, layout = packed(POINTS)
    points = cloud_array(data, layout, count)
    assert len(points) == min(count, 8) and points[0] == pytest.approx(POINTS[0])
    assert (points == cloud_array(data, layout, count)).all()


def test_the_share_is_spread_over_what_was_measured():
    points = np.full((1000, 3), math.nan)
    points[300:700, :] = np.arange(400)[:, None]
    assert cloud_array(*packed(points), 4)[:, 0].tolist() == [0.0, 100.0, 200.0, 300.0]


@pytest.mark.parametrize("rows", [1, 100])
def test_of_a_large_cloud_no_more_is_read_than_is_needed(rows, monkeypatch):
    data, layout = packed(np.zeros((1_000_000, 3)), rows=rows)
    read = []

    def reading(*given):
        read.append(read_column(*given))
        return read[-1]

    monkeypatch.setattr("vla_ros.core.point_cloud.read_column", reading)
    for count, share in ((100, LEAST_READ), (20_000, 80_000)):
        assert len(cloud_array(data, layout, count)) == count
        assert [share / 2 < len(column) <= 2 * share for column in read[-3:]] == [True] * 3


def test_two_million_points_take_a_bounded_time_and_more_are_refused():
    data = np.zeros((1000, 2000, 4), "<f4")
    data[..., 0] = np.arange(2000)
    layout = CloudLayout(2000, 1000, 16, 32000, False, (*XYZ, RGB))
    assert layout.width * layout.height == MOST_POINTS
    blob = data.tobytes()
    best = math.inf
    for _ in range(3):
        begin = time.perf_counter()
        points = cloud_array(blob, layout, 4096, color=True)
        best = min(best, time.perf_counter() - begin)
    assert points.shape == (4096, 6) and len(np.unique(points[:, 0])) > 100
    assert best < 0.25
    with pytest.raises(ValueError, match="a cloud of 2002000 points is too large; at most 2000000: downsample it"):
        cloud_array(blob, layout._replace(height=1001), 4096)


@settings(max_examples=300)
@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 40), st.integers(0, 200), st.binary(max_size=300),
       st.booleans(), st.lists(st.builds(CloudField, st.sampled_from(["x", "y", "z", "rgb"]), st.integers(0, 30),
                                         st.integers(0, 9), st.integers(0, 2)), max_size=5), st.integers(1, 20), st.booleans())
def test_any_fields_give_finite_points_or_a_sentence(width, height, step, row, data, big_endian, fields, count, color):
    try:
        points = cloud_array(data, CloudLayout(width, height, step, row, big_endian, fields), count, color)
    except ValueError as error:
        assert str(error)
    else:
        assert points.shape[1] == (6 if color else 3) and len(points) <= count
        assert points.dtype == np.float32 and np.isfinite(points).all()
