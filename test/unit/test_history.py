"""Which earlier observations a policy is given, by their stamps."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.core.history import earlier, keep

MS = 1_000_000


def test_the_nearest_to_each_moment_are_chosen_oldest_first() -> None:
    stamps = [0, 33 * MS, 66 * MS, 100 * MS, 133 * MS]
    assert earlier(stamps, 200 * MS, 3, 100 * MS, "refuse") == [0, 3]


@pytest.mark.parametrize(("away", "chosen"), [(49, 0), (50, None), (51, None), (-49, 0), (-50, None)])
def test_one_that_is_half_a_spacing_away_is_none(away: int, chosen: int | None) -> None:
    assert earlier([(100 + away) * MS], 200 * MS, 2, 100 * MS, "repeat") == [chosen]


def test_a_missing_one_is_the_next_newer_one_again() -> None:
    assert earlier([100 * MS], 200 * MS, 4, 100 * MS, "repeat") == [0, 0, 0]
    assert earlier([], 200 * MS, 3, 100 * MS, "repeat") == [None, None]
    assert earlier([0], 200 * MS, 3, 100 * MS, "repeat") == [0, None]


def test_or_it_is_refused_with_what_is_missing() -> None:
    with pytest.raises(ValueError, match=r"wants 3 observations, 0\.1 s apart, and there is none of 0\.2 s ago"):
        earlier([100 * MS], 200 * MS, 3, 100 * MS, "refuse")


@given(stamps=st.lists(st.integers(0, 1000), max_size=20), count=st.integers(1, 6), spacing=st.integers(1, 200))
def test_as_many_as_are_wanted_and_none_younger_than_the_next(stamps, count, spacing) -> None:
    chosen = earlier(stamps, 1000, count, spacing, "repeat")
    times = [1000 if index is None else stamps[index] for index in chosen]
    assert len(chosen) == count - 1 and times == sorted(times) and all(time <= 1000 for time in times)


# -- what is kept of those that came
@pytest.mark.parametrize("rate", [4, 5, 7, 10, 30, 200])
@pytest.mark.parametrize(("count", "spacing"), [(2, 1000 * MS), (16, 1000 * MS), (32, 1500 * MS)])
def test_a_long_history_is_there_at_any_rate_and_few_are_kept(rate: int, count: int, spacing: int) -> None:
    """Each moment has an observation of its own, no further away than half of what lies between two that are kept."""
    past: deque[tuple[int, int]] = deque()
    newest = 0
    for number in range(count * spacing * rate // (1000 * MS) + 2):
        newest = number * 1000 * MS // rate
        before = [stamp for stamp, _ in past]
        keep(past, newest, number, count, spacing)
        assert len(past) <= 4 * count + 1
    chosen = earlier(before, newest, count, spacing, "refuse")
    assert len(set(chosen)) == count - 1
    for back, index in enumerate(reversed(chosen), 1):
        assert index is not None
        assert abs(newest - back * spacing - before[index]) <= (spacing // 4 + 1000 * MS // rate) / 2


@pytest.mark.parametrize(("stamp", "kept"), [(124, 1), (125, 2), (99, 1), (100, 1)])
def test_of_a_quarter_of_the_spacing_the_first_is_kept_and_a_clock_that_went_back_begins_anew(stamp: int, kept: int) -> None:
    past: deque[tuple[int, str]] = deque([(100, "old")])
    keep(past, stamp, "new", 2, 100)
    assert len(past) == kept and past[0][1] == ("new" if stamp < 100 else "old")


@pytest.mark.parametrize(("stamp", "oldest"), [(300, "old"), (301, "new")])
def test_what_is_older_than_a_history_is_left_out(stamp: int, oldest: str) -> None:
    past: deque[tuple[int, str]] = deque([(100, "old")])
    keep(past, stamp, "new", 2, 100)
    assert past[0][1] == oldest
