"""One process, one ROS domain: a node under test, and a node that plays everything around it."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="the node tests need ROS 2 (rclpy)")
pytest.importorskip("vla_ros_msgs", reason="the node tests need the messages: colcon build, then source install/setup.bash")

from entities import subscriptions_of
from rclpy.exceptions import InvalidHandle
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.task import Future
from robots import robot_file
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_ros.nodes.camera_ingest import CameraIngest
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.qos import EVENTS
from vla_ros.nodes.synchronizer import Synchronizer


class Around:
    """Publishes to the node under test and keeps what it says; spins both in one thread."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.node = rclpy.create_node("around")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.under_test: list[ManagedNode] = []
        self.at_end: list[Callable[[], Any]] = []
        self._thread: threading.Thread | None = None
        self._ended = Future()  # a shutdown in another thread would take away what rclpy's spin waits on
        self.feedback = self.hear(String, "feedback", EVENTS)

    def make(self, node_class: Callable[..., ManagedNode], **parameters: Any) -> ManagedNode:
        if issubclass(getattr(node_class, "func", node_class), (CameraIngest, Synchronizer)):  # a class, or a partial of one
            parameters.setdefault("robot_file", robot_file())  # with a camera on `image`
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        node = node_class(parameter_overrides=overrides)
        self.under_test.append(node)
        self.executor.add_node(node)
        return node

    def start(self, node_class: type[ManagedNode], **parameters: Any) -> ManagedNode:
        """Configured and active, and connected."""
        node = self.make(node_class, **parameters)
        node.trigger_configure()
        assert node.state == "inactive", node.problem
        node.trigger_activate()
        self.spin()
        end = time.monotonic() + 0.3
        while not self.connected(node) and time.monotonic() < end:
            time.sleep(0.005)
        return node

    def connected(self, node: ManagedNode) -> bool:
        """Whether each hears what the other says."""
        for speaker, hearer in ((self.node, node), (node, self.node)):
            heard = {subscription.topic_name for subscription in subscriptions_of(hearer)}
            if any(each.topic_name in heard and not each.get_subscription_count() for each in speaker.publishers):
                return False
        return True

    def spin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._spin, daemon=True)
            self._thread.start()

    def _spin(self) -> None:
        while True:
            try:
                return self.executor.spin_until_future_complete(self._ended)
            except InvalidHandle:  # a test destroyed an entity while rclpy was gathering them
                continue
            except Exception as error:
                if rclpy.ok():
                    raise error
                return None

    def hear(self, kind: type, topic: str, qos: QoSProfile) -> list[Any]:
        heard: list[Any] = []
        self.node.create_subscription(kind, topic, heard.append, qos)
        return heard

    def speaker(self, kind: type, topic: str, qos: QoSProfile) -> Any:
        return self.node.create_publisher(kind, topic, qos)

    def call(self, service: str) -> Any:
        """What a std_srvs/Trigger answers."""
        client = self.node.create_client(Trigger, service)
        assert client.wait_for_service(5.0)
        future = client.call_async(Trigger.Request())
        self.wait(future.done)
        return future.result()

    def said(self, part: str) -> bool:
        return any(part in message.data for message in self.feedback)

    def late(self, since: float) -> float:
        """How late the machine itself was from `since` (steady s) until now: what a bound on a time allows for."""
        return self.machine.late(since)

    def wait(self, condition: Callable[[], Any], seconds: float = 5.0) -> Any:
        """What `condition` gives as soon as it is true; fails after `seconds` that the machine gave."""
        began = time.monotonic()
        while not (value := condition()):
            if time.monotonic() > began + seconds and time.monotonic() > began + seconds + self.machine.lost(began):
                raise AssertionError(f"not within {seconds} s: {condition}")
            time.sleep(0.005)
        return value

    def close(self) -> None:
        for node in self.under_test:
            node.leave()
        self._ended.set_result(None)
        if self._thread:
            self._thread.join(timeout=1.0)
        self.executor.shutdown(timeout_sec=1.0)
        for end in self.at_end:
            end()
        for node in [*self.under_test, self.node]:
            node.destroy_node()


@pytest.fixture
def around(machine: Any) -> Iterator[Around]:
    rclpy.init()
    world = Around(machine)
    yield world
    world.close()
    rclpy.try_shutdown()
