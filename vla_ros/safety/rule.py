"""What a rule of the gate is: what it may look at, what it may say, and what it declares.

A rule is a function of `RuleInputs` in a file of its own under `rules/`, decorated with `rule`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from numbers import Real
from typing import Any, Generic, NamedTuple, TypeVar

from vla_ros.core.robot import Robot
from vla_ros.core.robot_channels import Channel
from vla_ros.core.types import POLICY, ActionChunk, Instruction, to_seconds
from vla_ros.safety.obstacles import Array, Reading
from vla_ros.safety.settings import MAX_FUTURE, Limit, Settings
from vla_ros.safety.tool import Tool


class Verdict(IntEnum):
    """SafetyReport.verdict. HELD stops through the deceleration limit, STOPPED at once."""

    PASSED = 0
    LIMITED = 1
    HELD = 2
    STOPPED = 3


Row = tuple[float, ...]  # a value for each of the robot's channels, in their order and units


@dataclass(frozen=True)
class Finding:
    """What a rule has to say: its name, what it does, and why, as a sentence with the values."""

    rule: str
    verdict: Verdict
    reason: str
    row: Row | None = None  # LIMITED: what the row becomes


def held(rule: str, reason: str) -> Finding:
    """A finding that holds."""
    return Finding(rule, Verdict.HELD, reason)


# -- what a rule listens to ------------------------------------------------------------
Value = TypeVar("Value", bound="float | tuple[float, ...]")


@dataclass(frozen=True, eq=False)
class Source(Generic[Value]):
    """A topic that a rule listens to.

    While nothing was heard since the node became active, while the newest message is older than
    `timeout`, and while its value is not finite, the rule that declares it holds, and its function
    is not called.

    Attributes:
        topic: its name, as "/imu/data".
        type: its message type, as "sensor_msgs/msg/Imu".
        convert: makes a number, or a tuple of numbers, of a message. ValueError: it says nothing.
        timeout: the longest silence. A message with a header is as old as its stamp, too.
    """

    topic: str
    type: str
    convert: Callable[[Any], Value]
    timeout: Limit

    def __post_init__(self) -> None:
        # `Settings.ns` takes seconds: a timeout in ms would be a thousand times too long.
        if self.timeout.unit != "s":
            raise ValueError(
                f"the timeout of {self.topic}, '{self.timeout.name}', is in "
                f"'{self.timeout.unit}'; give it in s"
            )


@dataclass(frozen=True)
class Heard:
    """The newest message of a source.

    Attributes:
        value: what it says; None where it says nothing.
        arrived: steady clock, ns.
        stamp: ROS time, ns; None: it has no header.
        fault: why it says nothing.
    """

    value: object
    arrived: int
    stamp: int | None = None
    fault: str = ""


def is_finite(value: object) -> bool:
    """Whether `value` is a number, or a tuple of at least one, and all of it finite."""
    # An empty tuple is looked at as a value of its own, and is no number.
    numbers = value if isinstance(value, tuple) and value else (value,)
    return all(isinstance(number, Real) and math.isfinite(number) for number in numbers)


# -- what a rule may look at -----------------------------------------------------------
@dataclass(frozen=True)
class Behind:
    """A position away from where it was sent: for how long (ns), where, and where it was sent."""

    time: int
    stands: float
    sent: float


class Arming(NamedTuple):
    """The newest instruction's number, and the ROS time (ns), when the gate was armed."""

    instruction_id: int
    stamp: int


class Spent(NamedTuple):
    """The last instruction that a person has to give again (0: none), and why."""

    instruction_id: int
    why: str


class RangeReading(NamedTuple):
    """A range sensor's newest reading, and its age (ns) by the steady and by the ROS clock."""

    reading: Reading
    arrival_age: int
    stamp_age: int


