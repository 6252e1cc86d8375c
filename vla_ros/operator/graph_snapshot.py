"""Takes a snapshot of the ROS graph around a robot: it looks and listens, and publishes nothing."""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String

from vla_ros.nodes.common.qos import JOINTS, LATCHED
from vla_ros.nodes.gate.outputs import ONLOOKERS, full_name
from vla_ros.operator.client import wait_for
from vla_ros.operator.robot_draft import DRAFT_OUTPUTS
from vla_ros.operator.robot_graph import (
    GraphEndpoint,
    GraphSnapshot,
    GraphTopic,
    HeardTopic,
    full_topic,
)

# The graph is taken as whole when nobody new was seen for so long.
SETTLED_S = 1.0
ANSWER_TIMEOUT_S = 1.0
# Large messages, of which the last is enough.
LARGE = ("Image", "CompressedImage", "PointCloud2", "LaserScan")
MOST_KEPT = 200
# Each arrival counts, and a queue of images is memory.
FRAMES = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
UNSTAMPED = ("Float64MultiArray",)
DESCRIPTION = "/robot_description"


class _Listener:
    """Hears a topic as bytes: only what is kept becomes a message, when all is over."""

    def __init__(self, node: Node, topic: str, kind: str, sim_time: deque[int]) -> None:
        package, _, name = kind.split("/")
        self._kind = getattr(import_module(f"{package}.msg"), name)
        self._stamped = name not in UNSTAMPED
        self._sim_time = sim_time
        self._arrivals: list[float] = []
        self._ages: list[float] = []
        self._sim_ages: list[float] = []
        self._unstamped = 0
        large = name in LARGE
        # A second of joint states from several publishers, and an image, not a second of images.
        self._kept: deque[bytes] = deque(maxlen=1 if large else MOST_KEPT)
        self._subscription = node.create_subscription(
            self._kind, topic, self._on_message, FRAMES if large else JOINTS, raw=True
        )

    def _on_message(self, message: bytes) -> None:
        self._arrivals.append(time.monotonic())
        self._kept.append(message)
        if self._stamped:
            self._look_at_stamp(message, time.time_ns())

    def _look_at_stamp(self, message: bytes, now: int) -> None:
        """A header stands first in its message: after four bytes of which the second is the order
        of the others."""
        if len(message) < 12:  # no message of ours to judge
            return
        order = "<" if message[1] & 1 else ">"
        seconds, nanoseconds = struct.unpack_from(f"{order}iI", message, 4)
        stamp = seconds * 10**9 + nanoseconds
        if stamp == 0:
            self._unstamped += 1
            return
        self._ages.append((now - stamp) / 1e9)
        if self._sim_time:
            self._sim_ages.append((self._sim_time[-1] - stamp) / 1e9)

    def result(self, node: Node) -> HeardTopic:
        node.destroy_subscription(self._subscription)
        gaps = np.diff(self._arrivals)
        rate = 0.0
        if len(gaps):
            rate = float(len(gaps) / max(gaps.sum(), 1e-9))
        messages = [deserialize_message(message, self._kind) for message in self._kept]
        return HeardTopic(
            count=len(self._arrivals),
            rate=rate,
            longest_gap=float(gaps.max()) if len(gaps) else 0.0,
            age=float(np.median(self._ages)) if self._ages else None,
            sim_age=float(np.median(self._sim_ages)) if self._sim_ages else None,
            unstamped=self._unstamped,
            messages=tuple(messages),
        )


