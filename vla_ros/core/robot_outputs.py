"""Where commands go: the topics and the actions of a robot file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vla_ros.core.robot_fields import check_keys, number
from vla_ros.core.shown import shown

if TYPE_CHECKING:
    from vla_ros.core.robot_channels import Channel

TWIST = "geometry_msgs/msg/Twist"
TWIST_STAMPED = "geometry_msgs/msg/TwistStamped"
NUMBERS = "std_msgs/msg/Float64MultiArray"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
JOINT_JOG = "control_msgs/msg/JointJog"
GRIPPER = "control_msgs/action/GripperCommand"
PARALLEL_GRIPPER = "control_msgs/action/ParallelGripperCommand"
FOLLOW_TRAJECTORY = "control_msgs/action/FollowJointTrajectory"
# Type -> the keys that it may have beside those of all.
OUTPUT_KEYS: Mapping[str, frozenset[str]] = {
    TWIST: frozenset(),
    TWIST_STAMPED: frozenset({"frame_id"}),
    NUMBERS: frozenset(),
    TRAJECTORY: frozenset({"time_from_start"}),
    JOINT_JOG: frozenset({"frame_id"}),
    GRIPPER: frozenset({"step", "max_effort"}),
    PARALLEL_GRIPPER: frozenset({"step", "max_effort"}),
    FOLLOW_TRAJECTORY: frozenset({"step", "time_from_start"}),
}
OUTPUT_TYPES = frozenset(OUTPUT_KEYS)
TWISTS = {TWIST, TWIST_STAMPED}
# These carry joints by name; what each of their values is.
POSITIONS = {TRAJECTORY, GRIPPER, PARALLEL_GRIPPER, FOLLOW_TRAJECTORY}
TWIST_CHANNELS = ("linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z")
POSE = "geometry_msgs/msg/PoseStamped"
# A point that lies farther ahead would let an arm creep.
LONGEST_TIME_FROM_START_S = 10.0
# A goal in flight is preempted by the next: smaller steps would restart a gripper all the time.
DEFAULT_STEP = 0.05  # of the bounds' range


@dataclass(frozen=True)
class Output:
    """A topic, or an action, that carries some channels to the robot.

    Attributes:
        topic: its name; of an action, the action's.
        channels: what it carries, in that order; of a Twist as `linear.x`, or, where a robot has
            several, with a name of your own before it: `tool.linear.x`.
        time_from_start: of JointTrajectory and FollowJointTrajectory: so far ahead is each point, s
        frame_id: of TwistStamped and JointJog
        max_effort: of a gripper's goal, N; 0: as much as the controller wants
        step: of an action: a new goal is sent where a channel's value differs from the last goal's
            by more, in the channel's unit, and where it has come to rest elsewhere
    """

    topic: str
    type: str
    channels: tuple[str, ...]
    time_from_start: float | None = None
    frame_id: str = ""
    max_effort: float = 0.0
    step: float | None = None

    @property
    def is_action(self) -> bool:
        return "/action/" in self.type

    def step_of(self, channel: Channel) -> float:
        """How far the channel's value may be from the goal before a new one is sent."""
        if self.step is not None:
            return self.step
        return DEFAULT_STEP * (channel.bounds[1] - channel.bounds[0])


def twist_axis(channel: str) -> str:
    """Which number of a Twist a channel is: what its name ends with, as `linear.x`."""
    return ".".join(channel.split(".")[-2:])


