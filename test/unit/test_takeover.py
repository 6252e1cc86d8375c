"""A person takes the robot over and gives it back: at once, without a jump, and never both at a time."""
from dataclasses import replace

import numpy as np
import pytest
from gate_world import ARM, JOINTS, MS, ROBOT, S, World, changed, rule_inputs, scan

from vla_ros.core.types import POLICY, TELEOP, ActionChunk
from vla_ros.nodes.gate.gate_settings import gate_settings
from vla_ros.nodes.node_parameters import NODE_PARAMETERS
from vla_ros.safety.gate import State
from vla_ros.safety.rule import Verdict
from vla_ros.safety.rules import RULES
from vla_ros.safety.rules.source_timeout import source_timeout
from vla_ros.safety.rules.stuck_stick import stuck_stick
from vla_ros.safety.rules.teleop_source import teleop_source

FORWARD = {"linear.x": 0.2, "angular.z": 0.0}


class Hands:
    """A stick, its deadman and a person: a row each tick, 10 ms old."""

    def __init__(self, world):
        self.world = world
        self.press = self.sequence = 0
        self.values = dict(FORWARD)
        self.age = 10 * MS
        self.process = "teleop"
        self.speaks = False

    def row(self, press, values, **other):
        self.sequence += 1
        stamp = self.world.now + 20 * MS + self.world.offset - self.age  # it comes just before the next tick
        row = ActionChunk(stamp, press, tuple(values), np.array([list(values.values())], np.float32).reshape(1, -1), 100 * MS,
                          self.sequence, "teleop", process=self.process)
        return replace(row, **other)

    def tick(self, n=1):
        for _ in range(n):
            if self.speaks:
                self.world.inputs.teleop_row = self.row(self.press, self.values)
            self.world.tick()
        return self.world.report

    def take(self, values=None, n=1):
        """Presses the deadman anew."""
        self.press += 1
        self.speaks = True
        self.values = dict(values or self.values)
        return self.tick(n)

    def let_go(self, values=None):
        self.speaks = False
        self.world.inputs.teleop_row = self.row(0, values or {})
        return self.tick()


def driving(robot=ROBOT):
    """A policy drives, and a person stands beside it."""
    return Hands(World(robot).moving())


def taken(values=None):
    hands = driving()
    hands.take(values, 25)
    return hands


# -- who has the robot -----------------------------------------------------------------
def test_pressing_the_deadman_takes_the_robot_at_the_next_tick():
    hands = driving()
    assert hands.world.report.control_source == POLICY
    report = hands.take({"linear.x": -0.2, "angular.z": 0.5})
    assert report.control_source == TELEOP
    assert report.requested[:2] == (pytest.approx(-0.2), 0.5)
    assert hands.tick(30).state is State.ACTIVE
    assert hands.world.action["linear.x"] == pytest.approx(-0.2)


def test_taking_over_goes_on_from_what_was_emitted():
    hands = driving()
    hands.take({"linear.x": -0.3, "angular.z": 0.0})
    assert hands.world.action["linear.x"] == pytest.approx(0.3 - 3.0 * 0.02)  # it brakes, through zero


def test_letting_go_holds_and_the_person_still_has_the_robot():
    hands = taken()
    report = hands.let_go()
    assert (report.state, report.rule, report.control_source) == (State.HOLDING, "teleop_stick", TELEOP)
    assert "the deadman was let go" in report.reason
    assert hands.world.action["linear.x"] == pytest.approx(0.2 - 3.0 * 0.02)
    hands.tick(500)
    assert hands.world.action["linear.x"] == 0.0
    assert hands.world.report.control_source == TELEOP


def test_the_deadman_pressed_again_drives_again():
    hands = taken()
    hands.let_go()
    hands.tick(20)
    assert hands.take(n=15).state is State.ACTIVE
    assert hands.world.action["linear.x"] == pytest.approx(0.2)