def take_snapshot(
    node: Node, types: Iterable[str], seconds: float, wait: float, wanted: Mapping[str, str] = {}
) -> GraphSnapshot:
    """Looks at the graph until it is settled, then listens.

    Args:
        node: spun by somebody else.
        types: of the topics that are listened to, where somebody publishes them.
        seconds: how long to listen.
        wait: how long to look for the topics at most, s.
        wanted: topic -> type, of those that are waited for, and alone listened to; none: any of
            `types`.
    """
    known = set(types)
    topics = {full_topic(topic): kind for topic, kind in wanted.items()}
    if not _settle(node, known | DRAFT_OUTPUTS, set(topics), wait):
        return GraphSnapshot(0.0)
    sim_time: deque[int] = deque(maxlen=1)
    texts: deque[str] = deque(maxlen=1)
    clock_qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    helpers = [
        node.create_subscription(
            Clock,
            "/clock",
            lambda message: sim_time.append(message.clock.sec * 10**9 + message.clock.nanosec),
            clock_qos,
        ),
        node.create_subscription(
            String, DESCRIPTION, lambda message: texts.append(message.data), LATCHED
        ),
    ]
    listeners: dict[str, _Listener] = {}
    for topic, kinds in node.get_topic_names_and_types():
        kind = topics.get(topic, kinds[0])
        mine = topic in topics or not topics
        if mine and kind in known and kind in kinds and node.count_publishers(topic):
            listeners[topic] = _Listener(node, topic, kind, sim_time)
    time.sleep(seconds)  # the callbacks run in the thread of who spins the node
    heard = {topic: listener.result(node) for topic, listener in listeners.items()}
    for subscription in helpers:
        node.destroy_subscription(subscription)
    # Only now: whoever came while it was listened is seen as well.
    graph = _topics(node, heard)
    services: dict[str, str] = {}
    for name, kinds in node.get_service_names_and_types():
        services[name] = kinds[0]
    return GraphSnapshot(
        seconds, graph, services, _controller_joints(node, graph), texts[0] if texts else ""
    )


def _settle(node: Node, types: set[str], wanted: set[str], wait: float) -> bool:
    """Until all that is wanted was seen and nobody new came for a while, or `wait` is over.

    Returns:
        Whether anything was seen.
    """
    seen: set[str] = set()
    since = time.monotonic()

    def settled() -> bool:
        nonlocal since
        now: set[str] = set()
        for topic, kinds in node.get_topic_names_and_types():
            if types.intersection(kinds):
                now.add(topic)
        if now - seen:
            seen.update(now)
            since = time.monotonic()
        whole = wanted <= seen if wanted else bool(seen)
        return whole and time.monotonic() > since + SETTLED_S

    wait_for(settled, wait)
    return bool(seen)


def _topics(node: Node, heard: Mapping[str, HeardTopic]) -> dict[str, GraphTopic]:
    topics: dict[str, GraphTopic] = {}
    own = full_name(node.get_namespace(), node.get_name())
    for topic, _ in node.get_topic_names_and_types():
        topics[topic] = GraphTopic(
            _endpoints(node.get_publishers_info_by_topic(topic), own),
            _endpoints(node.get_subscriptions_info_by_topic(topic), own),
            heard.get(topic),
        )
    return topics


def _endpoints(infos: Iterable[TopicEndpointInfo], own: str) -> tuple[GraphEndpoint, ...]:
    endpoints: list[GraphEndpoint] = []
    for info in infos:
        # Who looks on neither gives nor takes: rviz, a bag, this node.
        name = full_name(info.node_namespace, info.node_name)
        if name == own or info.node_name.startswith(ONLOOKERS):
            continue
        qos = info.qos_profile
        endpoints.append(
            GraphEndpoint(
                name,
                info.topic_type,
                qos.reliability == ReliabilityPolicy.RELIABLE,
                qos.durability == DurabilityPolicy.TRANSIENT_LOCAL,
            )
        )
    return tuple(endpoints)


def _controller_joints(node: Node, graph: Mapping[str, GraphTopic]) -> dict[str, tuple[str, ...]]:
    """What ros2_control's controllers say of their joints; a node that does not answer is left
    out."""
    asked: dict[str, Any] = {}
    names: set[str] = set()
    for topic in graph.values():
        for subscriber in topic.subscribers:
            if subscriber.type in (
                "std_msgs/msg/Float64MultiArray",
                "trajectory_msgs/msg/JointTrajectory",
            ):
                names.add(subscriber.node)
    clients = []
    for name in sorted(names):
        client = node.create_client(GetParameters, f"{name}/get_parameters")
        clients.append(client)
        # What was just made has not found its other side yet.
        if wait_for(client.service_is_ready, ANSWER_TIMEOUT_S / 2):
            asked[name] = client.call_async(GetParameters.Request(names=["joints"]))
    wait_for(lambda: all(future.done() for future in asked.values()), ANSWER_TIMEOUT_S)
    joints: dict[str, tuple[str, ...]] = {}
    for name, future in asked.items():
        answer: Any = future.result() if future.done() else None
        if answer and answer.values and answer.values[0].string_array_value:
            joints[name] = tuple(answer.values[0].string_array_value)
    for client in clients:
        node.destroy_client(client)
    return joints
