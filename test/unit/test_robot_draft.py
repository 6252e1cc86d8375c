"""`vla robot init`: the draft of a robot file from a graph, by hand: what is in it, and what is left to do."""
from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml
from robot_graphs import (
    JOINT_STATE,
    NUMBERS,
    TRAJECTORY,
    TWIST,
    arm_graph,
    image,
    joints,
    said,
    taken,
    with_topic,
    without,
)
from tool_world import NAMES, PLACES, urdf_text

from vla_ros.core.robot import load_robot
from vla_ros.core.urdf import parse_urdf
from vla_ros.operator.robot_check import WRONG, check_robot
from vla_ros.operator.robot_draft import camera_name, draft_robot, has_robot
from vla_ros.operator.robot_graph import (
    COMPRESSED,
    IMAGE,
    GraphEndpoint,
    GraphSnapshot,
    GraphTopic,
    HeardTopic,
)

LIDAR = "sensor_msgs/msg/LaserScan"
ODOMETRY = "nav_msgs/msg/Odometry"
FINGER = """<link name='hand'/><link name='finger'/>
<joint name='hand_mount' type='fixed'><parent link='tool'/><child link='hand'/></joint>
<joint name='finger_joint' type='prismatic'><parent link='hand'/><child link='finger'/>
<limit lower='{0}' upper='{1}' velocity='{2}' effort='1'/></joint>"""
SECOND_FINGER = """<link name='thumb'/><joint name='other_finger_joint' type='prismatic'><parent link='hand'/>
<child link='thumb'/><limit lower='0' upper='0.04' velocity='0.1' effort='1'/></joint>"""
GRIPPER = "/gripper_controller/commands"
GRIPPER_COMMAND = "control_msgs/action/GripperCommand"
FOLLOW_TRAJECTORY = "control_msgs/action/FollowJointTrajectory"


def six(more="", **changes):
    text = urdf_text([("revolute", *place[1:]) for place in PLACES], more)
    for before, after in changes.items():
        text = text.replace(before, after)
    return parse_urdf(text)


def with_finger(lower=0.0, upper=0.04, velocity=0.08):
    return six(FINGER.format(lower, upper, velocity))


def finger_graph():
    graph = with_topic(arm_graph(), "/joint_states", said(JOINT_STATE, joints([*NAMES, "finger_joint"], [0.02] * 7)))
    return with_topic(graph, GRIPPER, taken(NUMBERS, "/gripper_controller"))


def draft(graph, urdf=None):
    return draft_robot(graph, "mine", urdf, "mine.urdf" if urdf else "")


def content(graph, urdf=None):
    return yaml.safe_load(draft(graph, urdf).text)


def loaded(graph, folder, urdf, text):
    """The draft as load_robot reads it, beside its URDF."""
    (folder / "mine.urdf").write_text(text, encoding="utf-8")
    (folder / "mine.yaml").write_text(draft(graph, urdf).text, encoding="utf-8")
    return load_robot(folder / "mine.yaml")


# -- whole robots ------------------------------------------------------------------------------------------------------
def test_the_draft_of_an_arm_with_a_urdf_loads_and_fits_the_graph_that_it_came_from(tmp_path):
    text = urdf_text([("revolute", *place[1:]) for place in PLACES], FINGER.format(0, 0.04, 0.08))
    robot = loaded(finger_graph(), tmp_path, parse_urdf(text), text)
    assert (robot.name, robot.base_frame, robot.simulated) == ("mine", "base_link", False)
    assert [camera.name for camera in robot.cameras] == ["scene", "wrist"]
    assert robot.camera("scene").size == (480, 640)
    assert {channel.name for channel in robot.channels} == {*NAMES, "gripper"}
    assert {output.topic: output.channels for output in robot.outputs} == {"/arm": tuple(NAMES), GRIPPER: ("gripper",)}
    assert not [finding for finding in check_robot(robot, finger_graph()) if finding.mark == WRONG]


def test_its_limits_are_within_the_urdf_and_its_speeds_slow(tmp_path):
    text = urdf_text([("revolute", *place[1:]) for place in PLACES])
    channel = loaded(arm_graph(), tmp_path, parse_urdf(text), text).channel("joint_1")
    assert channel.bounds == (-2.5, 2.5)
    assert channel.limits == pytest.approx((-2.45, 2.45))
    assert channel.max_speed == 0.5  # of 2.0 rad/s
    assert channel.on_stop == "hold_measured"
    slower = parse_urdf(text.replace("velocity='2.0'", "velocity='0.3'"))
    assert content(arm_graph(), slower)["channels"]["joint_1"]["max_speed"] == 0.3


def test_limits_are_rounded_inward():
    urdf = parse_urdf(urdf_text().replace("'-2.5'", "'-2.00006'").replace("'2.5'", "'2.00006'"))
    assert content(arm_graph(), urdf)["channels"]["joint_1"]["bounds"] == [-2.0, 2.0]