def test_only_giving_back_returns_the_robot_to_the_policy_and_without_a_jump():
    hands = taken()
    hands.let_go()
    hands.tick(20)
    assert hands.world.gate.give_back(hands.world.now + hands.world.offset) == (True, "the policy has the robot again")
    hands.tick(1)
    assert hands.world.report.control_source == POLICY
    hands.tick(4)  # until an action comes whose image is newer than that, whatever the camera's clock
    assert hands.world.report.state is State.ACTIVE
    assert 0.0 < hands.world.action["linear.x"] <= 4 * 1.0 * 0.02 + 1e-6
    hands.tick(25)
    assert hands.world.action["linear.x"] == pytest.approx(0.3)


def test_giving_back_waits_until_the_deadman_is_let_go():
    hands = taken()
    assert hands.world.gate.give_back(0) == (False, "the deadman is held; let it go first")
    assert hands.tick().control_source == TELEOP


def test_nothing_is_given_back_that_nobody_took():
    hands = driving()
    assert hands.world.gate.give_back(0) == (False, "nobody took the robot over; the policy has it")
    assert hands.tick().state is State.ACTIVE


@pytest.mark.parametrize("older, used", [(1, False), (0, True), (-1, True)])
def test_an_action_of_an_image_from_before_the_give_back_is_never_used(older, used):
    hands = taken()
    hands.let_go()
    world = hands.world
    world.speaks = False
    last = world.inputs.chunk
    given_back = world.now + world.offset
    assert world.gate.give_back(given_back)[0]
    world.now += 100 * MS  # where an image 50 ms ahead of the give-back is none of the future
    world.inputs.chunk = replace(last, stamp=given_back + 50 * MS - older, sequence=last.sequence + 1)
    assert (world.tick().state is State.ACTIVE) == used
    assert world.gate.counters["chunk_order"] == (not used)


def test_the_action_that_the_gate_had_when_the_robot_was_taken_is_forgotten():
    hands = taken()
    hands.let_go()
    hands.world.speaks = False
    hands.world.gate.give_back(hands.world.now + hands.world.offset)
    assert "no action yet for '" in hands.tick().reason


def test_a_person_s_rows_answer_no_instruction():
    hands = taken()
    report = hands.world.report
    assert (report.instruction_id, report.sequence, report.age) == (0, 0, 10 * MS)


def test_a_person_needs_no_instruction():
    world = World()
    world.tick(3)
    world.arm()
    world.speaks = False
    assert Hands(world).take(n=25).state is State.ACTIVE
    assert world.action["linear.x"] == pytest.approx(0.2)


def test_a_dead_policy_does_not_hold_a_person():
    hands = taken()
    hands.world.speaks = False
    assert hands.tick(200).state is State.ACTIVE


# -- arming ----------------------------------------------------------------------------
def test_a_stick_takes_nothing_where_the_gate_is_not_armed():
    hands = Hands(World())
    hands.world.tick(3)
    report = hands.take(n=5)
    assert (report.state, report.control_source) == (State.DISARMED, POLICY)
    assert hands.world.action["linear.x"] == 0.0


def test_a_deadman_that_was_held_before_the_arming_moves_nothing_until_it_is_pressed_again():
    hands = Hands(World())
    hands.world.tick(3)
    hands.take(n=5)
    assert hands.world.arm()[0]
    report = hands.tick(5)
    assert (report.state, report.rule, report.control_source) == (State.HOLDING, "teleop_stick", TELEOP)
    assert "held from before; let go and press again" in report.reason
    assert hands.world.action["linear.x"] == 0.0
    assert hands.take(n=5).state is State.ACTIVE


def test_a_deadman_that_was_held_since_the_stop_keeps_the_policy_from_driving_after_a_reset_and_an_arming():
    hands = driving()
    hands.world.gate.latch("the stop is pressed")
    hands.take(n=10)
    hands.world.gate.reset(hands.world.now, hands.world.inputs)
    assert hands.world.arm()[0]
    hands.world.say("go on")
    for _ in range(50):
        report = hands.tick()
        assert (report.state, report.control_source) == (State.HOLDING, TELEOP)
    assert hands.world.action["linear.x"] == 0.0


