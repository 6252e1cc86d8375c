"""The robot file: which channels the robot obeys, their limits, and where the commands go.

Its cameras are read in robot_cameras.py, its state in robot_state.py.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vla_ros.core.robot_cameras import Camera, parse_cameras
from vla_ros.core.robot_clouds import Cloud, parse_clouds
from vla_ros.core.robot_fields import (
    check_keys,
    check_once,
    flag,
    mapping,
    number,
    optional_number,
    pair,
)
from vla_ros.core.robot_outputs import TWIST_CHANNELS, TWISTS, Output, parse_output
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

JOINT_STATES = "/joint_states"  # where a joint is heard that no entry of `state` names
STOPS = ("zero", "hold_measured", "hold_commanded")
CLOUD = "sensor_msgs/msg/PointCloud2"
SENSOR_TYPES = {"sensor_msgs/msg/LaserScan", "sensor_msgs/msg/Range", CLOUD}
CLOUD_NEEDS = ("height", "max_range")
CLOUD_KEYS = {*CLOUD_NEEDS, "z", "roll", "pitch"}
FLOOR_CHANNELS = ("linear.x", "linear.y", "angular.z")  # what moves a footprint over the floor
MAX_CHANNELS = 64  # the gate looks at every one of them fifty times a second
TURN_RAD = 2.0 * math.pi
CAMERA_NODE = "camera_ingest"
SIDES = ("front", "back", "left", "right")
CHANNEL_KEYS = {"unit", "bounds", "limits", "on_stop"}
OPTIONAL_CHANNEL_KEYS = {
    "acceleration",
    "deceleration",
    "max_speed",
    "deadband",
    "joint",
    "scale",
    "offset",
    "sent_unit",
    "soft_limits",
    "max_step",
    "wraps",
    "start",
    "max_tracking_error",
    "tracking_time",
}
LONGEST_TIME_S = 10.0  # of `time_to_collision` and `hold_off`
LONGEST_ENABLE_TIME_S = 60.0


@dataclass(frozen=True)
class Channel:
    """One number the robot obeys, in `unit`.

    Attributes:
        unit: of the channel; velocities end in /s.
        bounds: outside them a whole action is refused.
        limits: outside them a value is clamped.
        acceleration, deceleration: how fast a velocity may change, unit/s.
        max_speed: how fast a position may change, unit/s.
        deadband: a smaller velocity is zero.
        on_stop: what stopping means: `zero` (velocities), `hold_measured` (positions: where it was
            measured, or what was sent last where nothing measures) or `hold_commanded` (a gripper
            that must not let go: what was sent last).
        joint: what measures it: a name in `state`, else a joint in /joint_states.
        scale, offset: value x `scale` + `offset` is the joint's position, and what is sent; a
            negative `scale`: a gripper that closes with a growing angle.
        sent_unit: of what is sent and of what the joint says, as in `state`; SI by default.
        soft_limits: outside them a position may only move inward.
        max_step: two actions that follow each other may differ by so much.
        wraps: the joint's position begins anew after a turn.
        start: where a position that nothing measures is taken to stand at first.
        max_tracking_error: how far what is measured may be from what is sent.
        tracking_time: for how long it may be farther away, s.
        joint_topic: where the joint is heard; from `state`.
    """

    name: str
    unit: str
    bounds: tuple[float, float]
    limits: tuple[float, float]
    acceleration: float = math.inf
    deceleration: float = math.inf
    max_speed: float = math.inf
    deadband: float = 0.0
    on_stop: str = "zero"
    joint: str = ""
    scale: float = 1.0
    offset: float = 0.0
    sent_unit: str = ""
    soft_limits: tuple[float, float] = (-math.inf, math.inf)
    max_step: float = math.inf
    wraps: bool = False
    start: float | None = None
    max_tracking_error: float = math.inf
    tracking_time: float = 0.5
    joint_topic: str = JOINT_STATES

    @property
    def is_velocity(self) -> bool:
        return self.on_stop == "zero"

    @property
    def turn(self) -> float:
        """What a whole turn of the joint is in this channel's unit; 0: it does not wrap."""
        return TURN_RAD / abs(self.scale) if self.wraps else 0.0

    def sent(self, value: float) -> float:
        """What is sent for `value`: the joint's position, in its own unit."""
        return (value * self.scale + self.offset) / UNITS.get(self.sent_unit, 1.0)

    def measured(self, position: float) -> float:
        """The channel's value where the joint says `position`."""
        return (position * UNITS.get(self.sent_unit, 1.0) - self.offset) / self.scale


