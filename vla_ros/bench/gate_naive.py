"""The plain gate, as most projects have it: what ours is compared with.

One rclpy node, default QoS, rclpy.spin. The action's callback clamps with np.clip and publishes at
once; a 50 Hz timer on the same executor sends the last action again, and zero once no action came
for half a second; `stop` sets a flag, and what is published next is zero. It hears the same actions
as ours and speaks on the same three outputs. Nothing here is slow on purpose.

`python -m vla_ros.bench.gate_naive`
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import rclpy
from geometry_msgs.msg import Twist
from numpy.typing import NDArray
from rclpy.node import Node
from std_msgs.msg import Bool, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_ros.bench.common import spin
from vla_ros.bench.gate_robot import JOINTS, ROBOT
from vla_ros_msgs.msg import ActionChunk

DEPTH = 10  # messages: the default QoS
PERIOD_S = 0.02
TIMEOUT_S = 0.5  # of an action
LOW, HIGH = np.array([channel.limits for channel in ROBOT.channels]).T


def clamp(values: Sequence[float], channels: int) -> NDArray[np.float64]:
    """All that it checks: the first row, inside the limits."""
    rows = np.asarray(values, dtype=np.float64).reshape(-1, channels)
    return np.clip(rows[0], LOW, HIGH)


class PlainGate(Node):
    """Clamps and publishes in the action's callback, and again 50 times a second."""

    def __init__(self) -> None:
        super().__init__("plain_gate")
        self._row: NDArray[np.float64] | None = None
        self._stopped = False
        self._heard = 0.0
        twist, gripper, arm = ROBOT.outputs
        self._twist = self.create_publisher(Twist, twist.topic, DEPTH)
        self._gripper = self.create_publisher(Float64MultiArray, gripper.topic, DEPTH)
        self._arm = self.create_publisher(JointTrajectory, arm.topic, DEPTH)
        self.create_subscription(ActionChunk, "action_chunk", self._on_action, DEPTH)
        self.create_subscription(Bool, "stop", self._on_stop, DEPTH)
        self.create_timer(PERIOD_S, self._publish)

    def _on_action(self, message: ActionChunk) -> None:
        self._row = clamp(message.values, len(message.channels))
        self._heard = time.monotonic()
        self._publish()

    def _on_stop(self, message: Bool) -> None:
        self._stopped = message.data

    def _publish(self) -> None:
        twist = Twist()
        if self._row is None or self._stopped or time.monotonic() - self._heard > TIMEOUT_S:
            self._twist.publish(twist)
            return
        twist.linear.x = float(self._row[0])
        twist.angular.z = float(self._row[1])
        self._twist.publish(twist)
        self._gripper.publish(Float64MultiArray(data=[float(self._row[2])]))
        point = JointTrajectoryPoint(positions=self._row[3:].tolist())
        point.time_from_start.nanosec = 40_000_000  # two periods, as ours gives
        self._arm.publish(JointTrajectory(joint_names=list(JOINTS), points=[point]))


def main() -> None:
    rclpy.init()
    spin(PlainGate())


if __name__ == "__main__":
    main()