@pytest.mark.parametrize("looked_at", [True, False])
def test_a_press_that_came_before_the_arming_is_over_whether_the_gate_looked_at_it_or_not(looked_at):
    hands = Hands(World())
    hands.world.tick(3)
    hands.press = 5
    hands.world.inputs.teleop_row = hands.row(5, FORWARD)
    if looked_at:
        hands.world.tick()
    assert hands.world.arm()[0]
    hands.speaks = True
    report = hands.tick(10)
    assert (report.state, hands.world.action["linear.x"]) == (State.HOLDING, 0.0)
    assert report.control_source == TELEOP


@pytest.mark.parametrize("older, state", [(1, State.HOLDING), (0, State.ACTIVE)])
def test_a_press_whose_first_row_is_older_than_the_arming_is_over(older, state):
    hands = Hands(World())
    hands.world.tick(3)
    assert hands.world.arm()[0]
    row = hands.row(5, FORWARD, stamp=hands.world.now + hands.world.offset - older)
    hands.world.inputs.teleop_row = row  # it was on its way
    assert hands.tick().state is state
    hands.press, hands.speaks = 5, True
    assert hands.tick(5).state is state
    assert hands.world.report.control_source == TELEOP


def test_disarmed_and_armed_between_two_ticks_a_held_deadman_moves_nothing():
    hands = taken()
    hands.world.gate.disarm()
    assert hands.world.arm() == (True, "armed; a person has the robot: press the deadman, or give it back")
    report = hands.tick(5)
    assert (report.state, report.rule) == (State.HOLDING, "teleop_stick")
    assert hands.take(n=5).state is State.ACTIVE


@pytest.mark.parametrize("end", [lambda gate: gate.disarm(), lambda gate: gate.latch("the stop is pressed")])
def test_a_stop_and_a_disarming_end_the_press_and_give_nothing_back(end):
    hands = taken()
    end(hands.world.gate)
    assert hands.tick(3).control_source == TELEOP
    assert hands.world.action["linear.x"] == 0.0
    hands.world.gate.reset(hands.world.now, hands.world.inputs)
    hands.world.arm()
    assert hands.tick(3).rule == "teleop_stick"


def test_the_stop_is_at_once_and_latches_whoever_drives():
    hands = taken()
    hands.world.inputs.stop_pressed = True
    assert hands.tick().state is State.STOPPED
    assert hands.world.action["linear.x"] == 0.0


def test_presses_are_numbered_in_each_process_so_that_a_spare_stick_s_may_be_smaller():
    hands = driving()
    hands.press = 10**6
    hands.take(n=5)
    hands.let_go()
    hands.world.gate.give_back(hands.world.now + hands.world.offset)
    hands.tick(30)
    hands.process, hands.press = "spare", 3
    assert hands.take({"linear.x": 0.1, "angular.z": 0.0}, 20).control_source == TELEOP
    assert hands.world.action["linear.x"] == pytest.approx(0.1)


# -- a deadman that moves nothing, and is held -----------------------------------------
@pytest.mark.parametrize("older", [0, 1])  # of how many presses before the last one
def test_a_held_deadman_whose_press_is_over_takes_the_robot_and_holds_it(older):
    hands = taken()
    hands.press += 1
    hands.take(n=2)
    hands.let_go()
    hands.world.gate.give_back(hands.world.now + hands.world.offset)
    assert hands.tick(30).control_source == POLICY
    hands.press -= older
    hands.speaks = True
    for _ in range(30):
        report = hands.tick()
        assert (report.state, report.rule, report.control_source) == (State.HOLDING, "teleop_stick", TELEOP)
    assert "held from before; let go and press again" in report.reason


def test_a_row_without_channels_takes_the_robot_holds_it_and_ends_its_press():
    hands = driving()
    hands.press, hands.values, hands.speaks = 1, {}, True
    report = hands.tick()
    assert (report.state, report.rule, report.control_source) == (State.HOLDING, "teleop_stick", TELEOP)
    hands.values = dict(FORWARD)
    assert hands.tick(5).state is State.HOLDING
    assert hands.take(n=2).state is State.ACTIVE


def test_a_row_without_channels_ends_a_press_that_goes_on():
    hands = taken()
    hands.values = {}
    assert hands.tick().state is State.HOLDING
    hands.values = dict(FORWARD)
    assert hands.tick(5).state is State.HOLDING


