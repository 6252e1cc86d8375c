"""A person's stick: whether its deadman is held, and what rows its numbers are.

No ROS and no clock: times are steady nanoseconds, passed in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vla_ros.core.robot import Robot
from vla_ros.core.robot_channels import Channel
from vla_ros.core.robot_outputs import TWISTS, Output, twist_axis

AUTO = "auto"
AUTO_AXES = {"linear.x": 1, "angular.z": 0}  # a gamepad's left stick: up, and to the left
# What a jogged position may be ahead of where it was sent, so that letting go is no long way on.
LEAD_S = 0.2
LET_GO_SILENCE_NS = 1_000_000_000  # after a refusal: a shorter silence is a hiccup of the network
LONGEST_STEP_S = 0.1  # between two messages: after a pause a joint does not catch up


# -- which number of a gamepad moves what ----------------------------------------------
@dataclass(frozen=True)
class Binding:
    """An axis, or a button, that moves a channel.

    Attributes:
        index: in the message's list.
        scale: of a velocity, its value at full deflection; of a position, how fast it moves then,
            in its unit a second. None: as fast as the robot file allows.
    """

    channel: Channel
    index: int
    scale: float | None

    def speed(self, deflection: float) -> float:
        """What a deflection (-1 to 1) asks for, in the channel's unit, or a second of it."""
        if self.scale is not None:
            return deflection * self.scale
        if not self.channel.is_velocity:
            return deflection * self.channel.max_speed
        low, high = self.channel.limits
        return deflection * (-low if deflection < 0.0 else high)


def bindings(texts: Sequence[str], robot: Robot, parameter: str) -> list[Binding]:
    """What a parameter says, each text as `linear.x=1` or `joint_1=3:-0.2`.

    Args:
        texts: channel=index, or channel=index:scale; `auto` alone: a base's on the left stick.
        robot: whose channels.
        parameter: its name, for the sentence.

    Raises:
        ValueError: a text is none of these, or the robot has no such channel.
    """
    if list(texts) == [AUTO]:
        base = {twist_axis(name): name for name in twist_channels(robot)}
        texts = [f"{base[axis]}={index}" for axis, index in AUTO_AXES.items() if axis in base]
    found: list[Binding] = []
    known = {channel.name: channel for channel in robot.channels}
    for text in filter(None, texts):
        name, _, rest = text.partition("=")
        index, colon, scale = rest.partition(":")
        if name not in known:
            raise ValueError(
                f"parameter '{parameter}' holds '{text}'; the robot has no channel '{name}', it "
                f"has {', '.join(known)}"
            )
        try:
            binding = Binding(known[name], int(index), float(scale) if colon else None)
        except ValueError:
            binding = Binding(known[name], -1, None)
        if binding.index < 0 or not math.isfinite(binding.scale or 0.0):
            raise ValueError(
                f"parameter '{parameter}' holds '{text}'; write channel=index, as linear.x=1, or "
                "channel=index:scale, as linear.x=1:0.2"
            )
        found.append(binding)
    return found


def twist_output(robot: Robot) -> Output | None:
    """The output that a Twist drives: the robot file's first of that type."""
    return next((output for output in robot.outputs if output.type in TWISTS), None)


def twist_channels(robot: Robot) -> tuple[str, ...]:
    output = twist_output(robot)
    return output.channels if output else ()


def deflections(values: Sequence[float], used: Iterable[Binding], deadzone: float) -> list[float]:
    """How far each axis, or button, is from its middle: -1 to 1, 0 within the deadzone.

    Raises ValueError where the message has fewer than are used.
    """
    found: list[float] = []
    for binding in used:
        if binding.index >= len(values):
            raise ValueError(
                f"{binding.channel.name} is number {binding.index} of {len(values)}, counted from "
                "0; is it this gamepad's?"
            )
        value = float(values[binding.index])
        if abs(value) <= deadzone:
            found.append(0.0)
        else:  # NaN, too: the gate refuses it
            found.append(math.copysign((abs(value) - deadzone) / (1.0 - deadzone), value))
    return found


# -- the deadman -----------------------------------------------------------------------
@dataclass
class Deadman:
    """That of one topic.

    Attributes:
        by_messages: its messages are the deadman: silence lets go, as a button that is released.
        ready: it was seen let go, so that it may be pressed.
        refused: it is to be let go for all to see: a short silence is not enough.
        held: its newest message says so, or is one that does.
        heard: when its newest message came, steady ns.
    """

    by_messages: bool
    ready: bool = field(init=False)
    refused: bool = False
    held: bool = False
    heard: int = 0

    def __post_init__(self) -> None:
        self.ready = self.by_messages


