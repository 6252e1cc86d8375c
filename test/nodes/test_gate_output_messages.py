"""What each kind of output carries, and that on a stop the robot stands, whatever it is."""
import time

import pytest
import yaml
from control_interfaces import import_control_msgs
from gate_robot import Robot
from geometry_msgs.msg import TwistStamped
from robots import SIM, robot_file
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory

from vla_ros.nodes.common.qos import LATEST
from vla_ros.nodes.safety_validator import SafetyValidator
from vla_ros_msgs.msg import SafetyReport

TOOL = {"unit": "m/s", "bounds": [-1.0, 1.0], "limits": [-0.5, 0.5], "acceleration": 5.0, "on_stop": "zero"}
WRIST = {**TOOL, "unit": "rad/s"}
ELBOW = {"unit": "rad", "bounds": [-2.0, 2.0], "limits": [-1.9, 1.9], "max_speed": 0.5, "on_stop": "hold_measured", "joint": "elbow",
         "max_tracking_error": 3.0}
SERVO = {"topic": "/servo_node/delta_twist_cmds", "type": "geometry_msgs/msg/TwistStamped", "channels": ["tool.linear.z"], "frame_id": "tool0"}
JOG = {"topic": "/servo_node/delta_joint_cmds", "type": "control_msgs/msg/JointJog", "channels": ["wrist"]}
ARM = {"topic": "/arm_controller/joint_trajectory", "type": "trajectory_msgs/msg/JointTrajectory", "channels": ["elbow"]}


@pytest.fixture(scope="module", autouse=True)
def control_msgs():
    import_control_msgs()


def robot(around, *outputs, **channels):
    """The simulated robot with more channels and outputs, moving."""
    data = yaml.safe_load(SIM.read_text())
    path = robot_file(channels={**data["channels"], **channels}, outputs=[*data["outputs"], *outputs])
    made = Robot(around, path, cameras=["camera"])
    made.joint_names = ["gripper_joint", "elbow"]
    return made


def moving(made, **values):
    made.values = {"linear.x": 0.0, "angular.z": 0.0, "gripper": 0.5, **values}
    around = made.around
    around.wait(lambda: made.call("arm").success)
    made.say("go")
    around.wait(lambda: made.reports[-1].state == SafetyReport.ACTIVE)


def test_servo_s_twist_is_in_the_file_s_frame_and_zero_on_a_stop(around):
    heard = around.hear(TwistStamped, SERVO["topic"], LATEST)
    made = robot(around, SERVO, **{"tool.linear.z": TOOL})
    moving(made, **{"tool.linear.z": 0.4})
    around.wait(lambda: heard[-1].twist.linear.z == pytest.approx(0.4))
    assert heard[-1].header.frame_id == "tool0" and abs(heard[-1].header.stamp.sec - time.time()) < 2
    assert made.twists[-1].linear.z == 0.0  # the base's own
    made.stops.publish(Bool(data=True))
    around.wait(lambda: heard[-1].twist.linear.z == 0.0)


def test_a_joint_jog_has_velocities_by_joint_and_is_zero_on_a_stop(around):
    from control_msgs.msg import JointJog
    heard = around.hear(JointJog, JOG["topic"], LATEST)
    made = robot(around, JOG, wrist=WRIST)
    moving(made, wrist=-0.3)
    around.wait(lambda: list(heard[-1].velocities) == [pytest.approx(-0.3)])
    assert list(heard[-1].joint_names) == ["wrist"] and heard[-1].header.frame_id == "base_link"
    assert not heard[-1].displacements
    made.stops.publish(Bool(data=True))
    around.wait(lambda: list(heard[-1].velocities) == [0.0])


@pytest.mark.parametrize("more, nanoseconds", [({}, 40_000_000), ({"time_from_start": 0.1}, 100_000_000)])
def test_a_trajectory_s_point_is_as_far_ahead_as_the_file_says_and_on_a_stop_where_the_joint_is(around, more, nanoseconds):
    heard = around.hear(JointTrajectory, ARM["topic"], LATEST)
    made = robot(around, {**ARM, **more}, elbow=ELBOW)
    moving(made, elbow=0.5)
    around.wait(lambda: heard and heard[-1].points[0].positions[0] > 0.2)
    point = heard[-1].points[0]
    assert (point.time_from_start.sec, point.time_from_start.nanosec) == (0, nanoseconds)
    assert heard[-1].header.stamp.sec == 0 and list(heard[-1].joint_names) == ["elbow"]
    made.stops.publish(Bool(data=True))
    around.wait(lambda: heard[-1].points[0].positions[0] == pytest.approx(0.05))  # where it is measured


def test_a_point_that_is_due_before_the_next_one_is_refused(around):
    data = yaml.safe_load(SIM.read_text())
    path = robot_file(channels={**data["channels"], "elbow": ELBOW}, outputs=[*data["outputs"], {**ARM, "time_from_start": 0.019}])
    node = around.make(SafetyValidator, robot_file=path)
    node.trigger_configure()
    assert node.state == "unconfigured"
    assert "time_from_start is 0.019 s; the gate sends a point every 0.02 s: give at least that" in node.problem
