"""safety_validator: what it hears and sees, and who else speaks to the robot."""
import math
import time
from pathlib import Path

import numpy as np
import pytest
from gate_robot import SIM, Robot
from geometry_msgs.msg import Twist, TwistStamped
from sensor_msgs.msg import JointState, PointCloud2, PointField, Range
from trajectory_msgs.msg import JointTrajectory

from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, LATEST, SENSOR
from vla_ros_msgs.msg import Heartbeat, SafetyReport

ARM = str(Path(SIM).with_name("diffdrive_arm.yaml"))
JOINTS = [f"joint_{i}" for i in range(1, 7)]


def test_a_node_that_beats_but_is_not_active_is_lost(around):
    robot = Robot(around).moving()
    robot.state = "inactive"
    around.wait(lambda: robot.reports[-1].rule == "source_timeout")
    robot.state = "active"
    around.wait(lambda: robot.reports[-1].state == SafetyReport.ACTIVE)


def test_another_publisher_of_robot_commands_is_told_and_holds(around):
    robot = Robot(around).moving()
    rival = around.speaker(Twist, "/cmd_vel", LATEST)
    around.wait(lambda: robot.reports[-1].rule == "exclusive_publisher")
    assert "/cmd_vel from /around" in robot.reports[-1].reason
    robot.call("disarm")
    assert "/cmd_vel from /around" in robot.call("arm").message
    around.node.destroy_publisher(rival)
    around.wait(lambda: robot.call("arm").success)


def test_a_second_gate_of_the_same_name_is_noticed_by_its_heartbeat(around):
    robot = Robot(around).moving()
    robot.heartbeats.publish(Heartbeat(node="safety_validator", state="active", process="another"))
    around.wait(lambda: robot.reports[-1].rule == "exclusive_publisher")
    around.wait(lambda: robot.reports[-1].rule != "exclusive_publisher")  # it died; its name in the graph is no rival


@pytest.mark.parametrize("field, value", [("state", "walking"), ("state", ""), ("process", "")])
def test_a_bad_heartbeat_is_counted_and_keeps_no_robot_moving(around, field, value):
    robot = Robot(around).moving()
    setattr(robot, field, value)
    around.wait(lambda: robot.reports[-1].rule == "source_timeout" and robot.twists[-1].linear.x == 0.0)
    assert robot.reports[-1].reason.startswith("node inference ")
    assert robot.node.stats.drops["bad heartbeat"]


def test_a_bad_heartbeat_in_the_gate_s_own_name_is_no_second_gate(around):
    robot = Robot(around).moving()
    robot.heartbeats.publish(Heartbeat(node="safety_validator", state="walking", process="another"))
    around.wait(lambda: robot.node.stats.drops["bad heartbeat"])
    assert not robot.node._twin


def test_a_flood_of_bad_heartbeats_is_one_sentence_a_second_in_the_log(around):
    robot = Robot(around)
    with robot.node._lock:
        robot.node._to_say.clear()
        for count in range(1000):
            robot.node._on_heartbeat(Heartbeat(node=f"n{count}"), 10_000_000_000 + count)
        assert list(robot.node._to_say) == [
            "bad heartbeat: a heartbeat of 'n0' has state ''; use one of unconfigured, "
            "configuring, building, inactive, active, finalized"]
    assert robot.node.stats.drops["bad heartbeat"] == 1000


def test_what_the_lidar_sees_stops_the_robot(around):
    robot = Robot(around).moving()
    robot.ranges = [0.5] * 36  # 0.19 m in front of the gripper
    around.wait(lambda: robot.reports[-1].rule == "obstacle" and robot.twists[-1].linear.x == 0.0)
    robot.ranges = [float("nan")] * 36
    around.wait(lambda: robot.reports[-1].rule == "range_sensors")
    robot.ranges = [float("inf")] * 36
    around.wait(lambda: robot.reports[-1].state == SafetyReport.ACTIVE)