class Stick:
    """Which topic drives, and the number of its press.

    Args:
        topics: topic -> whether its messages are the deadman; else it has a button.
        number: the last press's; a respawned process must not begin below it.
        timeout: silence after which the deadman counts as let go, ns.
    """

    def __init__(self, topics: Mapping[str, bool], number: int, timeout: int) -> None:
        self.topic = ""  # that drives; empty: none does
        self.number = number
        self._timeout = timeout
        self._deadmen = {topic: Deadman(by_messages) for topic, by_messages in topics.items()}

    @property
    def press(self) -> int:
        """The number of the press that goes on; 0: the deadman is let go."""
        return self.number if self.topic else 0

    @property
    def held(self) -> bool:
        """Whether any deadman is held, also one that drives nothing."""
        return any(deadman.held for deadman in self._deadmen.values())

    def holds(self, topic: str) -> bool:
        """Whether this topic's deadman is held in vain, while no other one drives."""
        return self._deadmen[topic].held and not self.topic

    def begin(self, now: int) -> None:
        """The node is active from now on: what was held before is to be let go first."""
        self.refuse()
        for deadman in self._deadmen.values():
            deadman.refused = False
            deadman.held = False
            deadman.heard = now

    def note(self, topic: str, held: bool, now: int) -> bool:
        """A message came; whether it begins a press.

        Raises ValueError where another topic drives: neither does, until both were let go.
        """
        deadman = self._deadmen[topic]
        deadman.heard = now
        deadman.held = held
        if not held:
            deadman.ready = True
            deadman.refused = False
            if topic == self.topic:
                self.topic = ""
            return False
        if self.topic == topic or not deadman.ready:
            return False
        if self.topic:
            other = self.topic
            self.refuse()
            raise ValueError(f"{other} and {topic} both want the robot; let both go, and press one")
        self.topic = topic
        self.number += 1
        deadman.ready = False
        return True

    def look(self, now: int) -> bool:
        """Whether a press ended now: nothing was heard for too long."""
        ended = False
        for topic, deadman in self._deadmen.items():
            silence = now - deadman.heard
            if silence <= self._timeout:
                continue
            deadman.held = False
            # A button that was held when its stick fell silent is to be seen let go first.
            waits = deadman.refused and silence <= LET_GO_SILENCE_NS
            deadman.ready = deadman.by_messages and not waits
            if topic == self.topic:
                self.topic = ""
                ended = True
        return ended

    def refuse(self) -> None:
        """No press goes on, and none begins before its deadman was let go."""
        self.topic = ""
        for deadman in self._deadmen.values():
            deadman.ready = False
            deadman.refused = True


# -- rows ------------------------------------------------------------------------------
class Jog:
    """Makes rows of speeds and positions: complete for each output that they touch.

    A position moves on from where it was sent, or else from where it is measured, at each press.
    """

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._channels = {channel.name: channel for channel in robot.channels}
        self.sent: dict[str, float] = {}  # channel -> what the gate sent last
        self.measured: dict[str, float] = {}  # channel -> where it stands
        self._targets: dict[str, float] = {}

    def begin(self) -> None:
        """A press begins: from where the robot is."""
        self._targets.clear()

    def row(
        self, speeds: Mapping[str, float], positions: Mapping[str, float], elapsed: int
    ) -> dict[str, float]:
        """Channel -> value.

        Args:
            speeds: of velocities what is asked, of positions how fast they are to move. A name that
                the robot does not have is handed on: the gate says so.
            positions: where positions are to be.
            elapsed: since the message before, ns.

        Raises:
            ValueError: where a position stands is not known.
        """
        asked: dict[str, float] = {**positions}
        step_s = min(max(elapsed / 1e9, 0.0), LONGEST_STEP_S)
        jogged: dict[str, float] = {}
        for name, speed in speeds.items():
            channel = self._channels.get(name)
            if channel is None or channel.is_velocity:
                asked[name] = speed
            elif name not in asked:
                jogged[name] = speed
        # Positions that nobody moves are not named, so that they stay, unless nothing else is.
        for name, speed in jogged.items():
            if speed != 0.0 or name in self._targets or not asked:
                asked[name] = self._moved(self._channels[name], speed * step_s)
        for output in self._robot.outputs:
            if not set(output.channels) & set(asked):
                continue
            for name in output.channels:
                channel = self._channels[name]
                if name not in asked:
                    asked[name] = 0.0 if channel.is_velocity else self._moved(channel, 0.0)
        return asked

    def _moved(self, channel: Channel, step: float) -> float:
        """Where a position is to be, a step further than before."""
        name = channel.name
        sent = self.sent.get(name, self.measured.get(name, channel.start))
        if sent is None:
            raise ValueError(f"where {name} stands is not known; is it measured?")
        before = self._targets.get(name, sent)
        target = before + step
        if not math.isfinite(target):
            return target  # the gate refuses it, and it is not what the next one starts from
        if step:
            lead = channel.max_speed * LEAD_S
            target = min(max(target, sent - lead), sent + lead)
            # From outside it may come back, and not jump there.
            low = min(channel.limits[0], before)
            high = max(channel.limits[1], before)
            target = min(max(target, low), high)
        self._targets[name] = target
        return target
