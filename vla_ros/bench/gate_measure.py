"""The pure part of the gate bench: commands on the wire against the ideal grid, and stops. Times in
ns."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

EARLY = 2_000_000  # a command this much before its time is on time
NEAR = 3_000_000


Wait = tuple[int, int]  # when something was due, and how long it took from then


class Sent(NamedTuple):
    """A command: when its publisher wrote it, when it reached the robot's process (both steady),
    its linear.x in m/s, and whether all of it is zero."""

    written: int
    received: int
    speed: float
    still: bool


def split(commands: Sequence[Sent]) -> tuple[list[Sent], list[Sent]]:
    """The timer's commands, and those in between that a new action caused: they are the first with
    its speed."""
    pairs = list(zip(commands, commands[1:]))
    return (
        [command for before, command in pairs if command.speed == before.speed],
        [command for before, command in pairs if command.speed != before.speed],
    )


def grid_start(times: Sequence[int], period: int) -> int:
    """Where in a period the punctual commands are: the earliest of those around the densest
    millisecond (but for one in a hundred)."""
    rests = sorted(time % period for time in times)
    ring = [*rests, *(rest + period for rest in rests)]
    densest = max(
        rests, key=lambda rest: bisect_left(ring, rest + 1_000_000) - bisect_left(ring, rest)
    )
    around = [(time - densest + NEAR) % period - NEAR for time in times]
    return round(densest + float(np.percentile([rest for rest in around if rest <= NEAR], 1)))


def late_on_grid(timed: Sequence[int], caused: Sequence[int], period: int) -> list[Wait]:
    """For each time of the ideal grid, how long after it the timer's command came. Where there is
    none within the period, one that a new action caused will do; where there is neither, the wait
    goes on into the next periods."""
    if len(timed) < 2:
        return []
    timed = sorted(timed)
    caused = sorted(caused)
    start = grid_start(timed, period)
    # the grid's time that timed[0] is for
    first = timed[0] - (timed[0] - start + EARLY) % period + EARLY
    late = []
    for due in range(first, timed[-1] + 1, period):
        when = timed[bisect_left(timed, due - EARLY)]
        if when >= due - EARLY + period:
            place = bisect_left(caused, due - EARLY)
            when = min(when, caused[place]) if place < len(caused) else when
        late.append((due, max(0, when - due)))
    return late


def stop_times(commands: Sequence[Sent], presses: Sequence[int]) -> tuple[list[Wait], int]:
    """From each press to the first zero that reached the robot's process; and how many found none
    within 1 s."""
    zeros = sorted(command.received for command in commands if command.still)
    times = []
    for press in presses:
        place = bisect_left(zeros, press)
        if place < len(zeros) and zeros[place] - press < 1_000_000_000:
            times.append((press, zeros[place] - press))
    return times, len(presses) - len(times)


def undisturbed(waits: Sequence[Wait], stalls: Sequence[Wait]) -> list[Wait]:
    """The waits during which the machine did not stand still."""
    ordered = sorted(stalls)
    longest = max((took for _, took in ordered), default=0)
    kept = []
    for due, took in waits:
        near = ordered[
            bisect_left(ordered, (due - longest, 0)) : bisect_left(ordered, (due + took + 1, 0))
        ]
        if not any(begin + lasted >= due for begin, lasted in near):
            kept.append((due, took))
    return kept
