"""The gate: fifty times a second, what may the robot do now?

DISARMED -> (arm) -> HOLDING <-> ACTIVE; any -> STOPPED by a latched cause; STOPPED -> (reset, refused
while the cause lasts) -> DISARMED. Nothing here arms by itself. No ROS and no clock: times are passed in.
"""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from vla_ros.core.chunks import row_at
from vla_ros.core.robot import Channel, Robot
from vla_ros.core.types import ActionChunk, Command, to_seconds
from vla_ros.safety.rules import (
    NEEDS,
    RULES,
    Finding,
    Row,
    Settings,
    Situation,
    Verdict,
    approach,
    order,
    shape,
    sources,
)


class State(IntEnum):
    """SafetyReport.state."""

    DISARMED = 0
    HOLDING = 1
    ACTIVE = 2
    STOPPED = 3


@dataclass
class Inputs:
    """What arrived, newest only. `seen`: source -> steady time (ns). `measured`: channel -> (value, steady time)."""

    chunk: ActionChunk | None = None
    command: Command | None = None
    measured: dict[str, tuple[float, int]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    stop_pressed: bool = False


@dataclass(frozen=True)
class Report:
    """What the gate did and why. `requested` and `emitted` are in the robot's channel order; NaN: nothing."""

    state: State
    verdict: Verdict
    rule: str
    reason: str
    generation: int
    sequence: int
    requested: Row
    emitted: Row
    age: int


Action = Mapping[str, float]  # channel -> value; a channel that is not in it is not commanded


class Gate:
    """`step` is the one question; `arm`, `disarm`, `reset` and `latch` are the ways to change the state."""

    def __init__(self, robot: Robot, settings: Settings) -> None:
        self.robot = robot
        self.settings = settings
        self.state = State.DISARMED
        self.cause = ""
        self.counters: Counter[str] = Counter()
        self._chunk: ActionChunk | None = None
        self._offered: ActionChunk | None = None
        self._admitted = (0, 0)  # steady time, age then
        self._armed_generation = 0
        self._last: dict[str, float] = {}  # what was emitted
        self._held: dict[str, float] = {}  # where positions stand while nothing moves them
        self._then: tuple[int, int] | None = None  # steady and stamp of the step before

    def arm(self, now_steady: int, inputs: Inputs) -> tuple[bool, str]:
        """Allowed, with a sentence. Only an instruction newer than this one moves the robot."""
        if self.state is State.STOPPED:
            return False, f"stopped: {self.cause}; reset first"
        if self.state is not State.DISARMED:
            return True, "already armed"
        if inputs.stop_pressed:
            return False, "the stop is pressed; release it first"
        finding = self._ask(sources, self._situation(now_steady, 0, inputs))
        if finding:
            return False, finding.reason
        if inputs.command is None:  # one from before the arming may still be on its way
            return False, "nothing was heard from command_ingest yet"
        self._armed_generation = inputs.command.generation
        self.state = State.HOLDING
        return True, "armed; give an instruction"

    def disarm(self) -> tuple[bool, str]:
        if self.state is State.STOPPED:
            return False, f"stopped: {self.cause}; reset first"
        self.state = State.DISARMED
        return True, "disarmed"

    def reset(self, inputs: Inputs) -> tuple[bool, str]:
        """Ends DISARMED. Refused while the stop is pressed."""
        if self.state is not State.STOPPED:
            return False, f"nothing to reset: the gate is {self.state.name}"
        if inputs.stop_pressed:
            return False, "the stop is still pressed; release it first"
        self.state, self.cause = State.DISARMED, ""
        return True, "reset; arm when ready"

    def latch(self, cause: str) -> None:
        """STOPPED until a reset, with the first cause kept."""
        if self.state is not State.STOPPED:
            self.state, self.cause = State.STOPPED, cause

    def step(self, now_steady: int, now_stamp: int, inputs: Inputs) -> tuple[Action, Report]:
        """What the robot may do at this moment. An exception in a rule is a stop, latched."""
        elapsed = min(now_steady - self._then[0], 2 * self.settings.period) if self._then else 0
        finding, requested = None, None
        try:
            self._admit(now_steady, now_stamp, inputs)
            self._watch_clock(now_steady, now_stamp)
            if inputs.stop_pressed:
                self.latch("the stop is pressed")
            if self.state in (State.HOLDING, State.ACTIVE):
                finding, requested, row, channels = self._judge(now_steady, now_stamp, inputs, elapsed)
            if finding and finding.verdict is Verdict.STOPPED:
                self.latch(finding.reason)
        except Exception as error:  # whatever it is, it must not become motion
            self.latch(f"the gate failed: {type(error).__name__}: {error}")
        if self.state is State.STOPPED:
            rule = finding.rule if finding and finding.verdict is Verdict.STOPPED else "stop"
            finding = Finding(rule, Verdict.STOPPED, self.cause)
        elif self.state is State.DISARMED:
            finding = Finding("disarmed", Verdict.HELD, "the gate is disarmed; arm it")
        if finding is None or finding.verdict is Verdict.LIMITED:
            self.state = State.ACTIVE
            self._held = {}
            action = self._keep({channel.name: value for channel, value in zip(channels, row)})
        else:
            if self.state is State.ACTIVE:
                self.state = State.HOLDING
            action = self._hold(finding.verdict, now_steady, inputs, elapsed)
        action = self._only_finite(action)
        self._last = dict(action)
        return action, self._report(finding, requested, action, now_steady, now_stamp)

    def _watch_clock(self, now_steady: int, now_stamp: int) -> None:
        then, self._then = self._then, (now_steady, now_stamp)
        if then is None:
            return
        pause = now_steady - then[0]
        if pause > self.settings.clock_jump:
            self.latch(f"the gate itself stood still for {to_seconds(pause):.2f} s")
        jump = (now_stamp - then[1]) - (now_steady - then[0])
        if abs(jump) > self.settings.clock_jump:
            self._chunk = None
            self.latch(f"the ROS clock jumped by {to_seconds(jump):+.2f} s")

    def _admit(self, now_steady: int, now_stamp: int, inputs: Inputs) -> None:
        """Takes a newly arrived chunk, once, unless it is late."""
        chunk = inputs.chunk
        if chunk is None or chunk is self._offered:
            return
        self._offered = chunk
        late = order(chunk=chunk, previous=self._chunk, command=inputs.command)
        if late:
            self.counters[late.rule] += 1
            return
        repeated = self._chunk is not None and chunk.stamp == self._chunk.stamp
        self._chunk = chunk
        if not repeated:  # the same picture again is no younger for it, whatever the ROS clock says
            self._admitted = (now_steady, now_stamp - chunk.stamp)

    def _age(self, now_steady: int, now_stamp: int) -> int:
        """Of the picture behind the action: the larger by the ROS clock and by the steady one."""
        if self._chunk is None:
            return 0
        by_stamp = now_stamp - self._chunk.stamp
        return max(by_stamp, self._admitted[1] + now_steady - self._admitted[0])

    def _situation(self, now_steady: int, age: int, inputs: Inputs) -> Situation:
        silence = {name: now_steady - inputs.seen[name] if name in inputs.seen else None
                   for name in self.settings.sources}
        return Situation(self.robot, (), self.settings, self._chunk, inputs.command,
                         self._armed_generation, age, silence, (), (), 0)

    def _ask(self, rule: object, situation: Situation) -> Finding | None:
        finding: Finding | None = rule(**{name: getattr(situation, name) for name in NEEDS[rule]})  # type: ignore
        if finding:
            self.counters[finding.rule] += 1
        return finding

    def _judge(self, now_steady: int, now_stamp: int, inputs: Inputs,
               elapsed: int) -> tuple[Finding | None, dict[str, float] | None, Row, tuple[Channel, ...]]:
        """The rules in their order: the finding that decides, what was requested, and the row that is left."""
        situation = self._situation(now_steady, self._age(now_steady, now_stamp), inputs)
        situation.elapsed = elapsed
        decided: Finding | None = None
        requested: dict[str, float] | None = None
        for rule in RULES:
            finding = self._ask(rule, situation)
            if finding and finding.verdict is not Verdict.LIMITED:
                return finding, requested, (), ()
            if finding and finding.row is not None:
                situation.row = finding.row
                decided = decided or finding
            if rule is shape:
                requested = self._take_row(situation, now_steady, now_stamp, inputs)
        return decided, requested, situation.row, tuple(situation.channels)

    def _take_row(self, situation: Situation, now_steady: int, now_stamp: int, inputs: Inputs) -> dict[str, float]:
        assert self._chunk is not None
        values = self._chunk.values[row_at(self._chunk, now_stamp)].tolist()
        requested = dict(zip(self._chunk.channels, values))
        situation.channels = tuple(channel for channel in self.robot.channels
                                   if channel.name in requested or channel.stop == "zero")
        situation.row = tuple(requested.get(channel.name, 0.0) for channel in situation.channels)
        situation.last = tuple(self._last.get(channel.name, self._rest(channel, now_steady, inputs))
                               for channel in situation.channels)
        return requested

    def _rest(self, channel: Channel, now_steady: int, inputs: Inputs) -> float | None:
        """Where a channel stands that was not commanded yet: measured lately, or unknown."""
        if channel.stop == "zero":
            return 0.0
        value, when = inputs.measured.get(channel.name, (math.nan, 0))
        return value if math.isfinite(value) and now_steady - when <= self.settings.measured_age else None

    def _keep(self, action: dict[str, float]) -> Action:
        """Positions that this action does not name stay where they were put."""
        return {channel.name: action.get(channel.name, self._last.get(channel.name, 0.0))
                for channel in self.robot.channels if channel.name in action or channel.name in self._last}

    def _hold(self, verdict: Verdict, now_steady: int, inputs: Inputs, elapsed: int) -> Action:
        """Velocities go to zero, through the brake when HELD and at once when STOPPED; positions stay.

        Disarmed, positions are nobody's business: they are not commanded, and what they were is forgotten.
        """
        action: dict[str, float] = {}
        disarmed = self.state is State.DISARMED
        for channel in self.robot.channels:
            last = self._last.get(channel.name)
            if channel.stop == "zero":
                at_once = disarmed or verdict is Verdict.STOPPED
                action[channel.name] = 0.0 if at_once else approach(last or 0.0, 0.0, channel, elapsed)
            elif last is not None and not disarmed:
                target = self._held.setdefault(channel.name, self._stand(channel, last, now_steady, inputs))
                action[channel.name] = approach(last, target, channel, elapsed)
        if disarmed:
            self._held = {}
        return action

    def _stand(self, channel: Channel, last: float, now_steady: int, inputs: Inputs) -> float:
        """Where a position is to stay: as measured lately and within its limits, or as commanded."""
        measured = self._rest(channel, now_steady, inputs) if channel.stop == "hold" else None
        inside = measured is not None and channel.limits[0] <= measured <= channel.limits[1]
        return measured if measured is not None and inside else last

    def _only_finite(self, action: Action) -> Action:
        """The last line: whatever went wrong above, nothing non-finite leaves, and the gate stops."""
        if all(map(math.isfinite, action.values())):
            return action
        self.latch("the gate made a value that is not finite")
        zero = {channel.name for channel in self.robot.channels if channel.stop == "zero"}
        return {name: 0.0 if name in zero else value for name, value in action.items()
                if name in zero or math.isfinite(value)}

    def _report(self, finding: Finding | None, requested: Mapping[str, float] | None, action: Action,
                now_steady: int, now_stamp: int) -> Report:
        nan = float("nan")
        names = [channel.name for channel in self.robot.channels]
        return Report(
            self.state, finding.verdict if finding else Verdict.PASSED, finding.rule if finding else "",
            finding.reason if finding else "", self._chunk.generation if self._chunk else 0,
            self._chunk.sequence if self._chunk else 0,
            tuple((requested or {}).get(name, nan) for name in names),
            tuple(action.get(name, nan) for name in names), self._age(now_steady, now_stamp))
