"""How a robot file's cameras, state and channels are an environment's images, numbers and action.

Nothing is guessed: what does not fit is refused in a sentence with both lists.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from vla_ros.core.robot import Robot
from vla_ros.core.robot_channels import Channel
from vla_ros.core.robot_outputs import NUMBERS as NUMBERS_OUTPUT
from vla_ros.core.robot_outputs import TRAJECTORY, TWIST, TWIST_STAMPED
from vla_ros.core.robot_state import JOINT_STATE, NUMBERS
from vla_ros.core.shown import shown
from vla_ros.sim.env.offer import RENDER, EnvOffer

STATE_TYPES = (JOINT_STATE, NUMBERS)
OUTPUT_TYPES = (NUMBERS_OUTPUT, TRAJECTORY, TWIST, TWIST_STAMPED)
# Where a robot's own numbers usually are, the first that is there.
STATE_KEYS = ("agent_pos", "observation.state", "state", "qpos")
PART = re.compile(r"(?P<key>[^\[\]]+)(\[(?P<first>\d*):(?P<end>\d*)\])?")


@dataclass(frozen=True)
class NumberSlice:
    """Some of the numbers that an observation has under a key: from `first` to before `end`."""

    key: str
    first: int
    end: int


@dataclass
class StateTopic:
    """What is published on a topic of the state: names, and which of the numbers each is."""

    type: str
    names: list[str] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class EnvPlan:
    """How a robot file is an environment's.

    Attributes:
        images: Camera -> the observation's key.
        numbers: What of the observation is the robot's state, joined in this order.
        topics: Topic -> what of these numbers is published there.
        action: For each of the action's numbers the channel that it is, or what it always is.
    """

    images: Mapping[str, str]
    numbers: tuple[NumberSlice, ...]
    topics: Mapping[str, StateTopic]
    action: tuple[str | float, ...]

    def index_of(self, channel: Channel) -> int:
        """Which of the action's numbers a channel is."""
        return self.action.index(channel.name)

    def measured(self, channel: Channel) -> int | None:
        """Which of the state's numbers measures a channel; None: none does."""
        topic = self.topics.get(channel.joint_topic)
        if not channel.joint or topic is None or channel.joint not in topic.names:
            return None
        return topic.indices[topic.names.index(channel.joint)]


def fit_env(
    robot: Robot,
    offer: EnvOffer,
    images: Mapping[str, str] | None = None,
    state: str = "",
    action: str = "",
) -> EnvPlan:
    """Fits a robot file to an environment.

    Args:
        robot: the file.
        offer: what the environment shows and takes.
        images: camera -> key, where the names do not say it.
        state: which numbers are the file's state, "KEY,KEY[7:14]"; empty: those of the first of
            STATE_KEYS that is there, or the only ones.
        action: the channel that each of the action's numbers is, "joint_1,joint_2,0.5"; a number
            stands for itself, always. Empty: the file's channels in their order.

    Raises:
        ValueError: they do not fit; both lists are in the sentence.
    """
    if robot.sensors:
        raise ValueError(
            f"the robot file's obstacles want {robot.sensors[0].topic}, which an environment does "
            "not give; leave obstacles out of the file"
        )
    for output in robot.outputs:
        if output.type not in OUTPUT_TYPES:
            raise ValueError(
                f"output '{output.topic}' is a {output.type}; an environment is driven by one of "
                f"{', '.join(OUTPUT_TYPES)}"
            )
    topics = _topics(robot)
    count = sum(len(topic.names) for topic in topics.values())
    plan = EnvPlan(
        _images(robot, offer, images or {}),
        _numbers(topics, count, offer, state) if count else (),
        topics,
        _action(robot, offer, action),
    )
    for channel in robot.channels:
        if channel.is_velocity or channel.start is not None:
            continue
        if plan.measured(channel) is None:
            raise ValueError(
                f"channel '{channel.name}' is a position that no joint measures, so nobody knows "
                "where it stands at first; give the channel a joint, or start"
            )
    return plan


def _images(robot: Robot, offer: EnvOffer, chosen: Mapping[str, str]) -> dict[str, str]:
    """Camera -> key: as chosen, or of the camera's name, or the only one."""
    lists = (
        f"The file's cameras: {', '.join(camera.name for camera in robot.cameras) or 'none'}; the "
        f"environment's images: {offer.image_text}"
    )
    known = [camera.name for camera in robot.cameras]
    for name, key in chosen.items():
        if name not in known or key not in offer.images:
            raise ValueError(
                f"--image {name}={key}: that is no camera, or no image of this name. {lists}"
            )
    keys: dict[str, str] = {}
    for camera in robot.cameras:
        if camera.depth:
            raise ValueError(
                f"camera '{camera.name}' has depth, which an environment does not give; leave "
                "depth out of the robot file"
            )
        named = [key for key in offer.images if re.split(r"[./]", key)[-1] == camera.name]
        drawn = [key for key in offer.images if key != RENDER] or list(offer.images)
        key = chosen.get(camera.name, "")
        if not key and len(named) == 1:
            key = named[0]
        elif not key and len(robot.cameras) == len(drawn) == 1:
            key = drawn[0]
        if not key:
            hint = "" if RENDER in offer.images else " (render() with render_mode=rgb_array)"
            raise ValueError(
                f"camera '{camera.name}' is no image of the environment's{hint}; say which with "
                f"--image {camera.name}=KEY. {lists}"
            )
        size = offer.images[key]
        if size and camera.size and size != camera.size:
            raise ValueError(
                f"camera '{camera.name}' has the size {list(camera.size)} in the robot file, and "
                f"{key} is {list(size)} (height, width); give the same"
            )
        keys[camera.name] = key
    return keys