@pytest.mark.parametrize(("lower", "upper", "scale", "offset"), [(0.0, 0.04, 0.04, None), (0.01, 0.05, 0.04, 0.01)])
def test_a_gripper_goes_from_0_to_1_over_the_whole_way_of_its_joint(lower, upper, scale, offset):
    gripper = content(finger_graph(), with_finger(lower, upper))["channels"]["gripper"]
    assert (gripper["unit"], gripper["bounds"], gripper["on_stop"]) == ("1", [-0.1, 1.1], "hold_commanded")
    assert gripper["scale"] == pytest.approx(scale) and gripper.get("offset") == offset
    assert gripper["max_speed"] == 1.0  # of 0.08 m/s, which would be 2
    assert content(finger_graph(), with_finger(velocity=0.02))["channels"]["gripper"]["max_speed"] == 0.5


def test_which_end_of_a_gripper_is_closed_is_left_to_a_person():
    assert "taken as closed at 0 and open at 0.04; if it is the other way, scale: -0.04, offset: 0.04" in draft(
        finger_graph(), with_finger()).todo


# -- what could not be known -------------------------------------------------------------------------------------------
def test_every_open_point_stands_in_the_text_as_a_comment_and_once():
    for graph, urdf in ((finger_graph(), with_finger()), (arm_graph(), None), (base_graph(), None)):
        drafted = draft(graph, urdf)
        assert re.findall("# TODO: (.*)", drafted.text) == list(drafted.todo)
        assert drafted.todo


def test_without_a_urdf_limits_are_not_invented_and_the_draft_does_not_load(tmp_path):
    assert content(arm_graph())["channels"]["joint_1"]["bounds"] == "TODO"
    with pytest.raises(ValueError, match=r"channel 'joint_1': bounds is 'TODO'; give \[lowest, highest\]"):
        loaded(arm_graph(), tmp_path, None, "")


def test_the_order_of_an_array_is_not_guessed(tmp_path):
    graph = with_topic(arm_graph(), "/arm", taken(NUMBERS))
    assert content(graph, six())["outputs"][0]["channels"] == "TODO"
    text = urdf_text([("revolute", *place[1:]) for place in PLACES])
    with pytest.raises(ValueError, match="output '/arm': channels is 'TODO'; give a list of channel names"):
        loaded(graph, tmp_path, parse_urdf(text), text)
    order = NAMES[::-1]
    known = replace(graph, controller_joints={"/controller": tuple(order)})
    assert content(known, six())["outputs"][0]["channels"] == order


def test_a_joint_that_nothing_measures_says_so():
    graph = without(arm_graph(), "/joint_states")
    drafted = draft(graph, six())
    assert "nothing measures 'joint_1'; name its joint, or its start, where it stands" in drafted.todo
    assert "nobody publishes joint states or odometry: how is the robot known?" in drafted.todo


def test_a_joint_that_turns_for_ever_has_a_turn_and_a_question():
    channel = content(arm_graph(), parse_urdf(urdf_text()))["channels"]["joint_5"]
    assert (channel["bounds"], channel["limits"]) == ([-3.14, 3.14], [-3.1, 3.1])
    assert any("'joint_5' turns for ever" in sentence for sentence in draft(arm_graph(), parse_urdf(urdf_text())).todo)


def test_a_urdf_without_velocities_is_not_named_as_the_file_would_not_load(tmp_path):
    text = urdf_text([("revolute", *place[1:]) for place in PLACES]).replace("velocity='2.0'", "velocity='0'")
    assert loaded(arm_graph(), tmp_path, parse_urdf(text), text).urdf is None
    assert any("a velocity of 0, for joint_1" in sentence for sentence in draft(arm_graph(), parse_urdf(text)).todo)


# -- cameras -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("topic", "name"), [
    ("/scene_camera/image_raw", "scene"), ("/camera/image_raw", "camera"), ("/camera/color/image_raw", "camera"),
    ("/wrist/color/image_rect_color", "wrist"), ("/cam_high/image_raw", "high"), ("/image", "camera"),
    ("/oakd/rgb/preview/image_raw", "oakd"), ("/front/image_raw/compressed", "front"), ("/robot/infra1/image_raw", "infra1"),
    ("/scene/aligned_depth_to_color/image_raw", "scene"), ("/_odd/image", "camera")])
def test_a_camera_is_called_by_what_its_topic_says_beside_images(topic, name):
    assert camera_name(topic) == name


