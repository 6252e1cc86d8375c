"""Joints behind the gate: held where they were measured, moved no faster than they may, and inward beyond a limit."""
import math
from dataclasses import replace

import pytest
from gate_world import ARM, JOINTS, MS, S, reaching, rule_inputs

from vla_ros.safety.gate import LatestInputs, State
from vla_ros.safety.positions import Positions
from vla_ros.safety.rule import Behind, Verdict
from vla_ros.safety.rules.tracking import tracking


@pytest.mark.parametrize("asked, held", [(1.89, False), (1.95, True)])
def test_a_joint_that_is_asked_beyond_its_limit_without_end_is_held(asked, held):
    world = reaching({}, lag=40 * MS)
    rules = set()
    for index in range(600):  # 12 s; the limit is 1.9
        world.values = dict.fromkeys(JOINTS, asked + 0.001 * (index % 2))
        rules.add(world.tick().rule)
    assert ("persistent_clamping" in rules) == held


def test_a_joint_holds_where_it_was_sent_while_it_stands_there():
    """Held where it was measured, it would go by its drive's offset at each hold: an arm that nobody commands creeps."""
    world = reaching({}, lag=40 * MS)
    world.tick(20)
    assert 0.5 < world.action["joint_1"] < 1.5
    assert "gripper" not in world.action  # nobody commanded it
    sent = world.action["joint_1"]
    world.lag = None
    world.say("")
    world.positions["joint_1"] = sent - 0.03
    world.tick(5)
    assert world.action["joint_1"] == pytest.approx(sent)
    world.positions["joint_1"] = sent - 0.1
    world.tick(5)
    assert world.action["joint_1"] == pytest.approx(sent)  # it does not sag along


def test_a_measurement_that_has_grown_old_does_not_move_a_joint_when_it_holds():
    world = reaching({})
    world.tick(5)
    del world.positions["joint_1"]  # its driver died; the others go on
    world.tick(30)
    before = world.action["joint_1"]
    world.say("")
    world.tick(5)
    assert world.action["joint_1"] == before


@pytest.mark.parametrize("stands", [-2.05, -2.36])
def test_a_joint_that_stands_outside_its_limits_is_not_moved(stands):
    world = reaching({"joint_4": stands})
    assert world.tick(5).verdict is Verdict.HELD
    assert f"joint_4 stands at {stands} rad, outside its bounds" in world.report.reason
    assert not set(JOINTS) & set(world.action)


def test_an_action_for_half_an_arm_is_refused():
    world = reaching({})
    del world.values["joint_6"]
    assert world.tick(5).rule == "chunk_shape"
    assert "lacks 'joint_6'" in world.report.reason


def test_a_joint_a_little_outside_its_bounds_by_its_encoder_is_at_them():
    world = reaching({"joint_4": -2.03})  # bounds -2 to 2, 1 % of which is 0.04
    assert world.tick(3).state is State.ACTIVE
    assert world.action["joint_4"] == pytest.approx(-2.0 + 3 * 0.5 * 0.02)


def test_a_joint_outside_its_limits_moves_inward_only():
    world = reaching({"joint_4": -1.95})  # limits -1.9 to 1.9
    world.values["joint_4"] = -1.99
    assert world.tick().state is State.ACTIVE
    assert -1.95 < world.action["joint_4"] <= -1.93


def test_a_joint_beyond_its_soft_limit_is_not_sent_farther_out():
    world = reaching({"joint_4": 1.84})  # soft limits -1.8 to 1.8
    world.values["joint_4"] = 1.88
    world.tick(5)
    assert world.action["joint_4"] == pytest.approx(1.84)
    world.values["joint_4"] = 1.5
    world.tick()
    assert world.action["joint_4"] < 1.84


WRAPPING = replace(ARM.channel("joint_6"), wraps=True, bounds=(-7.0, 7.0), limits=(-6.5, 6.5), soft_limits=(-6.5, 6.5))
LIMIT = ARM.channel("joint_1").max_tracking_error
OFFSET = 0.03  # rad, by which a drive stands beside what it is sent


def test_a_soft_limit_is_not_carried_along_by_a_drive_s_offset():
    world = reaching({})
    world.values = dict.fromkeys(JOINTS, 1.9)
    for _ in range(300):
        world.tick()
        world.positions.update({name: value + OFFSET for name, value in world.action.items() if name in JOINTS})
    assert world.report.state is State.ACTIVE
    assert max(value for name, value in world.action.items() if name in JOINTS) == pytest.approx(1.8)


