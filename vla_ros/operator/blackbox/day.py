"""A day's recordings and datasets as numbers: who drove, what stopped the robot, how late."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vla_ros.core.types import POLICY, to_seconds
from vla_ros.datasets.bag_stream import BagMessage, BagStream
from vla_ros.nodes.common.from_message import control_source, stamp_ns
from vla_ros.operator.blackbox.story import (
    CHUNK,
    FAULT,
    HALT,
    INSTRUCTION,
    REPORT,
    Story,
    StoryLine,
)
from vla_ros.safety.gate import State
from vla_ros.safety.rule import Verdict

# Between two reports of a gate: after a longer pause it is another drive.
PAUSE_NS = 1_000_000_000
MOST_WORST = 12  # moments that are shown
MOST_LATENCIES = 200_000  # of a day; then every other one is let go
SHARES = (50, 95, 99)
# A second of holding is as bad as a second of holding; a stop or a fault is worse than any.
STOP_WEIGHT = 1e6
FAULT_WEIGHT = 1e5


@dataclass
class InstructionTally:
    """What came of the same words.

    Attributes:
        given: how often they were accepted.
        driving_s: how long the policy moved the robot for them.
        interventions: how often a person took over meanwhile.
        stops: how often the gate latched meanwhile.
        succeeded, failed: episodes of datasets that somebody marked so.
    """

    given: int = 0
    driving_s: float = 0.0
    interventions: int = 0
    stops: int = 0
    succeeded: int = 0
    failed: int = 0


@dataclass
class DayReport:
    """What a folder's files say together; times that several of them hold count once."""

    files: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    driving_s: float = 0.0
    person_s: float = 0.0
    held_s: dict[str, float] = field(default_factory=dict)
    interventions: int = 0
    stops: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    halts: Counter[str] = field(default_factory=Counter)
    instructions: dict[str, InstructionTally] = field(default_factory=dict)
    episodes: int = 0
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    worst: list[StoryLine] = field(default_factory=list)

    @property
    def interventions_a_minute(self) -> float | None:
        """Of the time that somebody drove; None: nobody did."""
        driven = self.driving_s + self.person_s
        return 60.0 * self.interventions / driven if driven else None

    def as_numbers(self) -> dict[str, Any]:
        """For JSON: all but the images."""
        numbers = {name: value for name, value in vars(self).items() if name != "worst"}
        numbers["instructions"] = {text: vars(each) for text, each in self.instructions.items()}
        numbers["interventions_a_minute"] = self.interventions_a_minute
        numbers["worst"] = [str(line) for line in self.worst]
        return numbers


class DayTally:
    """Give it the recordings one after another, the oldest first."""

    def __init__(self) -> None:
        self.report = DayReport()
        self._newest = 0  # ns: what came before it was counted in an earlier file
        self._before: tuple[int, State, str] | None = None  # when, state and who, of a report
        self._words: dict[int, str] = {0: ""}
        self._holds = ""  # the words that hold
        self._latencies: dict[str, list[float]] = {"policy": [], "image to command": []}
        self._sequence = 0
        self._worst: list[tuple[float, int, StoryLine]] = []

    def add(self, path: Path) -> None:
        """A recording. One that is no bag, or cut off, is a sentence in `problems`."""
        stream = BagStream(path, Story.wanted)
        story = Story()
        self.report.files.append(path.name)
        self._before = None
        try:
            for line in story.lines(self._counted(stream)):
                self._weigh(line)
        except ValueError as problem:
            self.report.problems.append(str(problem))
        if stream.problem:
            self.report.problems.append(stream.problem)
        for refused in (stream.refused, story.refused):
            self.report.problems += [f"{count} times {text}" for text, count in refused.items()]
        self._newest = max(self._newest, story.last)

    def finish(self) -> DayReport:
        """The whole of it."""
        for name, values in self._latencies.items():
            if values:
                found = np.percentile(values, SHARES)
                self.report.latency_ms[name] = {
                    f"p{share}": round(float(value), 2) for share, value in zip(SHARES, found)
                }
        worst = sorted(self._worst, reverse=True)
        self.report.worst = sorted((line for _, _, line in worst), key=lambda line: line.begin)
        return self.report

    def add_episodes(self, episodes: Iterable[tuple[str, bool | None]]) -> None:
        """A dataset's: what was to be done, and whether it was; None: nobody said."""
        for task, success in episodes:
            self.report.episodes += 1
            tally = self._tally(task)
            tally.succeeded += success is True
            tally.failed += success is False

    def _counted(self, stream: Iterable[BagMessage]) -> Iterator[BagMessage]:
        newest = self._newest
        for message in stream:
            if message.received > newest:
                try:
                    self._count(message)
                except (AttributeError, TypeError, ValueError):
                    pass  # of another version: the story says so
                yield message
            elif message.type == INSTRUCTION:
                yield message  # what still holds is told again in each file

    def _count(self, message: BagMessage) -> None:
        content = message.message
        if message.type == INSTRUCTION:
            self._words = {0: "", int(content.instruction_id): str(content.text)}
            self._holds = str(content.text)
            if self._holds:
                self._tally(self._holds).given += 1
        elif message.type == CHUNK:
            self._note_latency("policy", stamp_ns(content.latency) / 1e6)
        elif message.type == FAULT:
            self.report.faults[f"{content.kind} of {content.source}"] += 1
        elif message.type == HALT and content.reason:
            self.report.halts[str(content.reason)] += 1
        elif message.type == REPORT:
            self._count_report(message.received, content)

    def _count_report(self, now: int, report: Any) -> None:
        state = State(int(report.state))
        verdict = Verdict(int(report.verdict))
        source = control_source(report)
        before = self._before
        self._before = (now, state, source)
        if before is None or not 0 < now - before[0] <= PAUSE_NS:
            return
        lasted = to_seconds(now - before[0])
        day = self.report
        day.seconds += lasted
        tally = self._tally(self._holds) if self._holds else InstructionTally()
        if state is State.STOPPED and before[1] is not State.STOPPED:
            day.stops[str(report.reason)] += 1
            tally.stops += 1
        if source != POLICY and before[2] == POLICY:
            day.interventions += 1
            tally.interventions += 1
        if source != POLICY:
            day.person_s += lasted
        elif verdict <= Verdict.LIMITED:
            day.driving_s += lasted
            tally.driving_s += lasted
            if report.sequence != self._sequence:
                self._sequence = report.sequence
                self._note_latency("image to command", stamp_ns(report.age) / 1e6)
        elif state is State.HOLDING and self._holds:
            rule = str(report.rule)
            day.held_s[rule] = day.held_s.get(rule, 0.0) + lasted

    def _note_latency(self, name: str, milliseconds: float) -> None:
        values = self._latencies[name]
        values.append(milliseconds)
        if len(values) > MOST_LATENCIES:
            del values[::2]

    def _tally(self, text: str) -> InstructionTally:
        return self.report.instructions.setdefault(text, InstructionTally())

    def _weigh(self, line: StoryLine) -> None:
        """Keeps the worst moments: stops, then faults, then the longest holds."""
        lasted = to_seconds(line.end - line.begin)
        weights = {"stopped": STOP_WEIGHT, "fault": FAULT_WEIGHT, "held": 0.0}
        if line.kind not in weights or line.text.startswith(("disarmed", "held by instruction")):
            return
        entry = (weights[line.kind] + lasted, -line.begin, line)
        if len(self._worst) < MOST_WORST:
            heapq.heappush(self._worst, entry)
        else:
            heapq.heappushpop(self._worst, entry)
