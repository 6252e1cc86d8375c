"""A robot file's obstacles: its range sensors, its footprint, and what they may stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vla_ros.core.robot_channels import Channel
from vla_ros.core.robot_fields import (
    check_keys,
    check_once,
    flag,
    number,
    optional_number,
    pair,
)
from vla_ros.core.robot_outputs import TWIST_CHANNELS, TWISTS, Output
from vla_ros.core.shown import shown

CLOUD = "sensor_msgs/msg/PointCloud2"
SENSOR_TYPES = {"sensor_msgs/msg/LaserScan", "sensor_msgs/msg/Range", CLOUD}
CLOUD_NEEDS = ("height", "max_range")
CLOUD_KEYS = {*CLOUD_NEEDS, "z", "roll", "pitch"}
FLOOR_CHANNELS = ("linear.x", "linear.y", "angular.z")  # what moves a footprint over the floor
SIDES = ("front", "back", "left", "right")
# Longer, and a base would not leave a place where somebody walked by.
LONGEST_TIME_S = 10.0  # of `time_to_collision` and `hold_off`


@dataclass(frozen=True)
class Footprint:
    """How far the robot reaches from its base frame, in m; x points forward, y left."""

    front: float
    back: float
    left: float
    right: float


NO_FOOTPRINT = Footprint(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Sensor:
    """A range sensor, and where it sits in the base frame (m, rad).

    Attributes:
        min_range: what is nearer to it, m, is the robot itself.
        inverted: it hangs upside down.
        mask: boxes within the footprint, each as (front, back, left, right) in the base frame, m:
            what is inside is the robot itself.
        z, roll, pitch: of a PointCloud2's frame, as `x`, `y` and `yaw`.
        height: of a PointCloud2, what lies within it is an obstacle, [lowest, highest] in the base
            frame, m.
        max_range: how far from a PointCloud2's sensor an obstacle is sure to be seen, m.
    """

    topic: str
    type: str
    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    min_range: float = 0.0
    inverted: bool = False
    mask: tuple[tuple[float, float, float, float], ...] = ()
    z: float = 0.0
    roll: float = 0.0
    pitch: float = 0.0
    height: tuple[float, float] = (-math.inf, math.inf)
    max_range: float = math.inf


@dataclass(frozen=True)
class Obstacles:
    """Distances in m from the footprint, times in s, speeds in m/s.

    Attributes:
        stop_distance: nothing nearer is approached.
        slow_distance: from here on the speed falls.
        side_clearance: what the footprint passes at this distance or more is no obstacle; nearer
            than that it passes more slowly.
        hysteresis: after a stop the way must be free for so much more.
        time_to_collision: a motion that would touch something sooner is slowed down.
        max_speed_unobserved: what is allowed where no sensor looks.
        max_age: what is older is no look at all.
        hold_off: what was seen counts for so long more.
    """

    sensors: tuple[Sensor, ...]
    stop_distance: float = 0.3
    slow_distance: float = 0.6
    side_clearance: float = 0.1
    hysteresis: float = 0.05
    time_to_collision: float = 1.0
    max_speed_unobserved: float = 0.0
    max_age: float = 0.3
    hold_off: float = 1.0


def floor_twist(values: Mapping[str, float]) -> tuple[float, float, float]:
    """What `values` (channel -> value) mean to a base: forward and left, m/s, and turning, rad/s.

    A channel that is not among them is zero.
    """
    forward, left, turn = FLOOR_CHANNELS
    return values.get(forward, 0.0), values.get(left, 0.0), values.get(turn, 0.0)


def parse_obstacles(fields: Any) -> Obstacles:
    numbers = (
        "stop_distance",
        "slow_distance",
        "side_clearance",
        "hysteresis",
        "time_to_collision",
        "max_speed_unobserved",
        "max_age",
        "hold_off",
    )
    check_keys(fields, "obstacles", {"sensors"}, set(numbers))
    if not isinstance(fields["sensors"], list) or not fields["sensors"]:
        raise ValueError(
            f"obstacles: sensors is {shown(fields['sensors'])}; give a list of sensors"
        )
    given: dict[str, float] = {}
    for name in numbers:
        if name in fields:
            given[name] = number(fields[name], f"obstacles: {name}", at_least=0.0)
    obstacles = Obstacles(tuple(map(_sensor, fields["sensors"])), **given)
    # Between them the speed falls evenly; without a between it would fall at once, which no base
    # can do.
    if not obstacles.stop_distance < obstacles.slow_distance:
        raise ValueError(
            f"obstacles: slow_distance is {obstacles.slow_distance:g} m; it must be more than "
            f"stop_distance, {obstacles.stop_distance:g} m"
        )
    for name in ("time_to_collision", "max_age"):
        number(getattr(obstacles, name), f"obstacles: {name}", above=0.0)
    for name in ("time_to_collision", "hold_off"):
        seconds = getattr(obstacles, name)
        if seconds > LONGEST_TIME_S:
            raise ValueError(
                f"obstacles: {name} is {seconds:g} s; give at most {LONGEST_TIME_S:g} s"
            )
    check_once([sensor.topic for sensor in obstacles.sensors], "obstacles: ")
    return obstacles


def _sensor(fields: Any) -> Sensor:
    optional = {"x", "y", "yaw", "min_range", "inverted", "mask", *CLOUD_KEYS}
    check_keys(fields, "a sensor", {"topic", "type"}, optional)
    topic = str(fields["topic"])
    kind = fields["type"]
    if kind not in SENSOR_TYPES:
        raise ValueError(
            f"sensor '{topic}': type is {shown(kind)}; use one of {', '.join(sorted(SENSOR_TYPES))}"
        )
    where = f"sensor '{topic}'"
    place: dict[str, Any] = {}
    for name in ("x", "y", "z", "roll", "pitch", "yaw"):
        place[name] = optional_number(fields, name, where, 0.0)
    return Sensor(
        topic,
        kind,
        inverted=flag(fields.get("inverted", False), f"{where}: inverted"),
        **place,
        **_cloud(fields, kind, where),
        min_range=optional_number(fields, "min_range", where, 0.0, at_least=0.0),
        mask=_mask(fields.get("mask", []), f"{where}: mask"),
    )


def _cloud(fields: Mapping[str, Any], kind: str, where: str) -> dict[str, Any]:
    """What only a point cloud needs: which of its points are obstacles."""
    if kind != CLOUD:
        for name in sorted(CLOUD_KEYS & set(fields)):
            raise ValueError(f"{where}: {name} is for a PointCloud2, and this is a {kind}")
        return {}
    for name in CLOUD_NEEDS:
        if name not in fields:
            raise ValueError(f"{where} lacks {name}, which a PointCloud2 needs")
    if fields.get("inverted"):
        raise ValueError(f"{where}: inverted is not for a PointCloud2; give roll, pitch and yaw")
    return {
        "height": pair(fields["height"], f"{where}: height"),
        "max_range": number(fields["max_range"], f"{where}: max_range", above=0.0),
    }


def _mask(fields: Any, where: str) -> tuple[tuple[float, float, float, float], ...]:
    """Boxes, each as (front, back, left, right) from the base frame's origin, m.

    A side beyond the origin is negative.
    """
    if not isinstance(fields, list):
        raise ValueError(
            f"{where} is {shown(fields)}; give a list of boxes, each with front, back, left and "
            "right"
        )
    boxes = []
    for box in fields:
        check_keys(box, where, set(SIDES), set())
        front, back, left, right = [number(box[side], f"{where}: {side}") for side in SIDES]
        if not (-back < front and -right < left):
            raise ValueError(
                f"{where}: front + back is {front + back:g} m and left + right {left + right:g} m; "
                "both must be more than 0"
            )
        boxes.append((front, back, left, right))
    return tuple(boxes)


def parse_footprint(fields: Any) -> Footprint:
    check_keys(fields, "footprint", set(SIDES), set())
    sides = [number(fields[side], f"footprint: {side}", at_least=0.0) for side in SIDES]
    return Footprint(*sides)


def check_braking(
    obstacles: Obstacles, channels: tuple[Channel, ...], outputs: tuple[Output, ...]
) -> None:
    """Obstacles can stop this robot: it drives on the floor, and brakes within the slow zone."""
    driven: set[str] = set()
    for output in outputs:
        if output.type in TWISTS:
            # What has a name of its own before it, as `tool.linear.x`, is not the base.
            driven.update(name for name in output.channels if name in TWIST_CHANNELS)
    if not driven & set(FLOOR_CHANNELS) or driven - set(FLOOR_CHANNELS):
        raise ValueError(
            f"obstacles are for a base whose Twist carries some of {', '.join(FLOOR_CHANNELS)}; "
            f"this one carries {', '.join(sorted(driven)) or 'nothing'}"
        )
    for channel in channels:
        # From full speed where the speed begins to fall to zero where the robot must stand: twice
        # what braking evenly over that way takes, v^2 / 2s.
        speed = max(map(abs, channel.limits))
        needed = speed**2 / (obstacles.slow_distance - obstacles.stop_distance)
        if (
            channel.name in driven
            and channel.name.startswith("linear")
            and channel.deceleration < needed
        ):
            raise ValueError(
                f"channel '{channel.name}': deceleration is {channel.deceleration:g}; to stop from "
                f"{speed:g} {channel.unit} between obstacles' slow_distance and stop_distance it "
                f"must be at least {needed:.2g}"
            )


def check_masks(obstacles: Obstacles | None, footprint: Footprint) -> None:
    """A mask hides the robot, never what is beside it."""
    outline = (footprint.front, footprint.back, footprint.left, footprint.right)
    for sensor in obstacles.sensors if obstacles else ():
        for box in sensor.mask:
            for side, value, most in zip(SIDES, box, outline):
                if value > most:
                    raise ValueError(
                        f"sensor '{sensor.topic}': mask: {side} is {value:g} m; the footprint "
                        f"reaches only {most:g} m, and what is outside it is no part of the robot"
                    )
