"""core/faults.py: which step comes when, below, at and above each time; and one at a time, whatever happens."""
from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.core.faults import (
    LASTING_NS,
    QUIET_RECOVERY_TIMES,
    REPEATS,
    SERVER_LOST,
    SETTLE_NS,
    STRATEGIES,
    Faults,
)
from vla_ros.core.types import to_nanoseconds, to_seconds

NODES = {"safety_validator": "", "camera_ingest": "vision", "camera_rear": "vision", "command_ingest": "language",
         "synchronizer": "communication", "inference": "action"}
OF = {"vision": "camera_ingest", "language": "command_ingest", "action": "inference",
      "communication": "synchronizer"}
ACTIONS = {"vision": ["restart_node"] * 3, "language": ["notify", "restart_node"], "action": ["reset_policy", "switch_to_fallback"],
           "communication": ["switch_to_fallback", "restart_node"]}
START = to_nanoseconds(1000.0)


class Story:
    """A handler, and a clock that only goes where it is told."""

    def __init__(self, kind: str = "action") -> None:
        self.faults = Faults(NODES)
        self.kind, self.target, self.now = kind, OF[kind], START
        self.strategy = STRATEGIES[kind]

    def report(self, after: int = 0) -> str:
        """What a fault that comes `after` ns from now leads to at once."""
        self.now += after
        self.faults.report(self.target, "it is broken", self.now)
        return self.next()

    def next(self, after: int = 0) -> str:
        self.now += after
        order = self.faults.next(self.now)
        return order.action if order else ""

    def take(self, after: int = 0) -> str:
        """Report, and carry out what comes of it."""
        action = self.report(after)
        self.faults.done(self.now)
        return action

    def exhaust(self) -> None:
        """Each step is tried in vain, until the robot is halted."""
        for _ in self.strategy.steps:
            self.report(SETTLE_NS)
            self.faults.failed("in vain", self.now)
            self.now += QUIET_RECOVERY_TIMES * self.strategy.recovery_of(9)
        assert self.next() == "halt" and self.next() == ""


@pytest.mark.parametrize("kind", STRATEGIES)
def test_the_times_and_the_steps_are_the_documented_ones(kind: str) -> None:
    assert to_seconds(STRATEGIES[kind].recovery) == {"vision": 5, "language": 3, "action": 10, "communication": 2}[kind]
    assert [step.action for step in STRATEGIES[kind].steps] == ACTIONS[kind]


@pytest.mark.parametrize("kind", ["language", "action", "communication"])
@pytest.mark.parametrize("later, escalates", [(SETTLE_NS, True), (-1, True), (0, True), (1, False)])
def test_a_fault_within_the_recovery_time_takes_the_next_step(kind: str, later: int, escalates: bool) -> None:
    story = Story(kind)
    assert story.take() == ACTIONS[kind][0]
    after = later if later == SETTLE_NS else story.strategy.recovery + later
    assert story.take(after) == ACTIONS[kind][1 if escalates else 0]


@pytest.mark.parametrize("later, first", [(-1, False), (0, True), (1, True)])
def test_a_kind_that_was_quiet_begins_anew(later: int, first: bool) -> None:
    story = Story("action")
    story.take()
    assert story.take(SETTLE_NS) == "switch_to_fallback"
    assert story.take(QUIET_RECOVERY_TIMES * story.strategy.recovery + later) == ("reset_policy" if first else "switch_to_fallback")


@pytest.mark.parametrize("after, heard", [(SETTLE_NS - 1, False), (SETTLE_NS, True)])
def test_a_report_from_before_the_step_ended_does_not_count(after: int, heard: bool) -> None:
    story = Story("action")
    story.take()
    assert story.report(after) == ("switch_to_fallback" if heard else "")


@pytest.mark.parametrize("kind", ["language", "action", "communication"])
def test_after_the_last_step_the_robot_is_halted(kind: str) -> None:
    story = Story(kind)
    assert [story.take(SETTLE_NS) for _ in range(3)] == [*ACTIONS[kind], "halt"]
    assert story.faults.halt == f"{kind} fault: it is broken"
    assert story.report(SETTLE_NS) == ""


def test_a_step_that_helps_for_a_while_is_repeated_but_not_for_ever() -> None:
    story = Story("action")
    between = story.strategy.recovery + 1
    assert [story.take(between) for _ in range(2 * REPEATS + 1)] == ["reset_policy"] * 3 + ["switch_to_fallback"] * 3 + ["halt"]


