"""A person's stick: its deadman, what its axes move, and the rows that come of it."""
import math
from dataclasses import replace

import pytest
from gate_world import ARM, JOINTS, MS, ROBOT, S

from vla_ros.core.robot import load_robot
from vla_ros.core.stick import AUTO, Jog, Stick, bindings, deflections, twist_channels

TOPICS = {"joy": False, "twist": True, "joints": True}
TIMEOUT = 250 * MS
TICK = 20 * MS


def stick():
    stick = Stick(TOPICS, 100, TIMEOUT)
    stick.note("joy", False, 0)  # its button was seen let go
    return stick


# -- the deadman -----------------------------------------------------------------------
def test_a_press_has_a_number_of_its_own_and_lasts_until_it_is_let_go():
    one = stick()
    assert one.press == 0
    assert one.note("joy", True, 1) and one.press == 101
    assert not one.note("joy", True, 2) and one.press == 101
    one.note("joy", False, 3)
    assert one.press == 0
    assert one.note("joy", True, 4) and one.press == 102


def test_a_button_that_was_held_from_the_start_is_no_press():
    one = Stick(TOPICS, 100, TIMEOUT)
    assert not one.note("joy", True, 1) and one.press == 0
    one.note("joy", False, 2)
    assert one.note("joy", True, 3)


@pytest.mark.parametrize("silence, ends", [(TIMEOUT - 1, False), (TIMEOUT, False), (TIMEOUT + 1, True)])
@pytest.mark.parametrize("topic", TOPICS)
def test_a_stick_that_is_silent_is_let_go(topic, silence, ends):
    one = stick()
    one.note(topic, True, 10)
    assert one.look(10 + silence) == ends
    assert (one.press == 0) == ends


def test_a_button_that_was_held_when_its_stick_fell_silent_is_pressed_again_and_messages_are_a_new_press():
    one = stick()
    one.note("joy", True, 0)
    one.look(TIMEOUT + 1)
    assert not one.note("joy", True, TIMEOUT + 2)
    one.note("joy", False, TIMEOUT + 3)
    assert one.note("joy", True, TIMEOUT + 4)
    other = stick()
    other.note("twist", True, 0)
    other.look(TIMEOUT + 1)
    assert other.note("twist", True, TIMEOUT + 2)


def test_two_sticks_at_once_are_both_refused_until_they_were_let_go():
    one = stick()
    one.note("joy", True, 0)
    with pytest.raises(ValueError, match="joy and twist both want the robot"):
        one.note("twist", True, 1)
    assert one.press == 0
    assert not one.note("joy", True, 2) and not one.note("twist", True, 3)
    one.note("twist", False, 4)
    assert one.note("twist", True, 5)
    assert not one.note("joy", True, 6)  # still held from before: it is no press


def test_a_stick_at_rest_does_not_disturb_the_one_that_drives():
    one = stick()
    one.note("joy", True, 0)
    assert not one.note("twist", False, 1) and one.topic == "joy"


@pytest.mark.parametrize("silence, lets_go", [(S - 1, False), (S, False), (S + 1, True)])
def test_after_a_refusal_a_second_of_silence_lets_messages_go_and_no_button(silence, lets_go):
    one = stick()
    one.note("twist", True, 0)
    one.note("joy", False, 0)
    one.refuse()
    assert not one.note("twist", True, 1) and not one.note("joy", True, 1)
    one.look(1 + silence)
    assert one.note("twist", True, 2 + silence) == lets_go
    assert not one.note("joy", True, 2 + silence)


def test_after_a_refusal_a_zero_lets_go_at_once():
    one = stick()
    one.note("twist", True, 0)
    one.refuse()
    one.note("twist", False, 1)
    assert one.note("twist", True, 2)
    one.look(3 + TIMEOUT)
    assert one.note("twist", True, 4 + TIMEOUT)  # the refusal is over


def test_what_streams_as_its_node_becomes_active_is_let_go_first():
    one = stick()
    one.note("twist", True, 0)
    one.begin(S)
    assert one.press == 0 and not one.held
    one.look(S + TIMEOUT)
    assert not one.note("twist", True, S + TIMEOUT) and one.holds("twist")
    one.look(S + 2 * TIMEOUT + 1)
    assert not one.held
    assert one.note("twist", True, S + 2 * TIMEOUT + 2)


def test_a_deadman_that_is_held_in_vain_is_known_until_it_is_let_go_or_silent():
    one = Stick(TOPICS, 100, TIMEOUT)
    one.note("joy", True, 1)
    assert one.held and one.holds("joy") and not one.holds("twist")
    one.note("twist", True, 2)
    assert not one.holds("joy")  # another one drives
    one.note("twist", False, 3)
    assert one.holds("joy")
    one.look(2 + TIMEOUT)
    assert not one.held


# -- axes ------------------------------------------------------------------------------
def test_what_an_axis_moves_goes_as_far_as_the_robot_file_allows_to_each_side():
    axis, = bindings(["linear.x=1"], ROBOT, "joy_axes")
    low, high = ROBOT.channel("linear.x").limits
    assert (axis.index, axis.speed(1.0), axis.speed(-1.0), axis.speed(-0.5)) == (1, high, low, low / 2)
    slower, joint = bindings(["linear.x=1:-0.2", "joint_1=3"], ARM, "joy_axes")
    assert slower.speed(1.0) == -0.2
    assert joint.speed(-1.0) == -ARM.channel("joint_1").max_speed


def test_auto_is_the_base_by_the_left_stick():
    assert [(axis.channel.name, axis.index) for axis in bindings([AUTO], ROBOT, "joy_axes")] == [("linear.x", 1), ("angular.z", 0)]
    alone = replace(ARM, outputs=ARM.outputs[2:])
    assert bindings([AUTO], alone, "joy_axes") == [] and twist_channels(alone) == ()


