"""The messages that the robot's state comes in, and what they say."""

from __future__ import annotations

from geometry_msgs.msg import WrenchStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray

from vla_ros.core.robot_state import IMU, JOINT_STATE, NUMBERS, ODOMETRY, WRENCH
from vla_ros.core.state_numbers import published_numbers as published_numbers

MESSAGES: dict[str, type] = {
    JOINT_STATE: JointState,
    NUMBERS: Float64MultiArray,
    ODOMETRY: Odometry,
    WRENCH: WrenchStamped,
    IMU: Imu,
}