def test_what_is_on_the_left_of_the_lidar_is_on_the_left_of_the_robot(around):
    robot = Robot(around).moving()
    ranges = [float("inf")] * 36
    ranges[26] = 0.4  # -3.1 + 26 x 0.17 = 1.32 rad
    robot.ranges = ranges
    around.wait(lambda: len(robot.node._inputs.readings["/scan"][0].points))
    x, y = robot.node._inputs.readings["/scan"][0].points[0]
    assert (x, y) == (pytest.approx(0.4 * np.cos(1.32), abs=1e-3), pytest.approx(0.4 * np.sin(1.32), abs=1e-3))


def test_a_scan_too_large_to_read_in_time_is_no_sight(around):
    robot = Robot(around).moving()
    robot.ranges = [1.0] * 20_001
    around.wait(lambda: robot.reports[-1].rule == "range_sensors")
    assert robot.node.stats.drops["bad ranges"] and robot.node.problem == robot.reports[-1].reason.replace(" is blind", "")
    assert robot.reports[-1].state == SafetyReport.HOLDING
    robot.ranges = [1.0] * 360
    around.wait(lambda: not robot.node.problem)


def test_a_range_sensor_is_a_cone(around, tmp_path):
    text = Path(SIM).read_text().replace("sensor_msgs/msg/LaserScan, x: 0.0", "sensor_msgs/msg/Range, x: 0.3")
    (tmp_path / "robot.yaml").write_text(text.replace("topic: /scan", "topic: /sonar"))
    sonar = around.speaker(Range, "/sonar", SENSOR)
    message = Range(field_of_view=0.5, min_range=0.02, max_range=4.0, range=2.0)

    def ping():
        message.header.stamp = convert.time_message(time.time_ns())
        sonar.publish(message)
    around.node.create_timer(0.05, ping)
    robot = Robot(around, str(tmp_path / "robot.yaml"), sensor="/sonar").moving()
    angles = robot.node._inputs.readings["/sonar"][0].angles
    assert (angles[0], angles[-1]) == (pytest.approx(-0.25), pytest.approx(0.25))
    message.range = 0.25
    around.wait(lambda: robot.reports[-1].rule == "obstacle")


def cloud_message(points):
    data = np.zeros((len(points), 4), np.float32)
    data[:, :3] = points
    message = PointCloud2(height=1, width=len(points), point_step=16, row_step=16 * len(points), is_dense=True)
    message.fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, name in enumerate("xyz")]
    message.data = convert.byte_array(data)
    return message


def test_a_point_cloud_is_a_range_sensor(around, tmp_path):
    """Things all around at 3 m; then a box ahead; then a cloud without z, and one of two million points."""
    text = Path(SIM).read_text().replace(
        "topic: /scan, type: sensor_msgs/msg/LaserScan, x: 0.0",
        "topic: /points, type: sensor_msgs/msg/PointCloud2, height: [0.1, 1.0], max_range: 5.0, z: 0.4, x: 0.0")
    (tmp_path / "robot.yaml").write_text(text)
    speaker = around.speaker(PointCloud2, "/points", SENSOR)
    angles = np.linspace(-math.pi, math.pi, 1440)
    room = np.stack([3.0 * np.cos(angles), 3.0 * np.sin(angles), np.zeros(1440)], axis=1)
    messages = {"room": cloud_message(room), "box": cloud_message(np.vstack([room, [[0.55, 0.0, 0.0]]])),
                "flat": cloud_message(room), "huge": cloud_message(np.zeros((2_000_000, 3)))}
    messages["flat"].fields = messages["flat"].fields[:2]
    shown = ["room"]

    def look():
        message = messages[shown[0]]
        message.header.stamp = convert.time_message(time.time_ns())
        speaker.publish(message)
    around.node.create_timer(0.05, look)
    robot = Robot(around, str(tmp_path / "robot.yaml"), sensor="/points").moving()
    reading = robot.node._inputs.readings["/points"][0]
    assert 700 <= len(reading.angles) <= 720 and len(reading.points) == len(reading.angles)
    shown[0] = "box"
    around.wait(lambda: robot.reports[-1].rule == "obstacle")
    shown[0] = "flat"
    around.wait(lambda: robot.reports[-1].rule == "range_sensors")
    assert robot.node.problem == "/points: it has no field z; its fields are x, y"
    assert robot.node.stats.drops["bad ranges"]
    shown[0] = "huge"
    around.wait(lambda: robot.node.stats.drops["/points: too large"], 10.0)
    assert robot.reports[-1].state == SafetyReport.HOLDING


