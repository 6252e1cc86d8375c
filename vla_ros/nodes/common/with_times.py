"""When a message was sent and received, on each release of rclpy and each of its executors."""

from __future__ import annotations

import time
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

from rclpy.subscription import Subscription

Callback = Callable[[Any, int, int], None]


class _WithTimes:
    """A callback that wants the times as well: its signature is what rclpy goes by.

    The events executor of rclpy 7.1 and 9.1 gives what the others give as two arguments as one, a
    tuple.
    """

    __signature__ = Signature(
        [Parameter(name, Parameter.POSITIONAL_ONLY) for name in ("message", "info")]
    )

    def __init__(self, callback: Callback) -> None:
        self._callback = callback

    def __call__(self, *arguments: Any) -> None:
        message, info = arguments[0] if len(arguments) == 1 else arguments
        self._callback(message, info["source_timestamp"], info["received_timestamp"])


def with_times(callback: Callback) -> Callable[..., None]:
    """For a subscription: `callback` gets a message, and when DDS wrote and received it (ns).

    Humble's rclpy does not tell: there both are the time of the call.
    """
    if hasattr(Subscription, "CallbackType"):
        return _WithTimes(callback)

    def on_message(message: Any) -> None:
        now = time.time_ns()
        callback(message, now, now)

    return on_message