def test_a_step_that_cannot_be_carried_out_leads_to_the_next_and_the_operator_hears_why() -> None:
    story = Story("communication")
    story.report()
    story.faults.failed("no fallback policy is configured", story.now)
    order = story.faults.next(story.now)
    assert order and order.action == "restart_node"
    assert order.says == ("communication fault: it is broken; no fallback policy is configured. "
                          "Step 2 of 2: synchronizer is taken down and brought up again")
    story.faults.failed("synchronizer did not come back", story.now)
    assert story.next() == "halt"
    assert story.faults.halt == "communication fault: it is broken; synchronizer did not come back"


def test_vision_backs_off_longer_each_time_and_then_halts() -> None:
    story = Story("vision")
    assert story.take() == "restart_node"
    for seconds, action in ((5, "restart_node"), (10, "restart_node"), (20, "halt")):
        back_off = to_nanoseconds(seconds)
        assert story.report(SETTLE_NS) == ""
        story.report(back_off - SETTLE_NS - 1)
        assert story.next() == ""
        assert story.next(1) == action
        story.faults.done(story.now)


@pytest.mark.parametrize("silent, action", [(LASTING_NS, "restart_node"), (LASTING_NS + 1, "")])
def test_a_camera_that_mends_itself_during_the_back_off_is_left_in_peace(silent: int, action: str) -> None:
    story = Story("vision")
    story.take()
    assert story.report(story.strategy.recovery - silent) == ""
    assert story.next(silent) == action
    assert story.next(1) == ""


def test_a_long_back_off_makes_the_quiet_time_longer_too() -> None:
    story = Story("vision")
    story.take()
    story.report(story.strategy.recovery)
    story.faults.done(story.now)
    assert story.faults.next(story.now) is None
    case = next(case for case in story.faults.cases if case.target == "camera_ingest")
    assert case.step == 1
    assert case.after(story.now + 2 * QUIET_RECOVERY_TIMES * story.strategy.recovery - 1) == 1
    assert case.after(story.now + 2 * QUIET_RECOVERY_TIMES * story.strategy.recovery) == 0


def test_while_a_step_is_carried_out_nothing_else_begins_and_other_faults_wait() -> None:
    story = Story("action")
    assert story.report() == "reset_policy"
    for _ in range(1000):
        assert story.report(1000) == ""
        story.faults.report("camera_rear", "black", story.now)
        assert story.next() == ""
    story.faults.done(story.now)
    order = story.faults.next(story.now)
    assert order and (order.action, order.target) == ("restart_node", "camera_rear")
    assert story.faults.counts == {"action": 1, "vision": 1}


@pytest.mark.parametrize("kind", STRATEGIES)
@pytest.mark.parametrize("later, cleared", [(-1, False), (0, True)])
def test_a_halt_is_cleared_when_its_cause_was_quiet_for_the_recovery_time(kind: str, later: int, cleared: bool) -> None:
    story = Story(kind)
    story.exhaust()
    story.report(to_nanoseconds(1.0))
    assert story.next(story.strategy.recovery + later) == ("clear" if cleared else "")
    assert bool(story.faults.halt) is not cleared
    if cleared:
        assert story.take(SETTLE_NS) == ACTIONS[kind][0]


def test_a_halt_lasts_while_its_node_is_down() -> None:
    story = Story("action")
    story.exhaust()
    for _ in range(100):
        story.faults.still("inference", story.now)
        assert story.next(to_nanoseconds(1.0)) == ""
    assert story.next(story.strategy.recovery) == "clear"


@pytest.mark.parametrize("target", NODES)
def test_giving_up_halts_at_once_whatever_is_under_way(target: str) -> None:
    faults = Faults(NODES)
    if NODES[target]:
        faults.report(target, "it is broken", START)
        assert faults.next(START) is not None
    faults.give_up(target, f"{target} was started again 6 times within a minute", START)
    faults.failed("in vain", START)  # too late: nothing is under way any more
    order = faults.next(START)
    assert order and order.action == "halt" and faults.under_way is None
    assert faults.halt.endswith(f"{target} was started again 6 times within a minute")


def test_giving_up_does_not_wait_for_a_back_off() -> None:
    story = Story("vision")
    story.take()
    story.faults.give_up("camera_ingest", "it ended too often", story.now)
    assert story.next() == "halt"


def test_a_fault_is_mended_at_the_node_that_reports_it_or_at_the_first_of_its_kind() -> None:
    faults = Faults(NODES)
    assert faults.target("vision", "camera_rear") == "camera_rear"
    assert faults.target("vision", "a person") == "camera_ingest"
    assert faults.target("action", "safety_validator") == "inference"
    assert faults.target("communication", "a person") == "synchronizer"
    with pytest.raises(ValueError, match="fault kind 'taste' is not known; use one of vision, language, action"):
        faults.target("taste", "inference")
    with pytest.raises(ValueError, match="no node here is of that kind"):
        Faults({"inference": "action"}).target("vision", "camera")


