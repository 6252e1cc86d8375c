"""The robot file as a whole: what it holds, and what must be so between its parts.

Each part has a module of its own beside this one: robot_channels, robot_outputs, robot_cameras,
robot_state, robot_obstacles, workspace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vla_ros.core.robot_cameras import Camera, parse_cameras
from vla_ros.core.robot_channels import Channel, parse_channel
from vla_ros.core.robot_clouds import Cloud, parse_clouds
from vla_ros.core.robot_fields import (
    check_keys,
    check_once,
    flag,
    mapping,
    optional_number,
)
from vla_ros.core.robot_obstacles import (
    NO_FOOTPRINT,
    Footprint,
    Obstacles,
    Sensor,
    check_braking,
    check_masks,
    parse_footprint,
    parse_obstacles,
)
from vla_ros.core.robot_outputs import Output, parse_output
from vla_ros.core.robot_state import JOINT_STATE, UNITS, StateSource, parse_state
from vla_ros.core.shown import shown
from vla_ros.core.urdf import Urdf
from vla_ros.core.workspace import (
    Workspace,
    check_urdf_limits,
    parse_urdf_key,
    parse_workspace,
    with_urdf_limits,
)

MAX_CHANNELS = 64  # the gate looks at every one of them fifty times a second
CAMERA_NODE = "camera_ingest"
# Who waits longer for an arm to come up to speed takes it for broken.
LONGEST_ENABLE_TIME_S = 60.0


@dataclass(frozen=True)
class Robot:
    """What a robot file says. What is not in it is not required, and not there to the nodes.

    Attributes:
        urdf: a file beside this one: no joint's limits may be wider than there, and what the robot
            file leaves out of `bounds`, `limits` and `max_speed` is taken from it.
        workspace: where an arm's tool may be.
        enable_time: for so long after the first motion of an arming, rates grow from zero, s.
    """

    name: str
    base_frame: str
    channels: tuple[Channel, ...]
    outputs: tuple[Output, ...]
    footprint: Footprint = NO_FOOTPRINT
    obstacles: Obstacles | None = None
    simulated: bool = False
    cameras: tuple[Camera, ...] = ()
    state: tuple[StateSource, ...] = ()
    urdf: Urdf | None = None
    workspace: Workspace | None = None
    enable_time: float = 0.0
    clouds: tuple[Cloud, ...] = ()

    @property
    def camera_nodes(self) -> dict[str, str]:
        """Camera -> its node: an only camera's is `camera_ingest`, else each has its own name."""
        if len(self.cameras) == 1:
            return {self.cameras[0].name: CAMERA_NODE}
        return {camera.name: f"{CAMERA_NODE}_{camera.name}" for camera in self.cameras}

    def camera(self, name: str) -> Camera:
        """The camera of that name; an empty one is the only camera's.

        Raises:
            ValueError: there is none, or the file names several and nobody said which.
        """
        for camera in self.cameras:
            if camera.name == name or (not name and len(self.cameras) == 1):
                return camera
        names = ", ".join(camera.name for camera in self.cameras)
        raise ValueError(
            f"robot '{self.name}' has no camera {shown(name)}; its file's cameras are "
            f"{names or 'none'}"
        )

    def frame_topic(self, camera: str) -> str:
        """Where the frames of that camera are, in the nodes' namespace."""
        return "frame" if len(self.cameras) == 1 else f"{camera}/frame"

    @property
    def depth_cameras(self) -> list[str]:
        """The names of the cameras that give depth."""
        return [camera.name for camera in self.cameras if camera.depth]

    def depth_frame_topic(self, camera: str) -> str:
        """Where the depth images that belong to those frames are."""
        return "depth_frame" if len(self.cameras) == 1 else f"{camera}/depth_frame"

    @property
    def joint_topics(self) -> dict[str, tuple[Channel, ...]]:
        """Topic -> the channels whose joints are heard there."""
        topics: dict[str, tuple[Channel, ...]] = {}
        for channel in self.channels:
            if channel.joint:
                topics[channel.joint_topic] = (*topics.get(channel.joint_topic, ()), channel)
        return topics

    @property
    def required_topics(self) -> dict[str, str]:
        """Topic -> type, of what the robot's motion rests on beside its range sensors."""
        topics = dict.fromkeys(self.joint_topics, JOINT_STATE)
        for source in self.state:
            if source.required:
                topics[source.topic] = source.type
        return topics

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """What it sees obstacles with; empty where there are none in its file."""
        return self.obstacles.sensors if self.obstacles else ()

    def channel(self, name: str) -> Channel:
        """The channel of that name; there must be one."""
        return next(channel for channel in self.channels if channel.name == name)

    def halved(self, names: Collection[str]) -> tuple[Output, str] | None:
        """The first output that `names` holds a part of, and a channel that it lacks; else None."""
        for output in self.outputs:
            lacking = [name for name in output.channels if name not in names]
            if 0 < len(lacking) < len(output.channels):
                return output, lacking[0]
        return None


def load_robot(path: str | Path) -> Robot:
    """Reads a robot file.

    Raises:
        ValueError: a sentence with the file, what is wrong in it and its value.
    """
    # PyYAML: not needed by a core that is handed a Robot.
    from vla_ros.core.yaml_file import read_yaml

    data = read_yaml(path, "robot file", "set robot_file to one like config/robots/sim.yaml")
    try:
        return parse_robot(data, Path(path).parent)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"robot file {shown(str(path), 200)}: {str(error)[:400]}") from error


