"""One fault, once: at full speed, measured, judged, mended, and brought back to full speed."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np

from vla_ros.bench.faults.arm_table import INTERPOLATION_S
from vla_ros.bench.faults.fault_table import BUSY_ALLOWANCE_S, GATE_PERIOD_S, Fault, lateness
from vla_ros.bench.faults.stack import LIMIT_RAD_S, REPORT_AGE_S, GateReport, Suite
from vla_ros.bench.lateness import DISTURBED_S

# its own finding where the machine gave it no time: safe, and no fault of ours
PAUSED_REASON = "the gate itself stood still"
TOO_FAST_RAD_S = LIMIT_RAD_S + 0.05  # MuJoCo's wheels overshoot a little
HEARING_S = 0.15  # after standstill; a gate that came back would report a second later
NOTHING = "nothing"  # in place of a rule, where the robot went on
ATTEMPTS = 3  # at a fault while the machine is too late to judge by


@dataclass
class Result:
    """What came of a fault. NaN: not measured."""

    fault: str
    seconds: float = math.nan  # from the fault to standstill
    wire: float = math.nan  # s, from the fault to the first zero that reached the robot
    rule: str = ""  # that caught it, or one of the words in Fault.rules
    stopped_by: str = ""  # the same as a sentence
    state: str = ""  # the gate's, afterwards
    back: str = ""  # what a person had to do until the robot moved again
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    not_run: str = ""  # why it was not tried
    starved: float = 0.0  # s, by which the simulated robot's own control step was late at most
    late: float = 0.0  # s, the longest time between two reports of the gate, less its period
    machine: float = 0.0  # s, the longest that a process which only sleeps was woken late meanwhile
    took: float = 0.0  # s, with all that is around it
    # rad, how far a joint went from where it stood, until somebody gave leave
    moved: float = math.nan

    def sentence(self) -> str:
        """All of it in a line."""
        if self.not_run:
            return f"{self.fault}: not run: {self.not_run}"
        parts = [
            f"{self.seconds:.3f} s to standstill, {self.wire:.3f} s to a zero at the robot"
            if self.rule != NOTHING
            else "the robot goes on",
            self.stopped_by,
            f"then {self.state}",
            f"a person has to: {self.back}",
            f"the gate late by {self.late * 1e3:.0f} ms",
            f"the robot's own step by {self.starved * 1e3:.0f} ms",
            f"the machine by {self.machine * 1e3:.0f} ms",
        ]
        if math.isfinite(self.moved):
            parts.append(f"then no joint moved more than {self.moved:.3f} rad")
        parts += [f"{self.took:.1f} s in all", *self.notes]
        parts += map("PROBLEM: {}".format, self.problems)
        return f"{self.fault}: {'; '.join(parts)}"


def run(suite: Suite, fault: Fault) -> Result:
    """Makes the fault; ends at full speed again, ready for the next.

    A fault in which something was wrong while the machine itself was late (DISTURBED_S) is tried
    again: nodes that get no time fall silent, queues overflow, and the gate finds that first. What
    is wrong with us is wrong each time. So it is where nothing may come of a fault: a hold beside
    it, of another cause, is told from one that it causes only by another try.

    Raises:
        TimeoutError: the suite does not get to full speed.
    """
    if why := suite.cannot.get(fault.needs, ""):
        return Result(fault.name, not_run=why)
    disturbed: list[str] = []
    for _ in range(ATTEMPTS):
        suite.spin()
        began = time.monotonic()
        result = _attempt(suite, fault)
        result.machine = suite.machine.late(began)
        if not result.problems or (result.machine <= DISTURBED_S and not fault.goes_on):
            break
        disturbed.append(
            f"disturbed: the machine was late by {result.machine:.2f} s; "
            f"{'; '.join(result.problems)}"
        )
    if not result.problems:
        result.notes += disturbed
    return result


def _attempt(suite: Suite, fault: Fault) -> Result:
    """One try: the fault, standstill, the mending, and what it takes to move again."""
    result = Result(fault.name)
    suite.notes = result.notes  # an `inject` or `mend` may have something to say
    suite.problems = result.problems
    del suite.feedback[:]
    began = time.monotonic()
    since = fault.inject(suite)
    if fault.goes_on:
        _keep_going(suite, fault, since, result)
        result.took = time.monotonic() - began
        return result
    try:
        _measure(suite, fault, since, result)
    except TimeoutError as error:  # the worst there is; but the next fault wants to be tried too
        sample = suite.motion[-1]
        result.problems.append(
            f"the robot did not stand; its speeds were {sample.speeds} "
            f"{time.monotonic() - sample.when:.2f} s ago: {error}"
        )
        fault.mend(suite)
        suite.spin(fault.patience)
        result.took = time.monotonic() - began
        return result
    stands_since = since + max(result.seconds, fault.arrives_within)
    if time.monotonic() < stands_since:
        suite.watch(stands_since - time.monotonic())
    stood = stands_since if suite.moved(since - 0.05, since) else since
    suite.watch(fault.lasts)
    _check_standing(suite, fault, stood, stands_since, "while the fault lasted", result)
    last = suite.reports[-1]
    # what the gate says while the fault lasts, unless it is gone
    report = last if time.monotonic() - last.when < REPORT_AGE_S else None
    if fault.tells:
        _expect_feedback(suite, fault.tells, result)
    fault.mend(suite)
    suite.stages = {}  # the supervisor's old ones say nothing about who is back
    if not fault.may_resume:
        report = report or suite.fresh(30.0)
        if "holding" not in fault.after:
            suite.utter("spin")  # whatever is said, it stays so
        suite.watch(0.6)
        _check_standing(suite, fault, stood, stands_since, "with nobody's leave", result)
    _check_state(fault, report or suite.fresh(30.0), result)
    # waits until all nodes are back
    done = suite.spin(fault.patience if fault.may_resume else 0.0)
    result.back = ", ".join(done) or "nothing"
    if not fault.may_resume and not done:
        result.problems.append("the robot went on when all nodes were back, with nobody's leave")
    result.late = lateness(suite.report_stamps(began, stands_since + 0.3))
    result.took = time.monotonic() - began
    _check_speed(suite, fault, began, result)
    return result


def _keep_going(suite: Suite, fault: Fault, since: float, result: Result) -> None:
    """Whether nothing came of it: the gate let everything pass, and the robot is at full speed."""
    suite.watch(fault.goes_on)
    until = time.monotonic()
    if held := suite.stopped_by(since, until):
        result.problems.append(
            f"it stopped the robot after {held.when - since:.3f} s, by {held.rule}: {held.reason}"
        )
    elif not suite.spinning():
        speeds = ", ".join(f"{sample.speeds[-1]:.2f}" for sample in suite.since(until - 0.2))
        result.problems.append(
            f"the robot was not at full speed {fault.goes_on:g} s later, but at {speeds} rad/s"
        )
    result.late = lateness(suite.report_stamps(since, until))
    result.starved = lateness(suite.step_times(since - 0.1, until))
    result.rule = result.stopped_by = NOTHING
    result.state = suite.reports[-1].state
    result.back = "nothing"
    fault.mend(suite)
    _check_speed(suite, fault, since, result)


def _measure(suite: Suite, fault: Fault, since: float, result: Result) -> None:
    """The time to standstill, what caused it, and whether both are as the table says.

    Raises:
        TimeoutError: the robot, or the gate where it is measured, does not stop.
    """
    late = 0.0
    if fault.measure == "gate":
        suite.wait(lambda: suite.stopped_by(since, time.monotonic()), 5.0, "the gate holds")
        report = suite.stopped_by(since, time.monotonic())
        assert report
        result.seconds = report.when - since
    else:
        result.seconds = suite.standstill(since, fault.limit + 3.0)
        end = since + result.seconds
        late = suite.machine.late(since - 0.1, end + 0.05)
        # What the gate did is heard later than done: by the machine's lateness, and by this
        # process' own, whose threads share an interpreter. The first that is heard was sent first.
        heard_by = end + HEARING_S + late
        report = suite.stopped_by(since, heard_by)
        if report is None:
            time.sleep(max(0.0, heard_by - time.monotonic()))
            report = suite.stopped_by(since, heard_by)
        zero = suite.zero_sent(since)
        if zero is not None and zero <= result.seconds:
            result.wire = zero
        result.starved = lateness(suite.step_times(since - 0.1, end + 0.1))
    if report:
        result.rule = report.rule
        result.stopped_by = f"{report.rule}: {report.reason}"
    elif math.isfinite(result.wire):
        result.rule = "zero"
        result.stopped_by = "the gate's last word, a zero"
    else:
        result.rule = "driver"
        result.stopped_by = suite.alone
    allowed = fault.limit + BUSY_ALLOWANCE_S + late + max(0.0, result.starved)
    # a reader that was stopped can keep a writer waiting in DDS' shared memory
    if fault.measure == "gate":
        allowed += lateness(suite.report_stamps(since - 0.1, math.inf))
    if result.seconds > allowed:
        result.problems.append(
            f"standstill after {result.seconds:.3f} s; {fault.limit:.2f} s are allowed, and "
            f"{allowed - fault.limit:.2f} s more on a busy machine; the robot's step came "
            f"{result.starved:.3f} s late"
        )
    # a flood held it long before; before any other fault it has no reason to
    if result.seconds == 0.0:
        last = suite.stopped_by(since - 1.0, since)
        result.rule = "stood"
        result.stopped_by = f"it stood already: {last.reason if last else 'nobody says why'}"
    if result.rule not in fault.rules:
        result.problems.append(
            f"stopped by {result.rule} ({result.stopped_by}), not by "
            f"{' or '.join(sorted(fault.rules))}"
        )


def _check_standing(
    suite: Suite, fault: Fault, stood: float, since: float, when: str, result: Result
) -> None:
    """Whether the robot stands from `since` on.

    Args:
        suite: where it happens.
        fault: it says how far a joint that something held may go.
        stood: steady s; where the joints were then, they are to be.
        since: steady s.
        when: for the sentence about what did not hold.
        result: takes the problems, and how far a joint moved.
    """
    before = [sample for sample in suite.since(stood - 0.05) if sample.when <= stood]
    positions = [sample.positions for sample in (*before[-1:], *suite.since(stood))]
    moves = np.abs(np.array(positions) - positions[0]) if positions else np.empty(0)
    result.moved = float(moves.max()) if moves.size else math.nan  # a base has no joints
    if fault.springs:
        if result.moved > fault.springs:
            result.problems.append(
                f"a joint moved by {result.moved:.3f} rad {when}; at most {fault.springs:g} rad"
            )
    elif suite.moved(since + 0.05):
        result.problems.append(f"the robot moved again {when}")


def _expect_feedback(suite: Suite, text: str, result: Result) -> None:
    awaited = f"the operator hears '{text}'"
    try:
        suite.wait(lambda: text in "\n".join(suite.feedback), 5.0, awaited)
    except TimeoutError:
        result.problems.append(f"not so: {awaited}; heard: {suite.feedback[-5:]}")


def _check_state(fault: Fault, report: GateReport, result: Result) -> None:
    """Whether the fault left the gate in a state that it may."""
    result.state = report.state
    if report.reason.startswith(PAUSED_REASON) and "stopped" not in fault.after:
        result.notes.append(
            f"the machine was too busy for the gate, which latched: {report.reason}"
        )
    elif report.state not in fault.after:
        result.problems.append(
            f"the gate was {report.state} ({report.reason}) afterwards, not "
            f"{' or '.join(sorted(fault.after))}"
        )


def _check_speed(suite: Suite, fault: Fault, since: float, result: Result) -> None:
    """Whatever happened, and in whatever way it went on: the robot kept to its limit."""
    fastest = max((abs(sample.speeds[-1]) for sample in suite.since(since)), default=0.0)
    allowed = TOO_FAST_RAD_S
    if fault.world == "arm":  # a controller that was kept waiting catches up with its commands
        kept_waiting = max(0.0, lateness(suite.step_times(since, math.inf)))
        allowed += LIMIT_RAD_S * (GATE_PERIOD_S + kept_waiting) / INTERPOLATION_S
    if fastest > allowed and not fault.springs:  # what springs is judged by how far
        result.problems.append(
            f"the robot moved at {fastest:.2f} rad/s; its limit is {LIMIT_RAD_S:g}"
        )