def test_an_arm_that_nobody_commands_does_not_creep():
    world = reaching({}, lag=0)
    world.tick(5)
    world.lag, world.values = None, {"linear.x": 0.0, "angular.z": 0.0}
    before = world.action["joint_2"]
    for _ in range(12):
        world.tick(50)
        world.positions["joint_2"] = world.action["joint_2"] - OFFSET
        world.say("")
        world.tick(2)
        world.say("go")
    assert world.action["joint_2"] == pytest.approx(before)


@pytest.mark.parametrize("wrong", [0.0, 1.3])
@pytest.mark.parametrize("messages", [1, 2])
def test_a_wrong_measurement_or_two_move_nothing(wrong, messages):
    world = reaching({}, lag=40 * MS)
    world.tick(10)
    world.lag, right = None, dict(world.positions)
    before = world.action["joint_1"]
    world.positions = dict.fromkeys(JOINTS, wrong)
    world.say("")  # it holds at that very moment
    world.tick(messages)
    world.positions = right
    world.tick(30)
    assert world.report.state is State.HOLDING
    assert world.action["joint_1"] == pytest.approx(before)


def test_a_wrong_measurement_before_the_first_action_is_not_where_it_starts():
    world = reaching({})
    world.positions = dict.fromkeys(JOINTS, -0.1)  # for one message
    world.tick()
    assert world.action.get("joint_1", 0.5) == pytest.approx(0.5, abs=0.011)


def test_what_is_measured_before_it_was_confirmed_is_unknown():
    world = reaching({})
    world.gate = type(world.gate)(world.gate.robot, world.gate.settings)
    world.tick()
    world.arm()
    world.say("reach")
    assert world.tick().rule == "joint_limits" and "unknown" in world.report.reason
    assert world.tick().state is State.ACTIVE


def test_a_joint_that_turns_on_and_on_says_so_and_is_not_turned_back():
    """From 3.13 rad it goes on to -3.13, a hundredth of a turn: it must not be sent 6.27 rad."""
    for channel in (WRAPPING, replace(WRAPPING, wraps=False)):
        world = reaching({"joint_6": 3.0})
        world.gate.robot = replace(ARM, channels=(*ARM.channels[:-1], channel))
        world.values = {**dict.fromkeys(JOINTS, 0.5), "joint_6": 3.2}
        for _ in range(60):
            world.tick()
            if world.report.state is State.STOPPED:
                break
            sent = world.action["joint_6"]
            world.positions["joint_6"] = math.remainder(sent, 2.0 * math.pi)
            assert 3.0 <= sent <= 3.2 + 1e-6
        if channel.wraps:
            assert world.report.state is State.ACTIVE and sent == pytest.approx(3.2)
            world.say("")
            world.tick(5)
            assert world.action["joint_6"] == pytest.approx(3.2)
        else:  # an encoder that jumps: nobody knows where it stands, so it is sent nothing
            assert "wraps: true" in world.report.reason
            world.tick(50)
            assert "joint_6" not in world.action


def blocked(seconds):
    """joint_1 meets something at 0.7 rad; the others follow."""
    world = reaching({}, lag=40 * MS)
    for _ in range(round(seconds / 0.02)):
        world.tick()
        world.positions["joint_1"] = min(world.positions["joint_1"], 0.7)
    return world


def test_a_joint_that_does_not_follow_is_held_and_no_longer_pushed():
    world = blocked(0.4 + 0.4 + 0.4)  # 0.2 rad ahead of it after 0.8 s
    assert world.report.state is State.ACTIVE
    assert world.action["joint_1"] == pytest.approx(0.5 + 0.5 * 1.2, abs=0.02)
    world = blocked(1.6)
    assert world.report.state is State.HOLDING
    assert "joint_1 stands at 0.7 rad and was sent" in world.report.reason
    assert world.action["joint_1"] == pytest.approx(0.7)  # at once: where it stands asks for no motion
    world.tick(100)
    assert world.report.rule == "instruction_match" and "give the instruction again" in world.report.reason
    world.values = dict.fromkeys(JOINTS, 0.6)
    world.say("go back")
    assert world.tick(2).state is State.ACTIVE


