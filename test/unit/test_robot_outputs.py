"""Where a robot file sends commands: types, what each may carry, and what may stand beside it."""
import copy

import pytest

from vla_ros.core.robot import parse_robot
from vla_ros.core.robot_outputs import OUTPUT_TYPES

SPEED = {"unit": "m/s", "bounds": [-1.0, 1.0], "limits": [-0.5, 0.5], "acceleration": 1.0, "on_stop": "zero"}
TURN = {**SPEED, "unit": "rad/s"}
JOINT = {"unit": "rad", "bounds": [-2.0, 2.0], "limits": [-1.9, 1.9], "max_speed": 0.5, "on_stop": "hold_measured"}


def parsed(kind, channels, more=None, others=()):
    """A robot whose only output has `channels`: name -> fields."""
    output = {"topic": "/out", "type": kind, "channels": list(channels), **(more or {})}
    data = {"name": "r", "channels": copy.deepcopy(dict(channels)), "outputs": [output, *others]}
    return parse_robot(data).outputs[0]


@pytest.mark.parametrize("kind, channels, more", [
    ("geometry_msgs/msg/Twist", {"linear.x": SPEED, "angular.z": TURN}, {}),
    ("geometry_msgs/msg/TwistStamped", {"tool.linear.x": SPEED, "tool.angular.y": TURN}, {"frame_id": "tool0"}),
    ("std_msgs/msg/Float64MultiArray", {"a": JOINT}, {}),
    ("trajectory_msgs/msg/JointTrajectory", {"a": JOINT, "b": JOINT}, {"time_from_start": 0.1}),
    ("control_msgs/msg/JointJog", {"a": TURN, "b": SPEED}, {"frame_id": "base"}),
    ("control_msgs/action/GripperCommand", {"a": JOINT}, {"max_effort": 0, "step": 0.1}),
    ("control_msgs/action/ParallelGripperCommand", {"a": JOINT, "b": JOINT}, {"max_effort": 20.0}),
    ("control_msgs/action/FollowJointTrajectory", {"a": JOINT, "b": JOINT}, {"step": 0.2, "time_from_start": 10.0}),
])
def test_each_type_carries_what_it_is_for(kind, channels, more):
    output = parsed(kind, channels, more)
    assert output.channels == tuple(channels) and output.is_action == ("/action/" in kind)
    for name, value in more.items():
        assert getattr(output, name) == value


def test_every_type_is_tried_above():
    assert len(OUTPUT_TYPES) == 8