def test_a_depth_image_belongs_to_the_camera_of_its_name_and_an_aligned_one_first():
    depth = said(IMAGE, image(encoding="16UC1", sample_bytes=2))
    graph = arm_graph(__scene_camera__depth=depth, __scene_camera__aligned_depth_to_color__image_raw=depth, __lonely__depth=depth,
                      __a__scene_camera__depth=depth)
    cameras = content(graph, six())["cameras"]
    assert cameras["scene"]["depth"] == "/scene_camera/aligned_depth_to_color/image_raw"
    assert set(cameras) == {"scene", "wrist"}
    assert "/lonely/depth has depth images; of which camera? give it as its 'depth'" in draft(graph, six()).todo


def test_a_raw_topic_comes_before_its_compressed_one_and_other_transports_are_passed_over():
    graph = arm_graph(__scene_camera__image_raw__compressed=said(COMPRESSED), __scene_camera__image_raw__theora=said(IMAGE),
                      __front__image_raw__compressed=said(COMPRESSED, SimpleNamespace(format="jpeg", data=b"")))
    cameras = content(graph, six())["cameras"]
    assert cameras["front"] == {"topic": "/front/image_raw/compressed", "transport": "compressed"}
    assert set(cameras) == {"scene", "wrist", "front"}


def test_two_cameras_of_one_name_get_a_number():
    cameras = content(arm_graph(__left__scene__image=said(IMAGE, image()), __right__scene__image=said(IMAGE, image())), six())["cameras"]
    assert set(cameras) == {"scene", "scene_2", "scene_3", "wrist"}


def test_a_camera_that_sent_nothing_is_a_question():
    silent = GraphTopic((GraphEndpoint("/driver", IMAGE),), (), HeardTopic())
    assert "no image came from /eye: is it the right one?" in draft(arm_graph(__eye=silent), six()).todo


# -- outputs -----------------------------------------------------------------------------------------------------------
def test_a_joint_is_sent_once_and_the_other_controller_is_listed():
    drafted = draft(arm_graph(__forward__commands=taken(NUMBERS, "/forward")), six())
    assert [output["topic"] for output in yaml.safe_load(drafted.text)["outputs"]] == ["/arm"]
    assert f"#   /forward/commands ({NUMBERS})" in drafted.text


def test_controllers_that_say_their_joints_share_them_as_they_say():
    graph = without(arm_graph(__left=taken(NUMBERS, "/left"), __right=taken(TRAJECTORY, "/right")), "/arm")
    graph = replace(graph, controller_joints={"/left": tuple(NAMES[:2]), "/right": tuple(NAMES[2:])})
    outputs = content(graph, six())["outputs"]
    assert {output["topic"]: output["channels"] for output in outputs} == {"/left": NAMES[:2], "/right": NAMES[2:]}


def test_what_takes_velocities_or_efforts_is_listed_and_not_sent():
    drafted = draft(arm_graph(__velocity_controller__commands=taken(NUMBERS)), six())
    assert f"#   /velocity_controller/commands ({NUMBERS})" in drafted.text
    assert len(yaml.safe_load(drafted.text)["outputs"]) == 1
    with pytest.raises(ValueError, match="nothing takes commands"):
        draft(without(arm_graph(__velocity_controller__commands=taken(NUMBERS)), "/arm"), six())


def test_a_joint_that_follows_another_is_no_state_and_no_channel():
    mimic = ("<link name='other'/><joint name='other_joint' type='prismatic'><parent link='hand'/><child link='other'/>"
             "<limit lower='0' upper='0.04' velocity='0.1' effort='1'/><mimic joint='finger_joint'/></joint>")
    graph = with_topic(finger_graph(), "/joint_states", said(JOINT_STATE, joints([*NAMES, "finger_joint", "other_joint"])))
    data = content(graph, six(FINGER.format(0, 0.04, 0.08) + mimic))
    assert [entry["names"] for entry in data["state"]] == [NAMES, ["finger_joint"]]
    assert set(data["channels"]) == {*NAMES, "gripper"}


def test_the_suite_itself_is_no_part_of_the_robot():
    graph = arm_graph(__vla__image=said(IMAGE, image(), by="/vla/overlay"), __vla__other=taken(NUMBERS, "/vla/safety_validator"))
    assert content(graph, six()) == content(arm_graph(), six())


def with_actions(graph, **actions):
    """`graph` with servers of actions, a name each; `__` for /."""
    services = {f"/{name.replace('__', '/')}/_action/send_goal": f"{kind}_SendGoal" for name, kind in actions.items()}
    return replace(graph, services=services)


def test_a_gripper_that_is_an_action_is_drafted_as_one(tmp_path):
    text = urdf_text([("revolute", *place[1:]) for place in PLACES], FINGER.format(0, 0.04, 0.08))
    graph = with_actions(without(finger_graph(), GRIPPER), gripper_controller__gripper_cmd=GRIPPER_COMMAND)
    robot = loaded(graph, tmp_path, parse_urdf(text), text)
    last = robot.outputs[-1]
    assert (last.topic, last.type, last.channels) == ("/gripper_controller/gripper_cmd", GRIPPER_COMMAND, ("gripper",))
    assert robot.channel("gripper").sent(1.0) == pytest.approx(0.04)  # m, what a goal carries


