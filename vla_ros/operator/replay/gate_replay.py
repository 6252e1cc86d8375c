"""Plays a recording's inputs through a gate in simulated time, and compares what it reports.

The gate ticks when the recorded one ticked, as its reports say: with the same settings and the same
code it decides the same. Nothing here depends on when or where it runs.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from vla_ros.core.robot import Robot
from vla_ros.core.types import NANOSECONDS, POLICY, to_nanoseconds
from vla_ros.datasets.bag_stream import BagMessage
from vla_ros.nodes.common.from_message import control_source, stamp_ns
from vla_ros.operator.blackbox.story import CHUNK, HALT, REPORT, clock
from vla_ros.operator.replay.recorded_inputs import RecordedInputs
from vla_ros.safety.gate import ARMED, STOPS_BY_HAND, Gate, Report, State
from vla_ros.safety.rule import Arming, Verdict
from vla_ros.safety.settings import Settings

# Before the first comparison: what the gate rests on is to be heard first.
WARM_UP_NS = NANOSECONDS
# From a publisher to the gate, at least: what was sent later than this before a tick came after it.
TRANSIT_NS = to_nanoseconds(0.0003)
# And at most: a chunk that the recorded gate did not have so long after had been refused by it.
LONGEST_TRANSIT_NS = to_nanoseconds(0.03)
# A system clock that is this far from a report's stamp is not the clock that it was stamped by.
SAME_CLOCK_NS = to_nanoseconds(0.1)
GAP_NS = 5 * NANOSECONDS
BACK_NS = to_nanoseconds(0.2)
# Of a channel's limits: a tick's time is known to some 0.1 ms, and rates go by it.
TOLERANCE_SHARE = 0.01
MOST_NOTES = 100
# What only the graph or a second gate says, and no message.
UNRECORDED = ("exclusive_publisher", "listeners")


class ReplayedGate(Gate):
    """A gate that takes over in the middle of a drive, as no gate on a robot may."""

    def assume(self, report: Any, instruction_id: int) -> None:
        """Stands where a recorded report says that the recorded one stood.

        Args:
            report: a SafetyReport.
            instruction_id: of the newest instruction, which is taken as given after the arming.
        """
        self.state = State(int(report.state))
        self.cause = str(report.reason) if self.state is State.STOPPED else ""
        self._armed = Arming(instruction_id - 1, 0)
        self._last = {}
        for name, value in zip(report.channels, report.emitted):
            if math.isfinite(value):
                self._last[name] = float(value)


@dataclass
class Difference:
    """Reports in a row that differ in the same way.

    Attributes:
        begin, end: of the recorded reports, ns.
        recorded, replayed: what each did, as a sentence.
        count: reports.
    """

    begin: int
    end: int
    recorded: str
    replayed: str
    count: int = 1

    def __str__(self) -> str:
        lasted = (self.end - self.begin) / 1e9
        return (
            f"{clock(self.begin)}  recorded: {self.recorded}; now: {self.replayed} "
            f"({lasted:.2f} s, {self.count} reports)"
        )


@dataclass
class ReplayResult:
    """What came of a replay.

    Attributes:
        compared: reports.
        same: reports with the same state, verdict, rule and commands.
        unknowable: reports that rest on what no message says.
        verdicts: of the present gate.
        kinds: what became of what -> reports.
        largest: channel -> the largest difference in what was sent, in its unit.
        notes: what else there is to say.
    """

    compared: int = 0
    same: int = 0
    unknowable: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    largest: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class GateReplay:
    """One recording through one gate.

    Args:
        robot, settings: of the present gate.
        nodes: those whose heartbeats it wants.
    """

    def __init__(self, robot: Robot, settings: Settings, nodes: Sequence[str]) -> None:
        self.result = ReplayResult()
        self._robot = robot
        self._gate = ReplayedGate(robot, settings)
        self._inputs = RecordedInputs(robot, nodes)
        self._settings = settings
        self._tolerance: dict[str, float] = {}
        for channel in robot.channels:
            low, high = channel.limits
            tolerance = TOLERANCE_SHARE * max(abs(low), abs(high), 1e-3)
            if math.isfinite(channel.max_speed):
                # which joint state a stop was measured by is known to a period of the gate
                tolerance += channel.max_speed * settings.period / NANOSECONDS
            self._tolerance[channel.name] = tolerance
        self._pending: deque[tuple[int, BagMessage]] = deque()  # sent (steady), not arrived yet
        self._time = 0  # of the recording's clock, at the last message
        self._steady = NANOSECONDS  # grows with it, whatever it does
        self._began = 0  # steady, of the first report
        self._before: State | None = None  # recorded
        self._comparing = False
        self._taken_over = False
        self._report: tuple[BagMessage, int] | None = None  # the newest, and when it was sent
        self._run: Difference | None = None
        self._key = ("", "")  # of that run

    def wanted(self, topic: str, kind: str) -> bool:
        """Which topics it reads."""
        return kind == REPORT or self._inputs.wants(topic, kind)

    def differences(self, messages: Iterable[BagMessage]) -> Iterator[Difference]:
        """In their order; `result` is whole when they are through."""
        for message in messages:
            sent = self._advance(message)
            if message.type != REPORT:
                self._pending.append((sent, message))
                continue
            # One report later: what it rests on may have been recorded after it.
            if self._report:
                yield from self._tick(*self._report)
            self._report = (message, sent)
        if self._report:
            yield from self._tick(*self._report)
        if self._run:
            yield self._run
        if not self.result.compared:
            self.result.notes.append(
                "there was nothing to compare: the recording holds less than "
                f"{WARM_UP_NS // NANOSECONDS} s of the gate's reports"
            )

    def _advance(self, message: BagMessage) -> int:
        """When the message was sent, on a clock that never jumps."""
        at = message.published
        # One that was kept for who came later, or whose sender has another clock.
        if not 0 <= message.received - at <= SAME_CLOCK_NS:
            at = message.received
        step = at - self._time if self._time else 0
        latched_long_ago = step > GAP_NS and not self._began
        if (step < -BACK_NS or step > GAP_NS) and not latched_long_ago:
            self._note(
                f"the clock jumps by {step / 1e9:+.2f} s at {clock(self._time)}; the replay goes "
                "on as if a period of the gate had passed"
            )
            step = self._settings.period
            for place, (_, waiting) in enumerate(self._pending):  # all of it came before
                self._pending[place] = (self._steady, waiting)
        self._time = at
        self._steady += step
        return self._steady

    def _tick(self, message: BagMessage, sent: int) -> Iterator[Difference]:
        report = message.message
        stamp = stamp_ns(report.header.stamp)
        # The report is published after its tick; with the system's clock its stamp says how long.
        behind = message.published - stamp
        now = sent - behind if 0 <= behind < SAME_CLOCK_NS else sent
        self._began = self._began or now
        state = State(int(report.state))
        self._deliver(int(report.sequence), state is State.STOPPED, now)
        self._inputs.forget_processes(now)
        if self._comparing and _by_policy(report):
            self._follow_person(report, now, stamp, message.received)
            for cause in self._inputs.latches:
                self._gate.latch(cause)
        self._inputs.latches.clear()
        _, replayed = self._gate.step(now, stamp, self._inputs.latest)
        self._before = state
        # A person's rows are another input, which is not played: the policy's gate waits for them.
        taken_over = not _by_policy(report)
        returned = self._taken_over and not taken_over
        self._taken_over = taken_over
        if self._comparing and not returned:
            yield from self._compare(report, replayed, message.received)
        elif returned or now - self._began >= WARM_UP_NS:
            self._comparing = True
            instruction = self._inputs.latest.instruction
            newest = instruction.instruction_id if instruction else int(report.instruction_id)
            self._gate.assume(report, newest)

    def _deliver(self, sequence: int, stopped: bool, now: int) -> None:
        """Gives the gate what had arrived when it ticked.

        Args:
            sequence: of the chunk that the recorded gate had then: a hint at what was still on its
                way.
            stopped: whether it had stopped: the same for a halt.
            now: of the tick, steady ns.
        """
        waiting: deque[tuple[int, BagMessage]] = deque()
        for sent, message in self._pending:
            there = sent + TRANSIT_NS <= now
            if message.type == CHUNK:
                newer = int(message.message.sequence) > sequence
                there = there and now - sent > LONGEST_TRANSIT_NS if newer else sent <= now
            elif message.type == HALT:
                there = sent <= now if stopped else now - sent > LONGEST_TRANSIT_NS
            if there:
                self._inputs.take(message, now)
            else:
                waiting.append((sent, message))
        self._pending = waiting

    def _follow_person(self, report: Any, now: int, stamp: int, received: int) -> None:
        """Arms, disarms, stops and resets where the recorded gate says that a person did."""
        before = self._before
        state = State(int(report.state))
        if before is None or state is before:
            return
        answer = (True, "")
        if state is State.STOPPED and report.reason in STOPS_BY_HAND:
            self._gate.latch(report.reason)
        if before is State.STOPPED and state is not State.STOPPED:
            answer = self._gate.reset(now, self._inputs.latest)
        if state in ARMED and before not in ARMED:
            answer = self._gate.arm(now, stamp, self._inputs.latest)
        elif state is State.DISARMED and before in ARMED:
            answer = self._gate.disarm()
        done, sentence = answer
        if not done:
            self._note(f"{clock(received)}  a person is refused now: {sentence}")

    def _note(self, sentence: str) -> None:
        """Of a recording of days, only the first."""
        if len(self.result.notes) < MOST_NOTES:
            self.result.notes.append(sentence)

    def _compare(self, report: Any, replayed: Report, received: int) -> Iterator[Difference]:
        result = self.result
        result.compared += 1
        result.verdicts[replayed.verdict.name] += 1
        if report.rule in UNRECORDED or not _by_policy(report):
            result.unknowable += 1
            return
        recorded = _described(report.state, report.verdict, report.rule, report.reason)
        now = _described(replayed.state, replayed.verdict, replayed.rule, replayed.reason)
        differs = recorded[0] != now[0]
        if not differs and (others := self._other_commands(report, replayed)):
            differs = True
            recorded = (recorded[0], recorded[0])
            now = (f"other commands to {others}", f"other commands to {others}")
        if not differs:
            result.same += 1
            if self._run:
                yield self._run
                self._run = None
            return
        run = self._run
        key = (recorded[0], now[0])
        result.kinds[f"{recorded[0]} → {now[0]}"] += 1
        if run and self._key == key:
            run.end = received
            run.count += 1
            return
        if run:
            yield run
        self._key = key
        self._run = Difference(received, received, recorded[1], now[1])

    def _other_commands(self, report: Any, replayed: Report) -> str:
        """The channels to which something else was sent."""
        recorded = dict(zip(report.channels, map(float, report.emitted)))
        others: list[str] = []
        for channel, sent in zip(self._robot.channels, replayed.emitted):
            before = recorded.get(channel.name, math.nan)
            if math.isnan(before) and math.isnan(sent):
                continue
            apart = abs(sent - before)
            if math.isfinite(apart):
                largest = self.result.largest.get(channel.name, 0.0)
                self.result.largest[channel.name] = max(largest, apart)
            # written so that a command beside none differs
            if not apart <= self._tolerance[channel.name]:
                others.append(channel.name)
        return ", ".join(others)


def _by_policy(report: Any) -> bool:
    return control_source(report) == POLICY


def _described(state: int, verdict: int, rule: str, reason: str) -> tuple[str, str]:
    """What is compared, and what is told of it."""
    short = f"{State(int(state)).name} {Verdict(int(verdict)).name} {rule}".strip()
    return short, f"{short}: {reason}" if reason else short
