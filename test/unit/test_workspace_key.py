"""What a robot file says of an arm: its URDF's limits, which it may narrow, and where its tool may be."""
import copy
import json
import math

import pytest
from tool_world import NAMES, PLANAR, arm, box, robot_data, urdf_text

from vla_ros.core.robot import load_robot, parse_robot

ROOM = {"tool": "tool", "inside": [box((-1, -1, 0), (1, 1, 1))]}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "six.urdf").write_text(urdf_text(), encoding="utf-8")
    return tmp_path


def changed(*path_and_value, **keys):
    *path, last, value = path_and_value
    data = copy.deepcopy(robot_data(workspace=copy.deepcopy(ROOM), **keys))
    place = data
    for key in path:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return data


def test_a_urdf_lies_beside_the_robot_file_that_names_it(folder):
    (folder / "six.yaml").write_text(json.dumps(robot_data(workspace=ROOM)), encoding="utf-8")  # which is YAML
    robot = load_robot(folder / "six.yaml")
    assert [joint.name for joint in robot.workspace.chain] == ["mounting", *NAMES, "tip"]
    (folder / "six.urdf").unlink()
    with pytest.raises(ValueError, match=r"robot file '.*six.yaml': URDF '.*six.urdf' does not exist"):
        load_robot(folder / "six.yaml")


def test_what_the_robot_file_leaves_out_is_the_urdf_s(folder):
    data = robot_data()
    for name in ("bounds", "limits", "max_speed"):
        del data["channels"]["joint_1"][name]
    channel = parse_robot(data, folder).channel("joint_1")
    assert channel.bounds == channel.limits == (-2.5, 2.5) and channel.max_speed == 2.0
    data["channels"]["joint_1"]["bounds"] = [-1.0, 1.0]
    assert parse_robot(data, folder).channel("joint_1").limits == (-1.0, 1.0)


def test_and_in_the_channel_s_own_unit(folder):
    data = robot_data()
    data["channels"]["joint_1"] = {"unit": "1", "scale": 0.5, "on_stop": "hold_commanded", "joint": "joint_1"}
    channel = parse_robot(data, folder).channel("joint_1")
    assert channel.limits == (-5.0, 5.0) and channel.max_speed == 4.0


def test_a_gripper_s_bounds_may_reach_a_tenth_beyond_its_ends_and_its_limits_may_not(folder):
    data = robot_data()
    gripper = {"unit": "1", "scale": 5.0, "offset": -2.5, "on_stop": "hold_commanded", "joint": "joint_1"}
    data["channels"]["joint_1"] = gripper
    channel = parse_robot(data, folder).channel("joint_1")
    assert channel.limits == (0.0, 1.0) and channel.bounds == pytest.approx((-0.1, 1.1))
    gripper.update(bounds=[-0.1, 1.1], limits=[0.0, 1.0])
    parse_robot(data, folder)
    for key, ends in (("bounds", [-0.1, 1.11]), ("bounds", [-0.11, 1.1]), ("limits", [0.0, 1.01])):
        data["channels"]["joint_1"] = {**gripper, key: ends}
        with pytest.raises(ValueError, match=f"channel 'joint_1': {key} are"):
            parse_robot(data, folder)


def test_a_joint_that_turns_for_ever_has_the_robot_file_s_limits(folder):
    data = robot_data()
    data["channels"]["joint_5"].update(bounds=[-9.0, 9.0], limits=[-9.0, 9.0])
    assert parse_robot(data, folder).channel("joint_5").bounds == (-9.0, 9.0)
    del data["channels"]["joint_5"]["bounds"]
    with pytest.raises(ValueError, match="channel 'joint_5' lacks bounds"):
        parse_robot(data, folder)


@pytest.mark.parametrize("key, value, allowed", [
    ("bounds", [-2.5, 2.5], True), ("bounds", [-2.51, 2.5], False), ("bounds", [-2.5, 2.51], False),
    ("bounds", [-2.4, 2.4], True), ("max_speed", 2.0, True), ("max_speed", 2.01, False), ("max_speed", 1.9, True)])
def test_a_robot_file_narrows_and_never_widens(key, value, allowed, folder):
    data = changed("channels", "joint_1", key, value)
    if allowed:
        parse_robot(data, folder)
        return
    number = "-2.5 to 2.5" if key == "bounds" else "2"
    with pytest.raises(ValueError, match=rf"channel 'joint_1': {key} .*2\.[05]1.* allows joint 'joint_1' {number}"):
        parse_robot(data, folder)


@pytest.mark.parametrize("scale, offset, bounds", [
    (0.5, 0.0, (-5.0, 5.0)), (2.0, 0.0, (-1.25, 1.25)), (-0.5, 0.5, (-4.0, 6.0)), (1.0, 1.5, (-4.0, 1.0))])
def test_limits_are_compared_in_the_joint_s_own_unit(scale, offset, bounds, folder):
    data = changed("channels", "joint_1", "scale", scale)
    channel = data["channels"]["joint_1"]
    channel.update(offset=offset, max_speed=2.0 / abs(scale), limits=[-1.0, 1.0], bounds=list(bounds))
    parse_robot(data, folder)
    for wider in ((bounds[0] - 0.01, bounds[1]), (bounds[0], bounds[1] + 0.01)):
        channel["bounds"] = list(wider)
        with pytest.raises(ValueError, match="bounds are"):
            parse_robot(data, folder)
    for name in ("bounds", "limits", "max_speed"):
        del channel[name]
    assert parse_robot(data, folder).channel("joint_1").bounds == bounds


