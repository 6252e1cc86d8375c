"""The gate: fifty times a second, what may the robot do now?

`TRANSITIONS` is its state machine, `rules.RULES` what it asks, `Gate.step` the order of a tick.
Nothing here arms by itself. No ROS and no clock: times are passed in.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum, auto
from typing import Any

from vla_ros.core.chunks import row_at
from vla_ros.core.joint_states import joint_positions
from vla_ros.core.robot import Robot
from vla_ros.core.robot_channels import Channel
from vla_ros.core.robot_obstacles import floor_twist
from vla_ros.core.types import POLICY, TELEOP, ActionChunk, Instruction
from vla_ros.safety.changes import loosened
from vla_ros.safety.history import ChunkBuffer, ClockMonitor
from vla_ros.safety.obstacle_memory import ObstacleMemory
from vla_ros.safety.obstacles import Reading
from vla_ros.safety.positions import Positions, Stay, unwound
from vla_ros.safety.rule import (
    Arming,
    Behind,
    Finding,
    Heard,
    RangeReading,
    Row,
    Rule,
    RuleInputs,
    Source,
    Spent,
    Verdict,
)
from vla_ros.safety.rules import RULES
from vla_ros.safety.rules.chunk_order import chunk_order
from vla_ros.safety.rules.chunk_shape import chunk_shape
from vla_ros.safety.rules.limits import asks_too_much, limits
from vla_ros.safety.rules.obstacle import obstacle
from vla_ros.safety.rules.rate_limit import towards
from vla_ros.safety.rules.source_timeout import TOPIC_TIMEOUT
from vla_ros.safety.rules.stuck_stick import stuck_stick
from vla_ros.safety.rules.teleop_source import teleop_source
from vla_ros.safety.rules.tracking import tracking
from vla_ros.safety.rules.workspace import workspace
from vla_ros.safety.settings import MAX_FUTURE, Settings
from vla_ros.safety.takeover import AGAIN, Takeover
from vla_ros.safety.tool import Tool


class State(IntEnum):
    """SafetyReport.state."""

    DISARMED = 0
    HOLDING = 1
    ACTIVE = 2
    STOPPED = 3


class Event(Enum):
    """What may change the state: a person, a cause to stop, or what the rules found in a tick."""

    ARM = auto()
    DISARM = auto()
    RESET = auto()
    STOP = auto()
    PASSED = auto()
    HELD = auto()


Action = Mapping[str, float]  # channel -> value; a channel that is not in it is not commanded
STOP_PRESSED = "the stop is pressed"
STOP_ASKED = "the stop was asked for by service"
STOPS_BY_HAND = (STOP_PRESSED, STOP_ASKED)
CLOCK_JUMPED = "the ROS clock jumped just now; try again in a second"
ARMED = (State.HOLDING, State.ACTIVE)
# What these find ends a press: what was in the way, or is wrong with the stick, is looked at first.
ENDS_PRESS = (teleop_source.name, stuck_stick.name, tracking.name)
# What stands here happens; whatever does not changes nothing. Whether a person's event is allowed
# now, `Gate.arm` and `Gate.reset` say. STOPPED is left by a reset alone, and no row leads from
# there, or from DISARMED, to motion without ARM.
TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.DISARMED, Event.ARM): State.HOLDING,
    (State.DISARMED, Event.STOP): State.STOPPED,
    (State.HOLDING, Event.PASSED): State.ACTIVE,
    (State.HOLDING, Event.DISARM): State.DISARMED,
    (State.HOLDING, Event.STOP): State.STOPPED,
    (State.ACTIVE, Event.HELD): State.HOLDING,
    (State.ACTIVE, Event.DISARM): State.DISARMED,
    (State.ACTIVE, Event.STOP): State.STOPPED,
    (State.STOPPED, Event.RESET): State.DISARMED,
}


@dataclass
class LatestInputs:
    """What arrived, newest only. Times are steady (ns).

    Attributes:
        measured: channel -> (value, time).
        seen: one of the settings' sources -> time.
        readings: a range sensor's topic -> (reading, time).
        messages: a source that a rule declares -> its newest message.
        other_publishers: who else publishes robot commands.
        missing_listeners: outputs that nobody listens to, each as a sentence.
        chunk_sources: the processes that have lately sent actions.
        teleop_row: what a stick says; None: nothing came, or no stick may take over.
        teleop_sources: the processes that have lately sent such rows.
        halt: why the supervisor stops the robot; empty: it does not.
    """

    chunk: ActionChunk | None = None
    instruction: Instruction | None = None
    measured: dict[str, tuple[float, int]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    readings: dict[str, tuple[Reading, int]] = field(default_factory=dict)
    messages: dict[Source[Any], Heard] = field(default_factory=dict)
    other_publishers: tuple[str, ...] = ()
    missing_listeners: tuple[str, ...] = ()
    chunk_sources: tuple[str, ...] = ()
    teleop_row: ActionChunk | None = None
    teleop_sources: tuple[str, ...] = ()
    stop_pressed: bool = False
    halt: str = ""

    def cause(self) -> str:
        """Why the robot must stand still now, whatever the policy wants; empty: it need not."""
        if self.stop_pressed:
            return STOP_PRESSED
        if self.halt:
            return f"the supervisor stops the robot: {self.halt}"
        return ""

    def remedy(self) -> str:
        """The cause, and what to do about it before the gate is armed or reset."""
        step = "release it" if self.stop_pressed else "mend that"
        return f"{self.cause()}; {step} first"

    def hear_joints(
        self,
        topic: str,
        channels: Sequence[Channel],
        names: Sequence[str],
        positions: Sequence[float],
        now: int,
    ) -> None:
        """Takes the positions of one of several publishers of joint states.

        What it does not name is as it was, and what names none of ours is no sign of life.

        Args:
            topic: one of the settings' sources.
            channels: whose joints are published there.
            names: of N joints.
            positions: N, as they were published.
            now: steady ns.

        Raises:
            ValueError: the message is refused whole.
        """
        ours = joint_positions(names, positions, {channel.joint for channel in channels})
        if ours:
            self.seen[topic] = now
        for channel in channels:
            if channel.joint in ours:
                self.measured[channel.name] = (channel.measured(ours[channel.joint]), now)

    def heard(self) -> dict[str, int]:
        """When each node, topic and sensor was heard last; what never was is not in it."""
        arrivals: dict[str, int] = {}
        for topic, (_, arrived) in self.readings.items():
            arrivals[topic] = arrived
        for source, message in self.messages.items():
            arrivals[source.topic] = message.arrived
        arrivals.update(self.seen)
        return arrivals


@dataclass(frozen=True)
class Report:
    """What the gate did and why.

    Attributes:
        rule: which one decided; "stop" and "disarmed" are the state's own; empty: none had to.
        requested, emitted: in the robot's channel order, in each one's unit; NaN: nothing.
        age: of the image behind the action, or of the stick's message, ns.
        control_source: POLICY or TELEOP; of a person's rows, `instruction_id` and `sequence` are 0.
    """

    state: State
    verdict: Verdict
    rule: str
    reason: str
    instruction_id: int
    sequence: int
    requested: Row
    emitted: Row
    age: int
    control_source: str = POLICY


@dataclass
class Tick:
    """One step's clocks and inputs, ns.

    Attributes:
        now: the steady clock.
        stamp: the ROS clock.
        elapsed: since the step before, at most two periods: a late tick is no leave for a larger
            change.
        pause: the same, whatever it was: so long the robot moved on, and so much it may brake.
    """

    now: int
    stamp: int
    inputs: LatestInputs
    elapsed: int = 0
    pause: int = 0


@dataclass(frozen=True)
class Decision:
    """What the rules found: what decides, what was requested, and what is left of it."""

    finding: Finding | None = None
    requested: Action | None = None
    wanted: Action = field(default_factory=dict)


class Gate:
    """`step` is the one question; `arm`, `disarm`, `reset` and `latch` change the state.

    `give_back` changes who has the robot, and so does a stick, through what a step is given.
    """

    def __init__(self, robot: Robot, settings: Settings) -> None:
        self.robot = robot
        self.settings = settings
        self.state = State.DISARMED
        self.cause = ""
        # Zeros too: /diagnostics shows which rules never fired.
        self.counters: Counter[str] = Counter({chunk_order.__name__: 0})
        self.counters.update({rule.name: 0 for rule in RULES})
        self._clocks = ClockMonitor()
        self._chunks = ChunkBuffer()
        self.takeover = Takeover()
        self._armed = Arming(0, 0)
        self._spent = Spent(0, "")
        self._last: dict[str, float] = {}  # what was emitted; rates are measured from it
        self._stay: dict[str, Stay] = {}  # where positions are to stay while no action moves them
        self._positions = Positions()
        self._stood: dict[str, float | None] = {}  # where each position stands in this tick
        self._behind: dict[str, Behind] = {}  # `time` is since when, steady
        self._tool = Tool(robot) if robot.workspace else None
        self._at_edge = False
        self._moved: int | None = None  # steady time of the first motion since the arming
        self._obstacles = ObstacleMemory()
        self._clamped_since: int | None = None  # steady time, since too much is asked for
        self._blocked = False

    # -- what a person asks for --------------------------------------------------------
    def change(self, robot: Robot, settings: Settings) -> None:
        """Other limits, as a whole and at once.

        Raises ValueError where one is looser and the gate is armed.
        """
        looser = loosened(self.robot, self.settings, robot, settings)
        if looser and self.state in ARMED:
            raise ValueError(f"{looser} is looser than now; disarm first")
        self._tool = Tool(robot) if robot.workspace else None
        self.robot = robot
        self.settings = settings

    def arm(self, now_steady: int, now_stamp: int, inputs: LatestInputs) -> tuple[bool, str]:
        """Arms, where every rule that is asked at an arming agrees.

        Args:
            now_steady: the steady clock, ns.
            now_stamp: the ROS clock, ns. No instruction from before it moves the robot.
            inputs: what arrived, newest only.

        Returns:
            Whether the gate is armed, and a sentence for who asked.
        """
        if self.state is State.STOPPED:
            return False, f"stopped: {self.cause}; reset first"
        if self.state is not State.DISARMED:
            return True, "already armed"
        if inputs.cause():
            return False, inputs.remedy()
        rule_inputs = self._rule_inputs(Tick(now_steady, now_stamp, inputs))
        rule_inputs.control_source = POLICY  # all of the suite is up, whoever has the robot
        for rule in RULES:
            finding = self._ask(rule, rule_inputs) if rule.arming else None
            if finding:
                return False, finding.reason
        if not self._clocks.settled(now_steady):
            return False, CLOCK_JUMPED
        # Nothing to compare with: one from before the arming may still be on its way.
        if inputs.instruction is None:
            return False, "nothing was heard from command_ingest yet"
        self._armed = Arming(inputs.instruction.instruction_id, now_stamp)
        # A person begins anew: nothing of what was before counts, neither for nor against it.
        self._spent = Spent(0, "")
        self._chunks.forget()
        self._chunks.newest_instruction_id = inputs.instruction.instruction_id
        self.takeover.begin(inputs.teleop_row, now_stamp)
        self._moved = None
        self._follow(Event.ARM)
        if self.takeover.has:
            return True, "armed; a person has the robot: press the deadman, or give it back"
        return True, "armed; give an instruction"

    def disarm(self) -> tuple[bool, str]:
        """Whether the gate is disarmed now, and a sentence. A stop stays a stop."""
        if self.state is State.STOPPED:
            return False, f"stopped: {self.cause}; reset first"
        self._follow(Event.DISARM)
        return True, "disarmed"

    def stop(self) -> tuple[bool, str]:
        """As a stop button that is pressed once, for who asks and wants an answer."""
        self.latch(STOP_ASKED)
        return True, f"stopped: {self.cause}; reset, then arm"

    def reset(self, now_steady: int, inputs: LatestInputs) -> tuple[bool, str]:
        """Leaves STOPPED for DISARMED; refused while the stop or the halt lasts.

        Returns:
            Whether that was done, and a sentence for who asked.
        """
        if self.state is not State.STOPPED:
            return False, f"nothing to reset: the gate is {self.state.name}"
        if inputs.cause():
            return False, inputs.remedy()
        if not self._clocks.settled(now_steady):
            return False, CLOCK_JUMPED
        self._follow(Event.RESET)
        self.cause = ""
        return True, "reset; arm when ready"

    def give_back(self, now_stamp: int) -> tuple[bool, str]:
        """The policy has the robot again; refused while the deadman is held.

        Args:
            now_stamp: the ROS clock, ns. No action of an image from before it, and `max_future`
                more, moves the robot.

        Returns:
            Whether that was done, and a sentence for who asked.
        """
        given_back, sentence = self.takeover.give_back(self.settings)
        if given_back:
            # A camera's clock may be ahead by as much.
            self._chunks.forget(now_stamp + self.settings.ns(MAX_FUTURE))
            self._clamped_since = None
        return given_back, sentence

    def latch(self, cause: str) -> None:
        """STOPPED until a reset, with the first cause kept."""
        if self.state is not State.STOPPED:
            self.cause = cause
            self._stay = {}
            self._follow(Event.STOP)

    def _follow(self, event: Event) -> None:
        self.state = TRANSITIONS.get((self.state, event), self.state)

    # -- a tick ------------------------------------------------------------------------
    def step(self, now_steady: int, now_stamp: int, inputs: LatestInputs) -> tuple[Action, Report]:
        """What the robot may do at this moment. An exception in a rule is a stop, latched.

        Args:
            now_steady: the steady clock, ns.
            now_stamp: the ROS clock, ns.
            inputs: what arrived, newest only.

        Returns:
            What is sent to each channel, in its unit, and what is reported of it.
        """
        tick = Tick(now_steady, now_stamp, inputs)
        decision = Decision()
        try:
            self._update(tick)
            if self.state in ARMED:
                decision = self._judge(tick)
        except Exception as error:  # whatever it is, it must not become motion
            self.latch(f"the gate failed: {type(error).__name__}: {error}")
        # What latched, the exception above included, outweighs what the rules found.
        finding = self._change_state(decision.finding)
        if finding is None or finding.verdict is Verdict.LIMITED:
            self._moved = tick.now if self._moved is None else self._moved
            action = self._act(tick, dict(decision.wanted))
        else:
            # What a joint met is still there when it holds: a person looks, and speaks again.
            if finding.rule == tracking.name:
                self._spend(tick, finding.reason)
            if finding.rule in ENDS_PRESS:
                self.takeover.end(f"{finding.reason}; {AGAIN}")
            action = self._hold(tick, finding.verdict)
        safe = self._last_look(action)
        if safe is not action:
            action = safe
            finding = Finding("stop", Verdict.STOPPED, self.cause)
        self._last = dict(action)
        return action, self._report(tick, finding, decision.requested, action)

    def _update(self, tick: Tick) -> None:
        """Takes what arrived since the step before, and stops where there is a cause to."""
        armed = self.state in ARMED
        tick.pause, trouble = self._clocks.look(tick.now, tick.stamp, self.settings)
        tick.elapsed = min(tick.pause, 2 * self.settings.period)
        # Before the losses below: a stick that is pressed while something is gone is pressed again.
        row = tick.inputs.teleop_row
        self.takeover.look(row, tick.now, tick.stamp, armed, self.robot, self.settings)
        # Disarmed as well: where things stand is to be known when somebody arms.
        trouble = self._look_around(tick) or trouble
        late = self._chunks.take(
            tick.inputs.chunk,
            tick.inputs.instruction,
            tick.now,
            tick.stamp,
            self.robot,
            self.settings,
        )
        if late:
            self.counters[late.rule] += 1
        # A stop latches in every state; a clock or a joint that jumps, where something may move.
        cause = tick.inputs.cause() or (trouble if armed else "")
        if cause:
            self.latch(cause)

    def _judge(self, tick: Tick) -> Decision:
        """The rules in their order: the first that holds or stops decides."""
        inputs = self._rule_inputs(tick)
        clamped_since = self._clamped_since
        # Set again below where too much is asked for: a tick without that begins the count anew.
        self._clamped_since = None
        limited: Finding | None = None
        requested: Action | None = None
        for rule in RULES:
            if rule.asked_of and rule.asked_of != inputs.control_source:
                continue
            finding = self._ask(rule, inputs)
            if rule is obstacle:
                self._blocked = finding is not None and finding.verdict is Verdict.HELD
            elif rule is workspace:
                self._at_edge = finding is not None and finding.verdict is Verdict.HELD
            elif rule is limits and finding and asks_too_much(inputs):
                self._clamped_since = tick.now if clamped_since is None else clamped_since
            if finding and finding.verdict is not Verdict.LIMITED:
                return Decision(finding, requested)
            if finding:
                if finding.row is None:
                    raise ValueError(f"rule '{rule.name}' limits, and gives no row")
                inputs.row = finding.row
                # The first one is reported, but for the tool: it has the last word on the step.
                if limited is None or rule is workspace:
                    limited = finding
            if rule is chunk_shape:
                requested = self._take_row(inputs)
        wanted = {channel.name: value for channel, value in zip(inputs.channels, inputs.row)}
        return Decision(limited, requested, wanted)

    def _ask(self, rule: Rule, inputs: RuleInputs) -> Finding | None:
        finding = rule(inputs)
        if finding:
            self.counters[finding.rule] += 1
        return finding

    def _change_state(self, finding: Finding | None) -> Finding | None:
        """Follows what was found; gives what decides then: the state, where nothing may move."""
        if finding and finding.verdict is Verdict.STOPPED:
            self.latch(finding.reason)
        if self.state is State.STOPPED:
            rule = finding.rule if finding and finding.verdict is Verdict.STOPPED else "stop"
            return Finding(rule, Verdict.STOPPED, self.cause)
        if self.state is State.DISARMED:
            return Finding("disarmed", Verdict.HELD, "the gate is disarmed; arm it")
        moves = finding is None or finding.verdict is Verdict.LIMITED
        self._follow(Event.PASSED if moves else Event.HELD)
        return finding

    def _report(
        self, tick: Tick, finding: Finding | None, requested: Action | None, action: Action
    ) -> Report:
        finding = finding or Finding("", Verdict.PASSED, "")
        person = self.takeover.has
        # A person's row answers no instruction: nobody is to take it for the policy's.
        chunk = None if person else self._chunks.chunk
        stick_or_image = self.takeover if person else self._chunks
        asked: list[float] = []
        sent: list[float] = []
        for channel in self.robot.channels:
            asked.append(requested.get(channel.name, math.nan) if requested else math.nan)
            sent.append(action.get(channel.name, math.nan))
        return Report(
            self.state,
            finding.verdict,
            finding.rule,
            finding.reason,
            instruction_id=chunk.instruction_id if chunk else 0,
            sequence=chunk.sequence if chunk else 0,
            requested=tuple(asked),
            emitted=tuple(sent),
            age=stick_or_image.age(tick.now, tick.stamp),
            control_source=TELEOP if person else POLICY,
        )

    # -- what it knows -----------------------------------------------------------------
    def _look_around(self, tick: Tick) -> str:
        """Takes what was seen and measured since the step before.

        Returns a sentence where it stops an armed robot.
        """
        if self.robot.obstacles is not None:
            # The robot moves on first, then what it sees is placed around it.
            self._obstacles.move(floor_twist(self._last), tick.pause)
            self._obstacles.see(tick.inputs.readings, self.robot, tick.now, tick.stamp)
        jumped = self._positions.look(
            self.robot, tick.inputs.measured, self._last, self.settings.ns(TOPIC_TIMEOUT)
        )
        trouble = ""
        for name, sentence in jumped.items():
            if name in self._last and self.robot.channel(name).on_stop == "hold_measured":
                # Where it would go from here nobody knows: it is sent nothing more.
                del self._last[name]
                trouble = trouble or sentence
        self._follow_joints(tick)
        self._look_for_losses(tick)
        return trouble

    def _look_for_losses(self, tick: Tick) -> None:
        """Whether a person has to speak again: a source was lost, or an output has no listener."""
        gone: list[str] = []
        policy_sources = self.settings.policy_sources
        heard = tick.inputs.heard()
        for name, limit in self.settings.lost.items():
            # What was never heard was not lost; other rules hold for it.
            if name in heard and tick.now - heard[name] > limit:
                gone.append(f"{name} was lost")
                if name not in policy_sources:
                    self.takeover.end(f"{name} was lost; {AGAIN}")
        for sentence in tick.inputs.missing_listeners:
            self.takeover.end(f"{sentence}; {AGAIN}")
        gone.extend(tick.inputs.missing_listeners)
        if gone:
            self._spend(tick, gone[0])

    def _follow_joints(self, tick: Tick) -> None:
        """Which positions stand too far from where they were sent, and since when."""
        for channel in self.robot.channels:
            before = self._behind.pop(channel.name, None)
            stands = self._stands(channel, tick.now)
            self._stood[channel.name] = stands
            sent = self._last.get(channel.name)
            if stands is None or sent is None:
                continue
            # Written so that what is no number counts as behind.
            if not abs(stands - sent) <= channel.max_tracking_error:
                since = before.time if before else tick.now
                self._behind[channel.name] = Behind(since, stands, sent)

    def _spend(self, tick: Tick, why: str) -> None:
        """What was said until now no longer moves the robot: a person looks, and speaks again."""
        instruction = tick.inputs.instruction
        if instruction and instruction.instruction_id > self._spent.instruction_id:
            self._spent = Spent(instruction.instruction_id, why)

    def _rule_inputs(self, tick: Tick) -> RuleInputs:
        """What the rules may look at in this tick: times that arrived become ages."""
        inputs = tick.inputs
        chunks = self._chunks
        takeover = self.takeover
        person = takeover.has
        now = tick.now
        stamp = tick.stamp
        silence: dict[str, int | None] = {}
        for name in self.settings.sources:
            silence[name] = now - inputs.seen[name] if name in inputs.seen else None
        readings: dict[str, RangeReading] = {}
        for topic, (reading, arrived) in inputs.readings.items():
            readings[topic] = RangeReading(reading, now - arrived, stamp - reading.stamp)
        behind = {name: replace(late, time=now - late.time) for name, late in self._behind.items()}
        return RuleInputs(
            now=now,
            stamp=stamp,
            robot=self.robot,
            settings=self.settings,
            chunk=takeover.row if person else chunks.chunk,
            instruction=inputs.instruction,
            armed=self._armed,
            newest_instruction_id=chunks.newest_instruction_id,
            spent=self._spent,
            observation_age=(takeover if person else chunks).age(now, stamp),
            instruction_age=chunks.instruction_age(inputs.instruction, now, stamp),
            silence=silence,
            other_publishers=inputs.other_publishers,
            missing_listeners=inputs.missing_listeners,
            chunk_sources=inputs.chunk_sources,
            messages=inputs.messages,
            clock_still=self._clocks.still(now),
            readings=readings,
            points=self._obstacles.points,  # a function: only `obstacle` asks, and it takes time
            was_blocked=self._blocked,
            behind=behind,
            ended=chunks.ended(stamp),
            repeated=(takeover if person else chunks).repeated(now),
            clamped=now - self._clamped_since if self._clamped_since is not None else 0,
            discontinuity=chunks.discontinuity(now),
            elapsed=tick.elapsed,
            pause=tick.pause,
            stands=self._stood,
            sent=self._last,
            enabled=self._enabled(now),
            was_at_edge=self._at_edge,
            tool=self._tool,
            control_source=TELEOP if person else POLICY,
            teleop_sources=inputs.teleop_sources,
            stick_doubt=takeover.why,
        )

    def _enabled(self, now_steady: int) -> float:
        """How much of its rates the robot has: all of them `enable_time` after its first motion."""
        if self.robot.enable_time <= 0.0:
            return 1.0
        if self._moved is None:
            return 0.0
        return min(1.0, (now_steady - self._moved) / (self.robot.enable_time * 1e9))

    def _take_row(self, inputs: RuleInputs) -> dict[str, float]:
        """The row of the chunk that is due now, as requested.

        Gives `inputs` what rules on rows look at: `channels`, `row`, `last` and `measured`.
        """
        chunk = inputs.chunk
        if chunk is None:
            raise ValueError("rule 'chunk_shape' passed, and there is no action")
        values = chunk.values[row_at(chunk, inputs.stamp)].tolist()
        requested: dict[str, float] = dict(zip(chunk.channels, values))
        channels: list[Channel] = []
        row: list[float] = []
        last: list[float | None] = []
        measured: list[float | None] = []
        for channel in self.robot.channels:
            # A velocity that the action does not name is zero; a position stays, see `_act`.
            if channel.name not in requested and not channel.is_velocity:
                continue
            stands = 0.0 if channel.is_velocity else self._starts(channel, inputs.now)
            before = self._last.get(channel.name, channel.start if stands is None else stands)
            if channel.turn and before is not None:  # the same place, by the shorter way
                requested[channel.name] = unwound(requested[channel.name], before, channel.turn)
            channels.append(channel)
            row.append(requested.get(channel.name, 0.0))
            last.append(before)
            measured.append(stands)
        inputs.channels = tuple(channels)
        inputs.row = tuple(row)
        inputs.last = tuple(last)
        inputs.measured = tuple(measured)
        return requested

    def _starts(self, channel: Channel, now_steady: int) -> float | None:
        """Where a position stands; None also where its first action would start from a doubt."""
        if channel.name not in self._last and self._positions.in_doubt(channel):
            return None
        return self._stands(channel, now_steady)

    def _stands(self, channel: Channel, now_steady: int) -> float | None:
        """Where a position verifiably stands; None: that is unknown, or it is a velocity."""
        if channel.is_velocity:
            return None
        return self._positions.stands(channel, now_steady, self.settings.ns(TOPIC_TIMEOUT))

    # -- what it sends -----------------------------------------------------------------
    def _act(self, tick: Tick, action: dict[str, float]) -> Action:
        """What passed; positions that this action does not name stay."""
        for channel in self.robot.channels:
            if channel.name in action:
                self._stay.pop(channel.name, None)
            else:
                action.update(self._remain(tick, channel, Verdict.HELD))
        return action

    def _hold(self, tick: Tick, verdict: Verdict) -> Action:
        """Velocities go to zero, through the brake or at once when STOPPED; positions stay.

        Disarmed, positions are nobody's business: they are not commanded, and what they were is
        forgotten.
        """
        action: dict[str, float] = {}
        disarmed = self.state is State.DISARMED
        at_once = disarmed or verdict is Verdict.STOPPED
        if disarmed:
            self._stay = {}
        for channel in self.robot.channels:
            if not channel.is_velocity:
                if not disarmed:
                    action.update(self._remain(tick, channel, verdict))
            elif at_once:
                action[channel.name] = 0.0
            else:
                last = self._last.get(channel.name, 0.0)
                action[channel.name] = towards(last, 0.0, channel, tick.elapsed, tick.pause)
        return action

    def _remain(self, tick: Tick, channel: Channel, verdict: Verdict) -> Action:
        """What a position that is to stay is sent.

        Nothing, where it was never sent, or stands where it may not be sent to.

        Held, it stays where it was sent while it stands there: taking what is measured instead
        would move it by the drive's offset at each hold. Stopped, it stays where it is measured.
        Away from there by more than a drive lags behind (it was blocked, or moved by hand), what is
        sent follows at once: that asks for no motion.
        """
        last = self._last.get(channel.name)
        if last is None:
            return {}
        # Not for `hold_commanded`: a gripper that holds something never reaches what it is sent.
        stands = self._stands(channel, tick.now) if channel.on_stop == "hold_measured" else None
        at_first = stands if verdict is Verdict.STOPPED and stands is not None else last
        stay = self._stay.setdefault(channel.name, Stay(at_first))
        limit = channel.max_tracking_error
        if stands is not None and stay.look(stands, tick.now, limit):
            # What was sent may lie outside limits that were tightened since: no jump inward.
            low = min(channel.limits[0], last)
            high = max(channel.limits[1], last)
            stay.target = min(max(stands, low), high)
            return {channel.name: stay.target} if abs(stands - stay.target) <= limit else {}
        # It stands where it is to stay, far from what was sent: being sent there moves nothing.
        if stands is not None and abs(stands - last) > limit >= abs(stands - stay.target):
            return {channel.name: stay.target}
        return {channel.name: towards(last, stay.target, channel, tick.elapsed, tick.pause)}

    def _last_look(self, action: Action) -> Action:
        """Whatever went wrong above, nothing leaves that is not finite or outside its bounds.

        What was emitted before may lie outside where the bounds were tightened meanwhile: it may
        only come inward. Anything else latches a stop, and comes back as one.
        """
        channels = {channel.name: channel for channel in self.robot.channels}
        outside: list[str] = []
        for name, value in action.items():
            lowest = min(channels[name].bounds[0], self._last.get(name, math.inf))
            highest = max(channels[name].bounds[1], self._last.get(name, -math.inf))
            if not lowest <= value <= highest:  # written so that NaN is outside
                outside.append(name)
        if not outside:
            return action
        bad = outside[0]
        self.latch(f"the gate itself made {bad} {action[bad]}, outside its bounds")
        stop: dict[str, float] = {}
        for name, value in action.items():
            if channels[name].is_velocity:
                stop[name] = 0.0
            elif name not in outside:
                stop[name] = value
        return stop