def test_a_deadman_that_is_pressed_again_too_early_is_said_to_be_held_from_before():
    hands = taken()
    hands.let_go()
    hands.speaks = True
    assert "held from before" in hands.tick().reason


def ended_by_a_rule():
    hands = taken()
    hands.world.inputs.teleop_sources = ("one", "two")
    hands.tick(2)
    hands.world.inputs.teleop_sources = ("one",)
    hands.tick(5)
    return hands


@pytest.mark.parametrize("ticks, given_back", [(14, False), (15, False), (16, True)])
def test_giving_back_waits_for_a_held_deadman_whose_press_a_rule_ended_for_as_long_as_it_is_heard(ticks, given_back):
    hands = ended_by_a_rule()
    hands.speaks = False
    hands.tick(ticks)  # its last row came with the tick before these
    assert hands.world.gate.give_back(hands.world.now + hands.world.offset)[0] == given_back


def test_a_deadman_whose_press_a_rule_ended_is_let_go_and_the_robot_given_back_at_once():
    hands = ended_by_a_rule()
    hands.process = "other"
    hands.let_go()  # another one's
    hands.process = "teleop"
    assert not hands.world.gate.give_back(hands.world.now + hands.world.offset)[0]
    hands.let_go()
    assert hands.world.gate.give_back(hands.world.now + hands.world.offset)[0]


# -- a stick that floats, repeats or dies ----------------------------------------------
@pytest.mark.parametrize("age, state", [(299 * MS, State.ACTIVE), (300 * MS, State.ACTIVE), (301 * MS, State.HOLDING)])
def test_a_stick_s_message_is_at_most_that_old_by_its_stamp(age, state):
    hands = driving()
    hands.age = age
    report = hands.take()
    assert (report.state, report.control_source) == (state, TELEOP)  # taken it is, whatever moves it


@pytest.mark.parametrize("ahead, state", [(49 * MS, State.ACTIVE), (50 * MS, State.ACTIVE), (51 * MS, State.HOLDING)])
def test_a_stick_s_message_is_hardly_in_the_future(ahead, state):
    hands = driving()
    hands.age = -ahead
    report = hands.take()
    assert (report.state, report.control_source) == (state, TELEOP)
    assert state is State.ACTIVE or "in the future" in report.reason


def test_a_stick_that_dies_holds_within_its_timeout_and_a_period():
    hands = taken()
    hands.speaks = False
    for _ in range(14):  # the message was 10 ms old: 290 ms
        assert hands.tick().state is State.ACTIVE
    report = hands.tick()
    assert (report.state, report.rule) == (State.HOLDING, "teleop_stick")
    assert "0.310 s old" in report.reason and "press again" in report.reason


def test_a_stick_that_dies_while_the_ros_clock_stands_holds_as_well():
    hands = taken()
    hands.speaks = False
    for _ in range(16):
        hands.world.offset -= 19 * MS
        hands.tick()
    assert hands.world.report.rule == "teleop_stick"


def test_a_stick_that_comes_back_moves_nothing_until_its_deadman_is_pressed_again():
    hands = taken()
    hands.speaks = False
    hands.tick(20)
    hands.speaks = True
    assert hands.tick(20).state is State.HOLDING
    assert hands.world.action["linear.x"] == 0.0
    assert hands.take(n=2).state is State.ACTIVE


@pytest.mark.parametrize("behind", [0, 19 * MS])  # ns by which the ROS clock falls behind in a tick
def test_the_same_message_again_is_no_younger(behind):
    hands = taken()
    hands.speaks = False
    row = hands.world.inputs.teleop_row
    for n in range(16):
        hands.world.offset -= behind
        hands.world.inputs.teleop_row = replace(row, sequence=row.sequence + 1 + n)  # its node repeats the stick's
        hands.tick()
    assert hands.world.report.rule == "teleop_stick"


def test_a_row_that_was_sent_before_the_newest_one_is_passed_over():
    hands = taken()
    newest = hands.world.inputs.teleop_row
    other = np.array([[0.1, 0.0]], np.float32)
    hands.speaks = False
    for late in (replace(newest, values=other), replace(newest, values=other, sequence=newest.sequence - 1),
                 replace(newest, values=other, sequence=0, stamp=newest.stamp - 1)):
        hands.world.inputs.teleop_row = late
        assert hands.tick().requested[0] == pytest.approx(0.2)


