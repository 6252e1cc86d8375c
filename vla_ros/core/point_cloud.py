"""Point clouds: the numbers of a sensor_msgs/PointCloud2, of any layout, in bounded time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = Any  # what numpy reads as a buffer: bytes, array.array, memoryview
FLOATS = {7: "f4", 8: "f8"}  # sensor_msgs/PointField's FLOAT32 and FLOAT64
PACKED = {6: "u4", 7: "u4"}  # UINT32, and FLOAT32 whose bits are one: 0x00RRGGBB
COLOUR_FIELDS = ("rgb", "rgba")
MOST_POINTS = 2_000_000  # 64 MB of the usual 32 bytes
LEAST_READ = 50_000  # so that what is left without NaN is a fair share


class CloudField(NamedTuple):
    """A sensor_msgs/PointField; `elements` is its `count`."""

    name: str
    offset: int
    datatype: int
    elements: int


class CloudLayout(NamedTuple):
    """How a sensor_msgs/PointCloud2 lays its points out; steps and offsets in bytes."""

    width: int
    height: int
    point_step: int
    row_step: int
    is_bigendian: bool
    fields: Sequence[CloudField]


def cloud_array(
    data: Bytes, layout: CloudLayout, count: int, color: bool = False
) -> NDArray[np.float32]:
    """A cloud's points for a policy: K x 3 of x, y and z, m, in its frame; K is at most `count`.

    What has no number is left out, and of more than `count` a regular share is taken: the same
    bytes give the same points. With `color`, K x 6: red, green and blue follow, each 0 to 1.

    Raises:
        ValueError: a sentence, where its fields contradict each other or it has too many points.
    """
    check_cloud(data, layout, MOST_POINTS)
    places = [float_place(axis, layout) for axis in "xyz"]
    if color:
        places.append(_color_place(layout))
    share = max(4 * count, LEAST_READ)
    columns = [read_column(data, layout, place, share) for place in places]
    points = np.stack(columns[:3], axis=1).astype(np.float32)
    if color:
        packed = columns[3]
        channels = [(packed >> shift) & 255 for shift in (16, 8, 0)]
        points = np.hstack([points, np.stack(channels, axis=1).astype(np.float32) / 255])
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) > count:
        points = points[np.arange(count) * len(points) // count]
    return points


def check_cloud(data: Bytes, layout: CloudLayout, most_points: int) -> None:
    """Raises ValueError where a cloud's sizes contradict each other, or it has too many points."""
    width = layout.width
    height = layout.height
    count = width * height
    if count > most_points:
        raise ValueError(
            f"a cloud of {count} points is too large; at most {most_points}: downsample it"
        )
    if layout.point_step * width > layout.row_step:
        raise ValueError(
            f"its {width} points of {layout.point_step} bytes are more than a row of "
            f"{layout.row_step} bytes"
        )
    if layout.row_step * height > len(data):
        raise ValueError(
            f"its {height} rows of {layout.row_step} bytes are more than the {len(data)} bytes of "
            "its data"
        )


def read_column(
    data: Bytes, layout: CloudLayout, place: tuple[int, np.dtype], share: int
) -> np.ndarray:
    """A number of each point, of a cloud that was checked.

    Of more than `share` points a regular share is read, up to twice that.

    Args:
        data, layout: the cloud.
        place: where the number is in a point, bytes, and as what.
        share: points, roughly.
    """
    offset, kind = place
    width = layout.width
    height = layout.height
    if width * height == 0:
        return np.zeros(0, kind)
    # Both ways alike where it is an image: every n-th column alone would miss a thin leg.
    step = math.ceil(width * height / share)
    if min(width, height) > 1:
        step = math.ceil(math.sqrt(step))
    strides = (layout.row_step, layout.point_step)
    view: np.ndarray = np.ndarray((height, width), kind, data, offset, strides)
    rows = step if height > 1 else 1
    return view[::rows, :: step if width > 1 else 1].ravel()


def float_place(name: str, layout: CloudLayout) -> tuple[int, np.dtype]:
    """Where a coordinate is in a point, bytes, and as what. Raises ValueError."""
    return _place((name,), FLOATS, "FLOAT32 (7) or FLOAT64 (8)", layout)


def _color_place(layout: CloudLayout) -> tuple[int, np.dtype]:
    return _place(COLOUR_FIELDS, PACKED, "UINT32 (6) or FLOAT32 (7)", layout)


def _place(
    names: Sequence[str], kinds: dict[int, str], right: str, layout: CloudLayout
) -> tuple[int, np.dtype]:
    for field in layout.fields:
        if field.name not in names:
            continue
        if field.datatype not in kinds or field.elements > 1:
            raise ValueError(
                f"its field {field.name} has type {field.datatype} and count {field.elements}; one "
                f"{right} is read"
            )
        kind = np.dtype((">" if layout.is_bigendian else "<") + kinds[field.datatype])
        if field.offset + kind.itemsize > layout.point_step:
            raise ValueError(
                f"its field {field.name} at byte {field.offset} reaches beyond a point of "
                f"{layout.point_step} bytes"
            )
        return field.offset, kind
    there = ", ".join(field.name[:20] for field in list(layout.fields)[:10])
    raise ValueError(f"it has no field {' or '.join(names)}; its fields are {there or 'none'}")
