"""From the values of an output's channels to what its topic or action carries."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from builtin_interfaces.msg import Duration
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_ros.core.robot import Robot
from vla_ros.core.robot_outputs import (
    FOLLOW_TRAJECTORY,
    GRIPPER,
    JOINT_JOG,
    NUMBERS,
    TRAJECTORY,
    TWIST,
    Output,
    twist_axis,
)
from vla_ros.core.types import to_nanoseconds
from vla_ros.nodes.common.convert import duration_message, time_message


def output_class(output: Output) -> Any:
    """The message or action of `output.type`. Raises ValueError where it is not installed."""
    package, kind, name = output.type.split("/")
    try:
        return getattr(import_module(f"{package}.{kind}"), name)
    except (ImportError, AttributeError):
        raise ValueError(
            f"output '{output.topic}' is a {output.type}, which is not installed; install "
            f"ros-<distribution>-{package.replace('_', '-')} and source the setup file again"
        ) from None


def output_message(
    robot: Robot, output: Output, values: Mapping[str, float], now: int, ahead_s: float
) -> Any:
    """What is published on a topic.

    Args:
        robot: whose output.
        output: no action.
        values: channel -> what is sent, in the output's own unit.
        now: the ROS clock, ns.
        ahead_s: a trajectory's time_from_start.
    """
    if output.type == NUMBERS:
        return output_class(output)(data=list(values.values()))
    if output.type == TRAJECTORY:
        return trajectory(joint_names(robot, output), list(values.values()), ahead_s)
    message = output_class(output)()
    if output.type != TWIST:
        message.header.stamp = time_message(now)
        message.header.frame_id = output.frame_id or robot.base_frame
    if output.type == JOINT_JOG:
        message.joint_names = joint_names(robot, output)
        message.velocities = list(values.values())
        return message
    twist = message if output.type == TWIST else message.twist
    for name, value in values.items():
        part, axis = twist_axis(name).split(".")
        setattr(getattr(twist, part), axis, value)
    return message


def output_goal(robot: Robot, output: Output, values: Mapping[str, float], ahead_s: float) -> Any:
    """What an action is asked for. Arguments as of `output_message`."""
    goal = output_class(output).Goal()
    sent = list(values.values())
    if output.type == FOLLOW_TRAJECTORY:
        goal.trajectory = trajectory(joint_names(robot, output), sent, ahead_s)
    elif output.type == GRIPPER:
        goal.command.position = sent[0]
        goal.command.max_effort = output.max_effort
    else:
        goal.command.name = joint_names(robot, output)
        goal.command.position = sent
        if output.max_effort:
            goal.command.effort = [output.max_effort] * len(sent)
    return goal


def joint_names(robot: Robot, output: Output) -> list[str]:
    """The joints of an output's channels, in its order: a channel without one is a joint's name."""
    return [robot.channel(name).joint or name for name in output.channels]


def trajectory(joints: list[str], positions: list[float], ahead_s: float) -> JointTrajectory:
    """One point, `ahead_s` from now: its stamp is zero, which means at once."""
    ahead: Duration = duration_message(to_nanoseconds(ahead_s))
    point = JointTrajectoryPoint(positions=positions, time_from_start=ahead)
    return JointTrajectory(joint_names=joints, points=[point])
