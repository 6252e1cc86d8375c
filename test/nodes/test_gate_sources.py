"""safety_validator: what it hears and sees, and who else speaks to the robot."""
import time
from pathlib import Path

import numpy as np
import pytest
from gate_robot import SIM, Robot
from geometry_msgs.msg import Twist
from sensor_msgs.msg import Range
from std_msgs.msg import Header

from vla_ros.nodes import convert
from vla_ros.nodes.qos import LATEST, SENSOR
from vla_ros_msgs.msg import SafetyReport


def test_a_node_that_beats_but_is_not_active_is_lost(around):
    robot = Robot(around).moving()
    robot.stage = "inactive"
    around.wait(lambda: robot.reports[-1].rule == "sources")
    robot.stage = "active"
    around.wait(lambda: robot.reports[-1].state == SafetyReport.ACTIVE)


def test_another_publisher_of_robot_commands_is_told_and_holds(around):
    robot = Robot(around).moving()
    rival = around.speaker(Twist, "/cmd_vel", LATEST)
    around.wait(lambda: robot.reports[-1].rule == "rivals")
    assert "/cmd_vel from /around" in robot.reports[-1].reason
    robot.call("disarm")
    assert "/cmd_vel from /around" in robot.call("arm").message
    around.node.destroy_publisher(rival)
    around.wait(lambda: not robot.node._inputs.rivals)
    assert robot.call("arm").success


def test_a_second_gate_of_the_same_name_is_noticed_by_its_heartbeat(around):
    robot = Robot(around).moving()
    robot.heartbeats.publish(Header(frame_id="safety_validator/active/another"))
    around.wait(lambda: robot.reports[-1].rule == "rivals")
    around.wait(lambda: robot.reports[-1].rule != "rivals")  # it died; its name in the graph is no rival


def test_what_the_lidar_sees_stops_the_robot(around):
    robot = Robot(around).moving()
    robot.ranges = [0.5] * 36  # 0.19 m in front of the gripper
    around.wait(lambda: robot.reports[-1].rule == "obstacle" and robot.twists[-1].linear.x == 0.0)
    robot.ranges = [float("nan")] * 36
    around.wait(lambda: robot.reports[-1].rule == "sight")
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
    around.wait(lambda: robot.reports[-1].rule == "sight")
    assert robot.node.stats.drops["bad ranges"] and robot.node.trouble == robot.reports[-1].reason.replace(" is blind", "")
    assert robot.reports[-1].state == SafetyReport.HOLDING
    robot.ranges = [1.0] * 360
    around.wait(lambda: not robot.node.trouble)


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
