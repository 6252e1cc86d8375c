"""What the gate remembers from one tick to the next: the clocks, and the actions as they came."""

from __future__ import annotations

import math

import numpy as np

from vla_ros.core.chunks import row_at
from vla_ros.core.robot import Robot
from vla_ros.core.types import ActionChunk, Instruction, to_seconds
from vla_ros.safety.rule import Finding
from vla_ros.safety.rules.chunk_continuity import DISCONTINUITY_HOLD
from vla_ros.safety.rules.chunk_order import Arrival, chunk_order
from vla_ros.safety.rules.clock import CLOCK_JUMP
from vla_ros.safety.rules.observation_age import MAX_AGE
from vla_ros.safety.settings import MAX_FUTURE, Settings

# So long after a chunk the next one's number says which is older: later, a process may have begun
# to count anew.
SEQUENCE_VALID_NS = 1_000_000_000
# So long the last row holds where its step is shorter: the next chunk may come late.
LAST_ROW_HOLD_NS = 400_000_000
CLOCK_SETTLING_NS = 1_000_000_000  # after a jump of the clock, before a reset is allowed


class ClockMonitor:
    """The steady clock and the ROS clock, held against each other. All times in ns."""

    def __init__(self) -> None:
        self._previous: tuple[int, int] | None = None  # steady and stamp of the look before
        self._moved = 0  # steady time at which the ROS clock last moved
        self._jumped: int | None = None  # steady time at which it last jumped

    def look(self, steady: int, stamp: int, settings: Settings) -> tuple[int, str]:
        """Compares both clocks with the look before.

        Returns:
            How long ago that was by the steady clock, and what is wrong, or nothing: a step of
            either clock stops the robot.
        """
        previous = self._previous
        self._previous = (steady, stamp)
        if previous is None:
            self._moved = steady
            return 0, ""
        previous_steady, previous_stamp = previous
        if stamp != previous_stamp:
            self._moved = steady
        pause = steady - previous_steady
        if pause < 0:
            return 0, f"the steady clock went back by {to_seconds(-pause):.2f} s"
        if pause > settings.ns(CLOCK_JUMP):
            return pause, f"the gate itself stood still for {to_seconds(pause):.2f} s"
        # Since the look before only: a clock that stands still is for rule `clock` to see.
        jump = (stamp - previous_stamp) - pause
        if abs(jump) > settings.ns(CLOCK_JUMP):
            self._jumped = steady
            return pause, f"the ROS clock jumped by {to_seconds(jump):+.2f} s"
        return pause, ""

    def still(self, steady: int) -> int:
        """For how long the ROS clock has not moved."""
        return steady - self._moved if self._previous else 0

    def settled(self, steady: int) -> bool:
        """Whether the last jump is long enough ago to arm or to reset."""
        return self._jumped is None or steady - self._jumped > CLOCK_SETTLING_NS


