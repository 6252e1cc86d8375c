"""One observation's way from the camera's stamp to the robot's command, heard from outside.

Each message carries its observation's stamp, and DDS says when it was sent: the times are the
senders', not this process'. No image is heard, and no message wakes this process: they are read a
few times a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header

from vla_ros.core.types import NANOSECONDS
from vla_ros.nodes.common.convert import stamp_ns
from vla_ros.nodes.common.passed import TOPIC as PASSED
from vla_ros.nodes.common.reader import Reader
from vla_ros.nodes.gate.outputs import TYPES
from vla_ros_msgs.msg import ActionChunk, SafetyReport

# Names in the order of the way; `Way.stages` gives their times.
STAGES = ("camera and camera_ingest", "synchronizer", "to inference", "policy", "gate")
# Beyond it a stamp is not on this machine's clock: a simulation's, or a camera that counts from 0.
MAX_CAMERA_NS = 10 * NANOSECONDS
READ_PERIOD_S = 0.2
# Best effort fits whoever sends; so many come in no period, of a gate at 200 Hz say.
QOS = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)


@dataclass
class ObservationWay:
    """When an observation passed where, ns on the system clock; 0: it was not heard there.

    Attributes:
        stamp: the oldest image's, from its camera.
        frame: its camera_ingest sent it on.
        observation: the synchronizer sent the pair.
        arrived: inference received it.
        chunk: inference sent the action.
        command: the gate first sent a command that follows from it.
    """

    stamp: int
    frame: int = 0
    observation: int = 0
    arrived: int = 0
    chunk: int = 0
    command: int = 0
    sequence: int = 0
    instruction_id: int = 0

    def stages(self) -> dict[str, tuple[int, int]]:
        """Name of STAGES -> begin and end, ns; a stage whose ends were not both heard is left out.

        Several processes' clocks are one here: the machine's.
        """
        begun = self.stamp if abs(self.frame - self.stamp) < MAX_CAMERA_NS else 0
        marks = (begun, self.frame, self.observation, self.arrived, self.chunk, self.command)
        spans = {}
        for name, begin, end in zip(STAGES, marks, marks[1:]):
            if begin and end:
                spans[name] = (begin, max(begin, end))
        return spans

    @property
    def total(self) -> int:
        """From the first stage that was heard to the command, ns; 0: there is none."""
        spans = list(self.stages().values())
        return spans[-1][1] - spans[0][0] if spans and self.command else 0


@dataclass
class Trace:
    """What was heard, put together by stamp and by sequence."""

    ways: dict[int, ObservationWay] = field(default_factory=dict)  # stamp -> the observation's
    by_sequence: dict[int, ObservationWay] = field(default_factory=dict)
    _sent: int = 0  # when the newest command was sent

    def _way(self, stamp: int) -> ObservationWay:
        return self.ways.setdefault(stamp, ObservationWay(stamp))

    def on_passed(self, message: Header, sent: int) -> None:
        """A frame or an observation; of several cameras' frames the last with this stamp counts:
        the pair waited for it."""
        way = self._way(stamp_ns(message.stamp))
        if message.frame_id == "observation":
            way.observation = sent
        else:
            way.frame = max(way.frame, sent)

    def on_chunk(self, message: ActionChunk, sent: int) -> None:
        way = self._way(stamp_ns(message.header.stamp))
        way.chunk = sent
        way.arrived = sent - stamp_ns(message.latency)
        way.sequence = message.sequence
        way.instruction_id = message.instruction_id
        self.by_sequence[message.sequence] = way

    def on_command(self, sent: int) -> None:
        self._sent = sent

    def on_report(self, message: SafetyReport, sent: int) -> None:
        """The gate reports right after it has sent, in the same tick."""
        way = self.by_sequence.get(message.sequence)
        if way is None or way.command or message.verdict > SafetyReport.LIMITED:
            return
        # Without a command that was heard, its report stands for it: some 0.1 ms later.
        way.command = self._sent if way.chunk <= self._sent <= sent else sent

    def complete(self) -> list[ObservationWay]:
        """Those that led to a command, in the order of their stamps."""
        return [self.ways[stamp] for stamp in sorted(self.ways) if self.ways[stamp].command]


class Listener:
    """Hears a running suite's topics; `trace` holds what `listen` heard."""

    def __init__(self, node: Node, namespace: str) -> None:
        self.trace = Trace()
        base = namespace.rstrip("/")
        # In this order: when a report is read, what was sent before it has come.
        self._readers: dict[Reader, Callable[[Any, int], None]] = {
            Reader(node, SafetyReport, f"{base}/safety_report", QOS): self.trace.on_report
        }
        for topic, kind in _outputs(node, base).items():
            self._readers[Reader(node, kind, topic, QOS, raw=True)] = self._on_command
        self._readers[Reader(node, ActionChunk, f"{base}/action_chunk", QOS)] = self.trace.on_chunk
        self._readers[Reader(node, Header, f"{base}/{PASSED}", QOS)] = self.trace.on_passed

    def listen(self, seconds: float) -> None:
        """For so long; what was sent is then in the trace."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0:
            time.sleep(min(READ_PERIOD_S, left))
            self._read()

    def _read(self) -> None:
        heard = []
        for reader, callback in self._readers.items():
            for message, info in reader.take_with_info():
                heard.append((info["source_timestamp"], callback, message))
        for sent, callback, message in sorted(heard, key=itemgetter(0)):
            callback(message, sent)

    def _on_command(self, message: bytes, sent: int) -> None:
        self.trace.on_command(sent)


def _outputs(node: Node, base: str) -> dict[str, type]:
    """Where the gate sends robot commands, by the graph."""
    try:
        sent = node.get_publisher_names_and_types_by_node("safety_validator", base or "/")
    except Exception:  # rclpy's NodeNameNonExistentError, whose place differs: no gate is there
        return {}
    return {topic: TYPES[kinds[0]] for topic, kinds in sent if kinds[0] in TYPES}


def chrome_events(ways: Sequence[ObservationWay]) -> list[dict[str, Any]]:
    """The ways as Chrome's trace events, which chrome://tracing and ui.perfetto.dev show.

    A line a stage; times are in µs from the first way's begin.
    """
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "vla_ros"}}
    ]
    for line, stage in enumerate(STAGES, 1):
        events.append(
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": line, "args": {"name": stage}}
        )
    zero = min((begin for way in ways for begin, _ in way.stages().values()), default=0)
    for way in ways:
        facts = {"sequence": way.sequence, "instruction_id": way.instruction_id, "stamp": way.stamp}
        for stage, (begin, end) in way.stages().items():
            events.append(
                {
                    "ph": "X",
                    "name": stage,
                    "pid": 1,
                    "tid": STAGES.index(stage) + 1,
                    "ts": (begin - zero) / 1e3,
                    "dur": (end - begin) / 1e3,
                    "args": facts,
                }
            )
    return events
