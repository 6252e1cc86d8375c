"""The gate bench's robot, what it sees, and what its policy says.

10 channels, 720 beams, 8 rows of a smooth wave.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.bench.common import COMMANDS
from vla_ros.core.robot import parse_robot
from vla_ros.core.types import ActionChunk

JOINTS = tuple(map("joint_{}".format, range(1, 8)))
ROWS = 8
STEP_NS = 100_000_000  # between rows
FULL_SPEED_M_S = 0.4  # from here on
# each chunk has a speed of its own, by which its commands are known on the wire
SPEED_MARK_M_S = 1e-5
SPEED_MARKS = 9000  # together less than the 0.1 m/s from there to the limit
BEAMS = 720
SCAN = "/scan"


def robot_file() -> dict[str, Any]:
    """What a robot file holds, for load_robot and for parse_robot."""
    velocity = {
        "bounds": [-1.0, 1.0],
        "limits": [-0.5, 0.5],
        "acceleration": 2.5,
        "deceleration": 5.0,
        "deadband": 0.01,
        "max_step": 0.9,
        "on_stop": "zero",
    }
    joint = {
        "unit": "rad",
        "bounds": [-2.0, 2.0],
        "limits": [-1.9, 1.9],
        "max_speed": 2.0,
        "soft_limits": [-1.8, 1.8],
        "max_step": 0.5,
        "on_stop": "hold_measured",
    }
    channels: dict[str, Any] = {
        "linear.x": {"unit": "m/s", **velocity},
        "angular.z": {"unit": "rad/s", **velocity},
        "gripper": {
            "unit": "1",
            "bounds": [0.0, 1.0],
            "limits": [0.0, 1.0],
            "max_speed": 2.0,
            "on_stop": "hold_commanded",
            "max_step": 0.5,
            "joint": "finger_joint",
        },
    }
    for name in JOINTS:
        channels[name] = {**joint, "joint": name}
    outputs = [
        {
            "topic": COMMANDS,
            "type": "geometry_msgs/msg/Twist",
            "channels": ["linear.x", "angular.z"],
        },
        {
            "topic": "/gripper_controller/commands",
            "type": "std_msgs/msg/Float64MultiArray",
            "channels": ["gripper"],
        },
        {
            "topic": "/arm_controller/joint_trajectory",
            "type": "trajectory_msgs/msg/JointTrajectory",
            "channels": list(JOINTS),
        },
    ]
    sensors = [{"topic": SCAN, "type": "sensor_msgs/msg/LaserScan", "x": 0.1}]
    return {
        "name": "bench",
        "channels": channels,
        "outputs": outputs,
        "state": [{"topic": "/odom", "type": "nav_msgs/msg/Odometry"}],
        "footprint": {"front": 0.35, "back": 0.25, "left": 0.25, "right": 0.25},
        "obstacles": {"stop_distance": 0.3, "slow_distance": 0.8, "sensors": sensors},
    }


ROBOT = parse_robot(robot_file())
CHANNELS = tuple(channel.name for channel in ROBOT.channels)
WIDE_ROOM_M = 2.5  # slows nobody
NARROW_ROOM_M = 0.95  # every beam is near enough to matter


def room(distance: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A lidar's ranges (m) and angles (rad): walls all around, at about `distance` (m)."""
    angles = np.linspace(-math.pi, math.pi, BEAMS, endpoint=False)
    return distance + 0.05 * np.sin(5.0 * angles), angles


def chunk(sequence: int, stamp: int, instruction_id: int, period: float) -> ActionChunk:
    """The policy's `sequence`-th action, one every `period` s.

    angular.z is over its limit a third of the time; the joints' steps from row to row take more
    than one tick at the allowed rate: the gate has something to do.

    Args:
        sequence: how many came before.
        stamp: of the image that it was made of, ns.
        instruction_id: of the words that it was made for.
        period: s between two.
    """
    time = sequence * period + np.arange(ROWS) * STEP_NS / 1e9  # s of each row
    values = np.empty((ROWS, len(CHANNELS)), np.float32)
    values[:, 0] = FULL_SPEED_M_S + SPEED_MARK_M_S * (1 + sequence % SPEED_MARKS)
    values[:, 1] = 0.6 * np.sin(math.pi * time)
    for column in range(2, len(CHANNELS)):
        values[:, column] = 0.5 + 0.4 * np.sin(math.pi * time + column)
    return ActionChunk(stamp, instruction_id, CHANNELS, values, STEP_NS, sequence, "wave")
