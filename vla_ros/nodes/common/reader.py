"""A topic that is read when it is needed, instead of waking the executor with each message.

A robot's state comes at 50 Hz and more; every wake-up of an rclpy executor costs more than the
message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message


class Unattended(CallbackGroup):
    """Nothing in it is ever ready: the executor leaves its entities alone."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None: ...


class Reader:
    """A topic whose messages lie until `take` asks for them, as many as `qos` keeps.

    Args:
        raw: as bytes, for a topic of which only the arrival matters.
        most_bytes: a larger message is left out, and counted in `oversized`, before it is made into
            a message: ten megabytes of text take as long as ten ticks of the gate. 0: any size.
        read: makes a message of its bytes; None: rclpy does.
    """

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        qos: QoSProfile,
        raw: bool = False,
        most_bytes: int = 0,
        read: Callable[[bytes], Any] | None = None,
    ) -> None:
        self._kind = kind
        self._raw = raw
        self._read = read or partial(deserialize_message, message_type=kind)
        self._bytes = raw or bool(most_bytes) or read is not None
        self._most = qos.depth
        self._most_bytes = most_bytes
        self.topic = topic
        self.oversized = 0
        self.subscription = node.create_subscription(
            kind, topic, lambda message: None, qos, callback_group=Unattended(), raw=raw
        )

    def take(self) -> Iterator[Any]:
        """All that came since the last time, oldest first.

        Each is made into a message when it is asked for: who has no time leaves the rest.
        """
        for message, _ in self.take_with_info():
            yield message

    def take_with_info(self) -> Iterator[tuple[Any, dict[str, int]]]:
        """As `take`, each with what DDS says of it: its `source_timestamp`, ns."""
        for _ in range(self._most):  # they may come faster than they are taken
            with self.subscription.handle:
                found = self.subscription.handle.take_message(self._kind, self._bytes)
            if found is None:
                return
            if self._most_bytes and len(found[0]) > self._most_bytes:
                self.oversized += 1
            elif self._bytes and not self._raw:
                yield self._read(found[0]), found[1]
            else:
                yield found

    def discard(self) -> None:
        """What came while nobody looked."""
        for _ in self.take():
            pass
