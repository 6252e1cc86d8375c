"""Stepping through an action chunk by time."""
from __future__ import annotations

from vla_ros.core.types import ActionChunk


def row_at(chunk: ActionChunk, now: int) -> int:
    """The row meant for `now` (ns on the ROS clock); before the first the first, after the last the last."""
    if chunk.step <= 0:
        return 0
    return min(max(0, (now - chunk.stamp) // chunk.step), len(chunk.values) - 1)
