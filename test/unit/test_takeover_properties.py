"""What holds for any sequence of presses, sticks that float, repeat or die, and whatever else happens meanwhile.

The stories of test_gate_properties.py with a person in them: never two sources at once, no step at either seam above the
rates, and a dead stick stops.
"""
import math
from dataclasses import replace

import numpy as np
import pytest
import test_gate_properties as told
from gate_world import ARM, EXAMPLES, MS, ROBOT, SAME, S
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vla_ros.core.types import POLICY, TELEOP, ActionChunk
from vla_ros.safety.gate import ARMED, State

TIMEOUT = 300 * MS
# The policy's and the stick's rows hold numbers that tell who said them.
POLICYS, STICK = [0.25, -0.125, 0.5], [0.1875, -0.3125, 0.0, math.nan, 1e9]
OF_POLICY, OF_STICK = st.sampled_from(POLICYS), st.sampled_from(STICK)
EVENTS = st.one_of(
    told.EVENTS.filter(lambda event: event[0] not in ("wild", "values")), st.tuples(st.just("begin")), st.tuples(st.just("values"), OF_POLICY, OF_POLICY, OF_POLICY),
    st.tuples(st.just("press"), OF_STICK, OF_STICK), st.tuples(st.just("press"), OF_STICK, OF_STICK),
    st.tuples(st.just("steer"), OF_STICK, OF_STICK),
    st.tuples(st.just("let go"), OF_STICK), st.tuples(st.just("die")), st.tuples(st.just("repeat")),
    st.tuples(st.just("late"), st.sampled_from([0, 0, 0, 0, 299 * MS, 301 * MS, -51 * MS, 3600 * S, -(2**62)])),
    st.tuples(st.just("two"), st.booleans()), st.tuples(st.just("give back")),
    st.tuples(st.just("hand over"), OF_STICK), st.tuples(st.just("hand over"), OF_STICK), st.tuples(st.just("tick"), st.integers(5, 40)))


# They take turns: whatever is drawn by chance, this much of every property is tried.
BY_TURNS = [("tick", 20), ("press", 0.1875, 0.1875), ("tick", 20), ("let go", 0.1875), ("give back",), ("tick", 20)]


class Story(told.Story):
    """A person stands beside it, with a stick."""

    def __init__(self, robot):
        super().__init__(robot)
        self.world.values = dict.fromkeys(self.names, 0.25)
        self.world.lag = 40 * MS
        self.press, self.sequence, self.lag = 0, 0, 0
        self.held, self.repeats, self.steered = False, False, {}
        self.fresh = -S  # when the stick last said something new, steady
        self.who = POLICY
        self.given_back = 0

    def play(self, kind, *values):
        world = self.world
        if kind in ("press", "steer"):
            self.press += kind == "press"
            self.held = self.held or kind == "press"
            self.repeats = self.repeats and kind == "steer"
            self.steered = {name: values[i % 2] for i, name in enumerate(self.names)}
        elif kind == "let go":
            self.held = False
            world.inputs.teleop_row = self.row(0, values[0])
        elif kind == "die":
            self.held = False
        elif kind == "repeat":
            self.repeats = True
        elif kind == "late":
            self.lag = values[0]
        elif kind == "two":
            world.inputs.teleop_sources = ("one", "two")[:1 + values[0]]
        elif kind == "hand over":  # the usual way back to the policy, so that stories hold it
            self.play("press", *values, *values)
            self.tick()
            self.play("let go", *values)
            self.tick()
            self.play("give back")
        elif kind == "give back":
            self.given_back += world.gate.give_back(world.now + world.offset)[0]
        else:
            super().play(kind, *values)

    def row(self, press, value=None):
        self.sequence += 1
        values = self.steered if value is None else {"linear.x": value}
        stamp = self.world.now + self.world.offset - self.lag
        return ActionChunk(stamp, press, tuple(values), np.array([list(values.values())], np.float32), 100 * MS, self.sequence,
                           "teleop", process="teleop")

    def tick(self):
        inputs = self.world.inputs
        if self.held and self.repeats and inputs.teleop_row is not None:
            inputs.teleop_row = replace(inputs.teleop_row, sequence=inputs.teleop_row.sequence + 1)
        elif self.held:
            inputs.teleop_row = self.row(self.press)
            self.fresh = self.world.now
        self.who = getattr(getattr(self.world, "report", None), "control_source", POLICY)
        super().tick()


