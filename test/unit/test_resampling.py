"""A chunk at the gate's rate: positions go from row to row by time, velocities and grippers hold."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.core.chunks import GRID_NS, MOST_ROWS, MOST_VALUES, row_at
from vla_ros.core.resampling import AT, BY, HOLD, Column, resampled, rows_from, within_bounds
from vla_ros.core.types import ActionChunk

MS = 1_000_000
STAMP = 1_000_000_000_000
COLUMNS = (Column(AT), Column(BY), Column(HOLD))


def chunk(rows: object, step: int = 100 * MS) -> ActionChunk:
    return ActionChunk(STAMP, 1, ("at", "by", "hold"), np.array(rows, np.float32), step)


def at(made: ActionChunk, moment: int) -> list[float]:
    """What the gate takes then."""
    return made.values[row_at(made, STAMP + moment)].tolist()


ROWS = [[0.0, 1.0, 0.0], [1.0, 2.0, 1.0], [1.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("moment", "row"),
    [
        (0, [0.0, 0.2, 0.0]),  # on its way from where it is, 0
        (20, [0.2, 0.4, 0.0]),
        (99, [0.8, 1.0, 0.0]),
        (100, [1.0, 1.2, 1.0]),
        (180, [1.0, 2.0, 1.0]),
        (200, [1.0, 1.6, 0.0]),
        (280, [1.0, 0.0, 0.0]),  # the last row's own time
        (5000, [1.0, 0.0, 0.0]),
    ],
)
def test_each_column_passes_in_its_own_way(moment: int, row: list[float]) -> None:
    made = resampled(chunk(ROWS), COLUMNS, (math.nan, 0.0, math.nan))
    assert made.step == GRID_NS and len(made.values) == 15 and made.values.dtype == np.float32
    assert at(made, moment * MS) == pytest.approx(row)


def test_what_belongs_to_the_chunk_stays() -> None:
    coarse = replace(chunk(ROWS), policy="mine", sequence=4, instruction_id=9)
    made = resampled(coarse, COLUMNS, (0.0, 0.0, 0.0))
    assert replace(made, values=coarse.values, step=coarse.step) == coarse


@pytest.mark.parametrize("step", [1, 19 * MS, 20 * MS])
def test_a_policy_that_is_as_fast_as_the_gate_is_left_alone(step: int) -> None:
    coarse = chunk(ROWS, step)
    assert resampled(coarse, COLUMNS, (0.0, 0.0, 0.0)) is coarse
    assert resampled(chunk(ROWS, step + 21 * MS), COLUMNS, (0.0, 0.0, 0.0)).step <= GRID_NS


def test_speeds_and_grippers_alone_are_played_by_the_gate_as_they_are() -> None:
    coarse = chunk(ROWS)
    assert resampled(coarse, (Column(HOLD),) * 3, (0.0, 0.0, 0.0)) is coarse


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_not_finite_reaches_the_gate_as_it_is(bad: float) -> None:
    coarse = chunk([*ROWS[:2], [0.0, bad, 0.0]])
    assert resampled(coarse, COLUMNS, (0.0, 0.0, 0.0)) is coarse


def test_a_joint_that_turns_on_takes_the_shorter_way() -> None:
    coarse = ActionChunk(STAMP, 1, ("at",), np.array([[3.1], [-3.1]], np.float32), 100 * MS)
    made = resampled(coarse, (Column(AT, 2.0 * math.pi),), (0.0,))
    assert made.values[:5, 0] == pytest.approx(3.1 + np.arange(5) / 5 * (2 * math.pi - 6.2))


def test_and_stays_within_what_the_gate_takes_of_it() -> None:
    coarse = ActionChunk(STAMP, 1, ("at",), np.array([[3.13], [-3.13]], np.float32), 100 * MS)
    made = resampled(coarse, (Column(AT, 2.0 * math.pi, (-3.1416, 3.1416)),), (0.0,))
    assert np.abs(made.values).max() <= 3.1416
    assert made.values[:6, 0] == pytest.approx([3.13, 3.1346, 3.1393, -3.1393, -3.1346, -3.13], abs=1e-3)


@pytest.mark.parametrize(("value", "said"), [(3.0, 3.0), (3.1, -3.18319), (-3.1, 3.18319), (3.2, 3.2)])
def test_a_turn_more_or_less_is_the_same_place_where_that_is_within_bounds(value: float, said: float) -> None:
    bounds = (-3.2, 3.05) if value != -3.1 else (-3.05, 3.2)
    if value == 3.2:  # nowhere within: the gate is to see it
        bounds = (-1.0, 1.0)
    assert within_bounds(np.array([value]), 2.0 * math.pi, bounds) == pytest.approx([said], abs=1e-5)
    assert within_bounds(np.array([value]), 0.0, bounds) == pytest.approx([value])


def test_no_chunk_becomes_more_than_the_gate_takes() -> None:
    long = chunk(np.zeros((MOST_ROWS, 3)), 100 * MS)
    assert resampled(long, COLUMNS, (0.0, 0.0, 0.0)) is long
    names = tuple(map(str, range(64)))
    wide = ActionChunk(STAMP, 1, names, np.zeros((100, 64), np.float32), 100 * MS)
    made = resampled(wide, (Column(AT),) * 64, (0.0,) * 64)
    assert wide.values.size < made.values.size <= MOST_VALUES


values = st.floats(-3.0, 3.0, width=32)
tables = st.lists(st.tuples(values, values, st.sampled_from([0.0, 1.0])), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(rows=tables, step=st.integers(1, 400 * MS), start=values)
def test_no_value_lies_beyond_its_neighbours_and_no_gripper_is_between(rows, step, start) -> None:
    coarse = chunk(rows, step)
    made = resampled(coarse, COLUMNS, (math.nan, start, math.nan))
    if made is coarse:
        return
    assert 0 < made.step <= GRID_NS
    # from the first row on, in their order, for as long as the policy meant it
    assert 0 <= step * len(rows) - made.step * len(made.values) < len(made.values)
    parts = len(made.values) // len(rows)
    for index, row in enumerate(made.values.tolist()):
        here = coarse.values[index // parts].tolist()
        after = coarse.values[min(index // parts + 1, len(rows) - 1)].tolist()
        before = coarse.values[index // parts - 1].tolist() if index >= parts else [0.0, np.float32(start)]
        assert min(here[0], after[0]) <= row[0] <= max(here[0], after[0])
        assert min(here[1], before[1]) - 1e-6 <= row[1] <= max(here[1], before[1]) + 1e-6
        assert row[2] == here[2]
    ends = made.values[parts - 1 :: parts, 1]
    assert ends == pytest.approx(coarse.values[:, 1], abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(row=st.tuples(values, values, values), count=st.integers(1, 8))
def test_a_plan_to_stay_stays_to_the_bit(row, count) -> None:
    made = resampled(chunk([row] * count), COLUMNS, row)
    assert (made.values == np.float32(row)).all()


# -- what is left of a chunk
def test_what_is_left_begins_between_two_rows() -> None:
    rows = np.array([[0.0, 0.0], [1.0, 1.0], [3.0, 0.0]])
    left = rows_from(rows, (Column(AT), Column(HOLD)), 0.5)
    assert left.tolist() == [[0.5, 0.0], [2.0, 1.0], [3.0, 0.0]]
    assert rows_from(rows, (Column(AT), Column(HOLD)), 1.0).tolist() == rows[1:].tolist()
    assert rows_from(rows, (Column(AT), Column(HOLD)), 0.0).tolist() == rows.tolist()


def test_what_is_left_goes_the_shorter_way_round() -> None:
    rows = np.array([[3.1, 3.1], [-3.1, -3.1]])
    left = rows_from(rows, (Column(AT, math.tau), Column(AT)), 0.5)
    assert left[0].tolist() == pytest.approx([math.pi, 0.0])


@pytest.mark.parametrize(("offset", "count"), [(1.99, 2), (2.0, 1), (2.5, 1), (3.0, 0), (9.0, 0)])
def test_what_is_over_is_not_left(offset: float, count: int) -> None:
    assert rows_from(np.zeros((3, 2)), (Column(AT), Column(AT)), offset).shape == (count, 2)
