"""The gate: its states, what it lets through, and that nothing but `arm` ever arms it."""
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from gate_world import JOINTS, MS, S, World, reaching

from vla_ros.core.types import ActionChunk, Instruction
from vla_ros.safety import gate as gate_module
from vla_ros.safety.gate import TRANSITIONS, Event, State
from vla_ros.safety.rule import Finding, Verdict, rule


def test_nothing_but_a_person_leads_out_of_disarmed_and_of_stopped_and_only_a_good_action_to_active():
    ways = {(state.name, event.name, then.name) for (state, event), then in TRANSITIONS.items()}
    assert {way for way in ways if way[0] == "DISARMED"} == {
        ("DISARMED", "ARM", "HOLDING"), ("DISARMED", "STOP", "STOPPED")}
    assert {way for way in ways if way[0] == "STOPPED"} == {("STOPPED", "RESET", "DISARMED")}
    assert {way for way in ways if way[2] == "ACTIVE"} == {("HOLDING", "PASSED", "ACTIVE")}


@pytest.mark.parametrize("state", [State.DISARMED, State.HOLDING, State.ACTIVE])
def test_a_cause_to_stop_stops_from_every_state(state):
    assert TRANSITIONS[state, Event.STOP] is State.STOPPED


@pytest.mark.parametrize("state", [State.HOLDING, State.ACTIVE])
def test_an_armed_gate_can_be_disarmed(state):
    assert TRANSITIONS[state, Event.DISARM] is State.DISARMED


def test_it_starts_disarmed_and_stands():
    world = World()
    world.say("go")
    assert world.tick(10).state is State.DISARMED
    assert world.action == {"linear.x": 0.0, "angular.z": 0.0}


def test_armed_and_told_it_moves():
    world = World().moving()
    assert world.report.state is State.ACTIVE
    assert world.report.verdict is Verdict.PASSED
    assert world.action == {"linear.x": pytest.approx(0.3), "angular.z": 0.0, "gripper": 1.0}


def test_an_instruction_from_before_the_arming_does_not_move_it():
    world = World()
    world.say("go")
    world.tick()
    world.arm()
    assert world.tick(10).rule == "instruction_match"
    assert world.report.state is State.HOLDING
    world.say("go")
    assert world.tick(10).state is State.ACTIVE


def test_arming_needs_fresh_sources():
    world = World()
    allowed, why = world.arm()
    assert not allowed and "odom" in why
    world.tick()
    world.now += 301 * MS
    allowed, why = world.arm()
    assert not allowed and "0.30 s" in why


def test_arming_needs_a_released_stop():
    world = World()
    world.tick()
    world.inputs.stop_pressed = True
    assert world.arm() == (False, "the stop is pressed; release it first")


def test_an_empty_command_brakes_through_the_limit():
    world = World().moving()
    world.say("")
    world.tick()
    assert world.report.verdict is Verdict.HELD
    assert world.action["linear.x"] == pytest.approx(0.3 - 3.0 * 0.02)
    world.tick(5)
    assert world.action["linear.x"] == 0.0
    assert world.report.state is State.HOLDING


def test_the_stop_is_at_once_latched_and_reset_ends_disarmed():
    world = World().moving()
    world.inputs.stop_pressed = True
    assert world.tick().state is State.STOPPED
    assert world.action["linear.x"] == 0.0
    assert world.gate.reset(world.now, world.inputs) == (False, "the stop is pressed; release it first")
    world.inputs.stop_pressed = False
    assert world.tick(5).state is State.STOPPED
    assert not world.arm()[0]
    assert world.gate.reset(world.now, world.inputs)[0]
    world.say("go")
    assert world.tick(5).state is State.DISARMED
    assert world.action["linear.x"] == 0.0


def test_a_lost_source_holds_and_it_goes_on_when_it_is_back():
    world = World().moving()
    world.alive = False
    world.tick(15)
    assert world.report.state is State.ACTIVE
    assert world.tick().rule == "source_timeout"
    world.tick(10)
    assert world.action["linear.x"] == 0.0
    world.alive = True
    assert world.tick(2).rule == "joint_limits"
    assert world.tick(2).state is State.ACTIVE


def test_a_silent_policy_is_held_by_the_age_of_its_image():
    world = World().moving()
    world.speaks = False
    world.tick(18)  # the image was 30 ms old when its action came: 390 ms
    assert world.report.state is State.ACTIVE
    assert world.tick().rule == "observation_age"
    world.tick(10)
    assert world.action["linear.x"] == 0.0


