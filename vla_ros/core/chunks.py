"""Action chunks: are rows what they should be, and which row of a chunk is due."""

from __future__ import annotations

import numpy as np

from vla_ros.core.types import ActionChunk

GRID_NS = 20_000_000  # rows that are made of a chunk's are at most so far apart: the gate's period
MOST_ROWS = 1000  # that are made of a chunk
MOST_VALUES = 1 << 14  # of a chunk: 256 rows of 64 channels; the gate takes no more


def row_at(chunk: ActionChunk, now: int) -> int:
    """The row meant for `now` (ns on the ROS clock); before them the first, after them the last."""
    if chunk.step <= 0:  # rule `chunk_shape` refuses it
        return 0
    return min(max(0, (now - chunk.stamp) // chunk.step), len(chunk.values) - 1)


def check_rows(rows: object, columns: int) -> None:
    """Raises TypeError where what a policy gave is not T x `columns` numbers.

    Their values are the gate's business.
    """
    right = "predict returns an array of numbers, rows x channels"
    if not isinstance(rows, np.ndarray):
        raise TypeError(f"the policy gave a {type(rows).__name__}; {right}")
    if rows.dtype.kind not in "fiu":
        raise TypeError(f"the policy gave an array of {rows.dtype}; {right}")
    if rows.ndim != 2 or rows.shape[1] != columns or not rows.size:  # flat, it could pass for right
        raise TypeError(
            f"the policy gave rows of shape {rows.shape} for {columns} channels; "
            "rows x channels is right"
        )