@pytest.mark.parametrize("late, held", [(S // 2 - 1, False), (S // 2, False), (S // 2 + 1, True)])
def test_a_joint_may_be_away_from_where_it_was_sent_for_its_tracking_time(late, held):
    finding = tracking(rule_inputs(robot=ARM, behind={"joint_1": Behind(late, 0.7, 1.0)}))
    assert (finding is not None) == held
    if held:
        assert finding.verdict is Verdict.HELD
        assert finding.reason == ("joint_1 stands at 0.7 rad and was sent 1: more than 0.25 apart for 0.50 s; "
                                  "see what is in its way")


@pytest.mark.parametrize("goal, counts", [(0.7, False), (0.75, False), (0.7501, True), (0.2499, True), (0.25, False)])
def test_a_joint_counts_as_away_beyond_its_max_tracking_error(goal, counts):
    """It stands at 0.5 rad, and does not move at all; 0.25 rad are allowed, and half a second beyond that."""
    world = reaching({})
    world.values = {**dict.fromkeys(JOINTS, 0.5), "joint_1": goal}
    world.tick(26)  # there, and seen to be there a tick later
    assert world.action["joint_1"] == pytest.approx(goal) and world.report.state is State.ACTIVE
    assert ("joint_1" in world.gate._behind) == counts
    world.tick(25)
    assert world.report.state is State.ACTIVE  # for 0.5 s at most: not longer
    world.tick(2)
    assert (world.report.rule == "tracking" or world.report.rule == "instruction_match") == counts


def test_a_joint_that_is_near_again_for_a_moment_is_given_its_time_anew():
    world = reaching({})
    world.values = {**dict.fromkeys(JOINTS, 0.5), "joint_1": 0.8}
    for _ in range(4):
        world.positions["joint_1"] = 0.5
        world.tick(24)
        world.positions["joint_1"] = 0.57
        world.tick(3)
    assert world.report.state is State.ACTIVE


def test_stopped_a_blocked_joint_is_sent_to_where_it_stands_and_stays_when_it_is_free():
    world = blocked(1.1)
    world.inputs.stop_pressed = True
    world.lag = None
    world.tick()
    assert world.action["joint_1"] == pytest.approx(0.7)
    world.positions["joint_1"] = 0.75  # free, it springs a little
    world.tick(100)
    assert world.action["joint_1"] == pytest.approx(0.7)


def test_stopped_a_joint_stays_where_it_is_measured_and_goes_there_no_faster_than_it_may():
    world = reaching({}, lag=0)
    world.tick(20)
    sent = world.action["joint_1"]
    world.lag, world.positions["joint_1"] = None, sent - 0.05  # its drive lags behind
    world.inputs.stop_pressed = True
    world.tick()
    assert world.action["joint_1"] == pytest.approx(sent - 0.5 * 0.02)
    world.tick(10)
    assert world.action["joint_1"] == pytest.approx(sent - 0.05)


def test_a_joint_that_was_held_stays_where_it_is_measured_when_it_is_stopped_then():
    world = reaching({}, lag=0)
    world.tick(20)
    world.lag, world.positions["joint_1"] = None, world.action["joint_1"] - 0.05
    world.say("")
    world.tick(10)
    assert world.action["joint_1"] == pytest.approx(world.positions["joint_1"] + 0.05)
    world.inputs.stop_pressed = True
    world.tick(10)
    assert world.action["joint_1"] == pytest.approx(world.positions["joint_1"])


@pytest.mark.parametrize("stop", [False, True])
def test_a_joint_that_is_moved_by_hand_is_where_it_was_moved_to(stop):
    world = reaching({}, lag=0)
    world.tick(10)
    world.lag = None
    if stop:
        world.inputs.stop_pressed = True
    else:
        world.say("")
    for _ in range(100):  # 1.1 rad in 2 s
        world.positions["joint_1"] -= 0.011
        world.tick()
        assert abs(world.action["joint_1"] - world.positions["joint_1"]) <= 3 * LIMIT + 0.02
    world.tick(30)  # at rest
    assert abs(world.action["joint_1"] - world.positions["joint_1"]) <= LIMIT


def test_moved_by_hand_to_where_it_may_not_be_sent_it_is_sent_nothing():
    world = reaching({}, lag=0)
    world.tick(10)
    world.lag = None
    world.gate.robot = replace(ARM, channels=tuple(
        replace(channel, limits=(0.0, 1.0), soft_limits=(0.0, 1.0)) if channel.name == "joint_1" else channel
        for channel in ARM.channels))
    world.say("")
    for _ in range(50):
        world.positions["joint_1"] -= 0.02
        world.tick()
        sent = world.action.get("joint_1")
        assert sent is None or 0.0 <= sent <= 0.7
    world.tick(30)
    assert world.positions["joint_1"] < -LIMIT and "joint_1" not in world.action


def test_a_gripper_that_nothing_measures_starts_where_the_robot_file_says():
    gripper = replace(ARM.channel("gripper"), joint="", start=0.5)
    world = reaching({})
    world.gate.robot = replace(ARM, channels=tuple(
        gripper if channel.name == "gripper" else channel for channel in ARM.channels))
    world.values = {"gripper": 1.0}
    world.tick()
    assert world.action["gripper"] == pytest.approx(0.52)
    world.gate.robot = ARM
    del world.gate._last["gripper"]
    assert world.tick().rule == "joint_limits"


@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize("offset, limit", [(0.3, LIMIT), (0.03, 0.02), (0.08, 0.05), (0.5, 0.1), (0.19, LIMIT)])
def test_a_drive_that_lets_a_joint_sink_is_not_followed_to_the_end(offset, limit, stop):
    """It picked up something heavy: wherever it is sent, it stands `offset` below."""
    world = reaching({}, lag=0)
    world.gate.robot = replace(ARM, channels=tuple(
        replace(channel, max_tracking_error=limit) if channel.name == "joint_2" else channel for channel in ARM.channels))
    world.values = dict.fromkeys(JOINTS, 0.5)
    world.tick(10)
    world.lag = None
    if stop:
        world.inputs.stop_pressed = True
    else:
        world.say("")
    for _ in range(500):
        sent = world.action["joint_2"]
        world.positions["joint_2"] += 0.1 * (sent - offset - world.positions["joint_2"])
        world.tick()
    assert world.positions["joint_2"] >= 0.5 - 3.0 * offset - 1.2 * limit
    before = world.positions["joint_2"]
    for _ in range(100):
        world.positions["joint_2"] += 0.1 * (world.action["joint_2"] - offset - world.positions["joint_2"])
        world.tick()
    assert world.positions["joint_2"] == pytest.approx(before, abs=1e-3)


def test_it_does_not_start_from_a_lie_that_is_already_contradicted():
    world = reaching(dict.fromkeys(JOINTS, 0.0))  # ros2_control, before its first reading
    world.positions = dict.fromkeys(JOINTS, 1.2)
    for _ in range(2):
        assert world.tick().rule == "joint_limits" and not set(JOINTS) & set(world.action)
    world.tick(3)
    assert world.action["joint_1"] == pytest.approx(1.2, abs=0.04)


def test_a_continuous_joint_goes_the_shorter_way_and_counts_turns_only_while_it_is_sent_somewhere():
    world = reaching({"joint_6": 3.1}, lag=None)
    world.gate.robot = replace(ARM, channels=(*ARM.channels[:-1], WRAPPING))
    world.values = {**dict.fromkeys(JOINTS, 0.5), "joint_6": -3.13}
    world.tick(20)
    assert world.report.state is State.ACTIVE
    assert world.action["joint_6"] == pytest.approx(2.0 * math.pi - 3.13)
    world.gate.disarm()
    for i in range(400):  # three turns by hand
        world.positions["joint_6"] = math.remainder(3.1 + 0.05 * i, 2.0 * math.pi)
        world.tick()
    world.tick(5)
    world.arm()
    world.values = {**dict.fromkeys(JOINTS, 0.5), "joint_6": world.positions["joint_6"]}
    world.say("go")
    world.tick(5)
    assert world.report.state is State.ACTIVE and abs(world.action["joint_6"]) < math.pi


@pytest.mark.parametrize("measured, believed", [(0.079, True), (-0.079, True), (0.081, False), (-0.081, False), (0.2, False)])
def test_a_measurement_is_believed_as_far_as_the_joint_can_have_come(measured, believed):
    """In 20 ms at four times its rate of 0.5 rad/s 0.04 rad, and a hundredth of its range of 4 rad for its encoder."""
    joint = ARM.channel("joint_4")
    assert (joint.bounds, joint.max_speed) == ((-2.0, 2.0), 0.5)
    positions = Positions()
    for when, value in enumerate((0.0, 0.0, 0.0, measured), 1):  # the first is believed once three agree
        positions.look(ARM, {"joint_4": (value, 20 * MS * when)}, (), 500 * MS)
    assert positions.in_doubt(joint) != believed
    assert positions.stands(joint, 80 * MS, 500 * MS) == (measured if believed else 0.0)


def test_joint_states_that_name_none_of_ours_are_no_sign_of_life():
    inputs = LatestInputs()
    inputs.hear_joints("/joint_states", ARM.channels, ["another_robot_s_elbow"], [0.1], 7)
    assert inputs.heard() == {} and inputs.measured == {}
    joint = next(channel.joint for channel in ARM.channels if channel.joint)
    inputs.hear_joints("/joint_states", ARM.channels, [joint], [0.1], 8)
    assert inputs.heard() == {"/joint_states": 8} and len(inputs.measured) == 1
