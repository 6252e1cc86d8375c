"""The gate: fifty times a second, what may the robot do now?

DISARMED -> (arm) -> HOLDING <-> ACTIVE; any -> STOPPED by a latched cause; STOPPED -> (reset, refused
while the cause lasts) -> DISARMED. Nothing here arms by itself. No ROS and no clock: times are passed in.
"""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from vla_ros.core.chunks import row_at
from vla_ros.core.robot import FLOOR_CHANNELS, Channel, Robot
from vla_ros.core.types import ActionChunk, Command
from vla_ros.safety.changes import loosened
from vla_ros.safety.memory import Clocks, Intake
from vla_ros.safety.obstacle_memory import ObstacleMemory
from vla_ros.safety.obstacles import Reading
from vla_ros.safety.positions import Positions, Stay
from vla_ros.safety.rules import NEEDS, RULES, TO_ARM, limits, obstacle, order, shape, towards, unwound
from vla_ros.safety.situation import Behind, Finding, Row, Settings, Situation, Verdict


class State(IntEnum):
    """SafetyReport.state."""

    DISARMED = 0
    HOLDING = 1
    ACTIVE = 2
    STOPPED = 3


@dataclass
class Inputs:
    """What arrived, newest only. Times are steady (ns).

    `seen`: source -> time. `measured`: channel -> (value, time). `readings`: a range sensor's topic ->
    (reading, time). `rivals`: who else publishes robot commands. `unheard`: outputs that nobody listens to, each as a
    sentence. `chunk_sources`: the processes that have lately sent actions. `halt`: why the supervisor stops the robot.
    """

    chunk: ActionChunk | None = None
    command: Command | None = None
    measured: dict[str, tuple[float, int]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    readings: dict[str, tuple[Reading, int]] = field(default_factory=dict)
    rivals: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()
    chunk_sources: tuple[str, ...] = ()
    stop_pressed: bool = False
    halt: str = ""

    def cause(self) -> str:
        """Why the robot must stand still now, whatever the policy wants."""
        if self.stop_pressed:
            return "the stop is pressed"
        return f"the supervisor stops the robot: {self.halt}" if self.halt else ""

    def remedy(self) -> str:
        return f"{self.cause()}; {'release it' if self.stop_pressed else 'mend that'} first"


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


CLOCK_JUMPED = "the ROS clock jumped just now; try again in a second"
Action = Mapping[str, float]  # channel -> value; a channel that is not in it is not commanded


class Gate:
    """`step` is the one question; `arm`, `disarm`, `reset` and `latch` are the ways to change the state."""

    def __init__(self, robot: Robot, settings: Settings) -> None:
        self.robot = robot
        self.settings = settings
        self.state = State.DISARMED
        self.cause = ""
        self.counters: Counter[str] = Counter({rule.__name__: 0 for rule in (order, *RULES)})
        self._clocks = Clocks()
        self._intake = Intake()
        self._armed = (0, 0)  # the generation and the ROS time then
        self._spent = (0, "")  # the last instruction that a person has to give again, and why
        self._last: dict[str, float] = {}  # what was emitted
        self._stay: dict[str, Stay] = {}  # where positions are to stay while no action moves them
        self._positions = Positions()
        self._behind: dict[str, Behind] = {}  # channel -> how it is too far from what was sent; since when, steady
        self._obstacles = ObstacleMemory()
        self._over_since: int | None = None  # steady time from which `limits` has clamped
        self._blocked = False

    def change(self, robot: Robot, settings: Settings) -> None:
        """Other limits, as a whole and at once. Raises ValueError where one is looser and the gate is armed."""
        looser = loosened(self.robot, self.settings, robot, settings)
        if looser and self.state in (State.HOLDING, State.ACTIVE):
            raise ValueError(f"{looser} is looser than now; disarm first")
        self.robot, self.settings = robot, settings

    def arm(self, now_steady: int, now_stamp: int, inputs: Inputs) -> tuple[bool, str]:
        """Allowed, with a sentence. Only an instruction newer than this one moves the robot."""
        if self.state is State.STOPPED:
            return False, f"stopped: {self.cause}; reset first"
        if self.state is not State.DISARMED:
            return True, "already armed"
        if inputs.cause():
            return False, inputs.remedy()
        situation = self._situation(now_steady, now_stamp, inputs)
        for rule in TO_ARM:
            finding = self._ask(rule, situation)
            if finding:
                return False, finding.reason
        if not self._clocks.settled(now_steady):
            return False, CLOCK_JUMPED
        if inputs.command is None:  # one from before the arming may still be on its way
            return False, "nothing was heard from command_ingest yet"
        self._armed, self._spent = (inputs.command.generation, now_stamp), (0, "")
        self._intake.forget()
        self._intake.newest_generation = inputs.command.generation
        self.state = State.HOLDING
        return True, "armed; give an instruction"

    def disarm(self) -> tuple[bool, str]:
        if self.state is State.STOPPED:
            return False, f"stopped: {self.cause}; reset first"
        self.state = State.DISARMED
        return True, "disarmed"

    def reset(self, now_steady: int, inputs: Inputs) -> tuple[bool, str]:
        """Ends DISARMED. Refused while the cause lasts."""
        if self.state is not State.STOPPED:
            return False, f"nothing to reset: the gate is {self.state.name}"
        if inputs.cause():
            return False, inputs.remedy()
        if not self._clocks.settled(now_steady):
            return False, CLOCK_JUMPED
        self.state, self.cause = State.DISARMED, ""
        return True, "reset; arm when ready"

    def latch(self, cause: str) -> None:
        """STOPPED until a reset, with the first cause kept."""
        if self.state is not State.STOPPED:
            self.state, self.cause = State.STOPPED, cause
            self._stay = {}

    def step(self, now_steady: int, now_stamp: int, inputs: Inputs) -> tuple[Action, Report]:
        """What the robot may do at this moment. An exception in a rule is a stop, latched."""
        elapsed, pause, finding, requested = 0, 0, None, None
        armed = self.state in (State.HOLDING, State.ACTIVE)
        try:
            pause, trouble = self._clocks.look(now_steady, now_stamp, self.settings)
            elapsed = min(pause, 2 * self.settings.period)
            trouble = self._look_around(now_steady, now_stamp, pause, inputs) or trouble
            late = self._intake.take(inputs.chunk, inputs.command, now_steady, now_stamp, self.robot, self.settings)
            if late:
                self.counters[late.rule] += 1
            cause = inputs.cause() or (trouble if armed else "")
            if cause:
                self.latch(cause)
            if self.state in (State.HOLDING, State.ACTIVE):
                finding, requested, row, channels = self._judge(now_steady, now_stamp, inputs, elapsed, pause)
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
            wanted = {channel.name: value for channel, value in zip(channels, row)}
            action = self._act(wanted, now_steady, elapsed, pause)
        else:
            if self.state is State.ACTIVE:
                self.state = State.HOLDING
            if finding.rule == "tracking" and inputs.command:
                self._spend(inputs.command.generation, finding.reason)
            action = self._hold(finding.verdict, now_steady, elapsed, pause)
        safe = self._last_look(action)
        if safe is not action:
            action, finding = safe, Finding("stop", Verdict.STOPPED, self.cause)
        self._last = dict(action)
        return action, self._report(finding, requested, action, now_steady, now_stamp)

    def _look_around(self, now_steady: int, now_stamp: int, pause: int, inputs: Inputs) -> str:
        """Takes what was seen and measured since the step before; a sentence where it stops an armed robot."""
        if self.robot.obstacles is not None:
            vx, vy, wz = (self._last.get(name, 0.0) for name in FLOOR_CHANNELS)
            self._obstacles.move((vx, vy, wz), pause)
            self._obstacles.see(inputs.readings, self.robot, now_steady, now_stamp)
        jumped = self._positions.look(self.robot, inputs.measured, self._last, self.settings.measured_age)
        moving = [name for name in jumped if self.robot.channel(name).stop == "hold" and name in self._last]
        for name in moving:  # where it would go from here nobody knows: it is sent nothing more
            del self._last[name]
        for channel in self.robot.channels:
            stands, sent = self._stands(channel, now_steady), self._last.get(channel.name)
            if stands is not None and sent is not None and abs(stands - sent) > channel.max_tracking_error:
                since = self._behind[channel.name].time if channel.name in self._behind else now_steady
                self._behind[channel.name] = Behind(since, stands, sent)
            else:
                self._behind.pop(channel.name, None)
        heard = {**{topic: arrived for topic, (_, arrived) in inputs.readings.items()}, **inputs.seen}
        lost = [f"{name} was lost" for name, limit in self.settings.lost.items()
                if name in heard and now_steady - heard[name] > limit]
        gone = [*lost, *inputs.unheard]
        if gone and inputs.command:
            self._spend(inputs.command.generation, gone[0])
        return jumped[moving[0]] if moving else ""

    def _spend(self, generation: int, why: str) -> None:
        """What was said until now no longer moves the robot: a person looks, and speaks again."""
        if generation > self._spent[0]:
            self._spent = generation, why

    def _situation(self, now_steady: int, now_stamp: int, inputs: Inputs) -> Situation:
        intake = self._intake
        return Situation(
            robot=self.robot, settings=self.settings, chunk=intake.chunk, command=inputs.command,
            armed=self._armed, newest_generation=intake.newest_generation, age=intake.age(now_steady, now_stamp),
            silence={name: now_steady - inputs.seen[name] if name in inputs.seen else None
                     for name in self.settings.sources},
            rivals=inputs.rivals, unheard=inputs.unheard, chunk_sources=inputs.chunk_sources,
            clock_still=self._clocks.still(now_steady),
            instruction_age=intake.instruction_age(inputs.command, now_steady, now_stamp),
            readings={topic: (reading, now_steady - arrived, now_stamp - reading.stamp)
                      for topic, (reading, arrived) in inputs.readings.items()},
            points=self._obstacles.points, was_blocked=self._blocked, spent=self._spent,
            behind={name: replace(late, time=now_steady - late.time) for name, late in self._behind.items()},
            ended=intake.ended(now_stamp), repeated=intake.repeated(now_steady), seam=intake.seam(now_steady),
            over_limit=now_steady - self._over_since if self._over_since is not None else 0)

    def _ask(self, rule: object, situation: Situation) -> Finding | None:
        finding: Finding | None = rule(**{name: getattr(situation, name) for name in NEEDS[rule]})  # type: ignore
        if finding:
            self.counters[finding.rule] += 1
        return finding

    def _judge(self, now_steady: int, now_stamp: int, inputs: Inputs, elapsed: int,
               pause: int) -> tuple[Finding | None, dict[str, float] | None, Row, tuple[Channel, ...]]:
        """The rules in their order: the finding that decides, what was requested, and the row that is left."""
        situation = self._situation(now_steady, now_stamp, inputs)
        situation.elapsed, situation.pause = elapsed, pause
        since, self._over_since = self._over_since, None
        decided: Finding | None = None
        requested: dict[str, float] | None = None
        for rule in RULES:
            finding = self._ask(rule, situation)
            if rule is obstacle:
                self._blocked = finding is not None and finding.verdict is Verdict.HELD
            elif rule is limits and finding:
                self._over_since = now_steady if since is None else since
            if finding and finding.verdict is not Verdict.LIMITED:
                return finding, requested, (), ()
            if finding and finding.row is not None:
                situation.row = finding.row
                decided = decided or finding
            if rule is shape:
                requested = self._take_row(situation, now_steady, now_stamp, inputs)
        return decided, requested, situation.row, tuple(situation.channels)

    def _take_row(self, situation: Situation, now_steady: int, now_stamp: int, inputs: Inputs) -> dict[str, float]:
        chunk = situation.chunk
        assert chunk is not None
        requested = dict(zip(chunk.channels, chunk.values[row_at(chunk, now_stamp)].tolist()))
        situation.channels = tuple(channel for channel in self.robot.channels
                                   if channel.name in requested or channel.stop == "zero")
        situation.measured = tuple(0.0 if channel.is_velocity else self._starts(channel, now_steady)
                                   for channel in situation.channels)
        situation.last = tuple(self._last.get(channel.name, channel.start if measured is None else measured)
                               for channel, measured in zip(situation.channels, situation.measured))
        for channel, last in zip(situation.channels, situation.last):
            if channel.turn and last is not None:  # the same place, by the shorter way
                requested[channel.name] = unwound(requested[channel.name], last, channel.turn)
        situation.row = tuple(requested.get(channel.name, 0.0) for channel in situation.channels)
        return requested

    def _starts(self, channel: Channel, now_steady: int) -> float | None:
        """Where a position stands; None also where its first action would start from a place in doubt."""
        if channel.name not in self._last and self._positions.in_doubt(channel):
            return None
        return self._stands(channel, now_steady)

    def _stands(self, channel: Channel, now_steady: int) -> float | None:
        """Where a position verifiably stands; None: that is unknown, or it is a velocity."""
        return None if channel.is_velocity else self._positions.stands(channel, now_steady, self.settings.measured_age)

    def _act(self, action: dict[str, float], now_steady: int, elapsed: int, pause: int) -> Action:
        """What passed; positions that this action does not name stay."""
        for channel in self.robot.channels:
            if channel.name in action:
                self._stay.pop(channel.name, None)
            else:
                action.update(self._remain(channel, Verdict.HELD, now_steady, elapsed, pause))
        return action

    def _hold(self, verdict: Verdict, now_steady: int, elapsed: int, pause: int) -> Action:
        """Velocities go to zero, through the brake when HELD and at once when STOPPED; positions stay.

        Disarmed, positions are nobody's business: they are not commanded, and what they were is forgotten.
        """
        action: dict[str, float] = {}
        disarmed = self.state is State.DISARMED
        if disarmed:
            self._stay = {}
        for channel in self.robot.channels:
            if channel.is_velocity:
                at_once = disarmed or verdict is Verdict.STOPPED
                last = self._last.get(channel.name, 0.0)
                action[channel.name] = 0.0 if at_once else towards(last, 0.0, channel, elapsed, pause)
            elif not disarmed:
                action.update(self._remain(channel, verdict, now_steady, elapsed, pause))
        return action

    def _remain(self, channel: Channel, verdict: Verdict, now_steady: int, elapsed: int, pause: int) -> Action:
        """A position that is to stay: nothing, where it was never sent or stands where it may not be sent to.

        Held, it stays where it was sent while it stands there: taking what is measured instead would move it by the
        drive's offset at each hold. Stopped, it stays where it is measured. Away from there by more than a drive lags
        behind (it was blocked, or moved by hand), what is sent follows at once: that asks for no motion.
        """
        last = self._last.get(channel.name)
        if last is None:
            return {}
        stands = self._stands(channel, now_steady) if channel.stop == "hold" else None
        at_first = stands if verdict is Verdict.STOPPED and stands is not None else last
        stay, limit = self._stay.setdefault(channel.name, Stay(at_first)), channel.max_tracking_error
        if stands is not None and stay.look(stands, now_steady, limit):
            low, high = min(channel.limits[0], last), max(channel.limits[1], last)
            stay.target = min(max(stands, low), high)
            return {channel.name: stay.target} if abs(stands - stay.target) <= limit else {}
        if stands is not None and abs(stands - last) > limit >= abs(stands - stay.target):
            return {channel.name: stay.target}
        return {channel.name: towards(last, stay.target, channel, elapsed, pause)}

    def _last_look(self, action: Action) -> Action:
        """Whatever went wrong above: nothing that is not finite or outside its bounds leaves, and the gate stops.

        What was emitted before may lie outside where the bounds were tightened meanwhile: it may only come inward.
        """
        channels = {channel.name: channel for channel in self.robot.channels}
        good = {name: value for name, value in action.items()  # NaN is outside
                if min(channels[name].bounds[0], self._last.get(name, math.inf)) <= value
                <= max(channels[name].bounds[1], self._last.get(name, -math.inf))}
        if len(good) == len(action):
            return action
        bad = next(name for name in action if name not in good)
        self.latch(f"the gate itself made {bad} {action[bad]}, outside its bounds")
        return {name: 0.0 if channels[name].stop == "zero" else good[name] for name in action
                if channels[name].stop == "zero" or name in good}

    def _report(self, finding: Finding | None, requested: Mapping[str, float] | None, action: Action,
                now_steady: int, now_stamp: int) -> Report:
        nan, chunk = float("nan"), self._intake.chunk
        names = [channel.name for channel in self.robot.channels]
        return Report(
            self.state, finding.verdict if finding else Verdict.PASSED, finding.rule if finding else "",
            finding.reason if finding else "", chunk.generation if chunk else 0, chunk.sequence if chunk else 0,
            tuple((requested or {}).get(name, nan) for name in names),
            tuple(action.get(name, nan) for name in names), self._intake.age(now_steady, now_stamp))
