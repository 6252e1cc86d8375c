"""The topics that the gate's rules declare: from a message to what the rule is told."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vla_ros.nodes.common.from_message import stamp_ns
from vla_ros.safety.rule import Heard, Rule, Source


def message_class(rule: Rule, source: Source[Any]) -> type:
    """The class of `source.type`. Raises ValueError where it is not installed."""
    package, _, name = source.type.partition("/msg/")
    try:
        message: type = getattr(import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError):
        raise ValueError(
            f"rule '{rule.name}' listens to {source.topic} as '{source.type}', which is "
            "not installed; install its package, or write it as sensor_msgs/msg/Imu"
        ) from None
    return message


def heard(source: Source[Any], message: Any, now: int) -> Heard:
    """What `message` says, received at `now` (steady ns).

    One that cannot be converted says nothing, whatever was raised: the rule holds.
    """
    header = getattr(message, "header", None)
    stamp = None if header is None else stamp_ns(header.stamp)
    try:
        return Heard(source.convert(message), now, stamp)
    except Exception as error:
        return Heard(None, now, stamp, fault=str(error) or type(error).__name__)
