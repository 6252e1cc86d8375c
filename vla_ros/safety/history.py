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

# so long a chunk's number says which is older: a process may count anew
NUMBERED_NS = 1_000_000_000
# so long a last row may hold, where its step is shorter: the next comes late
LAST_ROW_NS = 400_000_000
SETTLED_NS = 1_000_000_000  # after a jump of the clock, before a reset is allowed


class ClockMonitor:
    """The steady clock and the ROS clock, held against each other."""

    def __init__(self) -> None:
        self._then: tuple[int, int] | None = None  # steady and stamp of the step before
        self._moved = 0  # steady time at which the ROS clock last moved
        self._jumped: int | None = None

    def look(self, steady: int, stamp: int, settings: Settings) -> tuple[int, str]:
        """ns since the look before, and what is wrong: a step of either clock stops the robot."""
        then = self._then
        self._then = (steady, stamp)
        if then is None:
            self._moved = steady
            return 0, ""
        if stamp != then[1]:
            self._moved = steady
        pause = steady - then[0]
        if pause < 0:
            return 0, f"the steady clock went back by {to_seconds(-pause):.2f} s"
        if pause > settings.ns(CLOCK_JUMP):
            return pause, f"the gate itself stood still for {to_seconds(pause):.2f} s"
        jump = (stamp - then[1]) - pause
        if abs(jump) > settings.ns(CLOCK_JUMP):
            self._jumped = steady
            return pause, f"the ROS clock jumped by {to_seconds(jump):+.2f} s"
        return pause, ""

    def still(self, steady: int) -> int:
        """ns for which the ROS clock has not moved."""
        return steady - self._moved if self._then else 0

    def settled(self, steady: int) -> bool:
        return self._jumped is None or steady - self._jumped > SETTLED_NS


class ChunkBuffer:
    """The newest chunk that is not late, and what can be told from it and those before it."""

    def __init__(self) -> None:
        self.chunk: ActionChunk | None = None
        self._offered: ActionChunk | None = None
        self._admitted = (0, 0)  # steady time, age then
        self._same_since = 0
        self._taken = 0  # when `chunk` came, steady
        self._discontinuity = (0, "")  # until when (steady), and why
        self._instruction = (-1, 0)  # its instruction_id, and when it was first seen (steady)
        self.newest_instruction_id = 0

    def forget(self) -> None:
        """A person begins anew: what was sent before is no measure of what is sent from now on."""
        self.chunk = None

    def take(
        self,
        chunk: ActionChunk | None,
        instruction: Instruction | None,
        steady: int,
        stamp: int,
        robot: Robot,
        settings: Settings,
    ) -> Finding | None:
        """Considers a newly arrived chunk, once; a finding where it is late."""
        if instruction is not None and instruction.instruction_id != self._instruction[0]:
            self._instruction = (instruction.instruction_id, steady)
            self.newest_instruction_id = max(self.newest_instruction_id, instruction.instruction_id)
        if chunk is None or chunk is self._offered:
            return None
        self._offered = chunk
        before = self.chunk
        if before is not None and before.stamp > stamp + settings.ns(MAX_FUTURE):
            before = None  # one from the future is no reason to call the next one late
        numbered = before is not None and steady - self._taken <= NUMBERED_NS
        late = chunk_order(Arrival(chunk, before, instruction, numbered))
        if late:
            return late
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
        # the same image again is no younger for it
        if before is None or chunk.stamp != before.stamp:
            self._admitted = (steady, stamp - chunk.stamp)
        return None

    def age(self, steady: int, stamp: int) -> int:
        """Of the image behind the action: the larger by the ROS clock and by the steady one."""
        if self.chunk is None:
            return 0
        return max(stamp - self.chunk.stamp, self._admitted[1] + steady - self._admitted[0])

    def ended(self, stamp: int) -> int:
        """ns since the chunk's last row was over; negative while it holds."""
        if self.chunk is None or self.chunk.values.ndim != 2:  # `chunk_shape` says so
            return 0
        step = max(self.chunk.step, 0)
        return (
            stamp - self.chunk.stamp - (len(self.chunk.values) - 1) * step - max(step, LAST_ROW_NS)
        )

    def repeated(self, steady: int) -> int:
        """ns for which every chunk has been the same."""
        return steady - self._same_since if self.chunk else 0

    def discontinuity(self, steady: int) -> str:
        """Why the newest chunk is not to be trusted for a moment, or nothing."""
        until, why = self._discontinuity
        return why if steady < until else ""

    def instruction_age(self, instruction: Instruction | None, steady: int, stamp: int) -> int:
        """The larger by the ROS clock and by the steady one."""
        return max(stamp - instruction.stamp, steady - self._instruction[1]) if instruction else 0


def _equal(before: ActionChunk, after: ActionChunk) -> bool:
    return before.channels == after.channels and np.array_equal(before.values, after.values)


def _discontinuity(before: ActionChunk | None, after: ActionChunk, stamp: int, robot: Robot) -> str:
    """Where two chunks that answer the same instruction want things too far apart at this
    moment."""
    if (
        before is None
        or before.instruction_id != after.instruction_id
        or before.channels != after.channels
    ):
        return ""
    if not all(
        chunk.values.ndim == 2
        and chunk.values.shape[1] == len(chunk.channels)
        and len(chunk.values)
        for chunk in (before, after)
    ):
        return ""  # `chunk_shape` says so
    with np.errstate(invalid="ignore", over="ignore"):  # `finite_values` says so
        steps = after.values[row_at(after, stamp)] - before.values[row_at(before, stamp)]
    jumps = {channel.name: channel for channel in robot.channels}
    for name, step in zip(after.channels, steps.tolist()):
        turn = jumps[name].turn if name in jumps else 0.0
        if turn and math.isfinite(step):
            step = math.remainder(step, turn)
        if name in jumps and abs(step) > jumps[name].max_step:
            return (
                f"{name} jumps by {step:+.3g} {jumps[name].unit} between two chunks; "
                f"at most {jumps[name].max_step:g} {jumps[name].unit}"
            )
    return ""
