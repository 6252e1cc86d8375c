"""One fault, once: at full speed, measured, judged, mended, and brought back to full speed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from vla_ros.bench.faults.arm_table import CONTROL
from vla_ros.bench.faults.fault_table import BUSY, NEVER, PERIOD, Fault, lateness
from vla_ros.bench.faults.stack import LIMIT, Heard, Suite
from vla_ros.bench.lateness import DISTURBED_S

# its own finding where the machine gave it no time: safe, and no fault of ours
PAUSED = "the gate itself stood still"
TOO_FAST = LIMIT + 0.05  # rad/s; MuJoCo's wheels overshoot a little
ATTEMPTS = 3  # at a fault while the machine is too late to judge by


@dataclass
class Result:
    """`seconds`: from the fault to standstill; `wire`: to the first zero that reached the robot.
    NaN: not measured."""

    fault: str
    seconds: float = float("nan")
    wire: float = float("nan")
    rule: str = ""
    stopped_by: str = ""
    state: str = ""
    back: str = ""
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    not_run: str = ""
    starved: float = 0.0  # s, by which the simulated robot's own control step was late at most
    late: float = 0.0  # s, the longest time between two reports of the gate, less its period
    machine: float = 0.0  # s, the longest that a process which only sleeps was woken late meanwhile
    took: float = 0.0  # s, with all that is around it
    # rad, how far a joint went from where it stood, until somebody gave leave
    moved: float = float("nan")

    def sentence(self) -> str:
        if self.not_run:
            return f"{self.fault}: not run: {self.not_run}"
        parts = [
            f"{self.seconds:.3f} s to standstill, {self.wire:.3f} s to a zero at the robot",
            self.stopped_by,
            f"then {self.state}",
            f"a person has to: {self.back}",
            f"the gate late by {self.late * 1e3:.0f} ms",
            f"the robot's own step by {self.starved * 1e3:.0f} ms",
            f"the machine by {self.machine * 1e3:.0f} ms",
            *(
                [f"then no joint moved more than {self.moved:.3f} rad"]
                if math.isfinite(self.moved)
                else []
            ),
            f"{self.took:.1f} s in all",
            *self.notes,
            *(f"PROBLEM: {text}" for text in self.problems),
        ]
        return f"{self.fault}: {'; '.join(parts)}"


def run(suite: Suite, fault: Fault) -> Result:
    """Ends at full speed again, ready for the next. TimeoutError where the suite does not get
    there.

    A fault in which something was wrong while the machine itself was late (DISTURBED_S) is tried
    again: nodes that get no time fall silent, queues overflow, and the gate finds that first. What
    is wrong with us is wrong each time.
    """
    if why := suite.cannot.get(fault.needs, ""):
        return Result(fault.name, not_run=why)
    disturbed: list[str] = []
    for _ in range(ATTEMPTS):
        suite.spin()
        began = time.monotonic()
        result = _attempt(suite, fault)
        result.machine = suite.machine.late(began)
        if not result.problems or result.machine <= DISTURBED_S:
            break
        disturbed.append(
            f"disturbed: the machine was late by {result.machine:.2f} s; "
            f"{'; '.join(result.problems)}"
        )
    if not result.problems:
        result.notes += disturbed
    return result


def _attempt(suite: Suite, fault: Fault) -> Result:
    result = Result(fault.name)
    suite.notes = result.notes
    suite.problems = result.problems
    del suite.feedback[:]
    began = time.monotonic()
    since = fault.inject(suite)
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
    stands_since = since + result.seconds
    moved_then = any(sample.moving for sample in suite.since(since - 0.05) if sample.when <= since)
    stood = stands_since if moved_then else since
    suite.watch(fault.lasts)
    _check_standing(suite, fault, stood, stands_since, "while the fault lasted", result)
    last = suite.reports[-1]
    # the gate's, while the fault lasts
    heard = last if time.monotonic() - last.when < 0.15 else None
    if fault.tells:
        _expect(
            suite,
            lambda: any(fault.tells in said for said in suite.feedback),
            5.0,
            f"the operator hears '{fault.tells}'",
            result,
        )
    fault.mend(suite)
    suite.stages = {}
    if fault.itself == NEVER:
        heard = heard or suite.fresh(30.0)
        if "holding" not in fault.after:
            suite.utter("spin")  # whatever is said, it stays so
        suite.watch(0.6)
        _check_standing(suite, fault, stood, stands_since, "with nobody's leave", result)
    heard = heard or suite.fresh(30.0)
    result.state = heard.state
    if heard.reason.startswith(PAUSED) and "stopped" not in fault.after:
        result.notes.append(f"the machine was too busy for the gate, which latched: {heard.reason}")
    elif result.state not in fault.after:
        result.problems.append(
            f"the gate was {heard.state} ({heard.reason}) afterwards, not "
            f"{' or '.join(sorted(fault.after))}"
        )
    # waits until all nodes are back
    done = suite.spin(0.0 if fault.itself == NEVER else fault.patience)
    result.back = ", ".join(done) or "nothing"
    if fault.itself == NEVER and not done:
        result.problems.append("the robot went on when all nodes were back, with nobody's leave")
    result.late = lateness(
        [heard.stamp for heard in list(suite.reports) if began < heard.when < stands_since + 0.3]
    )
    result.took = time.monotonic() - began
    samples = suite.since(began)
    fastest = max((abs(sample.speeds[-1]) for sample in samples), default=0.0)
    allowed = TOO_FAST
    if fault.world == "arm":  # a controller that was kept waiting catches up with its commands
        allowed += (
            LIMIT * (PERIOD + max(0.0, lateness([sample.when for sample in samples]))) / CONTROL
        )
    if fastest > allowed and not fault.springs:  # what springs is judged by how far
        result.problems.append(f"the robot moved at {fastest:.2f} rad/s; its limit is {LIMIT:g}")
    return result


def _measure(suite: Suite, fault: Fault, since: float, result: Result) -> None:
    late = 0.0
    if fault.measure == "gate":
        suite.wait(lambda: suite.stopped_by(since, time.monotonic()), 5.0, "the gate holds")
        found = suite.stopped_by(since, time.monotonic())
        assert found
        result.seconds = found.when - since
    else:
        result.seconds = suite.standstill(since, fault.limit + 3.0)
        late = suite.machine.late(since - 0.1, since + result.seconds + 0.05)
        # heard as late as the machine was
        found = suite.stopped_by(since, since + result.seconds + 0.02 + late)
        zero = suite.zero_sent(since)
        result.wire = zero if zero is not None and zero <= result.seconds else float("nan")
        steps = [
            sample.when
            for sample in suite.since(since - 0.1)
            if sample.when <= since + result.seconds + 0.1
        ]
        result.starved = lateness(steps)
    result.rule = found.rule if found else "zero" if result.wire == result.wire else "driver"
    result.stopped_by = _words(found, result.rule, suite.alone)
    allowed = fault.limit + BUSY + late + max(0.0, result.starved)
    # a reader that was stopped can keep a writer waiting in DDS' shared memory
    if fault.measure == "gate":
        allowed += lateness(
            [heard.stamp for heard in list(suite.reports) if heard.when > since - 0.1]
        )
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
    """It stands from `since` on; a joint that something held may go so far from where it was at
    `stood`."""
    before = [sample for sample in suite.since(stood - 0.05) if sample.when <= stood]
    places = [sample.positions for sample in (*before[-1:], *suite.since(stood))]
    ways = [abs(place - first) for there in places for place, first in zip(there, places[0])]
    result.moved = max(ways, default=float("nan"))
    if fault.springs and result.moved > fault.springs:
        result.problems.append(
            f"a joint moved by {result.moved:.3f} rad {when}; at most {fault.springs:g} rad"
        )
    if not fault.springs and any(sample.moving for sample in suite.since(since + 0.05)):
        result.problems.append(f"the robot moved again {when}")


def _words(found: Heard | None, rule: str, alone: str) -> str:
    if found:
        return f"{found.rule}: {found.reason}"
    return "the gate's last word, a zero" if rule == "zero" else alone


def _expect(
    suite: Suite, condition: Callable[[], bool], seconds: float, what: str, result: Result
) -> None:
    try:
        suite.wait(condition, seconds, what)
    except TimeoutError:
        result.problems.append(f"not so: {what}; heard: {suite.feedback[-5:]}")
