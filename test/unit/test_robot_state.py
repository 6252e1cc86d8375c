"""A robot file's state: which numbers say how the robot is, named, in SI units, each with its age."""
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_robot import ELBOW, GOOD, TO_ARM

from vla_ros.core.robot import parse_robot
from vla_ros.core.robot_state import (
    IMU,
    JOINT_STATE,
    MAX_STATE,
    NUMBERS,
    ODOMETRY,
    UNITS,
    WRENCH,
    wrapped,
)
from vla_ros.core.state_table import StateTable

MS = 1_000_000
S = 1000 * MS
JOINTS = {"topic": "/joint_states", "type": JOINT_STATE, "names": ["a", "b"], "unit": "rad"}


def state(*entries):
    return parse_robot({**GOOD, "state": list(entries)}).state


def test_joints_have_names_and_a_unit():
    source, = state(JOINTS)
    assert source.names == {"a": "a", "b": "b"} and source.required


def test_a_number_may_have_another_name_than_in_the_message():
    source, = state({**JOINTS, "names": {"left_a": "a"}})
    assert source.names == {"left_a": "a"}


def test_odometry_needs_no_names():
    source, = state({"topic": "/odom", "type": ODOMETRY})
    assert list(source.names) == ["odom.x", "odom.y", "odom.yaw", "linear.x", "angular.z"]


@pytest.mark.parametrize("entries, says", [
    ("/odom", "state is '/odom'; give a list"),
    ([{"topic": "/odom"}], "an entry of state lacks type"),
    ([{**JOINTS, "topic": "joint states"}], "state: topic is 'joint states'"),
    ([{**JOINTS, "type": "JointState"}], "type is 'JointState'; use one of sensor_msgs/msg/JointState, "),
    ([{**JOINTS, "rate": 50}], "has unknown rate"),
    ([{key: JOINTS[key] for key in ("topic", "type", "names")}], "'/joint_states' lacks unit; use one of rad, deg, m"),
    ([{**JOINTS, "unit": "grad"}], "has unit 'grad'; use one of rad"),
    ([{"topic": "/odom", "type": ODOMETRY, "unit": "m"}], "unit is for joints and arrays"),
    ([{key: JOINTS[key] for key in ("topic", "type", "unit")}], "'/joint_states' lacks names: of its numbers"),
    ([{"topic": "/imu", "type": IMU}], "'/imu' lacks names: roll, pitch, yaw, angular_velocity.x"),
    ([{"topic": "/w", "type": WRENCH, "names": ["force.w"]}], "WrenchStamped has no 'force.w'; it has force.x"),
    ([{**JOINTS, "names": []}], "give a list of names, or a mapping"),
    ([{**JOINTS, "names": ["a", 7]}], "names has 7: 7; give texts"),
    ([{**JOINTS, "names": ["a", "a"]}], "names has 'a' twice"),
    ([{**JOINTS, "names": {"a": "x", "b": "x"}}], "names has 'x' twice"),
    ([{**JOINTS, "type": NUMBERS, "names": {"a": "b"}}], "give a list of names$"),
    ([{**JOINTS, "scale": 0}], "scale is 0"), ([{**JOINTS, "scale": math.inf}], "scale is inf; give a finite"),
    ([{**JOINTS, "offset": math.nan}], "offset is nan"), ([{**JOINTS, "wraps": 1}], "wraps is 1; give true or false"),
    ([{**JOINTS, "unit": "m", "wraps": True}], "wraps is for an angle, in rad or deg"),
    ([{**JOINTS, "required": "no"}], "required is 'no'"),
    ([JOINTS, JOINTS], "state 'a' comes from /joint_states and from /joint_states; once is right"),
    ([JOINTS, {**JOINTS, "names": ["c"], "type": NUMBERS}], "a topic has one type"),
    ([{**JOINTS, "names": ["c"], "type": NUMBERS}, {**JOINTS, "names": ["d"], "type": NUMBERS}], "an array's numbers stand together"),
    ([{**JOINTS, "names": [f"n{i}" for i in range(MAX_STATE + 1)]}], "state has 257 numbers; at most 256"),
])
def test_a_state_that_cannot_be_gets_a_sentence(entries, says):
    with pytest.raises(ValueError, match=says):
        parse_robot({**GOOD, "state": entries})


# -- units ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("fields, published, value", [
    ({"unit": "rad"}, 0.5, 0.5), ({"unit": "deg"}, 180.0, math.pi), ({"unit": "mm"}, 12.0, 0.012),
    ({"unit": "0..100"}, 25.0, 0.25), ({"unit": "-100..100"}, -50.0, -0.5), ({"unit": "0..1"}, 0.25, 0.25),
    ({"unit": "deg", "offset": -math.pi}, 90.0, -math.pi / 2),
    ({"unit": "rad", "scale": -1.25, "offset": 1.0}, 0.8, 0.0),  # a gripper that closes with a growing angle
    ({"unit": "rad", "scale": -1.25, "offset": 1.0}, 0.0, 1.0),
    ({"unit": "-100..100", "scale": 1.9, "offset": 0.1}, 100.0, 2.0),
    ({"unit": "deg", "wraps": True}, 270.0, -math.pi / 2),
])
def test_a_number_is_converted_once_to_si_then_scaled_and_shifted(fields, published, value):
    source, = state({**JOINTS, **fields})
    assert source.value(published) == pytest.approx(value)


