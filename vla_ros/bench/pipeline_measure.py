"""The pure part of the bench: matching what was seen on the wire, and percentiles.

All times are nanoseconds of the wall's clock, as DDS stamps them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

# of SafetyReport, whose messages this part does without
ACTIVE = 2
STOPPED = 3
ON_THE_WIRE = (0, 1)  # SafetyReport.PASSED and LIMITED: the action itself was sent


class SeenCommand(NamedTuple):
    """A command on the wire."""

    written: int  # by its publisher
    received: int  # on the robot's machine
    stamp: int = 0  # the image's, where the command carries one


class Judged(NamedTuple):
    """A SafetyReport; the gate writes it right after the command it reports on."""

    written: int
    instruction_id: int
    sequence: int
    state: int
    verdict: int
    rule: str = ""
    reason: str = ""


class Inferred(NamedTuple):
    """An ActionChunk: the image's stamp, and the time from observation to chunk."""

    instruction_id: int
    sequence: int
    stamp: int
    latency: int


class LatencySample(NamedTuple):
    """An image that became a command."""

    stamp: int
    total: int  # from the stamp to the robot's machine
    policy: int  # the chunk's own latency; 0 where there is none


def stamped_samples(commands: Iterable[SeenCommand]) -> list[LatencySample]:
    """From commands that carry the image's stamp; the first command of an image counts."""
    first: dict[int, SeenCommand] = {}
    for command in commands:
        if command.stamp:
            first.setdefault(command.stamp, command)
    return [LatencySample(stamp, seen.received - stamp, 0) for stamp, seen in sorted(first.items())]


def matched_samples(
    commands: Sequence[SeenCommand], reports: Iterable[Judged], chunks: Iterable[Inferred]
) -> tuple[list[LatencySample], int]:
    """The samples of commands without a stamp, and how many reports lack a chunk or a command.

    The first report that lets a chunk pass names it; the command that this report is on is the last
    one written before it; the chunk holds the image's stamp.
    """
    ordered = sorted(commands)
    written = [command.written for command in ordered]
    by_name = {}
    for chunk in chunks:
        by_name[chunk.instruction_id, chunk.sequence] = chunk
    samples: list[LatencySample] = []
    done: set[tuple[int, int]] = set()
    unmatched = 0
    for report in sorted(reports):
        name = (report.instruction_id, report.sequence)
        if report.state != ACTIVE or report.verdict not in ON_THE_WIRE or name in done:
            continue
        done.add(name)
        named = by_name.get(name)
        place = bisect_right(written, report.written) - 1
        if named is None or place < 0:  # lost on the way to this process: not guessed
            unmatched += 1
            continue
        samples.append(
            LatencySample(named.stamp, ordered[place].received - named.stamp, named.latency)
        )
    return samples, unmatched


def stops(reports: Iterable[Judged]) -> list[str]:
    """Why the gate stopped for good, once for each time that it did."""
    reasons = []
    state = ACTIVE
    for report in sorted(reports):
        if report.state == STOPPED and state != STOPPED:
            reasons.append(report.reason)
        state = report.state
    return reasons


def milliseconds(values: Iterable[int], digits: int = 3) -> dict[str, float]:
    """p50, p95, p99 and max of some ns, in ms; empty where there are none."""
    times = np.fromiter(values, np.int64) / 1e6
    if not len(times):
        return {}
    figures = np.percentile(times, (50, 95, 99, 100))
    rounded = [round(float(figure), digits) for figure in figures]
    return dict(zip(("p50", "p95", "p99", "max"), rounded))


def lateness(written: Iterable[int], period: int) -> list[int]:
    """How much longer than `period` each gap between commands was.

    The gate also speaks in between, at once when something arrives, so a shorter gap is no jitter.
    """
    gaps = np.diff(np.sort(np.fromiter(written, np.int64)))
    late: list[int] = np.maximum(gaps - period, 0).tolist()
    return late


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """Ours over theirs; None where either was not measured."""
    return round(ours / theirs, 3) if ours and theirs else None


def growth(before: float, after: float) -> float:
    """In percent of `before`."""
    return round(100.0 * (after - before) / before, 2)
