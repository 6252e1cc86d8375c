"""From a message type's name, as robot files have it, to its class."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def message_class(kind: str) -> Any:
    """The class of "package/msg/Name". Raises ValueError where it is not installed."""
    package, _, name = kind.partition("/msg/")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError):
        raise ValueError(
            f"{kind} is not installed; install its package, or correct the type in the robot file"
        ) from None