class ChunkBuffer:
    """The newest chunk that is not late, and what follows from it and those before it.

    All times in ns: `steady` on the steady clock, `stamp` on the ROS clock.
    """

    def __init__(self) -> None:
        self.chunk: ActionChunk | None = None
        self._not_before = 0  # a chunk of an older image (its stamp) is late
        self._offered: ActionChunk | None = None  # the last one that was looked at, late or not
        self._admitted = (0, 0)  # when its image came (steady), and how old that was by its stamp
        self._same_since = 0  # steady time from which every chunk has been equal
        self._taken = 0  # when `chunk` came, steady
        self._discontinuity = (0, "")  # until when (steady), and why
        self._instruction = (-1, 0)  # its instruction_id, and when it was first seen (steady)
        self.newest_instruction_id = 0

    def forget(self, not_before: int = 0) -> None:
        """A person begins anew: what was sent before is no measure of what is sent from now on.

        Args:
            not_before: a chunk whose image is older than this is late; ROS time, ns.
        """
        self.chunk = None
        self._not_before = not_before

    def take(
        self,
        chunk: ActionChunk | None,
        instruction: Instruction | None,
        steady: int,
        stamp: int,
        robot: Robot,
        settings: Settings,
    ) -> Finding | None:
        """Considers a newly arrived chunk, once; a finding where it is late.

        The gate gives the newest at every tick: what was looked at before is passed over.
        """
        if instruction is not None and instruction.instruction_id != self._instruction[0]:
            self._instruction = (instruction.instruction_id, steady)
            self.newest_instruction_id = max(self.newest_instruction_id, instruction.instruction_id)
        if chunk is None or chunk is self._offered:
            return None
        self._offered = chunk
        before = self.chunk
        if before is not None and before.stamp > stamp + settings.ns(MAX_FUTURE):
            before = None  # one from the future is no reason to call the next one late
        numbered = before is not None and steady - self._taken <= SEQUENCE_VALID_NS
        late = chunk_order(Arrival(chunk, before, instruction, numbered, self._not_before))
        if late:
            return late
        # After a gap, what was planned before it is no measure of what comes now.
        recent = self.age(steady, stamp) <= settings.ns(MAX_AGE)
        why = _discontinuity(before, chunk, stamp, robot) if recent else ""
        if why:
            self._discontinuity = (steady + settings.ns(DISCONTINUITY_HOLD), why)
        if (
            before is None
            or before.instruction_id != chunk.instruction_id
            or not _equal(before, chunk)
        ):
            self._same_since = steady
        self.chunk = chunk
        self._taken = steady
        # The same image again is no younger for it.
        if before is None or chunk.stamp != before.stamp:
            self._admitted = (steady, stamp - chunk.stamp)
        return None

    def age(self, steady: int, stamp: int) -> int:
        """Of the image behind the action: the larger by the ROS clock and by the steady one.

        So neither a ROS clock that goes back nor one that stands makes an image younger.
        """
        if self.chunk is None:
            return 0
        return max(stamp - self.chunk.stamp, self._admitted[1] + steady - self._admitted[0])

    def ended(self, stamp: int) -> int:
        """ns since the chunk's last row was over; negative while it holds."""
        if self.chunk is None or self.chunk.values.ndim != 2:  # `chunk_shape` says so
            return 0
        step = max(self.chunk.step, 0)
        last_row = self.chunk.stamp + (len(self.chunk.values) - 1) * step
        return stamp - last_row - max(step, LAST_ROW_HOLD_NS)

    def repeated(self, steady: int) -> int:
        """ns for which every chunk has been the same."""
        return steady - self._same_since if self.chunk else 0

    def discontinuity(self, steady: int) -> str:
        """Why the newest chunk is not to be trusted for a moment, or nothing."""
        until, why = self._discontinuity
        return why if steady < until else ""

    def instruction_age(self, instruction: Instruction | None, steady: int, stamp: int) -> int:
        """Of the newest instruction: the larger by the ROS clock and by the steady one."""
        if instruction is None:
            return 0
        return max(stamp - instruction.stamp, steady - self._instruction[1])


def _equal(before: ActionChunk, after: ActionChunk) -> bool:
    return before.channels == after.channels and np.array_equal(before.values, after.values)


def _discontinuity(before: ActionChunk | None, after: ActionChunk, stamp: int, robot: Robot) -> str:
    """Why two chunks that answer the same instruction contradict each other now, or nothing.

    They do where a channel's rows for this moment are more than its `max_step` apart.
    """
    if (
        before is None
        or before.instruction_id != after.instruction_id
        or before.channels != after.channels
    ):
        return ""
    if not _has_rows(before) or not _has_rows(after):
        return ""  # `chunk_shape` says so
    with np.errstate(invalid="ignore", over="ignore"):  # `finite_values` says so
        steps = after.values[row_at(after, stamp)] - before.values[row_at(before, stamp)]
    known = {channel.name: channel for channel in robot.channels}
    for name, step in zip(after.channels, steps.tolist()):
        channel = known.get(name)
        if channel is None:
            continue  # `chunk_shape` says so
        if channel.turn and math.isfinite(step):  # a whole turn apart is the same place
            step = math.remainder(step, channel.turn)
        if abs(step) > channel.max_step:
            return (
                f"{name} jumps by {step:+.3g}{channel.unit_mark} between two chunks; "
                f"at most {channel.max_step:g}{channel.unit_mark}"
            )
    return ""


def _has_rows(chunk: ActionChunk) -> bool:
    """Whether its values are rows x channels, at least one row of them."""
    values = chunk.values
    return values.ndim == 2 and values.shape[1] == len(chunk.channels) and len(values) > 0
