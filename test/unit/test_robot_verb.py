"""`vla robot`: what a robot file means, and what is doubtful in it."""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tool_world import arm, box, robot_data, urdf_text

from vla_ros.cli.main import main
from vla_ros.core.robot import load_robot, parse_robot
from vla_ros.core.robot_summary import connections, doubts, row, tool_limits, urdf_limits

ROBOTS = Path(__file__).parents[2] / "config" / "robots"
WHEELS = {"linear.x": {"unit": "m/s", "bounds": [-1.0, 1.0], "limits": [-0.5, 0.5], "acceleration": 1.0, "on_stop": "zero"}}


def robot(**channels):
    outputs = []
    if "linear.x" in channels:
        outputs.append({"topic": "/cmd_vel", "type": "geometry_msgs/msg/Twist", "channels": ["linear.x"]})
    others = [name for name in channels if name != "linear.x"]
    if others:
        outputs.append({"topic": "/others", "type": "std_msgs/msg/Float64MultiArray", "channels": others})
    return parse_robot({"name": "one", "channels": channels, "outputs": outputs, "cameras": {"camera": {"topic": "/eye"}}})


@pytest.mark.parametrize("path", sorted(ROBOTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_robot_of_the_package_is_shown_whole(path, capsys):
    assert main(["robot", str(path)]) == 0
    shown = capsys.readouterr().out
    described = load_robot(path)
    names = [*(channel.name for channel in described.channels), *(output.topic for output in described.outputs)]
    names += [name for source in described.state for name in (source.topic, *source.names)]
    names += [name for camera in described.cameras for name in (camera.name, camera.topic)]
    for name in names:
        assert name in shown


def test_how_a_camera_is_mounted_and_how_a_number_is_converted_are_shown():
    said = list(connections(load_robot(ROBOTS / "ur5e_gripper.yaml")))
    assert ("camera 'scene' sees /scene/color/image_raw (raw, of 480 x 640, cropped to 480 x 480 at x 80, y 0, depth on "
            "/scene/aligned_depth_to_color/image_raw), node camera_ingest_scene") in said
    assert "state from /joint_states (sensor_msgs/msg/JointState): gripper; in rad, x -1.25 + 1; holds when it is silent" in said
    assert "turned by 180 degrees" in list(connections(load_robot(ROBOTS / "so101.yaml")))[3]
    assert any(text.endswith("imu.turn; may be silent") for text in connections(load_robot(ROBOTS / "turtlebot.yaml")))


def test_its_security_policy_is_written_where_it_is_asked_for(tmp_path, capsys):
    assert main(["robot", str(ROBOTS / "so101.yaml"), "--enclaves", str(tmp_path / "policy.xml")]) == 0
    assert '<enclave path="/vla/camera_ingest_wrist">' in (tmp_path / "policy.xml").read_text()
    assert main(["robot", str(ROBOTS / "so101.yaml"), "--enclaves", str(tmp_path)]) != 0
    composed = tmp_path / "composed.xml"
    assert main(["robot", str(ROBOTS / "so101.yaml"), "--composed-enclave", str(composed)]) == 0
    assert '<enclave path="/vla/composed">' in composed.read_text()
    assert "Is a directory; give another file" in capsys.readouterr().err


@pytest.mark.parametrize("names, joint, doubtful", [
    (["pan"], "pan_joint", True), ({"pan": "pan_joint"}, "pan_joint", False), (["pan_joint"], "pan_joint", False),
    (["pan"], "pan", False)])
def test_a_state_named_after_a_channel_is_of_that_channel_s_joint(names, joint, doubtful):
    pan = {"unit": "rad", "bounds": [-1.0, 1.0], "limits": [-0.9, 0.9], "max_speed": 1.0, "on_stop": "hold_measured", "joint": joint}
    made = parse_robot({"name": "one", "channels": {"pan": pan}, "cameras": {"camera": {"topic": "/eye"}}, "outputs": [
        {"topic": "/pan", "type": "std_msgs/msg/Float64MultiArray", "channels": ["pan"]}],
        "state": [{"topic": "/joint_states", "type": "sensor_msgs/msg/JointState", "names": names, "unit": "rad"}]})
    found = [sentence for sentence in doubts(made) if sentence.startswith("state ")]
    assert found == (["state 'pan' is 'pan' on '/joint_states', and the channel of that name has the joint 'pan_joint'; "
                      "is it another one?"] if doubtful else [])


def test_a_robot_without_a_camera_or_with_one_of_another_kind_is_doubtful():
    odd = {"eye": {"topic": "/eye/compressed"}, "ear": {"topic": "/ear", "transport": "compressed"}}
    data = {"name": "one", "channels": WHEELS, "outputs": [
        {"topic": "/cmd_vel", "type": "geometry_msgs/msg/Twist", "channels": ["linear.x"]}]}
    assert "there is no 'cameras' part: a policy looks through at least one" in list(doubts(parse_robot(data)))
    said = list(doubts(parse_robot({**data, "cameras": odd})))
    assert any(text.startswith("camera 'eye' is raw on '/eye/compressed'") for text in said)
    assert any(text.startswith("camera 'ear' is compressed on '/ear'") for text in said)


def test_a_channel_is_a_row_of_limits_bounds_rates_and_its_stop():
    channel = robot(**WHEELS).channel("linear.x")
    assert row(channel) == ("linear.x", "m/s", "-0.5 to 0.5", "-1 to 1", "1, braking 1", "goes to zero")


def test_what_is_sent_heard_and_seen_is_a_sentence_each():
    assert list(connections(load_robot(ROBOTS / "sim.yaml"))) == [
        "sends /cmd_vel (geometry_msgs/msg/Twist): linear.x, angular.z",
        "sends /gripper_controller/commands (std_msgs/msg/Float64MultiArray): gripper",
        "hears /joint_states (sensor_msgs/msg/JointState): gripper_joint",
        "camera 'camera' sees /camera/image_raw (raw), node camera_ingest",
        "state from /odom (nav_msgs/msg/Odometry): odom.x, odom.y, odom.yaw, linear.x, angular.z; holds when it is silent",
        "state from /joint_states (sensor_msgs/msg/JointState): gripper_joint; in m; holds when it is silent",
        "state from /joint_states (sensor_msgs/msg/JointState): left_wheel_joint, right_wheel_joint; in rad; holds when it is silent",
        "reaches 0.31 m ahead of its base frame, 0.14 m behind it, 0.16 m to the left and 0.16 m to the right",
        "slows down 0.6 m before an obstacle and goes no nearer than 0.3 m; where no sensor looks, at most 0 m/s",
        "looks by /scan (sensor_msgs/msg/LaserScan), at x 0 m, y 0 m, yaw 0 rad; holds when it is older than 0.3 s",
    ]


def test_what_is_doubtful_is_said():
    gripper = {"unit": "1", "bounds": [0.0, 1.0], "limits": [0.0, 1.0], "max_speed": 1.0, "on_stop": "hold_commanded"}
    slow = {"linear.x": {**WHEELS["linear.x"], "deceleration": 0.9}}
    assert list(doubts(robot(**slow, gripper=gripper))) == [
        "there is no 'obstacles' part: the gate does not see what is in the way",
        "'linear.x' brakes by 0.9 and speeds up by 1 m/s²: it takes longer to stop than to start",
        "'gripper' has bounds like its limits: a policy that asks for a little more than open or closed is refused; with bounds a tenth wider it is clamped",
        "'gripper' has no start: until it was sent something, nobody knows where it stands, and its first command may be a jump",
        "no joint measures 'gripper': the gate believes that it stands where it was sent",
    ]


JOINT = {"unit": "rad", "bounds": [-2.0, 2.0], "limits": [-2.0, 2.0], "max_speed": 1.0, "on_stop": "hold_measured", "joint": "j"}


@pytest.mark.parametrize("changes, says", [
    ({}, ""), ({"unit": "deg"}, "'joint' is in deg; a policy's and ROS' angles are in rad"),
    ({"bounds": [-31.4, 31.4], "limits": [-31.4, 31.4]}, ""),
    ({"bounds": [-180.0, 180.0], "limits": [-180.0, 180.0]}, "'joint' reaches 180 rad, many turns; is it in degrees?"),
    ({"max_speed": 30.0}, ""), ({"max_speed": 60.0}, "'joint' turns at 60 rad/s, ten times what most arms do; is it in degrees?")])
def test_degrees_in_place_of_radians_are_doubtful(changes, says):
    assert [text for text in doubts(robot(joint={**JOINT, **changes})) if "obstacles" not in text] == ([says] if says else [])


@pytest.mark.parametrize("yaw, doubtful", [(-6.28, False), (3.14, False), (6.29, True), (180.0, True)])
def test_a_sensor_that_is_turned_by_more_than_a_turn_is_doubtful(yaw, doubtful):
    base = load_robot(ROBOTS / "diffdrive_arm.yaml")
    sensor = replace(base.obstacles.sensors[0], yaw=yaw)
    turned = replace(base, obstacles=replace(base.obstacles, sensors=(sensor,)))
    assert any("over a turn; is it in degrees?" in text for text in doubts(turned)) == doubtful


@pytest.mark.parametrize("topic, good", [("/cmd_vel", True), ("cmd_vel", True), ("/a/b_2", True), ("picker suction", False),
                                         ("/cmd-vel", False), ("/2/cmd", False), ("/cmd_vel/", False)])
def test_a_topic_that_ros_would_refuse_is_doubtful(topic, good):
    base = load_robot(ROBOTS / "diffdrive_arm.yaml")
    named = replace(base, outputs=(replace(base.outputs[0], topic=topic), *base.outputs[1:]))
    assert any("is no name of a ROS topic" in text for text in doubts(named)) != good


def test_a_position_that_nothing_measures_is_shown_to_stay_where_it_was_sent():
    blind = {key: value for key, value in JOINT.items() if key != "joint"}
    assert row(robot(joint=blind).channel("joint"))[-1] == "stays where it was sent"
    assert row(robot(joint=JOINT).channel("joint"))[-1] == "stays where it is measured"


def test_a_simulated_robot_is_told_from_a_real_one():
    simulated, = doubts(load_robot(ROBOTS / "sim.yaml"))
    assert simulated == "simulated is true: the gate may arm itself (auto_arm); a real robot says false"
    assert not list(doubts(load_robot(ROBOTS / "diffdrive_arm.yaml")))


def test_a_file_that_contradicts_itself_is_a_sentence_and_exit_code_2(tmp_path, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text("name: bad\nchannels: {}\noutputs: []\n", encoding="utf-8")
    assert main(["robot", str(path)]) == 2
    assert f"robot file '{path}': channels has 0 entries; a robot obeys 1 to 64" in " ".join(capsys.readouterr().err.split())


def test_where_an_arm_s_tool_may_be_and_what_its_urdf_allows_is_said(tmp_path, capsys):
    workspace = {"tool": "tool", "inside": [box((-1, -1, 0), (0.5, 1, 1))], "max_tool_speed": 0.25,
                 "outside": [box((-1, -1, -1), (1, 1, 0.02), name="table")]}
    described = arm(tmp_path, workspace, enable_time=2.0)
    assert list(tool_limits(described)) == [
        "for 2 s after the first motion of an arming, rates grow from 0",
        "the tool is 'tool', moved by joint_1, joint_2, joint_3, joint_4, joint_5, joint_6 from 'base_link'",
        "the tool stays inside 'inside 1': x -1 to 0.5 m, y -1 to 1 m, z 0 to 1 m",
        "the tool stays out of 'table': x -1 to 1 m, y -1 to 1 m, z -1 to 0.02 m",
        "the tool moves at most at 0.25 m/s",
    ]
    sentences = list(urdf_limits(described))
    assert sentences[0].endswith("six.urdf' has 8 joints; no limit is wider than there")
    assert sentences[1] == "joint_1: the URDF allows -2.5 to 2.5 rad, at most 2 rad/s"
    assert sentences[5] == "joint_5: the URDF allows to turn for ever, at most 2 rad/s"
    assert "'joint_5' turns for ever by the URDF; say wraps: true if what is measured begins anew after a turn" in doubts(described)
    (tmp_path / "six.yaml").write_text(json.dumps(robot_data(workspace=workspace)), encoding="utf-8")
    assert main(["robot", str(tmp_path / "six.yaml")]) == 0
    assert "the tool stays out of 'table'" in capsys.readouterr().out


def test_a_urdf_without_a_workspace_is_doubtful(tmp_path):
    (tmp_path / "six.urdf").write_text(urdf_text(), encoding="utf-8")
    described = parse_robot(robot_data(), tmp_path)
    assert "there is a urdf and no 'workspace' part: the gate does not look where the tool goes" in doubts(described)
    assert list(tool_limits(described)) == [] and list(urdf_limits(load_robot(ROBOTS / "sim.yaml"))) == []


# -- check and init: before a graph is looked at -----------------------------------------------------------------------
@pytest.mark.parametrize(("words", "sentence"), [
    (["check"], "check lacks a file; give one: vla robot check my_robot.yaml"),
    (["init", "mine.yaml"], "'init mine.yaml' is not understood; give FILE, check FILE or init"),
    (["mine.yaml", "check"], "'mine.yaml check' is not understood; give FILE, check FILE or init"),
    (["check", "none.yaml"], "robot file 'none.yaml' does not exist"),
    (["check", "mine.yaml", "--enclaves", "p.xml"], "--enclaves and --composed-enclave go with a file"),
    (["mine.yaml", "--json"], "--json goes with check and init"),
    (["init", "--urdf", "none.urdf"], "URDF 'none.urdf' does not exist"),
    (["init", "--out", "mine.yaml"], "mine.yaml is there already; give another --out, or --force to replace it")])
def test_words_that_make_no_sense_are_a_sentence_at_once(words, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text((ROBOTS / "sim.yaml").read_text())
    assert main(["robot", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert (tmp_path / "mine.yaml").read_text() == (ROBOTS / "sim.yaml").read_text()


def test_a_file_that_is_called_init_is_given_with_its_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "init").write_text((ROBOTS / "sim.yaml").read_text())
    assert main(["robot", "./init"]) == 0
    assert "sends /cmd_vel" in capsys.readouterr().out