def test_a_policy_s_server_that_is_gone_restarts_no_node() -> None:
    faults = Faults(NODES)
    assert faults.target("communication", "inference") == "inference"
    now = START
    actions = []
    while not faults.halt:
        faults.report("inference", "the server is gone", now, "communication")
        if order := faults.next(now):
            assert (order.kind, order.target) == ("communication", "inference")
            actions.append(order.action)
            faults.failed("no fallback policy is configured", now)
        now += SETTLE_NS
    assert actions == ["switch_to_fallback", "reset_policy", "halt"]
    assert faults.counts == {"communication": 1}
    now += STRATEGIES["communication"].recovery
    order = faults.next(now)
    assert order and order.action == "clear" and not faults.halt


def test_a_node_that_is_gone_keeps_the_halt_of_each_of_its_faults() -> None:
    faults = Faults(NODES)
    for when in range(4):
        faults.report("inference", "the server is gone", START + when * SETTLE_NS, "communication")
        faults.next(START + when * SETTLE_NS)
        faults.failed("in vain", START + when * SETTLE_NS)
    assert faults.halt
    late = START + to_nanoseconds(60.0)
    faults.still("inference", late)
    assert faults.next(late) is None and faults.halt


EVENTS = st.lists(st.tuples(
    st.sampled_from(["report"] * 4 + ["next"] * 3 + ["done", "failed", "give_up", "still"]),
    st.sampled_from(sorted(NODES)),
    st.one_of(st.integers(0, to_nanoseconds(30.0)), st.sampled_from([0, 1, SETTLE_NS, to_nanoseconds(2.0)]))), max_size=60)


@settings(max_examples=int(os.environ["VLA_PROPERTY_EXAMPLES"]), deadline=None, print_blob=True)
@given(EVENTS)
def test_any_sequence(events: list[tuple[str, str, int]]) -> None:
    """One action at a time; no halt without a clearing before the next; a halt says why; nothing ever arms."""
    faults, now, busy = Faults(NODES), START, False
    halted: set[str] = set()
    for what, target, pause in events:
        now += pause
        if what == "report" and NODES[target]:
            faults.report(target, "it is broken", now)
        elif what == "give_up":
            faults.give_up(target, "it ended too often", now)
            busy = faults.under_way is not None
        elif what == "still":
            faults.still(target, now)
        elif what == "done":
            faults.done(now)
            busy = False
        elif what == "failed":
            faults.failed("in vain", now)
            busy = False
        for order in iter(partial(faults.next, now), None):
            if order.action == "halt":
                assert order.target not in halted
                halted.add(order.target)
                busy = faults.under_way is not None
            elif order.action == "clear":
                halted.remove(order.target)
            else:
                assert not busy and order.target not in halted
                assert order.action in ("notify", "restart_node", "reset_policy", "switch_to_fallback")
                busy = True
            assert order.says
        assert bool(faults.halt) == bool(halted)
        assert sum(faults.counts.values()) <= len(events)


def test_the_page_about_recovery_shows_this_table() -> None:
    table = (Path(__file__).resolve().parents[2] / "doc" / "recovery.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| .* \| (.+) \| ([\d.]+) s", table, re.M)
    shown = {kind: (re.findall(r"(\w+):", steps), float(seconds)) for kind, steps, seconds in rows}
    assert shown == {kind: (list(dict.fromkeys(step.action for step in strategy.steps)), to_seconds(strategy.recovery))
                     for kind, strategy in STRATEGIES.items()}
    of_a_server = re.search(r"^\| communication, of a policy \| .* \| (.+) \| 2 s", table, re.M)
    assert of_a_server and re.findall(r"(\w+):", of_a_server[1]) == [step.action for step in SERVER_LOST]


@pytest.mark.parametrize("kind, seconds", [("language", 18), ("action", 60), ("communication", 12)])
@pytest.mark.parametrize("later, first", [(-1, False), (0, True), (1, True)])
def test_six_recovery_times_without_a_fault_are_quiet(kind: str, seconds: int, later: int, first: bool) -> None:
    story = Story(kind)
    story.take()
    story.take(SETTLE_NS)
    action = story.take(to_nanoseconds(seconds) + later)
    assert action == (ACTIONS[kind][0] if first else ACTIONS[kind][1])


def test_the_quiet_time_begins_with_the_last_report_not_with_the_end_of_the_step() -> None:
    story = Story("action")
    story.take()
    assert story.take(SETTLE_NS) == "switch_to_fallback"
    assert story.report(SETTLE_NS - 1) == ""  # from before the step ended: no new fault, but not quiet either
    assert story.take(QUIET_RECOVERY_TIMES * story.strategy.recovery - 1) == "switch_to_fallback"
