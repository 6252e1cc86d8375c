"""The bench's arithmetic: what belongs together, and what the figures say."""
from __future__ import annotations

import pytest

from vla_ros.bench.pipeline_measure import (
    Inferred,
    Judged,
    LatencySample,
    SeenCommand,
    growth,
    lateness,
    matched_samples,
    milliseconds,
    ratio,
    stamped_samples,
    stops,
)

MS = 1_000_000
ACTIVE, HOLDING, PASSED, LIMITED, HELD = 2, 1, 0, 1, 2


def test_a_stamped_command_is_its_own_sample_and_the_first_counts() -> None:
    commands = [SeenCommand(14 * MS, 16 * MS, 10 * MS), SeenCommand(12 * MS, 13 * MS, 10 * MS), SeenCommand(1, 2, 0)]
    assert stamped_samples(sorted(commands)) == [LatencySample(10 * MS, 3 * MS, 0)]
    assert stamped_samples([]) == []


def test_a_command_is_matched_through_the_report_and_the_chunk() -> None:
    # the gate writes command, report; at 100 a tick without a chunk, at 120 the chunk's, at 140 it goes on
    commands = [SeenCommand(100, 103), SeenCommand(120, 124), SeenCommand(140, 143)]
    reports = [Judged(101, 7, 0, HOLDING, HELD), Judged(121, 7, 1, ACTIVE, PASSED), Judged(141, 7, 1, ACTIVE, PASSED)]
    samples, unmatched = matched_samples(commands, reports, [Inferred(7, 1, 90, 5)])
    assert samples == [LatencySample(90, 34, 5)] and unmatched == 0


def test_the_order_of_arrival_does_not_matter() -> None:
    commands = [SeenCommand(140, 143), SeenCommand(100, 103), SeenCommand(120, 150)]  # the one wanted came last
    samples, _ = matched_samples(commands, [Judged(141, 7, 2, ACTIVE, LIMITED), Judged(121, 7, 1, ACTIVE, PASSED)],
                                 [Inferred(7, 2, 130, 0), Inferred(7, 1, 110, 0)])
    assert samples == [LatencySample(110, 40, 0), LatencySample(130, 13, 0)]


@pytest.mark.parametrize(("state", "verdict"), [(HOLDING, PASSED), (ACTIVE, HELD), (3, 3)])
def test_what_the_gate_held_back_is_no_sample(state: int, verdict: int) -> None:
    assert matched_samples([SeenCommand(1, 2)], [Judged(1, 7, 1, state, verdict)], [Inferred(7, 1, 0, 0)]) == ([], 0)


def test_a_lost_chunk_or_command_is_counted_and_not_guessed() -> None:
    reports = [Judged(5, 7, 1, ACTIVE, PASSED), Judged(20, 7, 2, ACTIVE, PASSED), Judged(21, 8, 2, ACTIVE, PASSED)]
    samples, unmatched = matched_samples([SeenCommand(10, 11)], reports, [Inferred(7, 1, 0, 0), Inferred(7, 2, 4, 0)])
    assert samples == [LatencySample(4, 7, 0)] and unmatched == 2


def test_a_stop_is_told_once_with_its_reason() -> None:
    held = Judged(1, 7, 1, HOLDING, HELD, "source_timeout", "silent")
    stopped = [Judged(when, 7, 1, 3, 3, "stop", reason) for when, reason in ((2, "slow"), (3, "slow"), (5, "again"))]
    assert stops([held, *stopped[:2], held._replace(written=4), stopped[2]]) == ["slow", "again"]
    assert stops(stopped[1:2]) == ["slow"] and stops([held]) == stops([]) == []


def test_milliseconds() -> None:
    figures = milliseconds(value * MS for value in range(101))
    assert figures == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
    assert milliseconds([]) == {}


def test_lateness_counts_only_what_is_longer_than_the_period() -> None:
    assert lateness([0, 20, 25, 40, 65], 20) == [0, 0, 0, 5]
    assert lateness([3], 20) == []


def test_no_ratio_without_both() -> None:
    assert ratio(5.0, 20.0) == 0.25
    assert ratio(None, 20.0) is None and ratio(5.0, None) is None
    assert growth(50.0, 52.5) == 5.0
