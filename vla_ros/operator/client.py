"""What an operator does: words, the stop, arm, disarm, reset.

ROS 2's wheels have no `ros2` command; the verbs that use this take its place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rclpy
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from vla_ros_msgs.msg import SafetyReport

# Who comes later still hears the last message: the instruction that is on.
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# What a short-lived publisher says before the other side knows it is lost, so it is said again.
PRESS_AGAIN_S = 0.05
SAY_AGAIN_S = 1.0  # seldom: what arrives twice is an instruction twice
STATES = {
    SafetyReport.DISARMED: "DISARMED",
    SafetyReport.HOLDING: "HOLDING",
    SafetyReport.ACTIVE: "ACTIVE",
    SafetyReport.STOPPED: "STOPPED",
}
VERDICTS = {
    SafetyReport.PASSED: "PASSED",
    SafetyReport.LIMITED: "LIMITED",
    SafetyReport.HELD: "HELD",
    SafetyReport.STOPPED: "STOPPED",
}


@contextmanager
def spinning(name: str, namespace: str = "") -> Iterator[Node]:
    """A node whose callbacks run in a thread.

    Signals stay with the caller, who has things to end.
    """
    # A context of its own: a script that uses this may have initialised rclpy for itself.
    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node(name, context=context, namespace=namespace or None, start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def spin() -> None:
        try:
            executor.spin()
        except Exception:
            if context.ok():  # otherwise the way out below overtook a callback
                raise

    thread = threading.Thread(target=spin, name="spin", daemon=True)
    thread.start()
    try:
        yield node
    finally:
        context.try_shutdown()
        thread.join(timeout=2.0)
        node.destroy_node()


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition` came true within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)  # a person does not notice, and the other thread can spin
    return True


def repeat_until(
    condition: Callable[[], bool], action: Callable[[], None], period: float, seconds: float
) -> bool:
    """Does `action` every `period` s until `condition` is true; False: it was not in `seconds`."""
    end = time.monotonic() + seconds
    while True:
        action()
        if wait_for(condition, min(period, end - time.monotonic())):
            return True
        if time.monotonic() >= end:
            return False


class Operator:
    """An operator's hands; `namespace` is where the suite's nodes are."""

    def __init__(self, node: Node, namespace: str = "/vla") -> None:
        self._node = node
        self._namespace = namespace.rstrip("/")
        self._words = node.create_publisher(String, f"{self._namespace}/instruction", 10)
        self._stop = node.create_publisher(Bool, f"{self._namespace}/stop", 10)
        self._services = {}
        for name in ("arm", "disarm", "reset"):
            service = f"{self._namespace}/safety_validator/{name}"
            self._services[name] = node.create_client(Trigger, service)

    def heard(self) -> bool:
        """Whether somebody listens to words."""
        return bool(self._words.get_subscription_count())

    def stop_heard(self) -> bool:
        """Whether somebody listens to the stop."""
        return bool(self._stop.get_subscription_count())

    def say(self, text: str) -> None:
        """Give an instruction, as typed; command_ingest accepts it or says why not."""
        self._words.publish(String(data=text))

    def press_stop(self, pressed: bool) -> None:
        """Press the stop, or let it go; the gate latches it until `reset`."""
        self._stop.publish(Bool(data=pressed))

    def call(
        self,
        name: str,
        seconds: float,
        wait: Callable[[Callable[[], bool], float], bool] = wait_for,
    ) -> tuple[bool, str]:
        """Call arm, disarm or reset.

        Args:
            name: Which of the three.
            seconds: How long to wait for the service, and then for its answer.
            wait: Waits; a caller that has more to do meanwhile brings its own.

        Returns:
            Success, and the gate's sentence.
        """
        return call_trigger(self._services[name], "gate", name, seconds, wait)


def call_trigger(
    client: Client,
    of: str,
    name: str,
    seconds: float,
    wait: Callable[[Callable[[], bool], float], bool] = wait_for,
) -> tuple[bool, str]:
    """Call a Trigger service; arguments and result as of `Operator.call`, `of` who serves it."""
    if not wait(client.service_is_ready, seconds):
        return False, (
            f"no {of} answers at {client.srv_name} within {seconds:g} s; "
            "does the suite run in this domain?"
        )
    future = client.call_async(Trigger.Request())
    if not wait(future.done, seconds):
        client.remove_pending_request(future)  # or it would be kept for ever
        return False, f"the {of} gave no answer to '{name}' within {seconds:g} s"
    answer = future.result()
    return bool(answer.success), str(answer.message)


def ask_gate(verb: str, namespace: str, seconds: float) -> int:
    """Call arm, disarm or reset, and print the gate's sentence; 0: done, 1: refused."""
    with spinning(f"vla_{verb}") as node:
        success, sentence = Operator(node, namespace).call(verb, seconds)
    print(sentence)
    return 0 if success else 1