@dataclass(frozen=True)
class Footprint:
    """How far the robot reaches from its base frame, in m; x points forward, y left."""

    front: float
    back: float
    left: float
    right: float


@dataclass(frozen=True)
class Sensor:
    """A range sensor, and where it sits in the base frame (m, rad).

    Attributes:
        min_range: what is nearer to it, m, is the robot itself.
        inverted: it hangs upside down.
        mask: boxes within the footprint, each as (front, back, left, right) in the base frame, m:
            what is inside is the robot itself.
        z, roll, pitch: of a PointCloud2's frame, as `x`, `y` and `yaw`.
        height: of a PointCloud2, what lies within it is an obstacle, [lowest, highest] in the base
            frame, m.
        max_range: how far from a PointCloud2's sensor an obstacle is sure to be seen, m.
    """

    topic: str
    type: str
    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    min_range: float = 0.0
    inverted: bool = False
    mask: tuple[tuple[float, float, float, float], ...] = ()
    z: float = 0.0
    roll: float = 0.0
    pitch: float = 0.0
    height: tuple[float, float] = (-math.inf, math.inf)
    max_range: float = math.inf


@dataclass(frozen=True)
class Obstacles:
    """Distances in m from the footprint, times in s, speeds in m/s.

    Attributes:
        stop_distance: nothing nearer is approached.
        slow_distance: from here on the speed falls.
        side_clearance: what the footprint passes at this distance or more is no obstacle; nearer
            than that it passes more slowly.
        hysteresis: after a stop the way must be free for so much more.
        time_to_collision: a motion that would touch something sooner is slowed down.
        max_speed_unobserved: what is allowed where no sensor looks.
        max_age: what is older is no look at all.
        hold_off: what was seen counts for so long more.
    """

    sensors: tuple[Sensor, ...]
    stop_distance: float = 0.3
    slow_distance: float = 0.6
    side_clearance: float = 0.1
    hysteresis: float = 0.05
    time_to_collision: float = 1.0
    max_speed_unobserved: float = 0.0
    max_age: float = 0.3
    hold_off: float = 1.0


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
    footprint: Footprint = Footprint(0.0, 0.0, 0.0, 0.0)
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


def floor_twist(values: Mapping[str, float]) -> tuple[float, float, float]:
    """What `values` (channel -> value) mean to a base: forward and left, m/s, and turning, rad/s.

    A channel that is not among them is zero.
    """
    forward, left, turn = FLOOR_CHANNELS
    return values.get(forward, 0.0), values.get(left, 0.0), values.get(turn, 0.0)


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
    channels = tuple(_channel(name, fields) for name, fields in entries.items())
    if not 0 < len(channels) <= MAX_CHANNELS:
        raise ValueError(f"channels has {len(channels)} entries; a robot obeys 1 to {MAX_CHANNELS}")
    if not isinstance(data["outputs"], list):
        raise ValueError(f"outputs is {shown(data['outputs'])}; give a list of topics")
    known = {channel.name: channel for channel in channels}
    outputs = tuple(parse_output(fields, known) for fields in data["outputs"])
    _check_senders(channels, outputs)
    check_once([output.topic for output in outputs], "output ")
    cameras = parse_cameras(data.get("cameras", {}))
    channels = tuple(_measured_by(channel, state) for channel in channels)
    if urdf:
        check_urdf_limits(channels, urdf)
    workspace = None
    if "workspace" in data:
        workspace = parse_workspace(data["workspace"], urdf, base_frame, channels)
    _check_joints(channels)
    simulated = flag(data.get("simulated", False), "simulated")
    obstacles = _obstacles(data["obstacles"]) if "obstacles" in data else None
    if obstacles and "footprint" not in data:
        raise ValueError(
            "obstacles needs a footprint: how far the robot reaches to its front, back, left and "
            "right"
        )
    if obstacles:
        _check_braking(obstacles, channels, outputs)
    footprint = Footprint(0.0, 0.0, 0.0, 0.0)
    if "footprint" in data:
        footprint = _footprint(data["footprint"])
    _check_masks(obstacles, footprint)
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