def test_a_stalled_ros_clock_ages_actions_as_well():
    world = World().moving()
    world.speaks = False
    for _ in range(30):
        world.offset -= 19 * MS  # the ROS clock hardly moves
        world.tick()
    assert world.report.rule == "observation_age"
    assert world.action["linear.x"] == 0.0


@pytest.mark.parametrize("jump, stops", [(499 * MS, False), (500 * MS, False), (501 * MS, True), (-501 * MS, True), (-3600 * S, True)])
def test_a_clock_that_jumps_stops(jump, stops):
    world = World().moving()
    world.offset += jump
    world.tick()
    assert (world.report.state is State.STOPPED) == stops
    if stops:
        assert "clock jumped" in world.report.reason


BAD = [math.nan, math.inf, -math.inf, 1e30]


@pytest.mark.parametrize("channel, value", [
    *itertools.product(["linear.x", "gripper"], BAD), ("linear.x", 1.01), ("gripper", 1.11), ("gripper", -0.11)])
def test_one_bad_value_drops_the_whole_action(value, channel):
    world = World().moving()
    world.values = {**world.values, channel: value}
    assert world.tick().verdict is Verdict.HELD
    assert world.action["linear.x"] == pytest.approx(0.3 - 0.06)
    assert world.action["gripper"] == 1.0


@pytest.mark.parametrize("asked, sent", [(1.0, 1.0), (1.01, 1.0), (1.1, 1.0), (0.0, 0.0), (-0.1, 0.0)])
def test_a_gripper_that_is_asked_a_little_beyond_its_ends_goes_to_them(asked, sent):
    world = World().moving()
    world.values["gripper"] = asked
    for _ in range(40):  # its way takes half a second
        world.tick()
    assert world.report.state is State.ACTIVE and world.action["gripper"] == sent
    assert (world.report.rule == "limits") == (asked != sent)


def test_an_older_action_never_answers_a_newer_instruction():
    world = World().moving()
    late = world.inputs.chunk
    world.speaks = False
    world.say("turn left")
    world.tick()
    assert world.report.rule == "instruction_match"
    world.inputs.chunk = ActionChunk(late.stamp + 5 * MS, late.instruction_id, late.channels, late.values, late.step)
    assert world.tick().rule == "instruction_match"
    assert world.gate.counters["chunk_order"] == 1


def test_a_late_action_does_not_replace_a_newer_one():
    world = World().moving()
    newest = world.inputs.chunk
    world.speaks = False
    world.inputs.chunk = ActionChunk(newest.stamp - 1, newest.instruction_id, newest.channels,
                                     np.array([[-0.3, 0.0]], np.float32), newest.step)
    world.tick(5)
    assert world.action["linear.x"] == pytest.approx(0.3)


def test_a_gripper_keeps_its_grip_when_it_stops():
    world = World().moving()
    world.values.update({"linear.x": 0.0, "gripper": 0.0})
    world.tick(30)
    world.positions["gripper"] = 0.6  # something is between the fingers
    world.inputs.stop_pressed = True
    world.tick(5)
    assert world.action["gripper"] == 0.0


def test_disarmed_it_leaves_the_arm_to_others_and_forgets_where_it_was():
    world = reaching({}, lag=0)
    world.tick(20)
    world.gate.disarm()
    world.tick()
    assert world.action == {"linear.x": 0.0, "angular.z": 0.0}
    world.positions = dict.fromkeys(JOINTS, -0.5)  # someone moved it by hand
    world.tick(3)
    world.arm()
    world.say("reach")
    world.tick()
    assert world.action["joint_1"] == pytest.approx(-0.5 + 0.5 * 0.02)


def test_arming_needs_to_have_heard_from_the_operator_s_node():
    world = World()
    world.inputs.instruction = None
    world.speaks = False
    world.tick()
    assert world.arm() == (False, "nothing was heard from command_ingest yet")


def test_the_same_image_again_is_no_younger():
    world = World().moving()
    chunk, world.speaks = world.inputs.chunk, False
    for _ in range(30):
        world.offset -= 19 * MS  # the ROS clock hardly moves, and someone repeats the last action
        world.inputs.chunk = ActionChunk(chunk.stamp, chunk.instruction_id, chunk.channels, chunk.values, chunk.step)
        world.tick()
    assert world.report.rule == "observation_age"
    assert world.action["linear.x"] == 0.0


