"""The pure part of the bench: matching what was seen on the wire, and percentiles. Times in ns."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

# of SafetyReport
ACTIVE = 2
STOPPED = 3
ON_THE_WIRE = (0, 1)  # SafetyReport.PASSED and LIMITED: the action itself was sent


class Seen(NamedTuple):
    """A command: when its publisher wrote it and when it reached the robot's machine; `stamp` is
    the image's where the command carries one, else 0."""

    written: int
    received: int
    stamp: int = 0


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


class Sample(NamedTuple):
    """One image that became a command. `policy` is the chunk's own latency, 0 where there is
    none."""

    stamp: int
    total: int
    policy: int


def stamped_samples(commands: Iterable[Seen]) -> list[Sample]:
    """From commands that carry the image's stamp; the first command of an image counts."""
    first: dict[int, Seen] = {}
    for command in commands:
        if command.stamp:
            first.setdefault(command.stamp, command)
    return [Sample(stamp, seen.received - stamp, 0) for stamp, seen in sorted(first.items())]


def matched_samples(
    commands: Sequence[Seen], reports: Iterable[Judged], chunks: Iterable[Inferred]
) -> tuple[list[Sample], int]:
    """From commands without a stamp, and how many reports found no chunk or no command.

    The first report that lets a chunk pass names it; the command that this report is on is the last
    one written before it; the chunk holds the image's stamp.
    """
    ordered = sorted(commands)
    written = [command.written for command in ordered]
    by_name = {(chunk.instruction_id, chunk.sequence): chunk for chunk in chunks}
    samples: list[Sample] = []
    done: set[tuple[int, int]] = set()
    unmatched = 0
    for report in sorted(reports):
        name = (report.instruction_id, report.sequence)
        if report.state != ACTIVE or report.verdict not in ON_THE_WIRE or name in done:
            continue
        done.add(name)
        chunk = by_name.get(name)
        place = bisect_right(written, report.written) - 1
        if chunk is None or place < 0:
            unmatched += 1
            continue
        samples.append(Sample(chunk.stamp, ordered[place].received - chunk.stamp, chunk.latency))
    return samples, unmatched


def stops(reports: Iterable[Judged]) -> list[str]:
    """Why the gate stopped for good, once for each time that it did."""
    ordered = sorted(reports)
    return [
        report.reason
        for before, report in zip([None, *ordered], ordered)
        if report.state == STOPPED and (before is None or before.state != STOPPED)
    ]


def milliseconds(values: Iterable[int], digits: int = 3) -> dict[str, float]:
    """p50, p95, p99 and max of some ns, in ms; empty where there are none."""
    times = [value / 1e6 for value in values]
    if not times:
        return {}
    shares = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    figures = np.percentile(times, list(shares.values()))
    return {name: round(float(figure), digits) for name, figure in zip(shares, figures)}


def lateness(written: Iterable[int], period: int) -> list[int]:
    """How much longer than `period` each gap between commands was. The gate also speaks in between,
    at once when something arrives, so a shorter gap is not jitter."""
    ordered = sorted(written)
    return [max(0, later - earlier - period) for earlier, later in zip(ordered, ordered[1:])]


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """None where either was not measured."""
    return round(ours / theirs, 3) if ours and theirs else None


def growth(before: float, after: float) -> float:
    """In percent of `before`."""
    return round(100.0 * (after - before) / before, 2)
