"""One goal of the action RunPolicy: what it waits for, and what ends it. No ROS here.

Times are steady ns, passed in. Whatever is in doubt ends the goal, and an end never starts
anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from vla_ros.core.types import POLICY, TELEOP, to_nanoseconds, to_seconds
from vla_ros.safety.gate import ARMED, State
from vla_ros.safety.rule import Verdict

# The gate reports every tick: one that is silent for so long is gone, or hangs.
REPORT_TIMEOUT_NS = to_nanoseconds(1.0)
# RunPolicy's outcomes
DONE = "done"
REFUSED = "refused"
STOPPED = "stopped"
TIMED_OUT = "timed_out"
CANCELED = "canceled"


@dataclass(frozen=True)
class RunEnd:
    """How a goal ended: one of the outcomes above, and a sentence."""

    outcome: str
    why: str


@dataclass(frozen=True)
class GateTick:
    """What a goal looks at in a SafetyReport; `age` of the observation behind the action, ns."""

    state: State
    verdict: Verdict
    reason: str
    instruction_id: int
    sequence: int
    age: int
    control_source: str = POLICY


class RowCount:
    """Counts the rows of action_chunk, of one instruction, that the gate let move the robot.

    Where positions were resampled (core/resampling.py), several of them are one row of the policy,
    and each lasts 20 ms at most. A row counts once, however many ticks of the gate it lasts, and a
    row that a newer chunk came before does not.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._last = (0, 0)  # sequence and row
        self._step = 0  # of the chunks, ns; 0: not known yet
        self._length = 1

    def note_chunk(self, step: int, length: int) -> None:
        """A chunk of the policy: ns between its rows, and how many there are."""
        self._step = max(0, step)
        self._length = max(1, length)

    def note(self, report: GateTick) -> None:
        """What the gate did in a tick."""
        if report.state is not State.ACTIVE or report.verdict > Verdict.LIMITED:
            return
        row = min(report.age // self._step, self._length - 1) if self._step else 0
        if (report.sequence, row) != self._last:
            self._last = (report.sequence, row)
            self.rows += 1


class PolicyRun:
    """A goal, from its arrival on.

    It waits for the gate's word first (`instruction_id` is None), then follows an instruction.

    Args:
        now: when it arrived.
        time_limit: how long the instruction may be followed, ns; 0: without end.
    """

    def __init__(self, now: int, time_limit: int) -> None:
        self.instruction_id: int | None = None
        self.report: GateTick | None = None  # the newest
        self.end: RunEnd | None = None
        self.count = RowCount()
        self._time_limit = time_limit
        self._began = now
        self._heard = now  # when the gate was heard last

    @property
    def may_start(self) -> bool:
        """Whether the gate is armed, and the instruction is not given yet."""
        armed = self.report is not None and self.report.state in ARMED
        return self.end is None and self.instruction_id is None and armed

    def start(self, instruction_id: int, now: int) -> None:
        """The instruction was given."""
        self.instruction_id = instruction_id
        self._began = now

    def finish(self, outcome: str, why: str) -> None:
        """It ends so; the first end holds."""
        self.end = self.end or RunEnd(outcome, why)

    def note_report(self, report: GateTick, now: int) -> None:
        """What the gate says."""
        self.report = report
        self._heard = now
        if report.state not in ARMED:
            self._note_disarmed(report)
        elif report.control_source == TELEOP:
            self._note_person()
        elif report.instruction_id == self.instruction_id:
            self.count.note(report)

    def _note_disarmed(self, report: GateTick) -> None:
        if self.instruction_id is None:
            self.finish(
                REFUSED,
                f"the gate is {report.state.name} ({report.reason}); a goal does not arm: that is "
                "for who stands beside the robot",
            )
        else:
            self.finish(STOPPED, f"the gate is {report.state.name}: {report.reason}")

    def _note_person(self) -> None:
        """Whoever gave the goal is to know at once that the policy no longer follows it."""
        if self.instruction_id is None:
            self.finish(REFUSED, "a person has the robot; it is to be given back first")
        else:
            self.finish(STOPPED, "a person took over")

    def note_operator(self, text: str) -> None:
        """A person gave an instruction, which then holds; empty: said a stop word."""
        if text:
            self.finish(STOPPED, f"another instruction was given: '{text}'")
        else:
            self.finish(STOPPED, "the operator said stop")

    def note_success(self, topic: str) -> None:
        """The success topic said true."""
        if self.instruction_id is not None:
            self.finish(DONE, f"{topic} said true")

    def look(self, now: int) -> None:
        """Ends the goal where nobody speaks any more, or its time is over."""
        silent = now - self._heard
        if silent > REPORT_TIMEOUT_NS:
            why = f"nothing was heard from the gate for {to_seconds(silent):.1f} s (safety_report)"
            self.finish(REFUSED if self.instruction_id is None else STOPPED, why)
        elif self.instruction_id is not None and 0 < self._time_limit <= now - self._began:
            limit_s = to_seconds(self._time_limit)
            self.finish(TIMED_OUT, f"the time limit of {limit_s:g} s is over")