@pytest.mark.parametrize("values", [{"linear.x": 0.1}, {"linear.x": float("nan")}, {}])
def test_a_stick_that_says_values_without_its_deadman_is_let_go(values):
    hands = taken()
    report = hands.let_go(values)
    assert report.rule == "teleop_stick" and "let go" in report.reason


def test_a_stick_without_its_deadman_takes_nothing():
    hands = driving()
    hands.world.inputs.teleop_row = hands.row(0, {"linear.x": 0.1})
    assert hands.tick().control_source == POLICY


@pytest.mark.parametrize("repeated, holds", [(10 * S - 1, False), (10 * S, False), (10 * S + 1, True)])
def test_the_very_same_velocity_for_long_is_a_stick_that_hangs(repeated, holds):
    inputs = rule_inputs(channels=ROBOT.channels[:1], row=(0.2,), repeated=repeated)
    assert bool(stuck_stick(inputs)) == holds


@pytest.mark.parametrize("row, limit", [((0.0,), 10 * S), ((0.2,), 0)])
def test_standing_still_is_no_stick_that_hangs_and_0_is_never(row, limit):
    settings = changed(rule_inputs().settings, stuck_stick_limit=limit)
    assert not stuck_stick(rule_inputs(channels=ROBOT.channels[:1], row=row, repeated=3600 * S, settings=settings))


def test_a_stick_that_hangs_is_held_until_its_deadman_is_pressed_again():
    hands = taken()
    hands.tick(470)
    assert hands.world.report.state is State.ACTIVE
    assert hands.tick(10).state is State.HOLDING
    assert "does it hang" in hands.world.report.reason
    hands.values["linear.x"] = 0.1  # it moves again; only a press counts
    assert hands.tick(5).state is State.HOLDING
    assert hands.take(n=2).state is State.ACTIVE


def test_a_joint_that_moves_on_hides_no_base_whose_stick_hangs():
    hands = Hands(arm_world())
    hands.world.lag = 0
    hands.values = {"linear.x": 0.2, "angular.z": 0.0, **dict.fromkeys(JOINTS, 0.5)}
    hands.take()
    for _ in range(498):
        hands.values["joint_1"] += 0.001
        assert hands.tick().state is State.ACTIVE
    hands.values["joint_1"] += 0.001
    hands.tick(3)
    assert "does it hang" in hands.world.report.reason


@pytest.mark.parametrize("shape", [(0, 2), (1, 3), (64, 2)])
def test_a_row_of_another_shape_is_refused_and_is_no_failure_of_the_gate(shape):
    hands = taken()
    hands.speaks = False
    for _ in range(2):
        hands.world.inputs.teleop_row = replace(hands.row(hands.press, FORWARD), values=np.ones(shape, np.float32))
        assert hands.tick().state in (State.HOLDING, State.ACTIVE)


def test_a_stick_that_is_moved_does_not_hang():
    hands = taken()
    for n in range(300):
        hands.values["linear.x"] = 0.2 if n % 100 < 50 else 0.21
        assert hands.tick(2).state is State.ACTIVE


# -- two sticks ------------------------------------------------------------------------
def test_two_sticks_hold_and_both_have_to_be_pressed_again():
    hands = taken()
    hands.world.inputs.teleop_sources = ("one", "two")
    report = hands.tick()
    assert (report.rule, report.control_source) == ("teleop_source", TELEOP)
    hands.world.inputs.teleop_sources = ("one",)
    assert hands.tick(5).rule == "teleop_stick"
    assert hands.take(n=2).state is State.ACTIVE


@pytest.mark.parametrize("processes, holds", [((), False), (("one",), False), (("one", ""), True)])
def test_one_stick_drives(processes, holds):
    assert bool(teleop_source(rule_inputs(teleop_sources=processes))) == holds


def test_a_second_stick_s_press_ends_the_first_one_s():
    hands = taken()
    hands.press += 10
    hands.take(n=1)
    hands.speaks = False
    for press in (hands.press - 11, hands.press - 5, hands.press + 5):  # whatever its number
        hands.world.inputs.teleop_row = hands.row(press, {"linear.x": -0.2, "angular.z": 0.0}, process="other")
        assert hands.tick().requested[0] == pytest.approx(0.2)


