"""Which rows of its chunks the robot executed, counted: the gate's reports say which.

A report names the chunk and its moment, and so the row, by the very rule by which the gate took it.
No ROS and no clock: stamps are ns on the ROS clock, durations ns.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vla_ros.core.chunks import row_at
from vla_ros.core.robot_channels import Channel
from vla_ros.core.types import NANOSECONDS, ActionChunk

MOST_CHUNKS = 64  # whose rows may still be executed, or that are still compared with
WINDOW = 500  # predictions: a 99th percentile of so many rests on five
RECENT = 10  # predictions, the slowest of which the next one is expected to be
# Longer than this between two reports, and nobody knows what was executed meanwhile. The gate makes
# ten reports in it: a chunk that none of them names was refused.
LONGEST_PERIOD_NS = 200_000_000
# The gate held since there was no row: the chunk was over, or the image behind it too old.
CHUNK_END = "chunk_end"
TOO_OLD = "observation_age"
TELLING_SHARE = 0.01  # of the time; who waits less is not told


@dataclass(frozen=True)
class SentChunk:
    """A chunk that went to the gate.

    Attributes:
        chunk: As it went.
        rows: The policy's rows in it, each `step` ns long.
    """

    chunk: ActionChunk
    rows: int
    step: int

    @property
    def end(self) -> int:
        """When its last row is over, as the policy meant it."""
        return self.chunk.stamp + self.rows * self.step

    def row(self, stamp: int) -> int:
        """The policy's row for that moment, as the gate takes it."""
        return min(max(0, (stamp - self.chunk.stamp) // self.step), self.rows - 1)


@dataclass(frozen=True)
class Executing:
    """What the gate executes now: a row of a chunk, by its report of `stamp`."""

    sent: SentChunk
    row: int
    stamp: int


class Cadence:
    """Counts one run's rows. Not for two threads at once."""

    def __init__(self, channels: Iterable[Channel]) -> None:
        self._robot = {channel.name: channel for channel in channels}
        self._sent: dict[int, SentChunk] = {}  # by sequence
        self._took: deque[int] = deque(maxlen=WINDOW)  # ns that predictions took
        self._delays: deque[int] = deque(maxlen=WINDOW)  # ns from an image to its chunk
        self._lasts = 0  # ns, of the newest chunk
        self._newest = 0  # sequence
        self._sent_at = 0  # ns, the newest
        self._stamp = 0  # of the newest report
        self._reported = 0  # the sequence in it
        self._executed: Executing | None = None  # the last that was executed
        self._moving = False
        self._starving = False
        self._refused = False  # the policy does not follow these words: nothing is waited for
        self._starts_over = False
        self.chunks = 0  # of which a row was executed
        self.rows = 0
        self.late = 0  # rows that were over before their chunk took over
        self.starved = 0  # periods
        self.starved_time = 0  # ns
        self.too_old_time = 0  # ns of that in which the image was too old for the gate
        self.time = 0  # ns in which the robot executed rows, or waited for them
        self.boundaries = 0
        self.jumps: dict[str, float] = {}  # channel -> the largest at a boundary

    # -- what happens ------------------------------------------------------------------
    def sent(self, sent: SentChunk, took: int | None, delay: int) -> None:
        """A chunk goes to the gate.

        Args:
            sent: The chunk, numbered.
            took: ns that it took to compute; None: it warmed the policy up, and says nothing.
            delay: ns since its image was taken.
        """
        self._sent[sent.chunk.sequence] = sent
        self._newest = sent.chunk.sequence
        self._sent_at = sent.chunk.stamp + delay
        self._starts_over = False
        self._refused = False
        self._lasts = sent.rows * sent.step
        while len(self._sent) > MOST_CHUNKS:
            del self._sent[next(iter(self._sent))]
        if took is not None:
            self._took.append(took)
            self._delays.append(delay)

    def refused(self) -> None:
        """The policy gives no chunk, and says why: the robot does not wait for one."""
        self._refused = True
        self._starving = False

    def start_over(self) -> None:
        """What was planned counts no more: the next chunk is wanted at once."""
        self._starts_over = True

    def report(self, sequence: int, stamp: int, moves: bool, rule: str) -> None:
        """The gate reports a tick.

        Args:
            sequence: Of the chunk that it holds.
            stamp: Of the tick.
            moves: Whether the robot executes the row that is due.
            rule: That decided.
        """
        elapsed = stamp - self._stamp if self._stamp else 0
        if not 0 <= elapsed <= LONGEST_PERIOD_NS:  # the gate was away, or a clock jumped
            elapsed = 0
            self._starving = False
            self._moving = False
        self._stamp = stamp
        self._reported = sequence
        sent = self._sent.get(sequence)
        if moves and sent is not None:
            # A single row is no plan: it holds until the gate finds it too old.
            over = sent.rows > 1 and stamp >= sent.end
            self._execute(sent, stamp)
            self._wait(over, elapsed)
            self.time += elapsed
            self._moving = True
        else:
            out_of_rows = not moves and rule in (CHUNK_END, TOO_OLD) and not self._refused
            self._wait(out_of_rows and (self._moving or self._starving), elapsed)
            if self._starving:
                self.time += elapsed
                if rule == TOO_OLD:
                    self.too_old_time += elapsed
            self._moving = False

    def _execute(self, sent: SentChunk, stamp: int) -> None:
        """The row of that moment."""
        before = self._executed
        row = sent.row(stamp)
        if before is None or before.sent.chunk.sequence != sent.chunk.sequence:
            self.chunks += 1
            self.rows += 1
            # All of them, where it was over when it came.
            self.late += sent.rows if stamp >= sent.end and sent.rows > 1 else row
            if before is not None and self._moving:
                self._note_boundary(before.sent.chunk, sent.chunk, stamp)
        elif row != before.row:
            self.rows += 1
        self._executed = Executing(sent, row, stamp)

    def _wait(self, waits: bool, elapsed: int) -> None:
        """The robot has no row, or has one again."""
        if waits and not self._starving:
            self.starved += 1
        if waits:
            self.starved_time += elapsed
        self._starving = waits

    def _note_boundary(self, before: ActionChunk, after: ActionChunk, stamp: int) -> None:
        """A newer chunk of the same instruction took over: how far apart are they then?"""
        goes_on = before.instruction_id == after.instruction_id
        if not goes_on or before.channels != after.channels:
            return
        self.boundaries += 1
        steps = after.values[row_at(after, stamp)] - before.values[row_at(before, stamp)]
        for name, step in zip(after.channels, steps.tolist()):
            channel = self._robot.get(name)
            if channel is not None and channel.turn and math.isfinite(step):
                step = math.remainder(step, channel.turn)
            self.jumps[name] = max(self.jumps.get(name, 0.0), abs(step))

    # -- what follows ------------------------------------------------------------------
    def executing(self, now: int) -> Executing | None:
        """What the gate executes, by its last report.

        None: it lets nothing pass, or its last report is not of `now` (ns): nobody knows.
        """
        return self._executed if self._moving and self._is_reported(now) else None

    def planned(self, now: int) -> SentChunk | None:
        """The chunk that the gate executes, or will as soon as it has it; None: nobody knows."""
        since = now - self._sent_at
        if self._newest != self._reported and 0 <= since <= LONGEST_PERIOD_NS:
            return self._sent.get(self._newest) if self._is_reported(now) else None
        executing = self.executing(now)
        return executing.sent if executing else None

    def _is_reported(self, now: int) -> bool:
        # Of two processes on a simulation's clock, one may be a little ahead.
        return abs(now - self._stamp) <= LONGEST_PERIOD_NS

    def expected_delay(self) -> int:
        """ns from an image to its chunk, for the next one: as the slowest of the last few."""
        return max(list(self._delays)[-RECENT:], default=0)

    def wanted(self, horizon: int, instruction_id: int, stamp: int, period: int, now: int) -> bool:
        """Whether an observation is to be answered now, so that the next chunk comes in time.

        Args:
            horizon: Rows of a chunk that are executed before the next is taken; 0: any.
            instruction_id: The observation's; a new one is answered at once.
            stamp: The observation's.
            period: ns until the next observation.
            now: By the clock of the reports' stamps, ns.
        """
        planned = self.planned(now)
        if not horizon or self._starts_over or planned is None:
            return True
        if planned.chunk.instruction_id != instruction_id:
            return True
        over = planned.chunk.stamp + min(horizon, planned.rows) * planned.step
        # An answer to the next observation would come too late.
        return over - stamp <= self.expected_delay() + period

    # -- what is told ------------------------------------------------------------------
    def values(self) -> dict[str, str]:
        """Key -> value for a DiagnosticStatus; nothing while no row was executed."""
        if not self.rows:
            return {}
        out = {
            "rows executed": f"{self.rows} of {self.chunks} chunks",
            "rows dropped late": str(self.late),
            "starved": f"{self.starved} times, {_seconds(self.starved_time)}",
            "boundaries": f"{self.boundaries}; largest jump: {self._jumps()}",
            "chunk lasts": _seconds(self._lasts),
        }
        if self._took:
            p50, p99 = self._percentiles()
            out["inference p50, p99"] = f"{p50 / 1e6:.0f} ms, {p99 / 1e6:.0f} ms"
        if verdict := self.verdict():
            out["cadence"] = verdict
        return out

    def summary(self) -> str:
        """The run in a line; empty where no row was executed."""
        if not self.rows:
            return ""
        share = round(100.0 * self.starved_time / max(self.time, 1))
        sentence = (
            f"{self.rows} rows of {self.chunks} chunks executed, {self.late} dropped late; "
            f"starved {self.starved} times ({_seconds(self.starved_time)}, {share} % of the time"
        )
        if self.too_old_time:
            sentence += f"; {_seconds(self.too_old_time)} as the image was too old: max_age"
        sentence += f"); {self.boundaries} boundaries, largest jump: {self._jumps()}"
        if self._took:
            p50, p99 = self._percentiles()
            sentence += (
                f"; inference p50 {p50 / 1e6:.0f} ms, p99 {p99 / 1e6:.0f} ms, "
                f"a chunk lasts {_seconds(self._lasts)}"
            )
        return sentence

    def verdict(self) -> str:
        """A sentence where the policy is too slow for its horizon; else nothing."""
        share = self.starved_time / max(self.time, 1)
        if not self._took or share < TELLING_SHARE:
            return ""
        takes, _ = self._percentiles()
        # A chunk takes over so long after its image, and at best the next one so long after it.
        if 2.0 * takes <= self._lasts:
            return ""
        too = " to compute" if takes > self._lasts else " to compute, and so does the next"
        return (
            f"one chunk lasts {_seconds(self._lasts)} and takes {_seconds(takes)}{too}: "
            f"{round(100.0 * share)} % of the time the robot waits; use a longer horizon, a faster "
            "engine, or a smaller model"
        )

    def _percentiles(self) -> tuple[float, float]:
        """The median and the 99th of what predictions took, ns."""
        p50, p99 = np.percentile(self._took, (50, 99))
        return float(p50), float(p99)

    def _jumps(self) -> str:
        """The largest at a boundary, of each channel in its unit."""
        texts: list[str] = []
        for name, jump in self.jumps.items():
            unit = self._robot[name].unit_mark if name in self._robot else ""
            texts.append(f"{name} {jump:.3g}{unit}")
        return ", ".join(texts) or "none"


def _seconds(nanoseconds: float) -> str:
    return f"{nanoseconds / NANOSECONDS:.2f} s"