def test_a_joint_may_have_a_name_of_the_file_s_own(folder):
    data = changed("state", [{"topic": "/arm/joint_states", "type": "sensor_msgs/msg/JointState", "unit": "rad",
                              "names": {"shoulder": "joint_1"}}])
    data["channels"]["joint_1"]["joint"] = "shoulder"
    del data["channels"]["joint_1"]["bounds"], data["channels"]["joint_1"]["limits"]
    robot = parse_robot(data, folder)
    assert robot.channel("joint_1").bounds == (-2.5, 2.5) and robot.workspace


@pytest.mark.parametrize("data, says", [
    (changed("urdf", 7), "urdf is 7; give the path of a URDF file"), (changed("urdf", ""), "urdf is ''; give the path"),
    (changed("urdf", "no.urdf"), "no.urdf' does not exist"), (changed("urdf", "."), "is a folder"),
    (changed("channels", "joint_1", "joint", "elbow"), "channel 'joint_1': URDF .* has no joint 'elbow'; those that move"),
    (changed("channels", "joint_1", "joint", "tip"), "channel 'joint_1': joint 'tip' is fixed in"),
    (changed("urdf", None), "workspace needs a urdf"),
    (changed("workspace", 3), "workspace is 3; give a mapping"), (changed("workspace", "tool", None), "workspace lacks tool"),
    (changed("workspace", "inside", None), "workspace limits nothing; give inside, outside or max_tool_speed"),
    (changed("workspace", "tool", "hand"), "has no link 'hand'"), (changed("workspace", "size", 1), "workspace has unknown size"),
    (changed("workspace", "inside", {}), "inside is {}; give a list of boxes"),
    (changed("workspace", "inside", [3]), "workspace: inside, box 1 is 3; give a mapping"),
    (changed("workspace", "inside", [{"min": [0, 0, 0]}]), "inside, box 1 lacks max"),
    (changed("workspace", "outside", [box((0, 0), (1, 1, 1))]), r"outside, box 1: min is \[0, 0\]; give \[x, y, z\] in m"),
    (changed("workspace", "outside", [box((0, 0, 0), (1, 0, 1))]), "min y is 0 m; it must be below max, 0 m"),
    (changed("workspace", "outside", [box((0, 0, 0), (1, math.nan, 1))]), "max is nan; give a finite number"),
    (changed("workspace", "outside", [box((0, 0, 0), (1, math.inf, 1))]), "max is inf; give a finite number"),
    (changed("workspace", "outside", [box((0, 0, 0), (1, 1, 1))] * 32), "workspace has 33 boxes; give at most 32"),
    (changed("workspace", "max_tool_speed", 0.0), "max_tool_speed is 0.0; it must be more than 0"),
    (changed("workspace", "max_tool_speed", math.inf), "max_tool_speed is inf; give a finite number"),
    (changed("base_frame", "chest"), "has no link 'chest'"),
    (changed("base_frame", "tool"), "no joint moves the tool"),
    (changed("enable_time", -1.0), "enable_time is -1.0; it must be at least 0"),
    (changed("enable_time", 61.0), "enable_time is 61 s; give at most 60 s"),
    (changed("enable_time", math.nan), "enable_time is nan; give a finite number"),
])
def test_what_cannot_be_true_is_refused_with_its_value(data, says, folder):
    with pytest.raises(ValueError, match=says):
        parse_robot(data, folder)


@pytest.mark.parametrize("change", ["joint", "velocity"])
def test_every_joint_up_to_the_tool_is_measured_by_a_channel(change, folder):
    data = robot_data(workspace=ROOM)
    channel = data["channels"]["joint_3"]
    if change == "joint":
        del channel["joint"]
    else:
        del channel["max_speed"]
        channel.update(unit="rad/s", on_stop="zero", acceleration=1.0)
        data["outputs"] = [{"topic": f"/{name}", "type": "std_msgs/msg/Float64MultiArray", "channels": [name]}
                           for name in NAMES]
    with pytest.raises(ValueError, match="joint 'joint_3' moves the tool in .*, and no channel with a position"):
        parse_robot(data, folder)


def test_a_box_has_the_name_that_it_is_given(folder):
    table = box((-1, -1, -1), (1, 1, 0), name="table")
    robot = arm(folder, {"tool": "tool", "outside": [table, box((0, 0, 2), (1, 1, 3))], "max_tool_speed": 0.25})
    assert [one.name for one in robot.workspace.outside] == ["table", "outside 2"]
    assert robot.workspace.max_tool_speed == 0.25 and robot.workspace.inside == ()


def test_a_robot_without_a_urdf_is_as_it_was():
    robot = parse_robot({key: value for key, value in robot_data().items() if key != "urdf"})
    assert robot.urdf is None and robot.workspace is None and robot.enable_time == 0.0


def test_a_slide_is_measured_in_metres(tmp_path):
    data = robot_data(["joint_1", "joint_2"])
    (tmp_path / "six.urdf").write_text(PLANAR, encoding="utf-8")
    data["channels"]["joint_2"].update(bounds=[0.0, 0.4], limits=[0.0, 0.4])
    parse_robot(data, tmp_path)
    data["channels"]["joint_2"].update(bounds=[-0.1, 0.4])
    with pytest.raises(ValueError, match=r"bounds are -0.1 to 0.4 rad; .* allows joint 'joint_2' 0 to 0.4"):
        parse_robot(data, tmp_path)