# -- the rules -------------------------------------------------------------------------
def test_whose_rows_a_rule_is_about():
    assert {rule.name for rule in RULES if rule.asked_of == TELEOP} == {"teleop_source", "teleop_stick", "stuck_stick"}
    assert {rule.name for rule in RULES if rule.asked_of == POLICY} == {
        "instruction_match", "instruction_age", "chunk_source", "observation_age", "chunk_end", "chunk_continuity",
        "stuck_policy", "persistent_clamping"}


@pytest.mark.parametrize("spoil, rule", [
    (lambda hands: hands.world.inputs.__setattr__("other_publishers", ("/cmd_vel from /x",)), "exclusive_publisher"),
    (lambda hands: hands.world.inputs.__setattr__("missing_listeners", ("nobody takes /cmd_vel",)), "listeners"),
    (lambda hands: setattr(hands.world, "points", [(0.5, 0.0)]), "obstacle"),
    (lambda hands: hands.world.also.update({"/scan": lambda stamp: scan(stamp, valid=False)}), "range_sensors"),
    (lambda hands: hands.values.update({"linear.x": 1.01}), "hard_bounds"),
    (lambda hands: hands.values.update({"linear.x": float("nan")}), "finite_values"),
    (lambda hands: hands.values.update({"wings": 0.1}), "chunk_shape"),
    (lambda hands: hands.values.pop("angular.z"), "chunk_shape"),
])
def test_what_holds_the_policy_holds_a_person(spoil, rule):
    hands = taken()
    spoil(hands)
    report = hands.tick()
    assert (report.state, report.rule, report.control_source) == (State.HOLDING, rule, TELEOP)


@pytest.mark.parametrize("silent", ["odom", "/scan"])
def test_a_silent_sensor_holds_a_person_and_after_its_loss_the_deadman_is_pressed_again(silent):
    hands = driving()
    gate = hands.world.gate
    gate.settings = replace(gate.settings, lost={silent: S})
    hands.take(n=5)
    hands.world.alive = False
    hands.tick(15)
    assert hands.world.report.state is State.ACTIVE
    assert hands.tick().rule == "source_timeout"
    hands.tick(20)
    hands.world.alive = True
    assert hands.tick(2).state is State.ACTIVE  # it was silent, and not lost
    hands.world.alive = False
    hands.tick(52)
    hands.world.alive = True
    report = hands.tick(5)
    assert (report.rule, report.state) == ("teleop_stick", State.HOLDING)
    assert f"{silent} was lost" in report.reason
    assert hands.take(n=5).state is State.ACTIVE


def test_the_policy_s_nodes_hold_the_policy_and_not_a_person():
    settings = replace(rule_inputs().settings, sources={"node inference": 250 * MS}, policy_sources=frozenset({"node inference"}))
    for control_source, holds in ((POLICY, True), (TELEOP, False)):
        inputs = rule_inputs(settings=settings, silence={"node inference": S}, control_source=control_source)
        assert bool(source_timeout(inputs)) == holds
    inputs = rule_inputs(settings=replace(settings, policy_sources=frozenset()), silence={}, control_source=TELEOP)
    assert source_timeout(inputs)


def test_a_stop_button_s_own_node_that_is_silent_holds_a_person_and_its_loss_ends_the_press():
    parameters = {parameter.name: parameter.default for parameter in NODE_PARAMETERS["safety_validator"]}
    hands = driving()
    hands.world.inputs.seen["node stop_button"] = hands.world.now
    made = gate_settings({**parameters, "required_nodes": ["inference", "stop_button"]}, ROBOT)
    sources = {"node stop_button": made.sources["node stop_button"], **hands.world.gate.settings.sources}
    lost = {"node stop_button": made.lost["node stop_button"]}
    hands.world.gate.settings = replace(hands.world.gate.settings, sources=sources, lost=lost, policy_sources=made.policy_sources)
    hands.take(n=5)
    assert hands.tick(20).rule == "source_timeout"
    hands.tick(200)
    hands.world.inputs.seen["node stop_button"] = hands.world.now
    report = hands.tick(2)
    assert report.rule == "teleop_stick" and "stop_button was lost" in report.reason


