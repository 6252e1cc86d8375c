"""The node `markers`: shows what the gate sees and what the policy plans, to RViz and Foxglove.

A process of its own, that nothing waits for: the gate's does not draw.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import JointState, LaserScan, PointCloud2, Range
from visualization_msgs.msg import MarkerArray

from vla_ros.core.robot import Robot, load_robot
from vla_ros.core.robot_channels import Channel
from vla_ros.core.robot_obstacles import Sensor
from vla_ros.core.types import ActionChunk
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import LATEST, STATE
from vla_ros.nodes.marker_messages import RobotMarkers
from vla_ros.operator.asked_parameters import ask_texts
from vla_ros.operator.client import spinning
from vla_ros.operator.session import Interrupt
from vla_ros_msgs.msg import ActionChunk as ActionChunkMessage

NODE = "markers"
SENSORS = {
    "sensor_msgs/msg/LaserScan": LaserScan,
    "sensor_msgs/msg/Range": Range,
    "sensor_msgs/msg/PointCloud2": PointCloud2,
}
STALE_NS = 1_000_000_000  # of a reading or a plan: what is older is not shown


def show(namespace: str, robot_file: str, rate: float, interrupt: Interrupt) -> int:
    """Publish markers until Ctrl-C.

    Args:
        namespace: where the suite's nodes are.
        robot_file: a path; empty: the gate is asked.
        rate: times a second.
        interrupt: ends it.

    Raises:
        ValueError: nobody says which robot it is, or its file is wrong.
    """
    base = namespace.rstrip("/")
    with spinning(NODE, base or "/") as node:
        if not robot_file:
            gate = ask_texts(node, f"{base}/safety_validator", ["robot_file"])
            robot_file = gate.get("robot_file", "")
        if not robot_file:
            raise ValueError(
                f"no gate in {base or '/'} says which robot this is; give --robot-file, or start "
                "the suite"
            )
        MarkersNode(node, load_robot(robot_file), rate)
        print(f"markers of {robot_file} on {base}/markers, {rate:g} times a second", flush=True)
        while True:
            try:
                interrupt.check()
            except KeyboardInterrupt:
                return 0
            time.sleep(0.05)


class MarkersNode:
    """Keeps the newest of everything, and publishes all of it as markers.

    Subscribed topics:
        action_chunk (vla_ros_msgs/ActionChunk): what is planned.
        the robot file's range sensors and joint states.

    Published topics:
        markers (visualization_msgs/MarkerArray): in the robot's base frame.
    """

    def __init__(self, node: Node, robot: Robot, rate: float) -> None:
        self._node = node
        self._markers = RobotMarkers(robot)
        self._readings: dict[str, tuple[Any, int]] = {}  # topic -> its Reading, steady ns
        self._standing: dict[str, float] = {}  # channel -> where it is
        self._plan: tuple[ActionChunk, int] | None = None
        node.create_subscription(ActionChunkMessage, "action_chunk", self._on_chunk, LATEST)
        for sensor in robot.sensors:
            node.create_subscription(
                SENSORS[sensor.type], sensor.topic, partial(self._on_ranges, sensor), STATE
            )
        for topic, channels in robot.joint_topics.items():
            node.create_subscription(JointState, topic, partial(self._on_joints, channels), STATE)
        self._publisher = node.create_publisher(MarkerArray, "markers", LATEST)
        node.create_timer(1.0 / rate, self._publish)

    def _on_chunk(self, message: ActionChunkMessage) -> None:
        self._plan = convert.chunk(message), time.monotonic_ns()

    def _on_ranges(self, sensor: Sensor, message: Any) -> None:
        reading = convert.READINGS[sensor.type](sensor, message)
        self._readings[sensor.topic] = reading, time.monotonic_ns()

    def _on_joints(self, channels: tuple[Channel, ...], message: JointState) -> None:
        places = dict(zip(message.name, message.position))
        for channel in channels:
            if channel.joint in places:
                self._standing[channel.name] = channel.measured(places[channel.joint])

    def _publish(self) -> None:
        now = time.monotonic_ns()
        readings: dict[str, Any] = {}
        for topic, (reading, heard) in self._readings.items():
            if now - heard <= STALE_NS:
                readings[topic] = reading
        plan = self._plan[0] if self._plan and now - self._plan[1] <= STALE_NS else None
        stamp = self._node.get_clock().now().nanoseconds
        self._publisher.publish(self._markers.array(stamp, readings, plan, self._standing))
