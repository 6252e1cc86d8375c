"""The gate bench's robot and what its policy says: 10 channels, 8 rows, a smooth wave that some limits cut."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from vla_ros.core.robot import parse_robot
from vla_ros.core.types import ActionChunk
from vla_ros.tools.bench.common import COMMANDS

JOINTS = tuple(f"joint_{number}" for number in range(1, 8))
ROWS, STEP = 8, 100_000_000  # ns between rows
FULL = 0.4  # m/s; the robot moves at full speed from here on
MARK, MARKS = 1e-5, 9000  # each chunk has a speed of its own, by which its commands are known on the wire
BEAMS = 720


def robot_file() -> dict[str, Any]:
    """What a robot file holds, for load_robot and for parse_robot."""
    velocity = {"bounds": [-1.0, 1.0], "limits": [-0.5, 0.5], "rate": 2.5, "brake": 5.0, "deadband": 0.01,
                "stop": "zero"}
    joint = {"unit": "rad", "bounds": [-2.0, 2.0], "limits": [-1.9, 1.9], "rate": 2.0, "stop": "hold"}
    channels: dict[str, Any] = {
        "linear.x": {"unit": "m/s", **velocity}, "angular.z": {"unit": "rad/s", **velocity},
        "gripper": {"unit": "1", "bounds": [0.0, 1.0], "limits": [0.0, 1.0], "rate": 2.0, "stop": "keep",
                    "joint": "finger_joint"},
        **{name: {**joint, "joint": name} for name in JOINTS}}
    outputs = [
        {"topic": COMMANDS, "type": "geometry_msgs/msg/Twist", "channels": ["linear.x", "angular.z"]},
        {"topic": "/gripper_controller/commands", "type": "std_msgs/msg/Float64MultiArray", "channels": ["gripper"]},
        {"topic": "/arm_controller/joint_trajectory", "type": "trajectory_msgs/msg/JointTrajectory",
         "channels": list(JOINTS)}]
    return {"name": "bench", "channels": channels, "outputs": outputs}


ROBOT = parse_robot(robot_file())
CHANNELS = tuple(channel.name for channel in ROBOT.channels)


def chunk(sequence: int, stamp: int, generation: int, period: float) -> ActionChunk:
    """The policy's `sequence`-th action, one every `period` s. angular.z is over its limit a third of the time;
    the joints' steps from row to row take more than one tick at the allowed rate."""
    time = sequence * period + np.arange(ROWS) * STEP / 1e9
    values = np.empty((ROWS, len(CHANNELS)), np.float32)
    values[:, 0] = FULL + MARK * (1 + sequence % MARKS)
    values[:, 1] = 0.6 * np.sin(math.pi * time)
    for column in range(2, len(CHANNELS)):
        values[:, column] = 0.5 + 0.4 * np.sin(math.pi * time + column)
    return ActionChunk(stamp, generation, CHANNELS, values, STEP, sequence, "wave")