def test_a_lost_node_of_the_policy_ends_no_press_but_spends_the_instruction():
    hands = driving()
    gate = hands.world.gate
    gate.settings = replace(gate.settings, lost={"node inference": S}, policy_sources=frozenset({"node inference"}))
    hands.world.inputs.seen["node inference"] = hands.world.now
    hands.take(n=60)
    assert hands.world.report.state is State.ACTIVE
    hands.let_go()
    gate.give_back(hands.world.now + hands.world.offset)
    assert "node inference was lost; give the instruction again" in hands.tick(3).reason


def test_arming_asks_for_all_nodes_also_where_a_person_has_the_robot():
    hands = taken()
    gate = hands.world.gate
    hands.let_go()
    gate.disarm()
    hands.tick()
    gate.settings = replace(gate.settings, sources={"node inference": S}, policy_sources=frozenset({"node inference"}))
    allowed, why = hands.world.arm()
    assert not allowed and "node inference" in why


def test_a_person_s_values_are_limited_as_the_policy_s():
    hands = taken({"linear.x": 0.7, "angular.z": 0.0})
    assert (hands.world.report.verdict, hands.world.report.rule) == (Verdict.LIMITED, "limits")
    assert hands.world.action["linear.x"] == pytest.approx(0.5)
    assert hands.tick(800).rule != "persistent_clamping"


def test_a_person_may_turn_round_at_once_where_a_policy_would_contradict_itself():
    hands = taken({"linear.x": 0.3, "angular.z": 0.8})
    hands.values = {"linear.x": -0.3, "angular.z": -0.8}
    assert hands.tick().state is State.ACTIVE
    assert hands.world.action["linear.x"] == pytest.approx(0.3 - 3.0 * 0.02)


def test_a_blocked_joint_ends_the_press_and_spends_the_instruction():
    hands = Hands(arm_world())
    hands.values = dict.fromkeys(JOINTS, 1.5)
    hands.take(n=5)
    assert hands.world.report.state is State.ACTIVE
    for _ in range(100):  # it stands where it is, whatever it is sent
        hands.tick()
        if hands.world.report.state is State.HOLDING:
            break
    assert hands.world.report.rule == "tracking"
    assert "press again" in hands.tick().reason
    assert hands.world.gate._spent.instruction_id == hands.world.inputs.instruction.instruction_id


def arm_world():
    world = World(ARM)
    world.positions = dict.fromkeys(JOINTS, 0.5)
    world.tick(3)
    world.arm()
    world.say("reach")
    world.speaks = False
    return world


def test_positions_start_from_where_the_robot_is_and_those_that_are_not_named_stay():
    hands = Hands(arm_world())
    hands.world.lag = 0
    hands.values = dict.fromkeys(JOINTS, 0.6)
    hands.take()
    assert hands.world.action["joint_1"] == pytest.approx(0.5 + ARM.channel("joint_1").max_speed * 0.02)
    hands.tick(30)
    hands.values = {"linear.x": 0.0, "angular.z": 0.0}
    hands.tick(5)
    assert hands.world.action["joint_1"] == pytest.approx(0.6)


def test_a_press_ends_with_the_arming_so_that_a_disarmed_robot_can_be_given_back():
    hands = taken()
    hands.world.gate.disarm()
    hands.tick()
    assert hands.world.gate.takeover.why.startswith("the gate was not armed")
    assert hands.world.gate.give_back(hands.world.now + hands.world.offset)[0]
    assert hands.tick().control_source == POLICY


def test_after_a_driver_that_did_not_listen_the_deadman_is_pressed_again():
    hands = taken()
    hands.world.inputs.missing_listeners = ("nobody takes /cmd_vel",)
    assert hands.tick().rule == "listeners"
    hands.world.inputs.missing_listeners = ()
    report = hands.tick(5)
    assert report.rule == "teleop_stick" and "nobody takes /cmd_vel" in report.reason
    assert hands.take(n=2).state is State.ACTIVE
