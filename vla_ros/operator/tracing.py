"""One observation's way from the camera's stamp to the robot's command, heard from outside.

Each message carries its observation's stamp, and DDS says when it was sent. So nothing is added to
the suite but one more subscriber, and the times are the senders', not this process'.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from vla_ros.core.types import NANOSECONDS
from vla_ros.nodes.common.convert import stamp_ns
from vla_ros.nodes.common.with_times import with_times
from vla_ros.nodes.gate.outputs import TYPES
from vla_ros_msgs.msg import ActionChunk, Observation, SafetyReport

# Names in the order of the way; `Way.stages` gives their times.
STAGES = ("camera and camera_ingest", "synchronizer", "to inference", "policy", "gate")
# Beyond it a stamp is not on this machine's clock: a simulation's, or a camera that counts from 0.
MAX_CAMERA_NS = 10 * NANOSECONDS
QOS = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)  # fits whoever sends


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


def header_stamp(data: bytes) -> int:
    """The stamp (ns) of a serialized message that begins with a std_msgs/Header.

    An image is not made into a message for it: that would copy all of its pixels.
    """
    order = "<" if data[1] & 1 else ">"  # CDR's second byte says which
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", data, 4)
    return int(seconds) * NANOSECONDS + int(nanoseconds)


@dataclass
class Trace:
    """What was heard, put together by stamp and by sequence."""

    ways: dict[int, ObservationWay] = field(default_factory=dict)  # stamp -> the observation's
    by_sequence: dict[int, ObservationWay] = field(default_factory=dict)
    _sent: int = 0  # when the newest command was sent

    def _way(self, stamp: int) -> ObservationWay:
        return self.ways.setdefault(stamp, ObservationWay(stamp))

    def on_frame(self, stamp: int, sent: int) -> None:
        """A frame; of several cameras the last with this stamp counts: the pair waited for it."""
        way = self._way(stamp)
        way.frame = max(way.frame, sent)

    def on_observation(self, stamp: int, sent: int) -> None:
        self._way(stamp).observation = sent

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
    """Hears a running suite's topics; `trace` holds what came."""

    def __init__(self, node: Node, namespace: str) -> None:
        self.trace = Trace()
        self._node = node
        base = namespace.rstrip("/")
        for topic in self._frames(base):
            self._hear(Image, topic, self._on_frame, raw=True)
        self._hear(Observation, f"{base}/observation", self._on_observation, raw=True)
        self._hear(ActionChunk, f"{base}/action_chunk", self.trace.on_chunk)
        self._hear(SafetyReport, f"{base}/safety_report", self.trace.on_report)
        for topic, kind in self._outputs(base).items():
            self._hear(kind, topic, lambda data, sent: self.trace.on_command(sent), raw=True)

    def _frames(self, base: str) -> list[str]:
        """The topics on which nodes of this namespace hand images on."""
        topics = []
        for name, namespace in self._node.get_node_names_and_namespaces():
            if namespace.rstrip("/") != base or not name.startswith("camera"):
                continue
            sent = self._node.get_publisher_names_and_types_by_node(name, namespace)
            topics += [topic for topic, kinds in sent if "sensor_msgs/msg/Image" in kinds]
        return sorted(set(topics))

    def _outputs(self, base: str) -> dict[str, type]:
        """Where the gate sends robot commands, by the graph."""
        try:
            sent = self._node.get_publisher_names_and_types_by_node("safety_validator", base or "/")
        except Exception:  # rclpy's NodeNameNonExistentError, whose place differs: no gate is there
            return {}
        return {topic: TYPES[kinds[0]] for topic, kinds in sent if kinds[0] in TYPES}

    def _hear(
        self, kind: type, topic: str, callback: Callable[[Any, int], None], raw: bool = False
    ) -> None:
        on_message = with_times(lambda message, sent, received: callback(message, sent))
        self._node.create_subscription(kind, topic, on_message, QOS, raw=raw)

    def _on_frame(self, data: bytes, sent: int) -> None:
        self.trace.on_frame(header_stamp(data), sent)

    def _on_observation(self, data: bytes, sent: int) -> None:
        self.trace.on_observation(header_stamp(data), sent)


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
