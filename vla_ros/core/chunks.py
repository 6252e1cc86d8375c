"""Action chunks: is one what it should be, and which of its rows is due."""
from __future__ import annotations

import numpy as np

from vla_ros.core.types import ActionChunk


def row_at(chunk: ActionChunk, now: int) -> int:
    """The row meant for `now` (ns on the ROS clock); before the first the first, after the last the last."""
    if chunk.step <= 0:
        return 0
    return min(max(0, (now - chunk.stamp) // chunk.step), len(chunk.values) - 1)


def check_chunk(chunk: object) -> None:
    """Raises TypeError where what a policy gave is no chunk of rows x channels. Its values are the gate's business."""
    if not isinstance(chunk, ActionChunk):
        raise TypeError(f"the policy gave a {type(chunk).__name__}, not an ActionChunk")
    values, columns = chunk.values, len(chunk.channels)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        kind = getattr(values, "dtype", type(values).__name__)
        raise TypeError(f"the policy gave values of {kind}; an array of numbers is right")
    if values.ndim != 2 or values.shape[1] != columns or not values.size:  # flat, it could pass for right
        raise TypeError(f"the policy gave values of shape {values.shape} for {columns} channels; "
                        "rows x channels is right")