def _check_braking(
    obstacles: Obstacles, channels: tuple[Channel, ...], outputs: tuple[Output, ...]
) -> None:
    """Obstacles can stop this robot: it drives on the floor, and brakes within the slow zone."""
    driven: set[str] = set()
    for output in outputs:
        if output.type in TWISTS:
            # What has a name of its own before it, as `tool.linear.x`, is not the base.
            driven.update(name for name in output.channels if name in TWIST_CHANNELS)
    if not driven & set(FLOOR_CHANNELS) or driven - set(FLOOR_CHANNELS):
        raise ValueError(
            f"obstacles are for a base whose Twist carries some of {', '.join(FLOOR_CHANNELS)}; "
            f"this one carries {', '.join(sorted(driven)) or 'nothing'}"
        )
    for channel in channels:
        # From full speed where the speed begins to fall to zero where the robot must stand: twice
        # what braking evenly over that way takes, v^2 / 2s.
        speed = max(map(abs, channel.limits))
        needed = speed**2 / (obstacles.slow_distance - obstacles.stop_distance)
        if (
            channel.name in driven
            and channel.name.startswith("linear")
            and channel.deceleration < needed
        ):
            raise ValueError(
                f"channel '{channel.name}': deceleration is {channel.deceleration:g}; to stop from "
                f"{speed:g} {channel.unit} between obstacles' slow_distance and stop_distance it "
                f"must be at least {needed:.2g}"
            )


def _check_masks(obstacles: Obstacles | None, footprint: Footprint) -> None:
    """A mask hides the robot, never what is beside it."""
    outline = (footprint.front, footprint.back, footprint.left, footprint.right)
    for sensor in obstacles.sensors if obstacles else ():
        for box in sensor.mask:
            for side, value, most in zip(SIDES, box, outline):
                if value > most:
                    raise ValueError(
                        f"sensor '{sensor.topic}': mask: {side} is {value:g} m; the footprint "
                        f"reaches only {most:g} m, and what is outside it is no part of the robot"
                    )


def _footprint(fields: Any) -> Footprint:
    check_keys(fields, "footprint", set(SIDES), set())
    sides = [number(fields[side], f"footprint: {side}", at_least=0.0) for side in SIDES]
    return Footprint(*sides)


def _mask(fields: Any, where: str) -> tuple[tuple[float, float, float, float], ...]:
    """Boxes, each as (front, back, left, right) from the base frame's origin, m.

    A side beyond the origin is negative.
    """
    if not isinstance(fields, list):
        raise ValueError(
            f"{where} is {shown(fields)}; give a list of boxes, each with front, back, left and "
            "right"
        )
    boxes = []
    for box in fields:
        check_keys(box, where, set(SIDES), set())
        front, back, left, right = [number(box[side], f"{where}: {side}") for side in SIDES]
        if not (-back < front and -right < left):
            raise ValueError(
                f"{where}: front + back is {front + back:g} m and left + right {left + right:g} m; "
                "both must be more than 0"
            )
        boxes.append((front, back, left, right))
    return tuple(boxes)


def _obstacles(fields: Any) -> Obstacles:
    numbers = (
        "stop_distance",
        "slow_distance",
        "side_clearance",
        "hysteresis",
        "time_to_collision",
        "max_speed_unobserved",
        "max_age",
        "hold_off",
    )
    check_keys(fields, "obstacles", {"sensors"}, set(numbers))
    if not isinstance(fields["sensors"], list) or not fields["sensors"]:
        raise ValueError(
            f"obstacles: sensors is {shown(fields['sensors'])}; give a list of sensors"
        )
    given: dict[str, float] = {}
    for name in numbers:
        if name in fields:
            given[name] = number(fields[name], f"obstacles: {name}", at_least=0.0)
    obstacles = Obstacles(tuple(map(_sensor, fields["sensors"])), **given)
    if not obstacles.stop_distance < obstacles.slow_distance:
        raise ValueError(
            f"obstacles: slow_distance is {obstacles.slow_distance:g} m; it must be more than "
            f"stop_distance, {obstacles.stop_distance:g} m"
        )
    for name in ("time_to_collision", "max_age"):
        number(getattr(obstacles, name), f"obstacles: {name}", above=0.0)
    for name in ("time_to_collision", "hold_off"):
        seconds = getattr(obstacles, name)
        if seconds > LONGEST_TIME_S:
            raise ValueError(
                f"obstacles: {name} is {seconds:g} s; give at most {LONGEST_TIME_S:g} s"
            )
    check_once([sensor.topic for sensor in obstacles.sensors], "obstacles: ")
    return obstacles


