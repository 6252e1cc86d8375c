"""What an operator does: words, the stop, arm, disarm, reset. The wheels have no `ros2` command; this is it."""
from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from vla_ros_msgs.msg import Command, SafetyReport

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
STATES = {SafetyReport.DISARMED: "DISARMED", SafetyReport.HOLDING: "HOLDING",
          SafetyReport.ACTIVE: "ACTIVE", SafetyReport.STOPPED: "STOPPED"}
VERDICTS = {SafetyReport.PASSED: "PASSED", SafetyReport.LIMITED: "LIMITED",
            SafetyReport.HELD: "HELD", SafetyReport.STOPPED: "STOPPED"}


@contextmanager
def spinning(name: str) -> Iterator[Node]:
    """A node whose callbacks run in a thread. Signals stay with the caller, who has things to end."""
    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node(name, context=context, start_parameter_services=False)
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
    """Whether `condition` came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


class Operator:
    """An operator's hands. `namespace` is where the suite's nodes are."""

    def __init__(self, node: Node, namespace: str = "/vla") -> None:
        self._node = node
        self._namespace = namespace.rstrip("/")
        self._words = node.create_publisher(String, f"{self._namespace}/instruction", 10)
        self._stop = node.create_publisher(Bool, f"{self._namespace}/stop", 10)
        self._services = {name: node.create_client(Trigger, f"{self._namespace}/safety_validator/{name}")
                          for name in ("arm", "disarm", "reset")}

    def heard(self) -> bool:
        """Whether somebody listens to words."""
        return bool(self._words.get_subscription_count())

    def stop_heard(self) -> bool:
        """Whether somebody listens to the stop."""
        return bool(self._stop.get_subscription_count())

    def say(self, text: str) -> None:
        self._words.publish(String(data=text))

    def press_stop(self, pressed: bool) -> None:
        self._stop.publish(Bool(data=pressed))

    def call(self, name: str, seconds: float,
             wait: Callable[[Callable[[], bool], float], bool] = wait_for) -> tuple[bool, str]:
        """Call arm, disarm or reset: success and the gate's sentence."""
        client = self._services[name]
        if not wait(client.service_is_ready, seconds):
            return False, (f"no gate answers at {client.srv_name} within {seconds:g} s; "
                           "does the suite run in this domain?")
        future = client.call_async(Trigger.Request())
        if not wait(future.done, seconds):
            client.remove_pending_request(future)
            return False, f"the gate gave no answer to '{name}' within {seconds:g} s"
        answer = future.result()
        return bool(answer.success), str(answer.message)


def say(arguments: argparse.Namespace) -> int:
    """`vla say`: publish once, print what comes back; 0 when the words became a command."""
    text = " ".join(arguments.words)
    commands: list[Command] = []
    feedback: list[str] = []
    reports: list[SafetyReport] = []
    with spinning("vla_say") as node:
        operator = Operator(node, arguments.namespace)
        base = arguments.namespace.rstrip("/")
        node.create_subscription(Command, f"{base}/command", commands.append, LATCHED)
        node.create_subscription(String, f"{base}/feedback", lambda message: feedback.append(message.data), 10)
        node.create_subscription(SafetyReport, f"{base}/safety_report", reports.append, 1)
        if not wait_for(operator.heard, arguments.wait):
            print(f"nobody listens to {base}/instruction; does the suite run in this domain, and is it active?")
            return 1
        wait_for(lambda: bool(commands), 0.5)  # the latched one, so that it is not taken for an answer
        wait_for(lambda: bool(reports), 0.3)
        before = commands[-1].generation if commands else 0
        feedback.clear()
        operator.say(text)
        accepted = wait_for(lambda: bool(commands) and commands[-1].generation > before, 2.0)
        wait_for(lambda: bool(feedback), 0.3 if accepted else 1.0)
        for line in feedback:
            print(line)
        if not accepted:
            print(f"'{text}' did not become a command" + ("" if feedback else "; nobody said why"))
            return 1
        command = commands[-1]
        print(f"accepted: '{command.text}'" if command.text else "accepted: no instruction, the robot holds")
        if command.text and reports and reports[-1].state in (SafetyReport.DISARMED, SafetyReport.STOPPED):
            state = STATES[reports[-1].state]
            first = "`vla reset`, then " if state == "STOPPED" else ""
            print(f"the gate is {state} ({reports[-1].reason}): {first}`vla arm`, then say it again")
        return 0


def stop(arguments: argparse.Namespace) -> int:
    """`vla stop`: press the stop, or let go of it."""
    with spinning("vla_stop") as node:
        operator, base = Operator(node, arguments.namespace), arguments.namespace.rstrip("/")
        reports: list[SafetyReport] = []
        node.create_subscription(SafetyReport, f"{base}/safety_report", reports.append, 1)
        if not wait_for(operator.stop_heard, arguments.wait):
            print(f"nobody listens to {base}/stop; does the suite run in this domain?")
            return 1
        operator.press_stop(not arguments.release)
        if arguments.release:
            time.sleep(0.2)  # a publisher that leaves at once takes its message along
            print("the stop is released; `vla reset` and `vla arm` let the robot move again")
            return 0
        if not wait_for(lambda: bool(reports) and reports[-1].state == SafetyReport.STOPPED, 2.0):
            print("the stop was sent, but the gate did not confirm it within 2 s")
            return 1
        print(f"stopped: {reports[-1].reason}")
        return 0


def _service(arguments: argparse.Namespace, name: str) -> int:
    with spinning(f"vla_{name}") as node:
        success, sentence = Operator(node, arguments.namespace).call(name, arguments.wait)
    print(sentence)
    return 0 if success else 1


def arm(arguments: argparse.Namespace) -> int:
    """`vla arm`"""
    return _service(arguments, "arm")


def disarm(arguments: argparse.Namespace) -> int:
    """`vla disarm`"""
    return _service(arguments, "disarm")


def reset(arguments: argparse.Namespace) -> int:
    """`vla reset`"""
    return _service(arguments, "reset")
