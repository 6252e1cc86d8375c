"""safety_validator: its parameters; limits that change while the robot moves; auto_arm."""
import time
from pathlib import Path

import pytest
from gate_robot import SIM, Robot
from rclpy.parameter import Parameter

from vla_ros.nodes.safety_validator import SafetyValidator
from vla_ros_msgs.msg import SafetyReport


def set_parameter(robot, name, value):
    return robot.node.set_parameters([Parameter(name, value=value)])[0]


def test_limits_tighten_at_once_and_loosen_only_disarmed(around, tmp_path):
    robot = Robot(around).moving()
    for name, limit in (("tight", 0.1), ("loose", 0.6)):
        text = Path(SIM).read_text().replace("limits: [-0.5, 0.5]", f"limits: [-{limit}, {limit}]", 1)
        (tmp_path / f"{name}.yaml").write_text(text)
    assert set_parameter(robot, "robot_file", str(tmp_path / "tight.yaml")).successful
    around.wait(lambda: robot.twists[-1].linear.x == pytest.approx(0.1))
    refused = set_parameter(robot, "robot_file", str(tmp_path / "loose.yaml"))
    assert not refused.successful and "looser than now; disarm first" in refused.reason
    assert not set_parameter(robot, "max_age", 0.5).successful
    assert set_parameter(robot, "max_age", 0.3).successful
    broken = set_parameter(robot, "robot_file", "/nowhere.yaml")
    assert "does not exist" in broken.reason
    assert robot.call("disarm").success
    assert set_parameter(robot, "robot_file", str(tmp_path / "loose.yaml")).successful


def test_auto_arm_arms_once_and_says_so(around):
    robot = Robot(around, auto_arm=True)
    around.wait(lambda: robot.reports[-1].state == SafetyReport.HOLDING)
    robot.call("disarm")
    time.sleep(0.3)
    assert robot.reports[-1].state == SafetyReport.DISARMED


def test_auto_arm_leaves_it_to_people_once_one_has_spoken(around):
    robot = Robot(around, auto_arm=True)
    around.wait(lambda: robot.reports[-1].state == SafetyReport.HOLDING)
    robot.alive = False
    time.sleep(0.5)
    for name in ("deactivate", "activate"):
        getattr(robot.node, f"trigger_{name}")()
    robot.call("disarm")  # before its sources were heard
    robot.alive = True
    around.wait(lambda: "/odom" in robot.node._inputs.seen and robot.node._inputs.readings)
    time.sleep(0.3)
    assert robot.reports[-1].state == SafetyReport.DISARMED


@pytest.mark.parametrize("name, value", [("robot_file", "x" * 300), ("robot_file", "/"), ("clock_jump", 0.03), ("rate", 5.0)])
def test_a_parameter_that_cannot_be_is_refused_and_the_gate_lives(around, name, value):
    robot = Robot(around).moving()
    refused = set_parameter(robot, name, value)
    assert not refused.successful and refused.reason
    robot.reports.clear()
    around.wait(lambda: robot.reports and robot.reports[-1].state == SafetyReport.ACTIVE)


def on_a_real_robot(tmp_path):
    path = tmp_path / "real.yaml"
    path.write_text(Path(SIM).read_text().replace("simulated: true", "simulated: false"))
    return str(path)


def test_auto_arm_is_refused_on_a_real_robot(around, tmp_path):
    node = around.make(SafetyValidator, robot_file=on_a_real_robot(tmp_path), auto_arm=True)
    node.trigger_configure()
    assert node.state == "unconfigured" and "is not simulated; arm it yourself" in node.problem


@pytest.mark.parametrize("parameters, says", [
    ({"robot_file": "/nowhere.yaml"}, "robot file '/nowhere.yaml' does not exist"),
    ({"robot_file": ""}, "set robot_file to one like"),
    ({"rate": 0.0}, "'rate' is 0.0; give a number from 5 to 500 Hz"),
    ({"max_age": float("inf")}, "'max_age' is inf"),
    ({"required_topics": ["gps"]}, "parameter 'required_topics' is not known"),
    ({"cameras": ["ear"]}, "parameter 'cameras' holds 'ear'; robot 'sim' has camera"),
])
def test_a_bad_parameter_fails_configure_with_a_sentence(around, parameters, says):
    node = around.make(SafetyValidator, **{"robot_file": SIM, **parameters})
    node.trigger_configure()
    assert node.state == "unconfigured" and says in node.problem