def _sensor(fields: Any) -> Sensor:
    optional = {"x", "y", "yaw", "min_range", "inverted", "mask", *CLOUD_KEYS}
    check_keys(fields, "a sensor", {"topic", "type"}, optional)
    topic = str(fields["topic"])
    kind = fields["type"]
    if kind not in SENSOR_TYPES:
        raise ValueError(
            f"sensor '{topic}': type is {shown(kind)}; use one of {', '.join(sorted(SENSOR_TYPES))}"
        )
    where = f"sensor '{topic}'"
    place: dict[str, Any] = {}
    for name in ("x", "y", "z", "roll", "pitch", "yaw"):
        place[name] = optional_number(fields, name, where, 0.0)
    return Sensor(
        topic,
        kind,
        inverted=flag(fields.get("inverted", False), f"{where}: inverted"),
        **place,
        **_cloud(fields, kind, where),
        min_range=optional_number(fields, "min_range", where, 0.0, at_least=0.0),
        mask=_mask(fields.get("mask", []), f"{where}: mask"),
    )


def _cloud(fields: Mapping[str, Any], kind: str, where: str) -> dict[str, Any]:
    """What only a point cloud needs: which of its points are obstacles."""
    if kind != CLOUD:
        for name in sorted(CLOUD_KEYS & set(fields)):
            raise ValueError(f"{where}: {name} is for a PointCloud2, and this is a {kind}")
        return {}
    for name in CLOUD_NEEDS:
        if name not in fields:
            raise ValueError(f"{where} lacks {name}, which a PointCloud2 needs")
    if fields.get("inverted"):
        raise ValueError(f"{where}: inverted is not for a PointCloud2; give roll, pitch and yaw")
    return {
        "height": pair(fields["height"], f"{where}: height"),
        "max_range": number(fields["max_range"], f"{where}: max_range", above=0.0),
    }


