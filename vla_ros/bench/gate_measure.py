"""The pure part of the gate bench: commands on the wire against the ideal grid, and stops.

All times are steady nanoseconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# A command this much before its time is on time: the grid lies through the most punctual ones, and
# a hundredth of them is earlier still.
EARLY_NS = 2_000_000
NEAR_NS = 3_000_000  # around the densest millisecond: what decides where the grid lies
STOP_LIMIT_NS = 1_000_000_000  # a zero that comes later belongs to no press


Wait = tuple[int, int]  # when something was due, and how long it took from then


class TimedCommand(NamedTuple):
    """A command on the wire; the times are when DDS wrote and received it."""

    written: int
    received: int  # in the robot's process
    speed: float  # m/s, linear.x
    still: bool  # all of it is zero


def split(commands: Sequence[TimedCommand]) -> tuple[list[TimedCommand], list[TimedCommand]]:
    """The timer's commands, and those in between that a new action caused.

    Each action has a speed of its own: the first command with it is the one that it caused.
    """
    timed: list[TimedCommand] = []
    caused: list[TimedCommand] = []
    for before, command in zip(commands, commands[1:]):
        if command.speed == before.speed:
            timed.append(command)
        else:
            caused.append(command)
    return timed, caused


def grid_start(times: Sequence[int], period: int) -> int:
    """Where in a period the punctual commands are.

    That is the earliest of those around the densest millisecond, but for one in a hundred.
    """
    phases = np.sort(np.array(times) % period)
    ring = np.concatenate([phases, phases + period])  # a millisecond may lie across the turn
    within = np.searchsorted(ring, phases + 1_000_000) - np.searchsorted(ring, phases)
    densest = int(phases[np.argmax(within)])
    around = (phases - densest + NEAR_NS) % period - NEAR_NS
    return round(densest + float(np.percentile(around[around <= NEAR_NS], 1)))


def late_on_grid(timed: Sequence[int], caused: Sequence[int], period: int) -> list[Wait]:
    """For each time of the ideal grid, how long after it the timer's command came.

    Where there is none within the period, one that a new action caused will do; where there is
    neither, the wait goes on into the next periods.

    Args:
        timed: when the timer's commands came.
        caused: when those came that a new action caused.
        period: of the timer.
    """
    if len(timed) < 2:
        return []
    timed = sorted(timed)
    caused = sorted(caused)
    start = grid_start(timed, period)
    # the grid's time that timed[0] is for
    first = timed[0] - (timed[0] - start + EARLY_NS) % period + EARLY_NS
    late = []
    for due in range(first, timed[-1] + 1, period):
        when = timed[bisect_left(timed, due - EARLY_NS)]
        if when >= due - EARLY_NS + period:
            place = bisect_left(caused, due - EARLY_NS)
            if place < len(caused):
                when = min(when, caused[place])
        late.append((due, max(0, when - due)))
    return late


def stop_times(commands: Sequence[TimedCommand], presses: Sequence[int]) -> tuple[list[Wait], int]:
    """From each press to the first zero that reached the robot's process; and how many had none."""
    zeros = sorted(command.received for command in commands if command.still)
    times = []
    for press in presses:
        place = bisect_left(zeros, press)
        if place < len(zeros) and zeros[place] - press < STOP_LIMIT_NS:
            times.append((press, zeros[place] - press))
    return times, len(presses) - len(times)


def undisturbed(waits: Sequence[Wait], stalls: Sequence[Wait]) -> list[Wait]:
    """The waits during which the machine did not stand still.

    Args:
        waits: when something was due, and how long it took.
        stalls: when a core stood still, and for how long.
    """
    ordered = sorted(stalls)
    longest = max((lasted for _, lasted in ordered), default=0)
    kept = []
    for due, took in waits:
        # only these can overlap: none that began earlier lasts into the wait
        begin = bisect_left(ordered, (due - longest, 0))
        end = bisect_left(ordered, (due + took + 1, 0))
        if not any(start + lasted >= due for start, lasted in ordered[begin:end]):
            kept.append((due, took))
    return kept