def parse_robot(data: Any, folder: Path = Path()) -> Robot:
    """A Robot from the mapping in a robot file.

    It is checked as a whole: what cannot be true, contradicts itself or is not known is refused.

    Args:
        data: the mapping.
        folder: where the file lies; the files that it names are looked for from there.

    Raises:
        ValueError: a sentence with what is wrong, and its value.
    """
    check_keys(
        data,
        "the file",
        {"name", "channels", "outputs"},
        {
            "base_frame",
            "footprint",
            "obstacles",
            "simulated",
            "cameras",
            "clouds",
            "state",
            "urdf",
            "workspace",
            "enable_time",
        },
    )
    base_frame = str(data.get("base_frame", "base_link"))
    state = parse_state(data.get("state", []))
    urdf = parse_urdf_key(data["urdf"], folder) if "urdf" in data else None
    entries = mapping(data["channels"], "channels")
    if urdf:
        entries = with_urdf_limits(entries, urdf, _joint_names(state))
    channels = tuple(parse_channel(name, fields) for name, fields in entries.items())
    if not 0 < len(channels) <= MAX_CHANNELS:
        raise ValueError(f"channels has {len(channels)} entries; a robot obeys 1 to {MAX_CHANNELS}")
    if not isinstance(data["outputs"], list):
        raise ValueError(f"outputs is {shown(data['outputs'])}; give a list of topics")
    known = {channel.name: channel for channel in channels}
    outputs = tuple(parse_output(fields, known) for fields in data["outputs"])
    _check_senders(channels, outputs)
    check_once([output.topic for output in outputs], "output ")
    cameras = parse_cameras(data.get("cameras", {}))
    # Only now have the joints their own names, which the URDF knows them by.
    channels = tuple(_measured_by(channel, state) for channel in channels)
    if urdf:
        check_urdf_limits(channels, urdf)
    workspace = None
    if "workspace" in data:
        workspace = parse_workspace(data["workspace"], urdf, base_frame, channels)
    _check_joints(channels)
    simulated = flag(data.get("simulated", False), "simulated")
    obstacles = parse_obstacles(data["obstacles"]) if "obstacles" in data else None
    if obstacles and "footprint" not in data:
        raise ValueError(
            "obstacles needs a footprint: how far the robot reaches to its front, back, left and "
            "right"
        )
    if obstacles:
        check_braking(obstacles, channels, outputs)
    footprint = parse_footprint(data["footprint"]) if "footprint" in data else NO_FOOTPRINT
    check_masks(obstacles, footprint)
    enable_time = optional_number(data, "enable_time", "the file", 0.0, at_least=0.0)
    if enable_time > LONGEST_ENABLE_TIME_S:
        raise ValueError(
            f"enable_time is {enable_time:g} s; give at most {LONGEST_ENABLE_TIME_S:g} s"
        )
    return Robot(
        str(data["name"]),
        base_frame,
        channels,
        outputs,
        footprint,
        obstacles,
        simulated,
        cameras,
        state,
        urdf,
        workspace,
        enable_time,
        parse_clouds(data.get("clouds", {})),
    )


def _check_senders(channels: tuple[Channel, ...], outputs: tuple[Output, ...]) -> None:
    """Every channel is sent once: what nobody sends stands still, two outputs contradict."""
    senders = Counter(name for output in outputs for name in output.channels)
    for channel in channels:
        if senders[channel.name] != 1:
            raise ValueError(
                f"channel '{channel.name}' is sent by {senders[channel.name]} outputs; one is right"
            )


def _joint_names(state: tuple[StateSource, ...]) -> dict[str, str]:
    """Name in `state` -> the joint's own."""
    names: dict[str, str] = {}
    for source in state:
        if source.type == JOINT_STATE:
            names.update(source.names)
    return names


def _measured_by(channel: Channel, state: tuple[StateSource, ...]) -> Channel:
    """The channel with the topic of its joint, and the joint's own name there."""
    for source in state:
        if channel.joint not in source.names:
            continue
        where = f"channel '{channel.name}': joint '{channel.joint}'"
        if source.type != JOINT_STATE:
            raise ValueError(f"{where} comes from {source.topic}, a {source.type}; give a joint's")
        if source.factor != UNITS.get(channel.sent_unit, 1.0):
            raise ValueError(
                f"{where} is in {source.unit} in `state`, and its sent_unit is "
                f"{channel.sent_unit or 'not given (SI)'}; give the same unit"
            )
        if source.wraps and not channel.wraps:
            raise ValueError(f"{where} wraps in `state`; say wraps: true of the channel, too")
        return replace(channel, joint=source.names[channel.joint], joint_topic=source.topic)
    return channel


def _check_joints(channels: tuple[Channel, ...]) -> None:
    """A joint measures one channel."""
    joints = [(channel.joint_topic, channel.joint) for channel in channels if channel.joint]
    for (_, joint), count in Counter(joints).items():
        if count > 1:
            raise ValueError(f"joint '{joint}' measures {count} channels; one is right")
