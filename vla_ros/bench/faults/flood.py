"""Floods a topic or a service, and counts what went out.

`python -m vla_ros.bench.faults.flood KIND RATE RESULT_FILE`; RATE is per second. Until SIGINT or
SIGTERM; then writes how many went out in how many seconds. "good" kinds repeat what the suite
itself says; "bad" ones make it up, differently each time.
"""

from __future__ import annotations

import itertools
import random
import signal
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from vla_ros.bench.common import write_json
from vla_ros.nodes.common.qos import EVENTS, LATCHED, LATEST
from vla_ros_msgs.msg import ActionChunk, Instruction

KINDS: dict[str, tuple[type, str, QoSProfile]] = {
    "command": (Instruction, "/vla/instruction/accepted", LATCHED),
    "action_chunk": (ActionChunk, "/vla/action_chunk", LATEST),
    "instruction": (String, "/vla/instruction", EVENTS),
    "stop": (Bool, "/vla/stop", EVENTS),
}
# good ones, some beyond all limits, and what is no number
NUMBERS = (
    0.0,
    -0.0,
    0.4,
    -0.4,
    0.9,
    1.1,
    1e30,
    -1e30,
    5e-324,
    float("nan"),
    float("inf"),
    float("-inf"),
)
# nothing, long, control and invisible characters, a quote, half of a surrogate pair
TEXTS = (
    "",
    "spin",
    "spin " * 400,
    "\x00\x1b[2J",
    "\ufeff\u202e",
    "\U0001f916" * 50,
    "'; ros2 param set",
    "go \ud7ff",
)
CHANNELS = ("linear.x", "angular.z", "gripper", "wings", "")


class Pace:
    """Called with how many went out: sleeps where that is more than `rate` (1/s) allows."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._began = time.monotonic()

    def __call__(self, sent: int) -> None:
        early = sent / self._rate - (time.monotonic() - self._began)
        if early > 0.002:
            time.sleep(early)


def bad(kind: str, node: Node, dice: random.Random) -> Any:
    """A message that nobody would send: made of extremes, with a stamp of any time."""
    now = node.get_clock().now().to_msg()
    stamp = dice.choice((now, type(now)(), type(now)(sec=2**31 - 1)))
    number = dice.choice((0, 1, time.time_ns() // 1_000_000, 2**63, 2**64 - 1))
    if kind == "command":
        message = Instruction(instruction_id=number, text=dice.choice(TEXTS))
    elif kind == "action_chunk":
        message = ActionChunk(
            instruction_id=number,
            sequence=number,
            policy="flood",
            channels=dice.choices(CHANNELS, k=dice.randrange(6)),
            values=array("f", dice.choices(NUMBERS, k=dice.randrange(40))),
        )
        message.step.nanosec = dice.choice((0, 100_000_000))
    elif kind == "instruction":
        return String(data=dice.choice(TEXTS))
    else:
        return Bool(data=False)
    message.header.stamp = stamp
    return message


def echo(kind: str, node: Node) -> Callable[[], Any]:
    """What was said last on the topic by the suite itself; before that, nothing."""
    if kind == "stop":
        return lambda: Bool(data=False)
    if kind == "instruction":
        return lambda: String(data="spin")
    heard: list[Any] = [None]

    def listen(message: Any) -> None:
        heard[0] = message

    type_, topic, qos = KINDS[kind]
    node.create_subscription(type_, topic, listen, qos)
    return lambda: heard[0]


def publish(node: Node, quality: str, kind: str, running: Callable[[], bool], pace: Pace) -> int:
    """Messages of a kind, while `running`; how many.

    Args:
        node: that publishes.
        quality: "good" or "bad".
        kind: of KINDS.
        running: whether to go on.
        pace: is told how many went out.
    """
    type_, topic, qos = KINDS[kind]
    publisher = node.create_publisher(type_, topic, qos)
    dice = random.Random(kind)
    repeat = echo(kind, node) if quality == "good" else None
    sent = 0
    for turn in itertools.count():
        if not running():
            return sent
        if repeat and turn % 20 == 0:  # now and then: the flood is what matters
            rclpy.spin_once(node, timeout_sec=0.0)
        message = repeat() if repeat else bad(kind, node, dice)
        if message is None:
            time.sleep(0.001)
            continue
        publisher.publish(message)
        sent += 1
        pace(sent)
    return sent


def call(node: Node, verbs: tuple[str, ...], running: Callable[[], bool], pace: Pace) -> int:
    """Calls of the gate's services, in turn, while `running`; how many."""
    clients = [node.create_client(Trigger, f"/vla/safety_validator/{verb}") for verb in verbs]
    sent = 0
    while running():
        for client in clients:
            future = client.call_async(Trigger.Request())
            client.remove_pending_request(future)  # nobody waits for the answer
            sent += 1
            pace(sent)
    return sent


def main() -> None:
    kind = sys.argv[1]
    rate = float(sys.argv[2])
    result = Path(sys.argv[3])
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: signals.append(received))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(f"flood_{kind.replace(' ', '_')}")
    began = time.monotonic()
    result.with_suffix(".began").touch()
    if kind == "services":
        sent = call(node, ("arm", "reset"), lambda: not signals, Pace(rate))
    else:
        quality, topic = kind.split(" ")
        sent = publish(node, quality, topic, lambda: not signals, Pace(rate))
    write_json(result, {"sent": sent, "seconds": time.monotonic() - began})
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