def test_an_action_is_not_drafted_where_a_topic_moves_its_joints():
    graph = with_actions(finger_graph(), gripper_controller__gripper_cmd=GRIPPER_COMMAND,
                         arm_controller__follow_joint_trajectory=FOLLOW_TRAJECTORY)
    text = draft(graph, with_finger()).text
    assert f"#   /gripper_controller/gripper_cmd ({GRIPPER_COMMAND})" in text
    assert f"#   /arm_controller/follow_joint_trajectory ({FOLLOW_TRAJECTORY})" in text
    assert len(yaml.safe_load(text)["outputs"]) == 2


def test_an_arm_that_takes_goals_alone_is_drafted_with_its_action(tmp_path):
    text = urdf_text([("revolute", *place[1:]) for place in PLACES])
    bare = without(arm_graph(), "/arm")
    with pytest.raises(ValueError, match="no action of .*FollowJointTrajectory.* a server"):
        draft(bare, six())
    graph = with_actions(bare, arm_controller__follow_joint_trajectory=FOLLOW_TRAJECTORY)
    (output,) = loaded(graph, tmp_path, six(), text).outputs
    assert (output.type, sorted(output.channels)) == (FOLLOW_TRAJECTORY, sorted(NAMES))


@pytest.mark.parametrize("urdf", [six(), six(FINGER.format(0, 0.04, 0.08) + SECOND_FINGER)])
def test_a_gripper_s_action_with_no_joint_or_with_two_is_listed_and_left_to_a_person(urdf):
    graph = with_actions(arm_graph(), gripper=GRIPPER_COMMAND)
    assert f"#   /gripper ({GRIPPER_COMMAND})" in draft(graph, urdf).text


def test_other_actions_are_listed():
    graph = with_actions(arm_graph(), navigate="nav2_msgs/action/NavigateToPose")
    assert "#   /navigate (nav2_msgs/action/NavigateToPose)" in draft(graph, six()).text


def test_names_that_yaml_would_read_otherwise_are_quoted():
    odd = ["on", "1", "a: b", "new\nline", "left/joint", "x" * 20]
    graph = with_topic(arm_graph(), "/joint_states", said(JOINT_STATE, joints(odd)))
    assert content(graph)["state"][0]["names"] == odd
    assert [channel["joint"] for channel in content(graph)["channels"].values()] == odd


def test_without_anything_that_takes_commands_there_is_no_draft():
    with pytest.raises(ValueError, match="nothing takes commands: .*; start the robot's controllers and try again"):
        draft(without(arm_graph(), "/arm"), six())


# -- a base ------------------------------------------------------------------------------------------------------------
def base_graph():
    return GraphSnapshot(3.0, {
        "/camera/image_raw": said(IMAGE, image()), "/odom": said(ODOMETRY, object()), "/scan": said(LIDAR, object()),
        "/cmd_vel": taken(TWIST), "/cmd_vel_out": taken(TWIST, "/other")})


def test_a_base_has_twists_odometry_and_obstacles_whose_places_are_left_to_a_person(tmp_path):
    data = content(base_graph())
    assert data["outputs"] == [{"topic": "/cmd_vel", "type": TWIST, "channels": ["linear.x", "angular.z"]}]
    assert data["state"] == [{"topic": "/odom", "type": ODOMETRY}]
    assert data["footprint"]["front"] == "TODO" and data["obstacles"]["sensors"][0]["x"] == "TODO"
    with pytest.raises(ValueError, match="TODO"):
        loaded(base_graph(), tmp_path, None, "")
    filled = draft(base_graph()).text.replace(": TODO", ": 0.2")
    (tmp_path / "filled.yaml").write_text(filled, encoding="utf-8")
    robot = load_robot(tmp_path / "filled.yaml")
    assert robot.obstacles and [channel.name for channel in robot.channels] == ["linear.x", "angular.z"]


def test_a_base_without_a_range_sensor_is_told_so():
    assert "no range sensor publishes: without 'obstacles' the gate sees nothing" in draft(without(base_graph(), "/scan")).todo


def test_a_graph_holds_a_robot_where_something_is_seen_measured_or_obeys():
    assert not has_robot(GraphSnapshot(3.0))
    assert not has_robot(GraphSnapshot(3.0, {"/rosout": said("rcl_interfaces/msg/Log")}))
    assert has_robot(GraphSnapshot(3.0, {"/eye": said(IMAGE)}))
    assert has_robot(GraphSnapshot(3.0, {"/arm": taken(TRAJECTORY)}))
