"""What a bag says of one robot: images by their stamps, state and commands as series of numbers."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.robot import Robot
from vla_ros.core.robot_outputs import (
    JOINT_JOG,
    NUMBERS,
    TRAJECTORY,
    TWIST,
    TWIST_STAMPED,
    Output,
    twist_axis,
)
from vla_ros.core.robot_state import JOINT_STATE, StateSource
from vla_ros.core.state_numbers import published_numbers
from vla_ros.core.types import NANOSECONDS, to_seconds
from vla_ros.datasets.bags import read_messages, topic_types

FAR_S = 5.0  # between a message's own stamp and the bag's: not the same clock
# Between two messages of a camera or a state. A recording pauses for minutes; a computer without a
# battery wakes up days or years ago, until its clock is set. At 240 frames a second an hour is a
# million frames, which still fit into memory.
LONGEST_GAP_S = 3600.0
IMAGE_TYPES = {"raw": "sensor_msgs/msg/Image", "compressed": "sensor_msgs/msg/CompressedImage"}
NEVER_NS = 1 << 62  # the age of what was not heard yet


class Series:
    """Numbers in the order of their stamps.

    Attributes:
        stamps: ns, K.
        values: SI units, K.
    """

    def __init__(self, stamps: Sequence[int], values: Sequence[float]) -> None:
        order = np.argsort(np.array(stamps, np.int64), kind="stable")
        self.stamps: NDArray[np.int64] = np.array(stamps, np.int64)[order]
        self.values: NDArray[np.float64] = np.array(values, np.float64)[order]

    def at(self, times: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The last value at or before each of `times` (ns, T), and its age (ns, T).

        NaN, and NEVER_NS, before the first one.
        """
        place, ages = latest(self.stamps, times)
        values = np.full(len(times), np.nan)
        heard = place >= 0
        values[heard] = self.values[place[heard]]
        return values, ages