@pytest.mark.parametrize("angle, within", [(0.0, 0.0), (math.pi, math.pi), (-math.pi, math.pi), (3.2, 3.2 - math.tau),
                                           (7.0, 7.0 - math.tau), (-7.0, math.tau - 7.0)])
def test_an_angle_that_wraps_stays_within_half_a_turn_of_zero(angle, within):
    assert wrapped(angle) == pytest.approx(within)


@given(st.sampled_from(sorted(UNITS)), st.floats(-100, 100).filter(lambda scale: abs(scale) > 0.01), st.floats(-9, 9), st.floats(-9, 9))
def test_what_a_channel_sends_is_measured_as_the_same_value(unit, scale, offset, value):
    elbow = {**ELBOW, "scale": scale, "offset": offset, "sent_unit": unit}
    channel = parse_robot({**GOOD, "channels": {"elbow": elbow}, "outputs": [TO_ARM]}).channel("elbow")
    assert channel.measured(channel.sent(value)) == pytest.approx(value, abs=1e-9)


# -- the table -------------------------------------------------------------------------------------
def test_arm_and_gripper_from_two_publishers_are_one_state_and_each_has_its_own_age():
    source, = sources = state(JOINTS)
    table = StateTable(sources)
    table.update(source, {"b": 0.2}, S)
    table.update(source, {"a": 0.1, "wheel": 3.0}, S + 100 * MS)
    assert list(table.values(S + 100 * MS, 100 * MS).items()) == [("a", 0.1), ("b", 0.2)]
    assert table.values(S + 101 * MS, 100 * MS) == {"a": 0.1}
    assert table.stale(S + 101 * MS, 100 * MS) == {"b": 101 * MS}
    assert table.stale(S + 100 * MS, 100 * MS) == {}


def test_two_entries_read_one_topic_each_in_its_unit_in_the_file_s_order():
    gripper = {**JOINTS, "names": ["gripper"], "unit": "0..100"}
    sources = state({"topic": "/odom", "type": ODOMETRY}, gripper, {**JOINTS, "unit": "deg"})
    table = StateTable(sources)
    for source in sources[:0:-1]:
        table.update(source, {"a": 90.0, "b": 0.0, "gripper": 50.0}, S)
    assert table.values(S, 0) == {"gripper": 0.5, "a": pytest.approx(math.pi / 2), "b": 0.0}
    assert list(table.values(S, 0)) == ["gripper", "a", "b"]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1.7e308])
def test_a_number_that_is_none_changes_nothing(number):
    source, = sources = state({**JOINTS, "scale": 100.0})
    table = StateTable(sources)
    table.update(source, {"a": 0.1}, S)
    with pytest.raises(ValueError, match="for 'b'; refused whole, a number is right"):
        table.update(source, {"a": 0.2, "b": number}, 2 * S)
    assert table.values(S, 0) == {"a": 10.0}


# -- what follows from it ----------------------------------------------------------------------------
def two_armed(**left):
    names = {f"{side}_elbow": "elbow" for side in ("left", "right")}
    entries = [{"topic": f"/{name.split('_')[0]}/joint_states", "type": JOINT_STATE, "names": {name: joint}, "unit": "rad"}
               for name, joint in names.items()]
    channels = {name: {**ELBOW, "joint": name} for name in names}
    channels["left_elbow"].update(left)
    outputs = [{**TO_ARM, "topic": f"/{name}", "channels": [name]} for name in names]
    return parse_robot({**GOOD, "channels": channels, "outputs": outputs, "state": entries})


def test_a_channel_is_measured_where_the_state_says_under_the_joints_own_name():
    robot = two_armed()
    assert [(channel.joint_topic, channel.joint) for channel in robot.channels] == [
        ("/left/joint_states", "elbow"), ("/right/joint_states", "elbow")]
    assert list(robot.joint_topics) == ["/left/joint_states", "/right/joint_states"]


def test_a_joint_that_no_entry_names_is_heard_on_joint_states():
    assert two_armed(joint="other").channel("left_elbow").joint_topic == "/joint_states"


@pytest.mark.parametrize("left, says", [
    ({"sent_unit": "deg"}, "joint 'left_elbow' is in rad in `state`, and its sent_unit is deg; give the same unit"),
    ({"sent_unit": "furlong"}, "sent_unit is 'furlong'; use one of rad"), ({"scale": 0}, "scale is 0"),
    ({"joint": "right_elbow"}, "joint 'elbow' measures 2 channels"),
])
def test_a_channel_that_contradicts_the_state_gets_a_sentence(left, says):
    with pytest.raises(ValueError, match=says):
        two_armed(**left)


def test_a_velocity_has_no_offset_since_zero_must_be_sent_as_zero():
    speed = {**GOOD["channels"]["linear.x"], "offset": 0.1}
    with pytest.raises(ValueError, match="offset is 0.1; a velocity of 0 must be sent as 0"):
        parse_robot({**GOOD, "channels": {**GOOD["channels"], "linear.x": speed}})


def test_what_is_in_the_file_is_required_and_nothing_else():
    assert parse_robot(GOOD).required_topics == {}
    measured = {**GOOD["channels"], "gripper": {**GOOD["channels"]["gripper"], "joint": "finger"}}
    assert parse_robot({**GOOD, "channels": measured}).required_topics == {"/joint_states": JOINT_STATE}
    odometry = {"topic": "/odom", "type": ODOMETRY}
    assert parse_robot({**GOOD, "state": [odometry]}).required_topics == {"/odom": ODOMETRY}
    assert parse_robot({**GOOD, "state": [{**odometry, "required": False}]}).required_topics == {}
