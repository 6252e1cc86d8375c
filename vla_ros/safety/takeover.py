"""Who has the robot: the policy, or a person who took it over with a stick.

A held deadman takes the robot from the policy at once, whatever else is wrong with what the stick
says; only `give_back` returns it. A press that ended, for whatever reason, moves nothing any more.
"""

from __future__ import annotations

import numpy as np

from vla_ros.core.robot import Robot
from vla_ros.core.types import ActionChunk, to_seconds
from vla_ros.safety.rules.teleop_stick import TELEOP_TIMEOUT
from vla_ros.safety.settings import MAX_FUTURE, Settings

AGAIN = "let go and press again"
HELD = f"the deadman is held from before; {AGAIN}"
LET_GO = "the deadman was let go; press it to drive, or give the robot back"


class Takeover:
    """What came from a stick, and what follows from it. Times in ns, `steady` and `stamp` as ever.

    A press lasts from when the deadman is pressed until it is let go. Each has a number, growing
    within a process, which its rows carry as their `instruction_id`; 0: no deadman is held.

    Attributes:
        has: a person has the robot, also after they let go.
        row: the newest row of a press, the last one's after it ended; None: given back since.
        why: why the stick moves nothing now, as a sentence; empty: it may.
    """

    def __init__(self) -> None:
        self.has = False
        self.row: ActionChunk | None = None
        self.why = ""
        self._offered: ActionChunk | None = None  # the last row that was looked at
        self._press = 0  # the number of the press that goes on; 0: none does
        self._over: dict[str, int] = {}  # process -> its presses up to this number are over
        self._armed = 0  # when the gate was armed, ROS time
        self._looked = 0  # steady
        self._held: tuple[str, int] | None = None  # who held a deadman last, and when (steady)
        self._admitted = (0, 0)  # when a newer message came (steady), and its age by its stamp
        self._same_since = 0  # steady time from which every row has had the same velocities

    def begin(self, row: ActionChunk | None, stamp: int) -> None:
        """The gate is armed: what was pressed before moves nothing.

        Args:
            row: the newest that came, whether it was looked at or not.
            stamp: of the arming; a press whose first row is older is over.
        """
        self.end(f"it was pressed before the arming; {AGAIN}")
        self._armed = stamp
        if row is not None:
            self._give_up(row)

    def look(
        self,
        row: ActionChunk | None,
        steady: int,
        stamp: int,
        armed: bool,
        robot: Robot,
        settings: Settings,
    ) -> None:
        """Takes a newly arrived row, once, and ends a press that is in doubt.

        Args:
            row: the newest that came; what was looked at before is passed over.
            armed: unarmed, no press begins or goes on.
        """
        self._looked = steady
        if not armed:
            self._held = None
        if row is not None and row is not self._offered:
            self._offered = row
            self._arrive(row, steady, stamp, armed, robot)
        if not self._press:
            return
        age = self.age(steady, stamp)
        if not armed:
            self.end(f"the gate was not armed; {AGAIN}")
        elif age > settings.ns(TELEOP_TIMEOUT):
            self.end(
                f"the stick's newest message is {to_seconds(age):.3f} s old; at most "
                f"{settings[TELEOP_TIMEOUT]:g} s (teleop_timeout); {AGAIN}"
            )
        elif age < -settings.ns(MAX_FUTURE):
            self.end(
                f"the stick's message is {to_seconds(-age):.3f} s in the future; set the clocks of "
                f"both machines; {AGAIN}"
            )

    def _arrive(self, row: ActionChunk, steady: int, stamp: int, armed: bool, robot: Robot) -> None:
        press = row.instruction_id
        if press == 0:
            self.end(LET_GO)
            if self._held and self._held[0] == row.process:
                self._held = None
            return
        if not armed:
            self._give_up(row)
            return
        self._held = (row.process, steady)
        if not row.channels:  # a deadman that is held, of a stick that is to move nothing
            self.end(HELD)
            self._give_up(row)
        before = self.row if self._press else None
        if before is not None and (row.process, press) == (before.process, self._press):
            if _late(row, before):
                return
            if _speeds(before, robot) != _speeds(row, robot):
                self._same_since = steady
            # The same message again is no younger for it: a stick that repeats itself grows old.
            if row.stamp != before.stamp:
                self._admitted = (steady, stamp - row.stamp)
            self.row = row
        elif self._begins(row, before):
            self.end(AGAIN)
            self._press = press
            self._same_since = steady
            self._take(row, "", steady, stamp)
        else:
            self._give_up(row)
            if before is None:
                why = HELD if self.why in ("", LET_GO) else self.why
                self._take(row, why, steady, stamp)

    def _take(self, row: ActionChunk, why: str, steady: int, stamp: int) -> None:
        """Who holds a deadman has the robot, moved or not: no policy drives under their hand."""
        self.has = True
        self.row = row
        self.why = why
        self._admitted = (steady, stamp - row.stamp)

    def _begins(self, row: ActionChunk, before: ActionChunk | None) -> bool:
        """Whether this row's press begins here; `before` is of one that goes on."""
        if row.instruction_id <= self._over.get(row.process, 0) or row.stamp < self._armed:
            return False
        # Another process's deadman is let go and pressed again, once this one's is let go.
        return before is None or row.process == before.process

    def _give_up(self, row: ActionChunk) -> None:
        """The press of this row, if it is one, is over."""
        self._over[row.process] = max(self._over.get(row.process, 0), row.instruction_id)

    def end(self, why: str) -> None:
        """The press that goes on is over; one that is over keeps its first reason."""
        if self._press and self.row is not None:
            self._give_up(self.row)
            self._press = 0
            self.why = why

    def age(self, steady: int, stamp: int) -> int:
        """Of the stick's newest message: the larger by the ROS clock and by the steady one."""
        if self.row is None:
            return 0
        return max(stamp - self.row.stamp, self._admitted[1] + steady - self._admitted[0])

    def repeated(self, steady: int) -> int:
        """ns for which every row of the press has had the same velocities."""
        return steady - self._same_since if self._press else 0

    def give_back(self, settings: Settings) -> tuple[bool, str]:
        """Whether the policy has the robot again, and a sentence."""
        if not self.has:
            return False, "nobody took the robot over; the policy has it"
        if self._held and self._looked - self._held[1] <= settings.ns(TELEOP_TIMEOUT):
            return False, "the deadman is held; let it go first"
        self.has = False
        self.row = None
        self.why = ""
        return True, "the policy has the robot again"


def _late(row: ActionChunk, before: ActionChunk) -> bool:
    """Whether `row` was made before what is there already."""
    if row.process == before.process and 0 < row.sequence <= before.sequence:
        return True
    return row.stamp < before.stamp


def _speeds(row: ActionChunk, robot: Robot) -> dict[str, float]:
    """The row's velocities; a joint that moves on hides no base whose stick hangs."""
    known = {channel.name for channel in robot.channels if channel.is_velocity}
    speeds: dict[str, float] = {}
    for name, value in zip(row.channels, np.ravel(row.values)):  # of whatever shape
        if name in known:
            speeds[name] = float(value)
    return speeds