def latest(
    stamps: NDArray[np.int64], times: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of `stamps` (ascending, ns) is the last at or before each time, and its age, ns.

    -1, and NEVER_NS, before the first one.
    """
    place = np.searchsorted(stamps, times, side="right") - 1
    ages = np.full(len(times), NEVER_NS, np.int64)
    heard = place >= 0
    ages[heard] = times[heard] - stamps[place[heard]]
    return place, ages


@dataclass
class Streams:
    """All that one bag says.

    Attributes:
        images: camera -> the stamps of its images, ns, in the order of the messages.
        state: name -> SI units.
        commands: channel -> in its unit.
        positions: channel -> where its joint was measured, in its unit.
        words: stamp (ns), a number that tells instructions apart, text; by stamp.
        refused: why messages were passed over -> how many.
    """

    images: dict[str, NDArray[np.int64]]
    state: dict[str, Series]
    commands: dict[str, Series]
    positions: dict[str, Series]
    words: list[tuple[int, int, str]]
    refused: Counter[str] = field(default_factory=Counter)


def stamp_of(message: Any, recorded: int, bag_times: bool) -> int:
    """When a message was made, ns: as it says itself, else when it was recorded."""
    header = getattr(message, "header", None)
    if bag_times or header is None:
        return recorded
    # a stamp of zero is one that nobody set, as of a trajectory that means "at once"
    return int(header.stamp.sec) * NANOSECONDS + int(header.stamp.nanosec) or recorded


def command_topics(robot: Robot) -> dict[str, Output]:
    """Topic -> output. An action's goals are in no bag."""
    topics: dict[str, Output] = {}
    for output in robot.outputs:
        if not output.is_action:
            topics[output.topic] = output
    return topics


def collect(path: Path, robot: Robot, task_topic: str, bag_times: bool) -> Streams:
    """Reads a bag once, and decodes no image.

    Args:
        path: The bag.
        robot: Whose.
        task_topic: Where its instructions are; empty: they are not asked for.
        bag_times: Take when messages were recorded, not their own stamps.

    Raises:
        ValueError: For what is no whole bag, stamps of another clock than the bag's, and a clock
            that jumps.
    """
    return _Collector(path, robot, task_topic, bag_times).run()


def check_topics(path: Path, robot: Robot) -> None:
    """Raises ValueError for what is no whole bag, and a camera or a state that is not in it.

    That is so as well where its type is another than the robot file's.
    """
    there = topic_types(path)
    wanted: dict[str, tuple[str, str]] = {}  # topic -> what it is, and its type
    for camera in robot.cameras:
        wanted[camera.topic] = f"camera '{camera.name}'", IMAGE_TYPES[camera.transport]
    for source in robot.state:
        if source.required:
            wanted[source.topic] = "the robot's state", source.type
    for topic, (what, kind) in wanted.items():
        if topic not in there:
            names = ", ".join(sorted(there)[:20])
            raise ValueError(
                f"{path} has no message on {topic}, {what} in robot '{robot.name}'; it has "
                f"{names or 'none at all'}"
            )
        if there[topic] != kind:
            raise ValueError(
                f"{path}: {topic} is of type {there[topic]}; {what} in robot '{robot.name}' is of "
                f"{kind}; correct its transport or type in the robot file"
            )


class _Collector:
    """One pass over a bag."""

    def __init__(self, path: Path, robot: Robot, task_topic: str, bag_times: bool) -> None:
        self._path = path
        self._robot = robot
        self._task_topic = task_topic
        self._bag_times = bag_times
        self._cameras: dict[str, str] = {}  # topic -> name
        self._images: dict[str, list[int]] = {}  # name -> stamps
        for camera in robot.cameras:
            self._cameras[camera.topic] = camera.name
            self._images[camera.name] = []
        self._sources: dict[str, list[StateSource]] = defaultdict(list)
        for source in robot.state:
            self._sources[source.topic].append(source)
        self._outputs = command_topics(robot)
        self._joints = robot.joint_topics
        # name -> stamps and values, as they come
        self._state: dict[str, tuple[list[int], list[float]]] = {}
        self._commands: dict[str, tuple[list[int], list[float]]] = {}
        self._positions: dict[str, tuple[list[int], list[float]]] = {}
        self._words: list[tuple[int, int, str]] = []
        self._refused: Counter[str] = Counter()

    def run(self) -> Streams:
        topics = {*self._cameras, *self._sources, *self._outputs, *self._joints, self._task_topic}
        last: dict[str, int] = {}  # topic -> stamp
        for topic, recorded, message in read_messages(self._path, topics):
            stamp = stamp_of(message, recorded, self._bag_times)
            # the first one is enough: a clock that is set while a bag is recorded shows as a gap
            if topic not in last:
                self._check_clock(topic, stamp, recorded)
            elif topic in self._cameras or topic in self._sources:
                self._check_gap(topic, last[topic], stamp)
            last[topic] = stamp
            try:
                self._take(topic, stamp, message)
            except (ValueError, AttributeError, IndexError) as problem:
                self._refused[f"{topic}: {str(problem)[:200]}"] += 1
        images = {name: np.array(stamps, np.int64) for name, stamps in self._images.items()}
        return Streams(
            images,
            _as_series(self._state),
            _as_series(self._commands),
            _as_series(self._positions),
            sorted(self._words),
            self._refused,
        )

    def _check_clock(self, topic: str, stamp: int, recorded: int) -> None:
        apart = to_seconds(stamp - recorded)
        # an instruction is latched: it may have been given long before the recording began
        old = apart < -FAR_S and topic != self._task_topic
        if old or apart > FAR_S:
            raise ValueError(
                f"{self._path}: the first message on {topic} is stamped {apart:.1f} s off the time "
                "at which it was recorded, so the clocks are two; go by the bag's (--bag-times)"
            )

    def _check_gap(self, topic: str, before: int, stamp: int) -> None:
        """Frames would be made for all of it: of 1970 to now they take GiB."""
        gap = to_seconds(abs(stamp - before))
        if gap > LONGEST_GAP_S:
            remedy = "split it there" + ("" if self._bag_times else ", or try --bag-times")
            raise ValueError(
                f"{self._path}: the clock of {topic} jumps by {gap / 3600:.2f} h, from "
                f"{_date(before)} to {_date(stamp)}; record it again with the clock set, {remedy}"
            )

    def _take(self, topic: str, stamp: int, message: Any) -> None:
        """A topic may be several things at once, as /joint_states is."""
        if topic in self._cameras:
            self._images[self._cameras[topic]].append(stamp)
        for source in self._sources.get(topic, ()):
            wanted = list(source.names.values())
            published = published_numbers(source.type, message, wanted)
            for name, theirs in source.names.items():
                if theirs in published:
                    _add(self._state, name, stamp, source.value(float(published[theirs])))
        if topic in self._joints:
            wanted = [channel.joint for channel in self._joints[topic]]
            published = published_numbers(JOINT_STATE, message, wanted)
            for channel in self._joints[topic]:
                if channel.joint in published:
                    position = channel.measured(float(published[channel.joint]))
                    _add(self._positions, channel.name, stamp, position)
        if topic in self._outputs:
            # as a list: a message that is wrong in its last number is passed over as a whole
            for name, ahead, sent in list(_sent(self._robot, self._outputs[topic], message)):
                value = self._robot.channel(name).measured(sent)
                _add(self._commands, name, stamp + ahead, value, replaces=True)
        if topic == self._task_topic:
            text = getattr(message, "text", None)
            number = getattr(message, "instruction_id", len(self._words))
            self._words.append((stamp, int(number), str(message.data if text is None else text)))


def _sent(robot: Robot, output: Output, message: Any) -> Iterator[tuple[str, int, float]]:
    """Channel, how much later than the message it is due (ns), and what was sent.

    Raises ValueError for a message that does not carry the output's channels.
    """
    if output.type in (TWIST, TWIST_STAMPED):
        twist = message.twist if output.type == TWIST_STAMPED else message
        for name in output.channels:
            part, axis = twist_axis(name).split(".")
            yield name, 0, float(getattr(getattr(twist, part), axis))
        return
    if output.type == NUMBERS:
        if len(message.data) != len(output.channels):
            raise ValueError(
                f"an array of {len(message.data)} numbers, and the robot file's output has "
                f"{len(output.channels)} channels"
            )
        for name, value in zip(output.channels, message.data):
            yield name, 0, float(value)
        return
    places = {joint: place for place, joint in enumerate(message.joint_names)}
    for name in output.channels:
        joint = robot.channel(name).joint or name
        if joint not in places:
            continue
        if output.type == JOINT_JOG:
            yield name, 0, float(message.velocities[places[joint]])
            continue
        assert output.type == TRAJECTORY
        points = message.points
        for point in points:
            due = point.time_from_start
            # a single point is what is wanted now, as a gate or a teleoperation sends it
            ahead = int(due.sec) * NANOSECONDS + int(due.nanosec) if len(points) > 1 else 0
            yield name, ahead, float(point.positions[places[joint]])


def _date(stamp: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(stamp // NANOSECONDS))


def _add(
    kept: dict[str, tuple[list[int], list[float]]],
    name: str,
    stamp: int,
    value: float,
    replaces: bool = False,
) -> None:
    """`replaces`: what is due later is no more, as a new command overrides what an old one left."""
    if not np.isfinite(value):
        raise ValueError(f"'{name}' is {value}; a number is right")
    stamps, values = kept.setdefault(name, ([], []))
    while replaces and stamps and stamps[-1] > stamp:
        stamps.pop()
        values.pop()
    stamps.append(stamp)
    values.append(value)


def _as_series(kept: dict[str, tuple[list[int], list[float]]]) -> dict[str, Series]:
    return {name: Series(*columns) for name, columns in kept.items()}
