"""What a message of the robot's state says: the message's name of a number -> the number.

Messages are anything with the fields of ROS 2's: from a topic, or out of a bag where there is no
ROS.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from vla_ros.core.joint_states import joint_positions
from vla_ros.core.robot_state import JOINT_STATE, NUMBERS, ODOMETRY, ORIENTATION, WRENCH

# Frames that stand still, by the names of REP 105 and of simulators
FIXED_FRAMES = ("odom", "map", "world")


def published_numbers(kind: str, message: Any, wanted: Collection[str]) -> Mapping[str, float]:
    """The numbers in a message of the robot's state, as they were published.

    Args:
        kind: one of robot_state's STATE_TYPES.
        message: of that kind, or anything with its fields.
        wanted: the message's names of the numbers of interest; of an array in its order.

    Returns:
        The message's name -> number. A joint state may bring some of `wanted` only.

    Raises:
        ValueError: what it says cannot be true; it is refused whole.
    """
    if kind == JOINT_STATE:
        return joint_positions(message.name, message.position, wanted)
    if kind == NUMBERS:
        if len(message.data) != len(wanted):
            raise ValueError(
                f"an array of {len(message.data)} numbers, and the robot file names {len(wanted)}; "
                "refused whole, nobody knows which is which"
            )
        return dict(zip(wanted, message.data))
    if kind == ODOMETRY:
        return odometry_state(message)
    if kind == WRENCH:
        return _vectors(force=message.wrench.force, torque=message.wrench.torque)
    numbers = _vectors(
        angular_velocity=message.angular_velocity, linear_acceleration=message.linear_acceleration
    )
    # Many IMUs have no orientation: it is asked for only by who wants it.
    if not set(ORIENTATION).isdisjoint(wanted):
        numbers.update(zip(ORIENTATION, _roll_pitch_yaw(message)))
    return numbers


def _vectors(**vectors: Any) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for part, vector in vectors.items():
        for axis in ("x", "y", "z"):
            numbers[f"{part}.{axis}"] = float(getattr(vector, axis))
    return numbers


def _roll_pitch_yaw(message: Any) -> tuple[float, float, float]:
    """Of an Imu's orientation, rad (REP 103: about the fixed axes x, y, z)."""
    if message.orientation_covariance[0] == -1.0:  # as the message's definition says
        raise ValueError("the IMU says that it has no orientation; leave roll, pitch and yaw out")
    x, y, z, w = unit_quaternion(message.orientation, "the IMU")
    return (
        math.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y)),
        math.asin(max(-1.0, min(1.0, 2.0 * (w * y - z * x)))),
        math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)),
    )


def odometry_state(message: Any) -> dict[str, float]:
    """The numbers of a nav_msgs/Odometry.

    The twist is in `child_frame_id`, as the message's definition says; empty: the base. A twist in
    the pose's own frame, as some drivers publish it, is turned into the base's.

    Returns:
        The pose in its frame (m, rad) and the speed in the base's (m/s, rad/s).

    Raises:
        ValueError: a twist in another frame that stands still, what is not finite, and a quaternion
            whose squared length is not 1 within 0.01 (tf2's tolerance).
    """
    pose = message.pose.pose
    twist = message.twist.twist
    x, y, z, w = unit_quaternion(pose.orientation, "odometry")
    values = {
        "odom.x": pose.position.x,
        "odom.y": pose.position.y,
        "odom.yaw": math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)),
        "linear.x": twist.linear.x,
        "angular.z": twist.angular.z,
    }
    frame = message.header.frame_id.lstrip("/")
    child = message.child_frame_id.lstrip("/")
    if child and (child == frame or child.rpartition("/")[2] in FIXED_FRAMES):
        if frame not in ("", child):
            raise ValueError(
                f"odometry's twist is in '{child[:40]}', its pose in '{frame[:40]}'; give the "
                "twist in the robot's base (child_frame_id), as nav_msgs/Odometry is defined"
            )
        # the base's x axis
        ahead = 1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)
        up = 2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)  # its z axis
        values["linear.x"] = _along(ahead, twist.linear)
        values["angular.z"] = _along(up, twist.angular)
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"odometry says {value} for {name}; a number is right")
    return values


def unit_quaternion(q: Any, whose: str) -> tuple[float, float, float, float]:
    """x, y, z and w of a Quaternion. Raises ValueError where it is none within tf2's tolerance."""
    length = math.sqrt(q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w)
    if not abs(length * length - 1.0) <= 0.01:
        raise ValueError(
            f"{whose}'s orientation x={q.x:g}, y={q.y:g}, z={q.z:g}, w={q.w:g} has length "
            f"{length:g}; a quaternion's is 1 (w left out, or a yaw in its place?)"
        )
    return q.x / length, q.y / length, q.z / length, q.w / length


def _along(axis: tuple[float, float, float], vector: Any) -> float:
    return float(axis[0] * vector.x + axis[1] * vector.y + axis[2] * vector.z)
