"""A goal of RunPolicy, without ROS: what it waits for, what ends it, and which rows count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vla_ros.nodes.policy_run import (
    CANCELED,
    DONE,
    REFUSED,
    REPORT_TIMEOUT_NS,
    STOPPED,
    TIMED_OUT,
    GateTick,
    PolicyRun,
    RowCount,
    RunEnd,
)
from vla_ros.safety.gate import State
from vla_ros.safety.rule import Verdict

MS = 1_000_000
ID = 7


def report(state: State = State.ACTIVE, verdict: Verdict = Verdict.PASSED, reason: str = "", instruction_id: int = ID,
           sequence: int = 1, age: int = 0) -> GateTick:
    return GateTick(state, verdict, reason, instruction_id, sequence, age)


def running(time_limit: int = 0) -> PolicyRun:
    """A goal whose instruction was given at 0."""
    run = PolicyRun(0, time_limit)
    run.note_report(report(State.HOLDING, Verdict.HELD), 0)
    assert run.may_start
    run.start(ID, 0)
    return run


@pytest.mark.parametrize("state", State)
def test_it_starts_where_the_gate_is_armed_and_is_refused_elsewhere(state: State) -> None:
    run = PolicyRun(0, 0)
    assert not run.may_start and run.end is None  # nothing is known of the gate yet
    run.note_report(report(state, Verdict.HELD, "so it is"), 0)
    armed = state in (State.HOLDING, State.ACTIVE)
    assert run.may_start == armed
    assert run.end == (None if armed else RunEnd(REFUSED, (
        f"the gate is {state.name} (so it is); a goal does not arm: that is for who stands beside the robot")))


@pytest.mark.parametrize("state", [State.DISARMED, State.STOPPED])
def test_a_gate_that_is_no_longer_armed_stops_it(state: State) -> None:
    run = running()
    run.note_report(report(state, Verdict.STOPPED, "the stop is pressed"), 1)
    assert run.end == RunEnd(STOPPED, f"the gate is {state.name}: the stop is pressed")


@pytest.mark.parametrize(("silent", "ended"), [(-1, False), (0, False), (1, True)])
@pytest.mark.parametrize("given", [True, False])
def test_a_gate_that_says_nothing_ends_it(silent: int, ended: bool, given: bool) -> None:
    run = running() if given else PolicyRun(0, 0)
    run.look(REPORT_TIMEOUT_NS + silent)
    assert (run.end is not None) == ended
    if run.end:
        assert run.end.outcome == (STOPPED if given else REFUSED)
        assert run.end.why == "nothing was heard from the gate for 1.0 s (safety_report)"


@pytest.mark.parametrize(("now", "ended"), [(199 * MS, False), (200 * MS, True), (201 * MS, True)])
def test_the_time_limit_counts_from_the_instruction(now: int, ended: bool) -> None:
    run = PolicyRun(0, 200 * MS)
    run.note_report(report(State.HOLDING), 50 * MS)
    run.look(300 * MS)
    assert run.end is None  # it waits for the gate's word still
    run.start(ID, 300 * MS)
    run.look(300 * MS + now)
    assert run.end == (RunEnd(TIMED_OUT, "the time limit of 0.2 s is over") if ended else None)


def test_without_a_limit_it_goes_on() -> None:
    run = running()
    run.note_report(report(), 10**15)
    run.look(10**15)
    assert run.end is None


def test_success_counts_once_the_instruction_is_given() -> None:
    run = PolicyRun(0, 0)
    run.note_success("/done")
    assert run.end is None
    run = running()
    run.note_success("/done")
    assert run.end == RunEnd(DONE, "/done said true")


@pytest.mark.parametrize(("text", "why"), [
    ("turn left", "another instruction was given: 'turn left'"), ("", "the operator said stop")])
@pytest.mark.parametrize("given", [True, False])
def test_an_operator_who_speaks_stops_it_also_before_it_started(text: str, why: str, given: bool) -> None:
    run = running() if given else PolicyRun(0, 0)
    run.note_operator(text)
    assert run.end == RunEnd(STOPPED, why)
    run.note_report(report(State.HOLDING), 1)
    assert not run.may_start


def test_the_first_end_holds() -> None:
    run = running(1)
    run.finish(CANCELED, "the goal was canceled")
    run.note_report(report(State.STOPPED), 5)
    run.note_success("/done")
    run.look(10**12)
    assert run.end == RunEnd(CANCELED, "the goal was canceled") and not run.may_start


@pytest.mark.parametrize(("change", "rows"), [
    ({}, 1), ({"verdict": Verdict.LIMITED}, 1), ({"verdict": Verdict.HELD}, 0), ({"verdict": Verdict.STOPPED}, 0),
    ({"state": State.HOLDING}, 0), ({"instruction_id": ID - 1}, 0)])
def test_a_row_counts_that_moved_the_robot_for_this_goal(change: dict[str, Any], rows: int) -> None:
    run = running()
    run.note_report(report(**change), 1)
    assert run.count.rows == rows


def test_a_row_counts_once_and_the_last_one_lasts() -> None:
    count = RowCount()
    count.note_chunk(100 * MS, 3)
    for age in (0, 20, 99):
        count.note(report(age=age * MS))
    assert count.rows == 1
    for age in (100, 199, 200, 299, 300, 900):
        count.note(report(age=age * MS))
    assert count.rows == 3
    count.note(report(sequence=2, age=150 * MS))
    assert count.rows == 4


def test_without_a_chunk_heard_each_chunk_is_a_row() -> None:
    count = RowCount()
    for sequence in (1, 1, 2):
        count.note(report(sequence=sequence, age=500 * MS))
    assert count.rows == 2


def test_a_person_who_takes_over_ends_it_and_whoever_gave_it_is_told() -> None:
    run = running()
    run.note_report(replace(report(instruction_id=0, sequence=0), control_source="teleop"), 1)
    assert run.end == RunEnd(STOPPED, "a person took over")
    assert run.count.rows == 0


def test_while_a_person_has_the_robot_a_goal_is_refused() -> None:
    run = PolicyRun(0, 0)
    run.note_report(replace(report(State.HOLDING, Verdict.HELD), control_source="teleop"), 0)
    assert run.end == RunEnd(REFUSED, "a person has the robot; it is to be given back first")