def _topics(robot: Robot) -> dict[str, StateTopic]:
    """What of the state is published where; numbered in the file's order."""
    topics: dict[str, StateTopic] = {}
    count = 0

    def add(topic: str, kind: str, name: str) -> None:
        nonlocal count
        entry = topics.setdefault(topic, StateTopic(kind))
        if name not in entry.names:
            entry.names.append(name)
            entry.indices.append(count)
            count += 1

    for source in robot.state:
        if source.type not in STATE_TYPES:
            raise ValueError(
                f"state '{source.topic}' is a {source.type}; an environment's numbers are "
                f"published as {' or '.join(STATE_TYPES)}: take it out of the file"
            )
        for name in source.names.values():
            add(source.topic, source.type, name)
    for topic, channels in robot.joint_topics.items():
        for channel in channels:
            add(topic, JOINT_STATE, channel.joint)
    return topics


def _numbers(
    topics: Mapping[str, StateTopic], count: int, offer: EnvOffer, state: str
) -> tuple[NumberSlice, ...]:
    """Which of the environment's numbers the `count` names of the file are."""
    names = [name for topic in topics.values() for name in topic.names]
    lists = (
        f"The file's state: {', '.join(names)} ({count}); the environment's numbers: "
        f"{offer.numbers_text}"
    )
    if not state:
        usual = [key for key in STATE_KEYS if key in offer.numbers]
        state = usual[0] if usual else ""
        if not usual and len(offer.numbers) == 1:
            state = next(iter(offer.numbers))
        if not state:
            raise ValueError(f"say which numbers are the robot's: --state KEY,KEY[7:14]. {lists}")
    parts = []
    for text in state.split(","):
        match = PART.fullmatch(text.strip())
        key = match["key"] if match else ""
        if match is None or key not in offer.numbers:
            raise ValueError(
                f"--state has {shown(text)}; give KEY, or KEY[from:to] of some of its numbers. "
                f"{lists}"
            )
        there = offer.numbers[key]
        part = NumberSlice(key, int(match["first"] or 0), int(match["end"] or there))
        if not part.first < part.end <= there:
            raise ValueError(f"--state has {shown(text)}, and {key} has {there} numbers. {lists}")
        parts.append(part)
    given = sum(part.end - part.first for part in parts)
    if given != count:
        raise ValueError(
            f"{state} are {given} numbers, and the robot file's state has {count}; name those of "
            f"the environment in the file's order, or choose with --state KEY[from:to]. {lists}"
        )
    return tuple(parts)


def _action(robot: Robot, offer: EnvOffer, text: str) -> tuple[str | float, ...]:
    """For each of the action's numbers the channel that it is, or what it always is."""
    channels = [channel.name for channel in robot.channels]
    action: list[str | float] = []
    for entry in text.split(",") if text else channels:
        try:
            action.append(entry.strip() if entry.strip() in channels else float(entry))
        except ValueError:
            action.append(entry.strip())  # no channel: refused below
    named = [entry for entry in action if isinstance(entry, str)]
    finite = all(math.isfinite(entry) for entry in action if isinstance(entry, float))
    if len(action) != len(offer.low) or sorted(named) != sorted(channels) or not finite:
        raise ValueError(
            f"the environment's action has {len(offer.low)} numbers, and they are to be "
            f"{', '.join(map(str, action))} ({len(action)}); name each of the file's channels once "
            "with --action, in the action's order, and a number where none belongs. The file's "
            f"channels: {', '.join(channels)}"
        )
    return tuple(action)


def doubts(robot: Robot, offer: EnvOffer, plan: EnvPlan) -> list[str]:
    """What fits and may still be meant otherwise, a sentence each."""
    sentences = []
    for channel in robot.channels:
        index = plan.index_of(channel)
        sent = sorted(map(channel.sent, channel.limits))
        low = float(offer.low[index])
        high = float(offer.high[index])
        if sent[0] < low - 1e-6 or sent[1] > high + 1e-6:
            sentences.append(
                f"channel '{channel.name}' is sent as {sent[0]:g} to {sent[1]:g}, and number "
                f"{index} of the action's Box goes from {low:g} to {high:g}"
            )
    return sentences
