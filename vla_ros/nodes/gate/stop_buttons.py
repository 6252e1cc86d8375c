"""What is said on `stop`: heard in every state of the node, reliable or not."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Bool

from vla_ros.nodes.common.qos import BUTTON, BUTTON_LOOSE
from vla_ros.nodes.common.with_times import with_times

Presses = list[tuple[int, bool]]  # when a message was received, ns; whether the button is pressed


class StopButtons:
    """The topic `stop`, read by the executor and, in case that is busy, by the gate's own thread.

    Attributes:
        pressed: what the message says that was received last.
    """

    def __init__(self, node: LifecycleNode, on_presses: Callable[[Presses], None]) -> None:
        self.pressed = False
        self._received = 0  # when that message was received, ns
        self._on_presses = on_presses
        # The executor and the gate's thread both take messages, and the newest counts.
        callback = with_times(lambda message, sent, received: self.on_message(message, received))
        self._subscriptions = [
            node.create_subscription(Bool, "stop", callback, qos) for qos in (BUTTON, BUTTON_LOOSE)
        ]

    def on_message(self, message: Bool, received: int) -> None:
        self._on_presses([(received, message.data), *self.take()])

    def take(self) -> Presses:
        """All that waits, at once: a flood of releases must not push a press out of the queue."""
        presses = []
        for button in self._subscriptions:
            for _ in range(BUTTON.depth):
                with button.handle:
                    taken = button.handle.take_message(Bool, False)
                if taken is None:
                    break
                message, info = taken
                presses.append((info.get("received_timestamp") or time.time_ns(), message.data))
        return presses

    def note(self, presses: Presses) -> bool:
        """Keeps the newest; whether any is a press, though it may be released again."""
        for received, pressed in presses:
            if received >= self._received:
                self._received = received
                self.pressed = pressed
        return any(pressed for _, pressed in presses)
