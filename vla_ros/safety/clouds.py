"""What a point cloud shows of obstacles, as a range sensor's look of bounded size.

Of very many points a regular share is looked at. Of those within the height band the nearest in
each direction is kept: what a lidar at the same place would have measured.
"""

from __future__ import annotations

import math

import numpy as np

from vla_ros.core.point_cloud import CloudLayout, check_cloud, float_place, read_column
from vla_ros.core.robot_obstacles import Sensor
from vla_ros.safety.kinematics import turned
from vla_ros.safety.obstacles import Array, Reading, blind, outside_masks

MOST_POINTS = 400_000  # 640 x 480 are 307,200
MOST_LOOKED_AT = 15_000
DIRECTIONS = 720  # half a degree each: a lidar's
# Of the points: a camera that measures fewer is covered, or stands before a blank wall.
LEAST_MEASURED = 0.5


def cloud_points(data: bytes | bytearray | memoryview, layout: CloudLayout) -> Array:
    """The points of a cloud, K x 3, in its frame; a regular share of them where there are many.

    Raises:
        ValueError: a sentence, where its numbers contradict each other or there are too many.
    """
    check_cloud(data, layout, MOST_POINTS)
    columns = []
    for axis in "xyz":
        columns.append(read_column(data, layout, float_place(axis, layout), MOST_LOOKED_AT))
    points: Array = np.stack(columns, axis=1).astype(float)
    return points


def look_at_cloud(sensor: Sensor, stamp: int, points: Array) -> Reading:
    """A cloud's points as a Reading.

    What is no number, or exactly at the sensor, is no measurement. Any point shows that its
    direction was looked at; those within the height band and `max_range` are hits, and those nearer
    than `min_range` or in a mask the robot itself.

    Args:
        sensor: where it sits, and what of its view counts.
        stamp: ROS time, ns.
        points: K x 3, in the sensor's frame, m.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        away = np.sqrt(np.square(points).sum(axis=1))
    measured = np.isfinite(away) & (away > 0.0)
    if not measured.any() or measured.mean() < LEAST_MEASURED:
        return blind(stamp, f"{int(measured.sum())} of its {len(points)} points were measured")
    points = points[measured]
    away = away[measured]
    placed = points @ turned((sensor.roll, sensor.pitch, sensor.yaw)).T
    flat = placed[:, :2]  # from the sensor, in the base's directions
    height = placed[:, 2] + sensor.z
    directions = np.arctan2(flat[:, 1], flat[:, 0])
    bins = np.floor((directions + math.pi) * (DIRECTIONS / (2.0 * math.pi))).astype(int)
    bins = np.clip(bins, 0, DIRECTIONS - 1)
    seen = np.unique(bins)
    distance = np.hypot(flat[:, 0], flat[:, 1])
    hit = (away >= sensor.min_range) & (distance < sensor.max_range)
    hit &= (height >= sensor.height[0]) & (height <= sensor.height[1])
    hits = flat[hit] + (sensor.x, sensor.y)
    outside = outside_masks(sensor, hits)
    hits = hits[outside]
    # The farthest first: of those in one direction the nearest is written last, and stays.
    order = np.argsort(-distance[hit][outside], kind="stable")
    nearest = np.full(DIRECTIONS, -1)
    nearest[bins[hit][outside][order]] = order
    angles = (seen + 0.5) * (2.0 * math.pi / DIRECTIONS) - math.pi
    return Reading(
        stamp,
        hits[nearest[nearest >= 0]],
        angles,
        np.full(len(seen), True),
        sensor.max_range,
        (sensor.x, sensor.y),
    )