def test_a_gate_that_stood_still_stops():
    world = World().moving()
    world.now += 490 * MS
    assert world.tick().state is State.STOPPED
    assert "stood still" in world.report.reason


@pytest.mark.parametrize("evil", [math.nan, math.inf])
def test_a_measurement_that_is_not_finite_is_never_sent(evil):
    world = reaching({})
    world.tick(5)
    world.positions["joint_1"] = evil
    world.say("")
    world.tick()
    assert math.isfinite(world.action["joint_1"])


def test_a_rule_that_stops_latches(monkeypatch):
    @rule(holds_when="the base tilts")
    def tilt(inputs):
        return Finding("tilt", Verdict.STOPPED, "the base tilts by 0.40 rad")
    world = World().moving()
    monkeypatch.setattr(gate_module, "RULES", (tilt, *gate_module.RULES))
    assert (world.tick().state, world.report.rule) == (State.STOPPED, "tilt")
    monkeypatch.undo()
    assert (world.tick().state, world.report.reason) == (State.STOPPED, "the base tilts by 0.40 rad")
    assert world.action["linear.x"] == 0.0


def test_an_exception_in_a_rule_is_a_stop(monkeypatch):
    world = World().moving()
    monkeypatch.setattr(gate_module, "row_at", lambda *arguments: 1 / 0)
    assert world.tick().state is State.STOPPED
    assert "ZeroDivisionError" in world.report.reason
    assert world.action["linear.x"] == 0.0


def test_a_long_pause_of_the_gate_does_not_allow_a_jump():
    world = World().moving()
    world.values["linear.x"] = 0.5
    world.now += 200 * MS
    world.tick()
    assert world.action["linear.x"] <= 0.3 + 1.0 * 0.04 + 1e-6


def test_disarming_stops_at_once():
    world = World().moving()
    assert world.gate.disarm()[0]
    world.tick()
    assert world.action["linear.x"] == 0.0
    assert world.report.state is State.DISARMED


def test_a_stop_that_is_asked_for_is_latched_as_a_button_s_and_says_so():
    world = World().moving()
    assert world.gate.stop() == (True, "stopped: the stop was asked for by service; reset, then arm")
    assert world.tick().state is State.STOPPED
    assert world.action["linear.x"] == 0.0
    assert not world.arm()[0]
    assert world.gate.reset(world.now, world.inputs)[0], "nobody has to let go of it"
    assert world.tick().state is State.DISARMED


def test_a_stop_that_is_asked_for_while_another_lasts_keeps_the_first_cause():
    world = World().moving()
    world.inputs.stop_pressed = True
    world.tick()
    cause = world.gate.cause
    assert world.gate.stop() == (True, f"stopped: {cause}; reset, then arm") and world.gate.cause == cause


def test_the_halt_of_the_supervisor_latches_and_a_reset_waits_for_its_end():
    world = World().moving()
    world.inputs.halt = "inference failed three times"
    assert world.tick().state is State.STOPPED
    assert "inference failed three times" in world.report.reason
    assert not world.gate.reset(world.now, world.inputs)[0]
    world.inputs.halt = ""
    assert world.tick(5).state is State.STOPPED
    assert world.gate.reset(world.now, world.inputs)[0]
    assert world.tick().state is State.DISARMED


@pytest.mark.parametrize("later, allowed", [(999 * MS, False), (1000 * MS, False), (1001 * MS, True)])
def test_after_a_jump_of_the_clock_a_reset_waits_a_second(later, allowed):
    world = World().moving()
    world.offset += 3600 * S
    world.tick()
    assert world.gate.reset(world.now + later, world.inputs)[0] == allowed


@pytest.mark.parametrize("spoil, says", [
    (lambda inputs: setattr(inputs, "other_publishers", ("/cmd_vel from /teleop",)), "/teleop"),
    (lambda inputs: inputs.readings.clear(), "nothing was seen by /scan"),
    (lambda inputs: inputs.seen.clear(), "nothing was heard from odom"),
    (lambda inputs: setattr(inputs, "halt", "the camera is broken"), "the camera is broken"),
    (lambda inputs: setattr(inputs, "instruction", None), "command_ingest"),
])
def test_arming_is_refused_with_the_reason(spoil, says):
    world = World()
    world.tick()
    spoil(world.inputs)
    allowed, why = world.arm()
    assert not allowed and says in why
    assert world.gate.state is State.DISARMED


