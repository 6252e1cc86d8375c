"""What a recording says, second by second: said, seen, wanted, limited, refused and done.

No ROS: messages are read by the definitions that stand in the file.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vla_ros.core.shown import printable
from vla_ros.core.types import NANOSECONDS, POLICY, to_nanoseconds, to_seconds
from vla_ros.datasets.bag_stream import BagMessage
from vla_ros.nodes.common.from_message import control_source
from vla_ros.safety.gate import State
from vla_ros.safety.rule import Verdict

# A heartbeat comes ten times a second, a fault once as long as it lasts: a longer silence ends it.
SILENT_NS = to_nanoseconds(1.0)
FAULT_OVER_NS = to_nanoseconds(5.0)
# What happened to a node so shortly before is told beside what the gate holds for.
CONTEXT_NS = to_nanoseconds(10.0)
OLD_IMAGE_NS = to_nanoseconds(0.3)  # images are kept ten times a second
# Between two reports or heartbeats: more is a pause, or a clock that was set.
GAP_NS = to_nanoseconds(5.0)
BACK_NS = to_nanoseconds(0.2)  # what two senders' messages may overtake each other by
UP = "active"
MOVING_NS = to_nanoseconds(1.0)
MOST_WAITING = 2000  # lines that wait for the end of a run
LEVELS = {0: "OK", 1: "WARN", 2: "ERROR", 3: "STALE"}
IMAGE_RULES = ("observation_age", "chunk_order", "chunk_shape", "stuck_policy")

REPORT = "vla_ros_msgs/msg/SafetyReport"
INSTRUCTION = "vla_ros_msgs/msg/Instruction"
CHUNK = "vla_ros_msgs/msg/ActionChunk"
HEARTBEAT = "vla_ros_msgs/msg/Heartbeat"
FAULT = "vla_ros_msgs/msg/Fault"
HALT = "vla_ros_msgs/msg/Halt"
TEXT = "std_msgs/msg/String"
IMAGE = "sensor_msgs/msg/CompressedImage"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"


def clock(stamp: int) -> str:
    """The local time of day, to the hundredth of a second."""
    seconds, rest = divmod(stamp, NANOSECONDS)
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{rest // 10_000_000:02d}"


@dataclass
class StoryLine:
    """Something that happened, or went on for a while.

    Attributes:
        begin, end: ns, on the clock of the machine that recorded.
        kind: said, told, moves, held, stopped, node, fault, clock.
        text: a sentence.
        image: what was seen last, JPEG.
        epoch: grows where the clock jumps: times before and after it do not compare.
    """

    begin: int
    end: int
    kind: str
    text: str
    image: bytes = b""
    epoch: int = 0

    def __post_init__(self) -> None:
        # what people and nodes say could else look like lines of the story, or steer a terminal
        self.text = printable(self.text)

    def __str__(self) -> str:
        return f"{clock(self.begin)}  {self.text}"


@dataclass
class _Run:
    """Reports that say the same."""

    key: tuple[Any, ...]
    begin: int
    end: int
    reason: str
    image: bytes
    context: str
    count: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    limited: str = ""  # the first reason of a limit
    wanted: dict[str, tuple[float, float]] = field(default_factory=dict)
    sent: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass
class _NodeLife:
    process: str
    state: str
    heard: int
    silent: bool = False
    event: str = ""  # what happened to it last
    happened: int = 0


class Story:
    """Feed it a recording's messages; it gives the lines in the order of their begin.

    Attributes:
        refused: what is not as this version knows it -> how many messages.
        counts: of reports, by verdict.
        first, last: ns, of the first and the last message.
    """

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.first = 0
        self.last = 0
        self._waiting: list[StoryLine] = []
        self._run: _Run | None = None
        self._nodes: dict[str, _NodeLife] = {}
        self._faults: dict[tuple[str, str], int] = {}
        self._images: dict[str, tuple[int, bytes]] = {}  # topic -> when, and the JPEG
        self._levels: dict[str, int] = {}
        self._halt = ""
        self._policy = ""
        self._accepted: dict[int, int] = {}  # instruction_id -> when, until its first action
        self._text = {0: ""}
        self._steady = 0  # of the last report or heartbeat
        self._epoch = 0
        self._readers: Mapping[str, Callable[[BagMessage], None]] = {
            REPORT: self._on_report,
            INSTRUCTION: self._on_instruction,
            CHUNK: self._on_chunk,
            HEARTBEAT: self._on_heartbeat,
            FAULT: self._on_fault,
            HALT: self._on_halt,
            TEXT: self._on_text,
            IMAGE: self._on_image,
            DIAGNOSTICS: self._on_diagnostics,
        }

    @staticmethod
    def wanted(topic: str, kind: str) -> bool:
        """Whether a topic is part of the story: no robot state, whose numbers are in the bag."""
        if kind == TEXT:
            return topic.endswith(("/feedback", "/note"))
        return kind in (REPORT, INSTRUCTION, CHUNK, HEARTBEAT, FAULT, HALT, IMAGE, DIAGNOSTICS)

    def lines(self, messages: Iterable[BagMessage]) -> Iterator[StoryLine]:
        """Each line once it is known that none begins earlier."""
        for message in messages:
            self._take(message)
            if self._run is None or len(self._waiting) > MOST_WAITING:
                yield from self._flush()
        self._end_run()
        yield from self._flush()

    def _take(self, message: BagMessage) -> None:
        read = self._readers.get(message.type)
        if read is None:
            return
        self.first = self.first or message.received
        self.last = message.received
        try:
            read(message)
        except (AttributeError, TypeError, ValueError, IndexError) as problem:
            # of a release that says something else by this name
            sentence = f"{message.topic} is of another version: {str(problem)[:150]}"
            self.refused[printable(sentence)] += 1

    def _flush(self) -> list[StoryLine]:
        lines = sorted(self._waiting, key=lambda line: (line.epoch, line.begin))
        self._waiting = []
        return lines

    def _add(self, at: int, kind: str, text: str, image: bytes = b"") -> None:
        self._waiting.append(StoryLine(at, at, kind, text, image, self._epoch))

    def _seen(self) -> bytes:
        """The newest image."""
        if not self._images:
            return b""
        return max(self._images.values(), key=lambda image: image[0])[1]

    # -- the gate ----------------------------------------------------------------------
    def _on_report(self, message: BagMessage) -> None:
        self._look_at_clock(message.received)
        report = message.message
        verdict = Verdict(int(report.verdict))
        state = State(int(report.state))
        source = control_source(report)
        moves = verdict in (Verdict.PASSED, Verdict.LIMITED)
        instruction = int(report.instruction_id)
        key = (state, moves, "" if moves else report.rule, source, instruction if moves else 0)
        run = self._run
        # what is wanted and sent changes all the time: a drive is told second by second
        told = run is not None and moves and message.received - run.begin > MOVING_NS
        if run is None or run.key != key or told:
            self._end_run()
            reason = str(report.reason)
            context = "" if moves else self._context(message.received, str(report.rule))
            run = _Run(key, message.received, message.received, reason, self._seen(), context)
            self._run = run
        run.end = message.received
        run.count += 1
        self.counts[verdict.name] += 1
        if verdict is Verdict.LIMITED:
            run.rules[report.rule] += 1
            run.limited = run.limited or str(report.reason)
        for name, wanted, sent in zip(report.channels, report.requested, report.emitted):
            _widen(run.wanted, name, float(wanted))
            _widen(run.sent, name, float(sent))

    def _end_run(self) -> None:
        run = self._run
        self._run = None
        if run is None:
            return
        state, moves, rule, source, instruction = run.key
        lasted = f" ({to_seconds(run.end - run.begin):.2f} s, {run.count} reports)"
        if moves:
            kind = "moves"
            text = self._of_motion(run, source, instruction)
        elif state is State.STOPPED:
            kind = "stopped"
            text = f"STOPPED by {rule}: {run.reason}"
        elif state is State.DISARMED:
            kind = "held"
            text = "disarmed"
        else:
            kind = "held"
            text = f"held by {rule}: {run.reason}"
        text += run.context + lasted
        line = StoryLine(run.begin, run.end, kind, text, run.image, self._epoch)
        self._waiting.append(line)

    def _of_motion(self, run: _Run, source: str, instruction: int) -> str:
        who = "the policy" if source == POLICY else source
        text = f"{who} drives"
        if source == POLICY and instruction:
            text += f", {self._named(instruction)}"
        text += f": wanted {_ranges(run.wanted)}; sent {_ranges(run.sent)}"
        for rule, count in run.rules.most_common(3):
            text += f"; limited by {rule} " + (f"{count} times" if count > 1 else "once")
        return text + (f" ({run.limited})" if run.limited else "")

    def _named(self, instruction: int) -> str:
        """By its words; by its number where they were not recorded."""
        words = self._text.get(instruction)
        return f"“{words}”" if words else f"instruction {instruction}"

    def _context(self, now: int, rule: str) -> str:
        """What happened shortly before that may be why."""
        parts: list[str] = []
        if rule in IMAGE_RULES:
            for topic, (came, _) in self._images.items():
                if now - came > OLD_IMAGE_NS:
                    old = to_seconds(now - came)
                    parts.append(f"the last image of {topic} had come {old:.2f} s before")
        for node in self._nodes.values():
            if node.event and 0 <= now - node.happened < CONTEXT_NS:
                parts.append(f"{node.event} at {clock(node.happened)}")
        return "".join(f"; {part}" for part in parts)

    # -- people ------------------------------------------------------------------------
    def _on_text(self, message: BagMessage) -> None:
        text = str(message.message.data)[:300]
        if message.topic.endswith("/note"):
            self._add(message.received, "said", f"noted: “{text}”")
        else:
            self._add(message.received, "told", f"the operator is told: {text}")

    def _on_instruction(self, message: BagMessage) -> None:
        number = int(message.message.instruction_id)
        text = str(message.message.text)
        self._text[number] = text
        if len(self._text) > MOST_WAITING:
            del self._text[next(iter(self._text))]
        if not text:
            self._add(message.received, "said", "no instruction holds")
            return
        self._accepted = {number: message.received}
        self._add(message.received, "said", f"accepted: “{text}”", self._seen())

    # -- the policy and what it sees ---------------------------------------------------
    def _on_chunk(self, message: BagMessage) -> None:
        chunk = message.message
        if chunk.policy != self._policy:
            self._policy = str(chunk.policy)
            self._add(message.received, "node", f"{self._policy} decides what the robot does")
        accepted = self._accepted.pop(int(chunk.instruction_id), None)
        if accepted is not None:
            after = to_seconds(message.received - accepted)
            number = int(chunk.instruction_id)
            text = f"the first action for {self._named(number)}, {after:.2f} s after it"
            self._add(message.received, "told", text)

    def _on_image(self, message: BagMessage) -> None:
        self._images[message.topic] = (message.received, bytes(message.message.data))

    # -- the nodes ---------------------------------------------------------------------
    def _on_heartbeat(self, message: BagMessage) -> None:
        now = message.received
        self._look_at_clock(now)
        beat = message.message
        name = str(beat.node)
        for other, life in self._nodes.items():
            if other != name and not life.silent and now - life.heard > SILENT_NS:
                life.silent = True
                self._tell(life, life.heard, f"{other} fell silent")
        life = self._nodes.setdefault(name, _NodeLife(beat.process, beat.state, now))
        away = to_seconds(now - life.heard)
        if beat.process != life.process:
            self._tell(life, now, f"{name} had restarted, after {away:.1f} s")
        elif life.silent:
            self._tell(life, now, f"{name} was heard again, after {away:.1f} s")
        if beat.state != life.state and beat.process == life.process:
            text = f"{name} became {beat.state}"
            if life.state == UP:
                self._tell(life, now, text)
            else:  # it comes up: no cause of anything
                self._add(now, "node", text)
        life.process = beat.process
        life.state = beat.state
        life.heard = now
        life.silent = False

    def _tell(self, life: _NodeLife, at: int, event: str) -> None:
        life.event = event
        life.happened = at
        self._add(at, "node", event)

    def _on_fault(self, message: BagMessage) -> None:
        fault = message.message
        key = (str(fault.kind), str(fault.source))
        before = self._faults.get(key)
        self._faults[key] = message.received
        if before is None or message.received - before > FAULT_OVER_NS:
            text = f"{fault.kind} fault of {fault.source}: {fault.text}"
            self._add(message.received, "fault", text, self._seen())

    def _on_halt(self, message: BagMessage) -> None:
        halt = message.message
        reason = str(halt.reason) or ("no reason is given" if halt.halted else "")
        if reason and reason != self._halt:
            self._add(message.received, "fault", f"the supervisor halts the robot: {reason}")
        elif self._halt and not reason:
            self._add(message.received, "told", "the supervisor halts the robot no more")
        self._halt = reason

    def _on_diagnostics(self, message: BagMessage) -> None:
        for status in message.message.status:
            raw = status.level
            level = raw[0] if isinstance(raw, bytes) else int(raw)
            before = self._levels.get(status.name, 0)
            self._levels[status.name] = level
            if level != before:
                word = LEVELS.get(level, str(level))
                self._add(message.received, "node", f"{status.name} is {word}: {status.message}")

    def _look_at_clock(self, now: int) -> None:
        """A clock that was set while it was recorded; ages across it would be wrong."""
        before = self._steady
        self._steady = now
        if not before or -BACK_NS <= now - before <= GAP_NS:
            return
        jump = to_seconds(now - before)
        self._end_run()
        self._epoch += 1
        self._add(
            now, "clock", f"the clock jumps by {jump:+.2f} s, or nothing was recorded for so long"
        )
        for life in self._nodes.values():
            life.heard = now
        self._images = {topic: (now, image) for topic, (_, image) in self._images.items()}


def _widen(ranges: dict[str, tuple[float, float]], name: str, value: float) -> None:
    if math.isfinite(value):
        low, high = ranges.get(name, (value, value))
        ranges[name] = (min(low, value), max(high, value))


def _ranges(ranges: Mapping[str, tuple[float, float]]) -> str:
    """Each channel with its value, or with the least and the most."""
    parts: list[str] = []
    for name, (low, high) in ranges.items():
        least = f"{low:.2f}"
        most = f"{high:.2f}"
        parts.append(f"{name} {least}" if least == most else f"{name} {least} to {most}")
    return ", ".join(parts) or "nothing"
