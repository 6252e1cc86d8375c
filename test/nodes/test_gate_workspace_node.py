"""safety_validator: an arm's workspace, from its robot file and URDF to the wire."""
from pathlib import Path

import pytest
from gate_robot import SIM, Robot
from geometry_msgs.msg import TwistStamped
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from vla_ros.nodes.common.qos import EVENTS, LATEST
from vla_ros.nodes.safety_validator import SafetyValidator
from vla_ros_msgs.msg import SafetyReport

JOINTS = [f"joint_{i}" for i in range(1, 7)]
LIMIT = '<limit lower="-2.5" upper="2.5" velocity="2" effort="1"/>'


def urdf():
    """Six joints about z, 0.1 m apart: all at zero, the tool is at x 0.6 m; and a finger."""
    links = ["base_link", *(f"link_{i}" for i in range(1, 7)), "tool", "finger"]
    lines = ["<robot name='arm'>", *(f"<link name='{link}'/>" for link in links)]
    for i, joint in enumerate(JOINTS):
        place = "0.1 0 0" if i else "0 0 0.2"
        lines.append(f"<joint name='{joint}' type='revolute'><parent link='{links[i]}'/><child link='{links[i + 1]}'/>"
                     f"<origin xyz='{place}'/><axis xyz='0 0 1'/>{LIMIT}</joint>")
    lines.append("<joint name='tip' type='fixed'><parent link='link_6'/><child link='tool'/><origin xyz='0.1 0 0'/></joint>")
    lines.append("<joint name='finger_joint' type='prismatic'><parent link='link_6'/><child link='finger'/>"
                 "<limit lower='0' upper='0.1' velocity='1' effort='1'/></joint></robot>")
    return "\n".join(lines)


def set_robot_file(robot, path):
    return robot.node.set_parameters([Parameter("robot_file", value=str(path))])[0]


@pytest.fixture
def robot_file(tmp_path):
    (tmp_path / "arm.urdf").write_text(urdf(), encoding="utf-8")
    text = Path(SIM).with_name("diffdrive_arm.yaml").read_text(encoding="utf-8")
    workspace = ("urdf: arm.urdf\nworkspace: {tool: tool, inside: [{name: cell, min: [0.0, -0.2, 0.0], max: [1.0, 0.2, 1.0]}]}\n")
    path = tmp_path / "robot.yaml"
    path.write_text(text + workspace, encoding="utf-8")
    return path


def test_the_tool_stops_at_the_edge_of_its_cell_and_a_tighter_one_is_taken_at_once(around, robot_file):
    around.hear(TwistStamped, "/diff_drive_controller/cmd_vel", LATEST)
    trajectories = around.hear(JointTrajectory, "/arm_controller/joint_trajectory", LATEST)
    robot = Robot(around, str(robot_file))
    robot.joint_names = []
    robot.values = {}
    arm = around.speaker(JointState, "/joint_states", EVENTS)
    stands = dict.fromkeys(JOINTS, 0.0)

    def publish():
        if trajectories:  # a drive that follows at once
            stands.update(zip(trajectories[-1].joint_names, trajectories[-1].points[0].positions))
        arm.publish(JointState(name=[*JOINTS, "finger_joint"], position=[*stands.values(), 0.05]))
    around.node.create_timer(0.02, publish)
    robot.values = {"linear.x": 0.0, "angular.z": 0.0, "gripper": 0.5, **dict.fromkeys(JOINTS, 0.0), "joint_1": 0.5}
    around.wait(lambda: len(robot.node._inputs.measured) == 7)
    assert robot.call("arm").success
    robot.say("go")
    around.wait(lambda: robot.reports[-1].rule == "workspace", 10.0)  # y 0.2 m at 0.6 m: 0.34 rad
    assert "it stays inside 'cell', y -0.2 to 0.2 m" in robot.reports[-1].reason
    assert robot.reports[-1].state == SafetyReport.HOLDING
    assert trajectories[-1].points[0].positions[0] == pytest.approx(0.34, abs=0.011)
    robot.values["joint_1"] = 0.0
    around.wait(lambda: robot.reports[-1].state == SafetyReport.ACTIVE)
    around.wait(lambda: trajectories[-1].points[0].positions[0] < 0.1, 10.0)
    text = robot_file.read_text(encoding="utf-8")
    tighter = robot_file.with_name("tighter.yaml")
    tighter.write_text(text.replace("max: [1.0, 0.2, 1.0]", "max: [1.0, 0.1, 1.0]"), encoding="utf-8")
    looser = robot_file.with_name("looser.yaml")
    looser.write_text(text.replace("max: [1.0, 0.2, 1.0]", "max: [1.0, 0.3, 1.0]"), encoding="utf-8")
    assert "workspace inside, box 1, max y, 0.3 (now 0.2) is looser" in set_robot_file(robot, looser).reason
    assert set_robot_file(robot, tighter).successful
    robot.values["joint_1"] = 0.3
    around.wait(lambda: "'cell', y -0.2 to 0.1 m" in robot.reports[-1].reason, 10.0)


@pytest.mark.parametrize("text, says", [
    ("<robot", "is no XML"), (urdf().replace("joint_4", "elbow"), "channel 'joint_4': URDF .* has no joint 'elbow'|has no joint 'joint_4'"),
    (urdf().replace('upper="2.5"', 'upper="1.5"'), "bounds are -2 to 2 rad; .* allows joint 'joint_1' -2.5 to 1.5")])
def test_a_urdf_that_is_none_or_narrower_is_refused_at_configure(around, robot_file, text, says):
    robot_file.with_name("arm.urdf").write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match=says):
        around.start(SafetyValidator, robot_file=str(robot_file), required_nodes=[])
