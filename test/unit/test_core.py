"""The small parts of the core: registry, chunks, statistics, mailbox."""
import threading

import numpy as np
import pytest

from vla_ros.core.chunks import check_rows, row_at
from vla_ros.core.mailbox import Mailbox
from vla_ros.core.stats import Rate, Stats
from vla_ros.core.types import ActionChunk, to_nanoseconds, to_seconds
from vla_ros.policies import make_policy, policy_spec

S = 1_000_000_000


@pytest.mark.parametrize("after, row", [(-S, 0), (0, 0), (99_999_999, 0), (100_000_000, 1), (299_999_999, 2), (9 * S, 2)])
def test_a_chunk_is_stepped_through_by_time(after, row):
    chunk = ActionChunk(5 * S, 1, ("linear.x",), np.zeros((3, 1), np.float32), 100_000_000)
    assert row_at(chunk, 5 * S + after) == row


def test_an_unknown_policy_lists_the_known():
    with pytest.raises(ValueError, match="unknown policy 'rt2'; known are: builtin, builtin_arm, color_servo, constant"):
        make_policy("rt2")


def test_the_constant_policy_refuses_what_is_not_a_number():
    with pytest.raises(ValueError, match="values.linear.x is nan"):
        policy_spec("constant", {"values": {"linear.x": float("nan")}})


def test_a_rate_falls_when_its_source_falls_silent():
    rate = Rate()
    for i in range(11):
        rate.tick(i * S // 10)
    assert rate.hertz(S) == pytest.approx(10.0)
    assert rate.hertz(10 * S) == pytest.approx(1.0)
    assert rate.age(3 * S) == 2.0


def test_stats_become_keys_and_values():
    stats = Stats()
    stats.tick("image", S)
    stats.drop("bad image")
    assert stats.values() == {"dropped: bad image": "1"}  # no percentiles of nothing
    for milliseconds in (4, 1, 3, 2):
        stats.latency(milliseconds * 1_000_000)
    assert stats.values() == {
        "p50 (ms)": "2.500", "p95 (ms)": "3.850", "p99 (ms)": "3.970", "dropped: bad image": "1"}
    assert stats.rates["image"].values(2 * S) == {
        "Events since startup": "1", "Actual frequency (Hz)": "0.0",
        "Age of the last event (s)": "1.000"}


def test_the_newest_letter_wins():
    box = Mailbox()
    assert not box.put(1)
    assert box.put(2)
    assert box.take() == 2


def test_closing_wakes_who_waits_and_loses_the_rest():
    box = Mailbox()
    got = []
    thread = threading.Thread(target=lambda: got.append(box.take()))
    thread.start()
    box.close()
    thread.join(2.0)
    assert got == [None]
    box.put(1)
    assert box.take() is None


@pytest.mark.parametrize("nanoseconds", [0, 1, 33_333_333, 290_000_000, 1_001_000_000, -1_001_000_000])
def test_seconds_become_the_nearest_nanosecond(nanoseconds):
    """1.001 s is 1000999999.9999999 ns in floating point."""
    assert to_nanoseconds(to_seconds(nanoseconds)) == nanoseconds


@pytest.mark.parametrize("rows, says", [
    (np.zeros((2, 1), np.float32), ""), (np.zeros((2, 1), np.int64), ""),
    (np.zeros((2, 1), bool), "array of bool"), ([[0.0]], "gave a list"),
    (np.zeros((0, 1), np.float32), r"shape \(0, 1\)"), (np.zeros(1, np.float32), r"shape \(1,\)"),
    (np.zeros((2, 2), np.float32), "for 1 channels"),
])
def test_rows_are_at_least_one_of_numbers_for_its_channels(rows, says):
    if not says:
        check_rows(rows, 1)
        return
    with pytest.raises(TypeError, match=says):
        check_rows(rows, 1)
