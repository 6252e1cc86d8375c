"""A robot file's point clouds: where they come from, how much is handed on, in which frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_ros.core.robot_fields import check_keys, flag, named_entries, optional_number, topic_name
from vla_ros.core.rotation import turned
from vla_ros.core.shown import shown
from vla_ros.core.types import MOST_CLOUD_POINTS, CloudPoints

FRAMES = ("sensor", "base")
POSE = ("x", "y", "z", "roll", "pitch", "yaw")
MAX_CLOUDS = 4  # the synchronizer reads each


@dataclass(frozen=True)
class Cloud:
    """A topic of sensor_msgs/PointCloud2 for a policy.

    Attributes:
        topic: its clouds, as they are named on the robot.
        points: so many are handed on at most; a policy may ask for fewer.
        color: red, green and blue too; the clouds then need a field `rgb` or `rgba`.
        frame: `sensor`: points are handed on in the cloud's own frame; `base`: in the base frame.
        x, y, z, roll, pitch, yaw: with `base`, where the sensor's frame is in it, m and rad.
    """

    name: str
    topic: str
    points: int = 4096
    color: bool = False
    frame: str = "sensor"
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    roll: float = 0.0
    pitch: float = 0.0
    yaw: float = 0.0

    @property
    def columns(self) -> int:
        """How many numbers a point has."""
        return 6 if self.color else 3

    def placed(self, points: CloudPoints) -> CloudPoints:
        """K x 3 or 6 points of the sensor's frame in the one that the file asks for."""
        if self.frame == "sensor":
            return points
        moved = points.copy()
        turn = turned((self.roll, self.pitch, self.yaw))
        moved[:, :3] = points[:, :3] @ turn.T + (self.x, self.y, self.z)
        return moved


def parse_clouds(data: Any) -> tuple[Cloud, ...]:
    """The `clouds` part of a robot file. Raises ValueError with a sentence."""
    entries = named_entries(data, "clouds", MAX_CLOUDS)
    return tuple(_cloud(name, fields) for name, fields in entries.items())


def _cloud(name: str, fields: Any) -> Cloud:
    where = f"cloud '{name}'"
    check_keys(fields, where, {"topic"}, {"points", "color", "frame", *POSE})
    points = fields.get("points", Cloud.points)
    # To Python, true is the number 1.
    if type(points) is not int or not 1 <= points <= MOST_CLOUD_POINTS:
        raise ValueError(
            f"{where}: points is {shown(points)}; give a whole number from 1 to {MOST_CLOUD_POINTS}"
        )
    frame = fields.get("frame", "sensor")
    if frame not in FRAMES:
        raise ValueError(f"{where}: frame is {shown(frame)}; use one of {', '.join(FRAMES)}")
    pose = {key: optional_number(fields, key, where, 0.0) for key in POSE}
    for key in POSE:
        if key in fields and frame != "base":
            raise ValueError(f"{where}: {key} is for frame: base, and this is '{frame}'")
    return Cloud(
        name,
        topic_name(fields["topic"], f"{where}: topic"),
        points,
        flag(fields.get("color", False), f"{where}: color"),
        frame,
        **pose,
    )


def chosen_clouds(clouds: Sequence[Cloud], names: Sequence[str], every: str) -> list[Cloud]:
    """Those of the file that the parameter `clouds` means; `every` is each of them.

    Raises:
        ValueError: it names one that the file does not.
    """
    if list(names) == [every]:
        return list(clouds)
    there = [cloud.name for cloud in clouds]
    wanted = [name for name in names if name]  # an empty text: none
    for name in wanted:
        if name not in there:
            raise ValueError(
                f"parameter 'clouds' holds '{name}'; the robot file has "
                f"{', '.join(there) or 'none'}"
            )
    return [cloud for cloud in clouds if cloud.name in wanted]


def sampled(points: CloudPoints, count: int, columns: int) -> CloudPoints:
    """Exactly `count` x `columns` of them: a regular share, or all and then rows of NaN."""
    if len(points) > count:
        points = points[np.arange(count) * len(points) // count]
    whole = np.full((count, columns), np.nan, np.float32)
    whole[: len(points)] = points[:, :columns]
    return whole