@dataclass
class RuleInputs:
    """All that a rule may look at in one tick. Times are ns before now.

    Attributes:
        now: the steady clock, ns.
        stamp: the ROS clock, ns.
        chunk: the newest action that is not late; None: there is none.
        instruction: the newest instruction; None: none was heard.
        newest_instruction_id: the largest number of an instruction since the arming.
        observation_age: of the image behind the action, by the clock that says more.
        silence: for each of the settings' sources, how long it has been silent; None: ever.
        other_publishers: who else publishes robot commands.
        missing_listeners: outputs that nobody listens to, each as a sentence.
        chunk_sources: the processes that have lately sent actions.
        messages: the newest message of each declared source; `value` gives what it says.
        readings: a range sensor's topic -> its newest reading.
        points: gives all that range sensors saw lately, N x 2, in the base frame, m.
        was_blocked: whether `obstacle` held the tick before.
        was_at_edge: whether `workspace` held when it was asked last.
        behind: channel -> how it is too far from where it was sent.
        ended: since the last row of the chunk was over; negative while it holds.
        repeated: for how long every action has been the same.
        clamped: for how long `limits` has clamped without a break; a gripper's ends aside.
        discontinuity: why the newest chunk does not go on from the one before; empty: it does.
        elapsed: since the tick before, at most two periods.
        pause: the same, whatever it was.
        channels: those that this action moves, and all velocities, in the order of `row`.
        row: what is asked of them, in their units; empty until `chunk_shape` has passed.
        last: what each was sent last, or else is measured at; None: unknown.
        measured: where each position stands; None: unknown.
        stands: the same of all of the robot's positions, whatever this action moves.
        sent: what each channel was sent last; one that was sent nothing is not in it.
        enabled: how much of its rates the robot has, from 0 at the first motion of an arming to 1.
        tool: of a robot that has a workspace.
        control_source: who has the robot. Where it is a person, `chunk` is the stick's newest row,
            and `observation_age` and `repeated` are of that.
        teleop_sources: the processes that have lately sent a stick's rows.
        stick_doubt: why the stick moves nothing, as a sentence; empty: it may.
    """

    now: int
    stamp: int
    robot: Robot
    settings: Settings
    chunk: ActionChunk | None
    instruction: Instruction | None
    armed: Arming
    newest_instruction_id: int
    spent: Spent
    observation_age: int
    instruction_age: int
    silence: Mapping[str, int | None]
    other_publishers: Sequence[str]
    missing_listeners: Sequence[str]
    chunk_sources: Sequence[str]
    messages: Mapping[Source[Any], Heard]
    clock_still: int
    readings: Mapping[str, RangeReading]
    points: Callable[[], Array]
    was_blocked: bool
    behind: Mapping[str, Behind]
    ended: int
    repeated: int
    clamped: int
    discontinuity: str
    elapsed: int
    pause: int
    channels: Sequence[Channel] = ()
    row: Row = ()
    last: Sequence[float | None] = ()
    measured: Sequence[float | None] = ()
    stands: Mapping[str, float | None] = field(default_factory=dict)
    sent: Mapping[str, float] = field(default_factory=dict)
    enabled: float = 1.0
    was_at_edge: bool = False
    tool: Tool | None = None
    control_source: str = POLICY
    teleop_sources: Sequence[str] = ()
    stick_doubt: str = ""

    def doubt(self, source: Source[Any]) -> str:
        """Why what `source` says does not count now, as a sentence; empty: it counts."""
        heard = self.messages.get(source)
        if heard is None:
            return f"nothing was heard from {source.topic} yet"
        # By its arrival and by its stamp, where it has one: the older counts.
        arrival_age = self.now - heard.arrived
        stamp_age = arrival_age if heard.stamp is None else self.stamp - heard.stamp
        age = max(arrival_age, stamp_age)
        if not age <= self.settings.ns(source.timeout):
            return (
                f"what {source.topic} says is {to_seconds(age):.2f} s old; "
                f"at most {self.settings[source.timeout]:g} s"
            )
        if stamp_age < -self.settings.ns(MAX_FUTURE):
            return f"what {source.topic} says is {to_seconds(-stamp_age):.2f} s in the future"
        if heard.fault:
            return f"{source.topic} says nothing: {heard.fault}"
        if not is_finite(heard.value):
            return f"{source.topic} says {heard.value}; it must be a finite number"
        return ""

    def asks_velocity(self) -> bool:
        """Whether the row has a velocity that is not zero; a position may be asked for long."""
        for value, channel in zip(self.row, self.channels):
            if channel.is_velocity and value != 0.0:
                return True
        return False

    def value(self, source: Source[Value]) -> Value:
        """What `source` says now.

        Raises:
            LookupError: it does not count. The gate stops: the rule did not declare it.
        """
        if doubt := self.doubt(source):
            raise LookupError(doubt)
        value: Any = self.messages[source].value
        return value


# -- what a rule declares --------------------------------------------------------------
Check = Callable[[RuleInputs], Finding | None]


@dataclass(frozen=True, eq=False)
class Rule:
    """A check with its declaration: parameters, subscriptions and documentation follow from it.

    Attributes:
        name: the check's own, and that of its file: reports and counters show it.
        check: what is asked at each tick.
        holds_when, goes_on_when, set_by: its row in the documentation; the defaults of
            `parameters` and of its sources' timeouts stand there without being named in `set_by`.
        parameters: the limits that it declares. Another rule may use them.
        sources: the topics that it listens to; where one of them is in doubt, it holds.
        arming: whether it is asked when the gate is to be armed. There is no action then.
        policy_fault: whether what it finds is the policy's fault, and reported as one.
        asked_of: whose rows it is about, POLICY or TELEOP; empty: whoever has the robot.
    """

    name: str
    check: Check
    holds_when: str
    goes_on_when: str
    set_by: str
    parameters: tuple[Limit, ...]
    sources: tuple[Source[Any], ...]
    arming: bool
    policy_fault: bool
    asked_of: str
    limits: tuple[Limit, ...] = field(init=False)  # with the timeouts of its sources

    def __post_init__(self) -> None:
        timeouts = [source.timeout for source in self.sources]
        # Each once, in this order: two sources may share a timeout, or name a parameter as one.
        own = tuple(dict.fromkeys((*self.parameters, *timeouts)))
        object.__setattr__(self, "limits", own)  # the class is frozen

    def __call__(self, inputs: RuleInputs) -> Finding | None:
        """What the rule finds; nothing, where all is well. Doubt about a source holds."""
        for source in self.sources:
            if doubt := inputs.doubt(source):
                return held(self.name, doubt)
        return self.check(inputs)


def rule(
    *,
    holds_when: str,
    goes_on_when: str = "",
    set_by: str = "",
    parameters: tuple[Limit, ...] = (),
    sources: tuple[Source[Any], ...] = (),
    arming: bool = False,
    policy_fault: bool = False,
    asked_of: str = "",
) -> Callable[[Check], Rule]:
    """Makes a rule of the function below it, which has its name; `Rule` says what each is."""

    def declare(check: Check) -> Rule:
        return Rule(
            check.__name__,
            check,
            holds_when,
            goes_on_when,
            set_by,
            parameters,
            sources,
            arming,
            policy_fault,
            asked_of,
        )

    return declare
