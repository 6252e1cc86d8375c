"""A policy's options: which it has, and those that several have, checked in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vla_ros.core.shown import shown


def check_options(policy: str, options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raises ValueError for an option that the policy does not have."""
    for name in sorted(set(options) - set(known), key=str):
        raise ValueError(
            f"policy '{policy}' has no option {shown(name)}; it has {', '.join(known)}"
        )


def thread_count(policy: str, threads: object) -> int:
    """The option `threads`. Raises ValueError for what is no number of threads."""
    # To Python, true is the number 1.
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(
            f"policy '{policy}': threads is {threads!r}; give a whole number from 1 up"
        )
    return threads