def test_joint_states_of_two_publishers_are_one_state(around):
    """One for the arm, one for the gripper, neither names the other's: nothing is ever unknown."""
    for kind, topic in ((TwistStamped, "/diff_drive_controller/cmd_vel"), (JointTrajectory, "/arm_controller/joint_trajectory")):
        around.hear(kind, topic, LATEST)
    arm = around.speaker(JointState, "/joint_states", EVENTS)
    robot = Robot(around, ARM)
    robot.joint_names = ["finger_joint"]
    around.node.create_timer(0.002, lambda: arm.publish(JointState(name=JOINTS, position=[0.5] * 6)))
    robot.values = {"linear.x": 0.0, "angular.z": 0.0, "gripper": 0.6}
    around.wait(lambda: len(robot.node._inputs.measured) == 7)
    assert robot.call("arm").success
    robot.say("go")
    around.wait(lambda: robot.reports[-1].state == SafetyReport.ACTIVE)
    before = len(robot.reports)
    around.wait(lambda: len(robot.reports) > before + 100)
    assert not [report.reason for report in robot.reports[before:] if "unknown" in report.reason]


@pytest.mark.parametrize("names, positions", [
    (["gripper_joint", "wheel"], [0.05]), (["gripper_joint", "gripper_joint"], [0.05, 0.06]),
    (["gripper_joint"], [float("nan")]), ([f"joint_{i}" for i in range(300)], [0.0] * 300)])
def test_joint_states_that_contradict_themselves_are_refused_whole(around, names, positions):
    robot = Robot(around)
    before = robot.node._inputs.measured["gripper"][0]
    robot.joints.publish(JointState(name=names, position=positions))
    around.wait(lambda: robot.node.stats.drops["bad joint states"])
    assert robot.node._inputs.measured["gripper"][0] == before


def test_joint_states_that_name_none_of_ours_are_no_sign_of_life(around):
    robot = Robot(around).moving()
    others = around.speaker(JointState, "/joint_states", EVENTS)
    around.node.create_timer(0.02, lambda: others.publish(JointState(name=["wheel"], position=[0.0])))
    robot.joint_names = []
    around.wait(lambda: robot.reports[-1].rule == "source_timeout")
    assert "/joint_states has been silent" in robot.reports[-1].reason


def test_a_scan_that_contradicts_itself_is_blindness(around):
    robot = Robot(around).moving()
    robot.increment = 0.0
    around.wait(lambda: robot.reports[-1].rule == "range_sensors")
    assert "angle_increment is 0" in robot.reports[-1].reason
    robot.increment = None
    around.wait(lambda: robot.reports[-1].state == SafetyReport.ACTIVE)


def test_actions_of_two_processes_hold_and_name_both(around):
    robot = Robot(around).moving()
    robot.also = "2.b.host"
    around.wait(lambda: robot.reports[-1].rule == "chunk_source")
    assert "2.b.host, one without a name" in robot.reports[-1].reason or "one without a name, 2.b.host" in robot.reports[-1].reason
    robot.also = ""
    around.wait(lambda: robot.reports[-1].state == SafetyReport.ACTIVE)


def test_a_node_that_was_lost_takes_a_person(around):
    robot = Robot(around, lost_after=0.6).moving()
    robot.state = "inactive"
    around.wait(lambda: robot.silent_for("source_timeout", 0.7))
    robot.state = "active"
    around.wait(lambda: robot.reports[-1].rule == "instruction_match")
    assert robot.reports[-1].reason == "node inference was lost; give the instruction again"
    robot.say("go on")
    around.wait(lambda: robot.reports[-1].state == SafetyReport.ACTIVE)


def test_a_lidar_that_was_lost_takes_a_person(around):
    robot = Robot(around, lost_after=0.6).moving()
    robot.looks = False
    around.wait(lambda: robot.silent_for("range_sensors", 0.7))
    robot.looks = True
    around.wait(lambda: robot.reports[-1].rule == "instruction_match")
    assert robot.reports[-1].reason == "/scan was lost; give the instruction again"