@pytest.mark.parametrize("text, says", [("wings=1", "no channel 'wings'"), ("linear.x", "channel=index"), ("linear.x=-1", "channel=index"),
                                        ("linear.x=a", "channel=index"), ("linear.x=1:fast", "channel=index"), ("linear.x=1:nan", "channel=index")])
def test_what_is_no_binding_is_refused_with_what_is(text, says):
    with pytest.raises(ValueError, match=says):
        bindings([text], ROBOT, "joy_axes")


@pytest.mark.parametrize("value, deflection", [(0.1, 0.0), (-0.1, 0.0), (0.55, 0.5), (-1.0, -1.0), (1.0, 1.0)])
def test_within_its_deadzone_an_axis_is_at_rest_and_from_there_it_grows_from_zero(value, deflection):
    assert deflections([0.0, value], bindings(["linear.x=1"], ROBOT, "joy_axes"), 0.1) == [pytest.approx(deflection)]


def test_an_axis_that_says_nan_is_not_at_rest_and_one_that_is_not_there_is_refused():
    axis = bindings(["linear.x=1"], ROBOT, "joy_axes")
    assert math.isnan(deflections([0.0, math.nan], axis, 0.1)[0])
    with pytest.raises(ValueError, match="number 1 of 1"):
        deflections([0.0], axis, 0.1)


# -- rows ------------------------------------------------------------------------------
def jog(**sent):
    one = Jog(ARM)
    one.sent.update({**dict.fromkeys(JOINTS, 0.5), **sent})
    one.begin()
    return one


def test_a_row_is_whole_for_each_output_that_it_touches_and_leaves_the_others_alone():
    row = jog().row({"linear.x": 0.2}, {}, TICK)
    assert row == {"linear.x": 0.2, "angular.z": 0.0}
    row = jog().row({"joint_2": 0.3}, {}, TICK)
    assert row == {**dict.fromkeys(JOINTS, 0.5), "joint_2": pytest.approx(0.5 + 0.3 * 0.02)}


def test_a_joint_that_is_not_jogged_is_not_named_beside_a_base_until_it_was():
    one = jog()
    assert "joint_1" not in one.row({"linear.x": 0.1, "joint_1": 0.0}, {}, TICK)
    assert one.row({"linear.x": 0.1, "joint_1": 0.1}, {}, TICK)["joint_1"] > 0.5
    assert "joint_1" in one.row({"linear.x": 0.1, "joint_1": 0.0}, {}, TICK)


def test_an_arm_alone_is_named_where_it_is_while_nothing_moves_it():
    assert jog().row(dict.fromkeys(JOINTS, 0.0), {}, TICK) == dict.fromkeys(JOINTS, 0.5)


def test_jogging_goes_on_from_what_was_asked_and_not_far_ahead_of_what_was_sent():
    one = jog()
    for _ in range(100):  # the gate does not let it go
        row = one.row({"joint_1": 0.5}, {}, TICK)
    assert row["joint_1"] == pytest.approx(0.5 + ARM.channel("joint_1").max_speed * 0.2)
    one.sent["joint_1"] = 0.55
    assert one.row({"joint_1": -0.5}, {}, TICK)["joint_1"] < row["joint_1"]


def test_a_press_begins_where_the_robot_is():
    one = jog()
    one.row({"joint_1": 0.5}, {}, 100 * MS)
    one.sent["joint_1"] = -0.2
    one.begin()
    assert one.row({"joint_1": 0.5}, {}, 0)["joint_1"] == -0.2


def test_a_joint_that_was_sent_nowhere_starts_where_it_is_measured_and_one_that_is_not_is_refused():
    one = Jog(ARM)
    one.measured.update(dict.fromkeys(JOINTS, 0.1))
    assert one.row({"joint_1": 0.0}, {}, TICK)["joint_1"] == 0.1
    with pytest.raises(ValueError, match="where joint_2 stands is not known"):
        Jog(ARM).row({"joint_2": 0.1}, {}, TICK)


def test_a_pause_between_two_messages_is_not_caught_up():
    assert jog().row({"joint_1": 0.5}, {}, 10_000 * MS)["joint_1"] == pytest.approx(0.5 + 0.5 * 0.1)


def test_a_jogged_joint_stays_within_its_limits_and_comes_back_from_beyond():
    high = ARM.channel("joint_1").limits[1]
    assert jog(joint_1=high).row({"joint_1": 0.5}, {}, TICK)["joint_1"] == high
    beyond = jog(joint_1=high + 0.1)
    assert beyond.row({"joint_1": -0.5}, {}, TICK)["joint_1"] == pytest.approx(high + 0.1 - 0.01)


def test_positions_are_handed_on_as_they_are_and_a_number_that_is_none_is_not_kept():
    one = jog()
    assert one.row({}, {"joint_1": 9.0}, TICK)["joint_1"] == 9.0  # the gate refuses it
    assert math.isnan(one.row({"joint_1": math.nan}, {}, TICK)["joint_1"])
    assert one.row({"joint_1": 0.0}, {}, TICK)["joint_1"] == 0.5


def test_what_the_robot_does_not_have_is_asked_for_all_the_same():
    assert jog().row({"linear.y": 0.1, "linear.x": 0.0}, {}, TICK)["linear.y"] == 0.1


def test_a_gripper_that_nothing_measures_starts_where_its_file_says():
    channels = tuple(replace(channel, start=0.3) if channel.name == "gripper" else channel for channel in ROBOT.channels)
    assert Jog(replace(ROBOT, channels=channels)).row({"gripper": 0.5}, {}, TICK)["gripper"] == pytest.approx(0.31)
    assert load_robot  # the robots of these tests are the shipped ones