def no_step_at_either_seam_exceeds_the_rates(story):
    """But for a joint that holds where it stands, away from where it was sent: that asks it for no motion."""
    report, measured = story.world.report, story.world.inputs.measured
    if report.state is State.HOLDING:
        for channel in story.world.gate.robot.channels:
            name = channel.name
            if name in story.before and name in measured and name in story.world.action:
                follows = abs(story.world.action[name] - measured[name][0]) <= channel.max_tracking_error
                if follows and abs(story.before[name] - measured[name][0]) > channel.max_tracking_error:
                    del story.before[name]
    told.no_value_changes_faster_than_it_may(story)


def what_is_emitted_is_asked_for_by_who_has_the_robot(story):
    """Never two sources at once: what is requested is a row of the one that is reported, whole."""
    report = story.world.report
    if report.state is State.ACTIVE:
        known = STICK if report.control_source == TELEOP else POLICYS
        assert {value for value in report.requested if not math.isnan(value)} <= set(known)
        assert (report.control_source == TELEOP) == (report.instruction_id == 0)


def nothing_but_a_give_back_returns_it_and_nothing_but_a_press_takes_it(story):
    if story.who == TELEOP and story.world.report.control_source == POLICY:
        assert story.given_back > 0
        story.given_back -= 1
    if story.who == POLICY and story.world.report.control_source == TELEOP:
        assert story.held and story.world.report.state is not State.DISARMED
        story.given_back = 0


def a_stick_that_says_nothing_new_holds_within_its_timeout_and_a_period(story):
    report = story.world.report
    if report.control_source == TELEOP and report.state is State.ACTIVE:
        assert story.world.now - story.fresh <= TIMEOUT + 20 * MS + max(0, story.elapsed)
        assert report.age <= TIMEOUT


def two_sticks_move_nothing(story):
    if story.world.report.control_source == TELEOP and len(story.world.inputs.teleop_sources) > 1:
        assert story.world.report.state is not State.ACTIVE


def without_the_deadman_a_person_moves_nothing(story):
    if story.world.report.control_source == TELEOP and story.world.inputs.teleop_row.instruction_id == 0:
        assert story.world.report.state is not State.ACTIVE


def under_a_held_deadman_no_policy_drives(story):
    if story.held and story.world.report.state in ARMED:
        assert story.world.report.control_source == TELEOP


HOLD = [told.every_value_is_finite_and_within_its_bounds, told.outside_its_limits_a_value_only_moves_inward,
        no_step_at_either_seam_exceeds_the_rates, told.stopped_or_disarmed_it_stands, told.held_it_only_brakes,
        told.every_change_has_a_reason, told.nothing_arms_but_arm, told.nothing_moves_against_a_pressed_stop_a_halt_or_a_rival,
        told.nothing_is_approached_by_a_sensor_that_is_stale_or_too_near, told.nothing_straight_ahead_is_driven_at,
        what_is_emitted_is_asked_for_by_who_has_the_robot, nothing_but_a_give_back_returns_it_and_nothing_but_a_press_takes_it,
        a_stick_that_says_nothing_new_holds_within_its_timeout_and_a_period, two_sticks_move_nothing,
        without_the_deadman_a_person_moves_nothing, under_a_held_deadman_no_policy_drives]


@pytest.mark.parametrize("robot", [ROBOT, ARM], ids=lambda robot: robot.name)
def test_whatever_happens_while_a_person_and_a_policy_drive_by_turns(robot):
    seams, moved = [], []

    @settings(max_examples=EXAMPLES, deadline=None, print_blob=True, database=None, derandomize=SAME,
              suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(EVENTS, min_size=6, max_size=25))
    @example(BY_TURNS)
    def tell(events):
        story = Story(robot)
        for event in [("tick", 3), ("begin",), ("tick", 3), *events]:
            if event[0] != "tick":
                story.play(*event)
            for _ in range(event[1] if event[0] == "tick" else 1):
                story.tick()
                for holds in HOLD:
                    holds(story)
                report = story.world.report
                seams.append((story.who, report.control_source) if report.state in ARMED else None)
                moved.append(report.control_source if report.state is State.ACTIVE else "")

    tell()
    # The stories hold both seams, and both drive.
    assert (POLICY, TELEOP) in seams and (TELEOP, POLICY) in seams
    assert min(moved.count(POLICY), moved.count(TELEOP)) >= 15
