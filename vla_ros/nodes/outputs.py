"""The topics that reach the robot. Only safety_validator makes one of these."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped
from rclpy.duration import Duration
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_ros.core.robot import Output, Robot
from vla_ros.nodes.base import ManagedNode
from vla_ros.nodes.convert import duration_message, time_message
from vla_ros.nodes.qos import LATEST

TYPES = {
    "geometry_msgs/msg/Twist": Twist,
    "geometry_msgs/msg/TwistStamped": TwistStamped,
    "std_msgs/msg/Float64MultiArray": Float64MultiArray,
    "trajectory_msgs/msg/JointTrajectory": JointTrajectory,
}


class Outputs:
    """`send` puts an action on the wire. An output some of whose positions are not commanded stays silent."""

    def __init__(self, node: ManagedNode, robot: Robot, period: int) -> None:
        self._robot = robot
        self._period = period
        self._channels = {channel.name: channel for channel in robot.channels}
        self._publishers = [(output, node.speak(TYPES[output.type], output.topic, LATEST))
                            for output in robot.outputs]

    def send(self, action: Mapping[str, float], now: int) -> None:
        for output, publisher in self._publishers:
            if all(name in action for name in output.channels):
                values = {name: action[name] * self._channels[name].scale for name in output.channels}
                publisher.publish(self._message(output, values, now))

    def stop(self, now: int) -> None:
        """Zero for everything that stops at zero; needs nothing else to work."""
        self.send({channel.name: 0.0 for channel in self._robot.channels if channel.stop == "zero"}, now)

    def settle(self, seconds: float) -> None:
        """Waits until the robot has what was sent, at most so long: what is on its way dies with the process."""
        for _, publisher in self._publishers:
            publisher.wait_for_all_acked(Duration(seconds=seconds / len(self._publishers)))

    def _message(self, output: Output, values: Mapping[str, float], now: int) -> Any:
        if output.type == "std_msgs/msg/Float64MultiArray":
            return Float64MultiArray(data=list(values.values()))
        if output.type == "trajectory_msgs/msg/JointTrajectory":
            joints = [self._channels[name].joint or name for name in output.channels]
            point = JointTrajectoryPoint(positions=list(values.values()),
                                         time_from_start=duration_message(2 * self._period))
            return JointTrajectory(joint_names=joints, points=[point])  # stamp zero: start now
        message = TwistStamped() if output.type.endswith("TwistStamped") else Twist()
        twist = message
        if isinstance(message, TwistStamped):
            message.header.stamp = time_message(now)
            message.header.frame_id = self._robot.base_frame
            twist = message.twist
        for name, value in values.items():
            part, axis = name.split(".")
            setattr(getattr(twist, part), axis, value)
        return message