@pytest.mark.parametrize("kind, channels, more, says", [
    ("geometry_msgs/msg/PoseStamped", {"a": JOINT}, {}, "a pose is not sent; use geometry_msgs/msg/TwistStamped"),
    ("control_msgs/action/Gripper", {"a": JOINT}, {}, "use one of control_msgs/action/FollowJointTrajectory"),
    (["control_msgs/msg/JointJog"], {"a": TURN}, {}, "use one of"),
    ("control_msgs/msg/JointJog", {"a": JOINT}, {}, "a JointJog carries velocities, and 'a' is a position"),
    ("control_msgs/action/GripperCommand", {"a": TURN}, {}, "a GripperCommand carries positions, and 'a' is a velocity"),
    ("control_msgs/action/ParallelGripperCommand", {"a": TURN}, {}, "carries positions, and 'a' is a velocity"),
    ("control_msgs/action/FollowJointTrajectory", {"a": TURN}, {}, "carries positions, and 'a' is a velocity"),
    ("control_msgs/action/GripperCommand", {"a": JOINT, "b": JOINT}, {}, "carries one channel, not 2"),
    ("geometry_msgs/msg/Twist", {"linear.x": SPEED, "tool.linear.x": SPEED}, {}, "two channels are the same number"),
    ("geometry_msgs/msg/Twist", {"linear.x.tool": SPEED}, {}, "a Twist cannot carry 'linear.x.tool'"),
    ("geometry_msgs/msg/TwistStamped", {"tool.angular.z": SPEED}, {}, "'tool.angular.z' is in m/s; a Twist's is in rad/s"),
    ("std_msgs/msg/Float64MultiArray", {"a": JOINT, "b": TURN}, {}, "mixes velocities and positions"),
    ("geometry_msgs/msg/Twist", {"linear.x": SPEED}, {"frame_id": "tool0"}, "frame_id is for control_msgs/msg/JointJog, geometry_msgs/msg/TwistStamped"),
    ("std_msgs/msg/Float64MultiArray", {"a": JOINT}, {"time_from_start": 0.1}, "time_from_start is for control_msgs/action/Follow"),
    ("trajectory_msgs/msg/JointTrajectory", {"a": JOINT}, {"step": 0.1}, "step is for control_msgs/action/"),
    ("trajectory_msgs/msg/JointTrajectory", {"a": JOINT}, {"time_from_start": 0.0}, "time_from_start is 0.0; it must be more than 0"),
    ("trajectory_msgs/msg/JointTrajectory", {"a": JOINT}, {"time_from_start": 10.1}, "give at most 10 s"),
    ("trajectory_msgs/msg/JointTrajectory", {"a": JOINT}, {"time_from_start": float("nan")}, "give a finite number"),
    ("control_msgs/action/GripperCommand", {"a": JOINT}, {"step": -0.1}, "step is -0.1; it must be more than 0"),
    ("control_msgs/action/GripperCommand", {"a": JOINT}, {"max_effort": -1}, "max_effort is -1; it must be at least 0"),
    ("geometry_msgs/msg/TwistStamped", {"linear.x": SPEED}, {"frame_id": 3}, "frame_id is 3; give the name of a frame"),
    ("geometry_msgs/msg/TwistStamped", {"linear.x": SPEED}, {"effort": 3}, "an output has unknown effort"),
])
def test_what_does_not_fit_is_a_sentence(kind, channels, more, says):
    with pytest.raises(ValueError) as raised:
        parsed(kind, channels, more)
    assert says in str(raised.value)


def test_an_action_s_name_is_a_full_one():
    data = {"name": "r", "channels": {"a": JOINT},
            "outputs": [{"topic": "grip", "type": "control_msgs/action/GripperCommand", "channels": ["a"]}]}
    with pytest.raises(ValueError, match="give the action's full name, with / in front"):
        parse_robot(data)


def test_a_tool_s_twist_is_not_the_base_s():
    """`obstacles` looks at the base alone, and wants one."""
    tool = {"topic": "/servo", "type": "geometry_msgs/msg/TwistStamped", "channels": ["tool.linear.z"]}
    data = {"name": "r", "channels": {"linear.x": {**SPEED, "deceleration": 3.0}, "tool.linear.z": SPEED},
            "footprint": {"front": 0.2, "back": 0.2, "left": 0.2, "right": 0.2},
            "obstacles": {"sensors": [{"topic": "/scan", "type": "sensor_msgs/msg/LaserScan"}]},
            "outputs": [{"topic": "/cmd_vel", "type": "geometry_msgs/msg/Twist", "channels": ["linear.x"]}, tool]}
    assert len(parse_robot(data).outputs) == 2
    data["channels"]["base.linear.x"] = data["channels"].pop("linear.x")
    data["outputs"][0]["channels"] = ["base.linear.x"]
    with pytest.raises(ValueError, match="obstacles are for a base whose Twist carries some of linear.x"):
        parse_robot(data)


def test_a_step_is_a_twentieth_of_the_bounds_where_the_file_gives_none():
    output = parsed("control_msgs/action/GripperCommand", {"a": JOINT})
    robot = parse_robot({"name": "r", "channels": {"a": JOINT}, "outputs": [
        {"topic": "/g", "type": output.type, "channels": ["a"]}]})
    assert output.step_of(robot.channels[0]) == pytest.approx(0.2)
    assert parsed(output.type, {"a": JOINT}, {"step": 0.01}).step_of(robot.channels[0]) == 0.01
