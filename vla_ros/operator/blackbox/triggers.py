"""When the flight recorder writes: what counts as a cause, and how many files a storm makes.

No ROS, no clock: times are steady ns, passed in.
"""

from __future__ import annotations

from vla_ros.core.types import to_nanoseconds
from vla_ros.operator.blackbox.story import FAULT_OVER_NS
from vla_ros.safety.gate import State

AFTERMATH_NS = to_nanoseconds(2.0)  # what follows a cause belongs to its story
MOST_REASONS = 20


class CauseWatch:
    """Finds the moments worth a file: the begin of a stop, of a halt and of a fault.

    What was so already when it was heard first is no moment: a recorder that comes back after its
    death finds a gate that stopped long ago.
    """

    def __init__(self) -> None:
        self._state: int | None = None
        self._halt: str | None = None
        self._faults: dict[tuple[str, str], int] = {}  # kind and source -> when last

    def on_report(self, state: int, reason: str) -> str:
        """The gate's state in a report: why that is a cause; empty: it is none."""
        before = self._state
        self._state = state
        if state == State.STOPPED and before not in (None, State.STOPPED):
            return f"the gate stopped: {reason}"
        return ""

    def on_halt(self, halted: bool, reason: str) -> str:
        """What the supervisor says; a reason without the flag halts as well."""
        now = (reason or "no reason is given") if halted or reason else ""
        before = self._halt
        self._halt = now
        return f"the supervisor halted the robot: {now}" if now and now != before else ""

    def on_fault(self, kind: str, source: str, text: str, now: int) -> str:
        """A fault that a node reports."""
        last = self._faults.get((kind, source))
        self._faults[kind, source] = now
        if last is not None and now - last < FAULT_OVER_NS:
            return ""
        return f"{kind} fault of {source}: {text}"


class WriteTriggers:
    """One file for all that happens within `settle` seconds, and a while after each cause.

    Args:
        settle: between two files, s; what an operator asks for is written at once.
    """

    def __init__(self, settle: float) -> None:
        self._settle = to_nanoseconds(settle)
        self._written: int | None = None
        self._due: int | None = None
        self._reasons: list[str] = []

    def note(self, reason: str, now: int, at_once: bool = False) -> None:
        """Something happened that is worth a file."""
        if len(self._reasons) < MOST_REASONS:
            self._reasons.append(reason)
        due = now if at_once else now + AFTERMATH_NS
        if not at_once and self._written is not None:
            due = max(due, self._written + self._settle)
        self._due = due if self._due is None else min(self._due, due)

    def take_due(self, now: int) -> list[str]:
        """Why a file is to be written now; empty: none is."""
        if self._due is None or now < self._due:
            return []
        return self.take_all(now)

    def take_all(self, now: int) -> list[str]:
        """Whatever waits, due or not: the process ends."""
        reasons = self._reasons
        self._reasons = []
        self._due = None
        self._written = now
        return reasons