def parse_output(fields: Any, known: Mapping[str, Channel]) -> Output:
    """An entry of `outputs`.

    Args:
        fields: the mapping.
        known: the robot's channels by name.

    Raises:
        ValueError: a sentence with what is wrong, and its value.
    """
    # All keys of all types are known here: that one belongs to another type gets its own sentence.
    keys = set().union(*OUTPUT_KEYS.values())
    check_keys(fields, "an output", {"topic", "type", "channels"}, keys)
    topic = str(fields["topic"])
    kind = fields["type"]
    names = fields["channels"]
    where = f"output '{topic}'"
    if kind == POSE:
        raise ValueError(
            f"{where}: type is '{POSE}'; limits and rates of single numbers do not bound an "
            f"orientation, so a pose is not sent; use {TWIST_STAMPED} or joints"
        )
    if not isinstance(kind, str) or kind not in OUTPUT_TYPES:
        raise ValueError(
            f"{where}: type is {shown(kind)}; use one of {', '.join(sorted(OUTPUT_TYPES))}"
        )
    if not isinstance(names, list) or not names:
        raise ValueError(f"{where}: channels is {shown(names)}; give a list of channel names")
    for name in sorted(keys & set(fields) - OUTPUT_KEYS[kind]):
        fits = sorted(other for other in OUTPUT_TYPES if name in OUTPUT_KEYS[other])
        raise ValueError(f"{where}: {name} is for {', '.join(fits)}, and this is a {kind}")
    for name in names:
        if name not in known:
            raise ValueError(f"{where}: channel '{name}' is not one of {', '.join(sorted(known))}")
        _check_channel(known[name], kind, where)
    _check_together([known[name] for name in names], kind, where)
    output = Output(topic, kind, tuple(names), **_options(fields, where))
    # Topics are remapped with their node; an action's services and topics are five names.
    if output.is_action and not topic.startswith("/"):
        raise ValueError(f"{where}: give the action's full name, with / in front")
    return output


def _check_channel(channel: Channel, kind: str, where: str) -> None:
    """A channel is what its output's type carries."""
    name = channel.name
    if kind in TWISTS and twist_axis(name) not in TWIST_CHANNELS:
        raise ValueError(
            f"{where}: a Twist cannot carry '{name}', only {', '.join(TWIST_CHANNELS)}"
        )
    if kind in TWISTS and (channel.scale != 1.0 or channel.sent_unit):
        raise ValueError(
            f"{where}: '{name}' has scale {channel.scale:g} and sent_unit "
            f"'{channel.sent_unit}'; a Twist is in SI units: 1 and none"
        )
    if not all(map(math.isfinite, map(channel.sent, channel.bounds))):
        raise ValueError(f"channel '{name}': bounds times scale {channel.scale:g} is not finite")
    if kind in TWISTS and channel.on_stop != "zero":
        raise ValueError(
            f"{where}: '{name}' is a velocity, so its on_stop is zero, not {channel.on_stop}"
        )
    right = "m/s" if twist_axis(name).startswith("linear") else "rad/s"
    if kind in TWISTS and channel.unit != right:
        raise ValueError(f"{where}: '{name}' is in {channel.unit}; a Twist's is in {right}")
    short = kind.rpartition("/")[2]
    if kind in POSITIONS and channel.is_velocity:
        raise ValueError(
            f"{where}: a {short} carries positions, and '{name}' is a "
            "velocity (on_stop zero); sent to zero, an arm would go there"
        )
    if kind == JOINT_JOG and not channel.is_velocity:
        raise ValueError(
            f"{where}: a JointJog carries velocities, and '{name}' is a position (on_stop "
            f"{channel.on_stop}); give a velocity in rad/s or m/s, or send it as a JointTrajectory"
        )


def _check_together(channels: list[Channel], kind: str, where: str) -> None:
    """A stop can be sent to all of them at once, and each has its own place."""
    velocities = [channel for channel in channels if channel.is_velocity]
    if 0 < len(velocities) < len(channels):
        raise ValueError(f"{where} mixes velocities and positions; a stop could not be sent on it")
    if kind == GRIPPER and len(channels) != 1:
        raise ValueError(
            f"{where}: a GripperCommand carries one channel, not {len(channels)}; give each "
            "gripper its own output"
        )
    if kind in TWISTS:
        axes = [twist_axis(channel.name) for channel in channels]
        if len(set(axes)) < len(axes):
            raise ValueError(f"{where}: two channels are the same number of a Twist: {axes}")


def _options(fields: Mapping[str, Any], where: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name in ("time_from_start", "step"):
        if name in fields:
            options[name] = number(fields[name], f"{where}: {name}", above=0.0)
    if "max_effort" in fields:
        options["max_effort"] = number(fields["max_effort"], f"{where}: max_effort", at_least=0.0)
    if options.get("time_from_start", 0.0) > LONGEST_TIME_FROM_START_S:
        raise ValueError(
            f"{where}: time_from_start is {options['time_from_start']:g} s; give at most "
            f"{LONGEST_TIME_FROM_START_S:g} s"
        )
    if "frame_id" in fields:
        frame = fields["frame_id"]
        if not isinstance(frame, str) or not frame:
            raise ValueError(f"{where}: frame_id is {shown(frame)}; give the name of a frame")
        options["frame_id"] = frame
    return options