def test_arming_needs_a_clock_that_runs():
    world = World()
    for _ in range(20):
        world.offset -= 20 * MS
        world.tick()
    allowed, why = world.arm()
    assert not allowed and "the ROS clock has stood still for 0.38 s" in why


def test_a_stalled_ros_clock_holds_within_its_limit():
    world = World().moving()
    for n in range(16):
        assert world.report.state is State.ACTIVE, n
        world.offset -= 20 * MS
        world.tick()
    assert world.report.rule == "clock"  # 320 ms; at 300 ms it still moved


def test_another_publisher_of_robot_commands_holds():
    world = World().moving()
    world.inputs.other_publishers = ("/cmd_vel from /teleop",)
    assert world.tick().rule == "exclusive_publisher"
    world.tick(10)
    assert world.action["linear.x"] == 0.0
    world.inputs.other_publishers = ()
    assert world.tick().state is State.ACTIVE


def test_a_value_outside_its_bounds_that_the_gate_itself_made_never_leaves(monkeypatch):
    world = World().moving()
    monkeypatch.setattr(gate_module, "RULES", tuple(rule for rule in gate_module.RULES
                                                    if rule.name not in ("chunk_continuity", "hard_bounds", "limits", "rate_limit")))
    world.values["linear.x"] = 3.0
    world.tick()
    assert world.report.state is State.STOPPED
    assert world.action["linear.x"] == 0.0
    assert "linear.x 3.0, outside its bounds" in world.tick().reason


def test_every_rule_has_its_counter_from_the_start():
    counters = World().gate.counters
    assert {rule.name for rule in gate_module.RULES} | {"chunk_order"} == set(counters)
    assert set(counters.values()) == {0}


def test_arming_again_changes_nothing():
    world = World().moving()
    assert world.arm() == (True, "already armed")
    world.tick()
    assert world.report.state is State.ACTIVE  # the instruction from before is not older than this


@pytest.mark.parametrize("value", [3.0, -3.0])
def test_neither_end_of_the_bounds_is_left(monkeypatch, value):
    world = World().moving()
    monkeypatch.setattr(gate_module, "RULES", tuple(rule for rule in gate_module.RULES
                                                    if rule.name not in ("chunk_continuity", "hard_bounds", "limits", "rate_limit")))
    world.values["linear.x"] = value
    assert world.tick().state is State.STOPPED
    assert world.action["linear.x"] == 0.0


def test_an_image_that_was_old_when_its_action_came_is_that_old_by_the_steady_clock_too():
    world = World().moving()
    chunk, world.speaks = world.inputs.chunk, False
    world.inputs.chunk = replace(chunk, stamp=world.now + world.offset - 350 * MS)
    world.gate._chunks.chunk = None  # the first one after a pause
    for _ in range(4):
        world.offset -= 19 * MS  # the ROS clock hardly moves
        world.tick()
    assert world.report.rule == "observation_age"


def test_after_another_arming_an_instruction_with_a_smaller_number_counts():
    """Numbers come from a wall clock; where that was set back, arming again mends it."""
    world = World().moving()
    world.gate.disarm()
    world.inputs.instruction = Instruction(world.now + world.offset, 0, "")
    world.tick()
    assert world.arm()[0]
    world.say("go")
    world.tick(2)
    assert world.report.state is State.ACTIVE


def test_a_value_that_is_not_finite_in_a_later_row_holds_now():
    world = World().moving()
    world.speaks = False
    chunk = world.inputs.chunk
    values = np.array([[0.3, 0.0, 1.0], [math.nan, 0.0, 1.0]], np.float32)
    world.inputs.chunk = replace(chunk, stamp=chunk.stamp + 1, sequence=chunk.sequence + 1, values=values)
    assert world.tick().rule == "finite_values"


def test_an_instruction_of_the_arming_s_own_number_does_not_move_it_however_new_it_looks():
    world = World()
    world.tick()
    world.arm()
    world.inputs.instruction = Instruction(world.now + world.offset + S, world.inputs.instruction.instruction_id, "go")
    assert world.tick(5).rule == "instruction_match"


def test_an_image_grows_old_by_the_ros_clock_as_well():
    world = World().moving()
    world.speaks = False
    world.offset += 370 * MS  # too little for a jump
    assert world.tick().rule == "observation_age"
