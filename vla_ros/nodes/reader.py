"""A topic that is read when it is needed, instead of waking the executor with each message.

A robot's state comes at 50 Hz and more; every wake-up of an rclpy executor costs more than the message.
"""
from __future__ import annotations

from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile


class Unattended(CallbackGroup):
    """Nothing in it is ever ready: the executor leaves its entities alone."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None: ...


class Reader:
    """`take` gives all messages that have come since the last time, oldest first, as many as `qos` keeps.

    `raw`: as bytes, for a topic of which only the arrival matters.
    """

    def __init__(self, node: Node, kind: type, topic: str, qos: QoSProfile, raw: bool = False) -> None:
        self._kind, self._raw, self._most = kind, raw, qos.depth
        self.subscription = node.create_subscription(
            kind, topic, lambda message: None, qos, callback_group=Unattended(), raw=raw)

    def take(self) -> list[Any]:
        taken = []
        with self.subscription.handle:
            for _ in range(self._most):  # they may come faster than they are taken
                found = self.subscription.handle.take_message(self._kind, self._raw)
                if found is None:
                    break
                taken.append(found[0])
        return taken
