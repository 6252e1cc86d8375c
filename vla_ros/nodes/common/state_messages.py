"""What a message of the robot's state says: the message's name of a number -> the number."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from geometry_msgs.msg import WrenchStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray

from vla_ros.core.joint_states import joint_positions
from vla_ros.core.robot_state import IMU, JOINT_STATE, NUMBERS, ODOMETRY, ORIENTATION, WRENCH
from vla_ros.nodes.common import convert

MESSAGES: dict[str, type] = {
    JOINT_STATE: JointState,
    NUMBERS: Float64MultiArray,
    ODOMETRY: Odometry,
    WRENCH: WrenchStamped,
    IMU: Imu,
}


def published_numbers(kind: str, message: Any, wanted: Collection[str]) -> Mapping[str, float]:
    """The numbers in a message of the robot's state, as they were published.

    Args:
        kind: one of MESSAGES.
        message: of that kind.
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
        return convert.odometry_state(message)
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


def _roll_pitch_yaw(message: Imu) -> tuple[float, float, float]:
    """Of an Imu's orientation, rad (REP 103: about the fixed axes x, y, z)."""
    if message.orientation_covariance[0] == -1.0:  # as the message's definition says
        raise ValueError("the IMU says that it has no orientation; leave roll, pitch and yaw out")
    x, y, z, w = convert.unit_quaternion(message.orientation, "the IMU")
    return (
        math.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y)),
        math.asin(max(-1.0, min(1.0, 2.0 * (w * y - z * x)))),
        math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)),
    )