def _channel(name: str, fields: Any) -> Channel:
    where = f"channel '{name}'"
    check_keys(fields, where, CHANNEL_KEYS, OPTIONAL_CHANNEL_KEYS)
    # Each within the next: soft limits within limits within bounds.
    bounds = pair(fields["bounds"], f"{where}: bounds")
    limits = pair(fields["limits"], f"{where}: limits")
    if not (bounds[0] <= limits[0] and limits[1] <= bounds[1]):
        raise ValueError(f"{where}: limits {list(limits)} reach outside bounds {list(bounds)}")
    stop = fields["on_stop"]
    if stop not in STOPS:
        raise ValueError(f"{where}: on_stop is {shown(stop)}; use one of {', '.join(STOPS)}")
    if stop == "zero" and not limits[0] <= 0.0 <= limits[1]:
        raise ValueError(f"{where}: on_stop is 'zero', but zero is outside limits {list(limits)}")
    soft = _soft_limits(fields, where, limits)
    unit = str(fields["unit"])
    joint = str(fields.get("joint", ""))
    # A position that stopped at zero would be sent there.
    if (stop == "zero") != unit.endswith("/s"):
        raise ValueError(
            f"{where}: on_stop is '{stop}', but its unit is '{unit}'; zero is for velocities (in "
            ".../s), hold_measured and hold_commanded for positions"
        )
    speeds = _speeds(fields, where, stop == "zero")
    wraps = flag(fields.get("wraps", False), f"{where}: wraps")
    if wraps and (stop == "zero" or not joint):
        raise ValueError(f"{where}: wraps is for a position that a joint measures")
    scale = optional_number(fields, "scale", where, 1.0)
    if scale == 0.0:
        raise ValueError(f"{where}: scale is 0; everything would be sent as the same number")
    offset = optional_number(fields, "offset", where, 0.0)
    if offset and stop == "zero":
        raise ValueError(f"{where}: offset is {offset:g}; a velocity of 0 must be sent as 0")
    sent_unit = fields.get("sent_unit", "")
    if "sent_unit" in fields and sent_unit not in UNITS:
        raise ValueError(f"{where}: sent_unit is {shown(sent_unit)}; use one of {', '.join(UNITS)}")
    start = _start(fields, where, limits)
    # What a drive may lag behind by: half a second at full speed (a bus, a controller and the drive
    # each take their share), or a twentieth of its range. A gripper that holds something never
    # reaches what it is told to.
    lag = math.inf
    if stop == "hold_measured" and joint:
        lag = max(0.05 * (bounds[1] - bounds[0]), 0.5 * speeds["max_speed"])
    if "max_tracking_error" in fields:
        if stop == "zero" or not joint:
            raise ValueError(f"{where}: max_tracking_error is for a position that a joint measures")
        lag = number(fields["max_tracking_error"], f"{where}: max_tracking_error", above=0.0)
    return Channel(
        name=name,
        unit=unit,
        bounds=bounds,
        limits=limits,
        **speeds,
        deadband=optional_number(fields, "deadband", where, 0.0, at_least=0.0),
        on_stop=stop,
        joint=joint,
        wraps=wraps,
        start=start,
        max_tracking_error=lag,
        tracking_time=optional_number(fields, "tracking_time", where, 0.5, at_least=0.0),
        scale=scale,
        offset=offset,
        sent_unit=sent_unit,
        joint_topic=JOINT_STATES,  # until `state` says otherwise
        soft_limits=soft,
        max_step=optional_number(fields, "max_step", where, math.inf, above=0.0),
    )


def _soft_limits(
    fields: Mapping[str, Any], where: str, limits: tuple[float, float]
) -> tuple[float, float]:
    """Where a measured joint may only move inward; as `limits` where the file does not say."""
    if "soft_limits" not in fields:
        return limits
    soft = pair(fields["soft_limits"], f"{where}: soft_limits")
    is_velocity = fields["on_stop"] == "zero"
    if is_velocity or not fields.get("joint"):
        raise ValueError(
            f"{where}: soft limits are for a position that a joint measures; this has "
            f"{'on_stop zero' if is_velocity else 'no joint'}"
        )
    if not (limits[0] <= soft[0] and soft[1] <= limits[1]):
        raise ValueError(f"{where}: soft limits {list(soft)} reach outside limits {list(limits)}")
    return soft


def _start(fields: Mapping[str, Any], where: str, limits: tuple[float, float]) -> float | None:
    """Where a position that nothing measures stands at first."""
    if "start" not in fields:
        return None
    start = number(fields["start"], f"{where}: start")
    is_velocity = fields["on_stop"] == "zero"
    joint = str(fields.get("joint", ""))
    if is_velocity or joint:
        raise ValueError(
            f"{where}: start is for a position that nothing measures; this has "
            f"{'on_stop zero' if is_velocity else f'joint {joint}'}"
        )
    if not limits[0] <= start <= limits[1]:
        raise ValueError(f"{where}: start is {start:g}, outside limits {list(limits)}")
    return start


def _speeds(fields: Mapping[str, Any], where: str, is_velocity: bool) -> dict[str, float]:
    """How fast a value may change: velocities have an acceleration, positions a max_speed."""
    if is_velocity:
        kind = "velocity"
        right = "acceleration"
        wrong = ["max_speed"]
    else:
        kind = "position"
        right = "max_speed"
        wrong = ["acceleration", "deceleration"]
    if right not in fields:
        raise ValueError(f"{where} lacks {right}: how fast a {kind} may change")
    for name in wrong:
        if name in fields:
            raise ValueError(f"{where}: {name} is not for a {kind}; give {right}")
    speed = number(fields[right], f"{where}: {right}", above=0.0)
    if not is_velocity:
        return {"max_speed": speed}
    slowing = number(fields.get("deceleration", speed), f"{where}: deceleration", above=0.0)
    return {"acceleration": speed, "deceleration": slowing}
