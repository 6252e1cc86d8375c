"""A chunk at the gate's rate: what lies between two of the policy's rows, by time.

Row i of a chunk is for its stamp + i steps. Positions go straight from one row to the next;
velocities and grippers hold until the next row comes, as the gate plays them anyway: half of a
gripper's opening and half of its closing is neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.chunks import GRID_NS, MOST_ROWS, MOST_VALUES
from vla_ros.core.types import ActionChunk

HOLD = "hold"  # until the next row
AT = "at"  # there at the row's own moment
BY = "by"  # there by the end of the row's time, as where a change or a speed leads to


@dataclass(frozen=True)
class Column:
    """How a channel passes from row to row.

    Attributes:
        way: HOLD, AT or BY.
        turn: What a whole turn is in its unit; 0: it does not wrap.
        bounds: What the gate takes of it.
    """

    way: str
    turn: float = 0.0
    bounds: tuple[float, float] = (-math.inf, math.inf)


def resampled(
    chunk: ActionChunk, columns: Sequence[Column], starts: Sequence[float]
) -> ActionChunk:
    """The chunk with rows at most GRID_NS apart.

    Args:
        chunk: As the policy means it.
        columns: Of each of its channels.
        starts: Where each channel that goes BY is at the chunk's stamp; of the others, anything.

    Returns:
        `chunk` itself where nothing lies between its rows, or where the gate has to see it as it
        is, since a value is not finite.
    """
    count = len(chunk.values)
    most = min(MOST_ROWS // count, MOST_VALUES // chunk.values.size)
    parts = max(1, min(-(-chunk.step // GRID_NS), most))
    moves = any(column.way != HOLD for column in columns)
    if parts == 1 or not moves or not np.isfinite(chunk.values).all():
        return chunk
    fine = np.repeat(chunk.values, parts, axis=0)  # each row holds
    share = np.tile(np.arange(parts) / parts, count)  # of a row's time that is over, T * parts
    for index, column in enumerate(columns):
        if column.way == HOLD:
            continue
        rows = chunk.values[:, index].astype(np.float64)
        if column.way == AT:
            first = rows
            last = np.append(rows[1:], rows[-1])
            passed = share
        else:
            first = np.concatenate([[starts[index]], rows[:-1]])
            last = rows
            passed = share + 1.0 / parts
        way = last - first
        if column.turn:  # a whole turn apart is the same place
            way -= column.turn * np.round(way / column.turn)
        values = np.repeat(first, parts) + passed * np.repeat(way, parts)
        fine[:, index] = within_bounds(values, column.turn, column.bounds)
    return replace(chunk, values=fine, step=chunk.step // parts)


def within_bounds(
    values: NDArray[np.floating], turn: float, bounds: tuple[float, float]
) -> NDArray[np.floating]:
    """Values of a joint that wraps, each said within the bounds: a turn more or less is the same.

    Args:
        values: N.
        turn: What a whole turn is; 0: the joint does not wrap, and nothing is changed.
        bounds: The lowest and the highest.
    """
    low, high = bounds
    values = np.where((values > high) & (values - turn >= low), values - turn, values)
    return np.where((values < low) & (values + turn <= high), values + turn, values)


def rows_from(
    rows: NDArray[np.floating], columns: Sequence[Column], offset: float
) -> NDArray[np.floating]:
    """What is left of a chunk's rows (T x C) from `offset` rows on: K x C, a row apart as before.

    A column that goes AT is straight from one row to the next; the others keep a row's value until
    the next row.
    """
    moments = offset + np.arange(max(0, int(np.ceil(len(rows) - offset))))
    before = np.floor(moments).astype(int)
    after = np.minimum(before + 1, len(rows) - 1)
    left: NDArray[np.floating] = rows[before]
    for index, column in enumerate(columns):
        if column.way == AT:
            ways = rows[after, index] - rows[before, index]
            if column.turn:
                ways -= column.turn * np.round(ways / column.turn)
            left[:, index] += (moments - before) * ways
    return left
