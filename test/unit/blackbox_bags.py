"""Recordings as the flight recorder writes them, made without ROS from our own .msg files."""
from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vla_ros.operator.blackbox.bag_file import BagFacts, write_bag
from vla_ros.operator.blackbox.ring import RecordedMessage

MSG = Path(__file__).parents[2] / "msg"
SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
OURS = "vla_ros_msgs/msg/"
TEXT = "std_msgs/msg/String"
IMAGE, DIAGNOSTICS = "sensor_msgs/msg/CompressedImage", "diagnostic_msgs/msg/DiagnosticArray"
DISARMED, HOLDING, ACTIVE, STOPPED = range(4)
PASSED, LIMITED, HELD, LATCHED = range(4)


@cache
def store() -> Any:
    known = get_typestore(Stores.ROS2_HUMBLE)
    for path in sorted(MSG.glob("*.msg")):
        known.register(get_types_from_msg(path.read_text(encoding="utf-8"), OURS + path.stem))
    return known


def definition(kind: str) -> str:
    return store().generate_msgdef(kind, ros_version=2)[0]


def make(kind: str, /, **fields: Any) -> Any:
    return store().types[kind](**fields)


def time_of(nanoseconds: int) -> Any:
    return make("builtin_interfaces/msg/Time", sec=nanoseconds // SECOND, nanosec=nanoseconds % SECOND)


def duration(nanoseconds: int) -> Any:
    return make("builtin_interfaces/msg/Duration", sec=nanoseconds // SECOND, nanosec=nanoseconds % SECOND)


def header(nanoseconds: int, frame: str = "") -> Any:
    return make("std_msgs/msg/Header", stamp=time_of(nanoseconds), frame_id=frame)


class Bag:
    """Messages at so many seconds after START; `write` makes the file."""

    def __init__(self) -> None:
        self.messages: list[RecordedMessage] = []
        self.types: dict[str, str] = {}

    def add(self, seconds: float, topic: str, kind: str, message: Any) -> Bag:
        at = START + round(seconds * SECOND)
        data = bytes(store().serialize_cdr(message, kind))
        self.types[topic] = kind
        self.messages.append(RecordedMessage(topic, data, at, at, at))
        return self

    def text(self, seconds: float, topic: str, text: str) -> Bag:
        return self.add(seconds, f"/vla/{topic}", TEXT, make(TEXT, data=text))

    def heartbeat(self, seconds: float, node: str, process: str = "7.1.here", state: str = "active") -> Bag:
        at = START + round(seconds * SECOND)
        return self.add(seconds, "/vla/heartbeat", OURS + "Heartbeat", make(
            OURS + "Heartbeat", stamp=time_of(at), node=node, state=state, process=process))

    def instruction(self, seconds: float, number: int, text: str) -> Bag:
        at = START + round(seconds * SECOND)
        return self.add(seconds, "/vla/instruction/accepted", OURS + "Instruction", make(
            OURS + "Instruction", header=header(at), instruction_id=number, text=text))

    def fault(self, seconds: float, kind: str, source: str, text: str) -> Bag:
        at = START + round(seconds * SECOND)
        return self.add(seconds, "/vla/fault", OURS + "Fault", make(
            OURS + "Fault", stamp=time_of(at), kind=kind, source=source, text=text))

    def halt(self, seconds: float, reason: str) -> Bag:
        at = START + round(seconds * SECOND)
        return self.add(seconds, "/vla/halt", OURS + "Halt", make(
            OURS + "Halt", stamp=time_of(at), halted=bool(reason), reason=reason))

    def image(self, seconds: float, data: bytes = b"jpeg", topic: str = "/vla/frame/compressed") -> Bag:
        import numpy as np
        at = START + round(seconds * SECOND)
        return self.add(seconds, topic, IMAGE, make(
            IMAGE, header=header(at, "camera"), format="jpeg", data=np.frombuffer(data, np.uint8)))

    def chunk(self, seconds: float, number: int, values: Any, sequence: int = 1, stamp: float | None = None,
              step: float = 0.1, channels: tuple[str, ...] = ("linear.x", "angular.z")) -> Bag:
        import numpy as np
        at = START + round((seconds if stamp is None else stamp) * SECOND)
        return self.add(seconds, "/vla/action_chunk", OURS + "ActionChunk", make(
            OURS + "ActionChunk", header=header(at), instruction_id=number, sequence=sequence, process="7.1.here",
            policy="constant@1", step=duration(round(step * SECOND)), latency=duration(1000), channels=list(channels),
            values=np.array(values, np.float32).ravel()))

    def report(self, seconds: float, state: int = ACTIVE, verdict: int = PASSED, rule: str = "", reason: str = "", *,
               number: int = 7, sequence: int = 1, requested: Any = (0.2, 0.0), emitted: Any = (0.2, 0.0),
               source: str = "policy", age: float = 0.1,
               channels: tuple[str, ...] = ("linear.x", "angular.z")) -> Bag:
        import numpy as np
        at = START + round(seconds * SECOND)
        return self.add(seconds, "/vla/safety_report", OURS + "SafetyReport", make(
            OURS + "SafetyReport", header=header(at), state=state, verdict=verdict, rule=rule, reason=reason,
            control_source=source, instruction_id=number, sequence=sequence, channels=list(channels),
            requested=np.array(requested, np.float32), emitted=np.array(emitted, np.float32), age=duration(
                round(age * SECOND))))

    def facts(self, reasons: tuple[str, ...] = ("an operator asked",), **more: Any) -> BagFacts:
        schemas = {kind: definition(kind) for kind in set(self.types.values())}
        return BagFacts(reasons, self.types, schemas, **more)

    def write(self, folder: Path, most_files: int = 10, **more: Any) -> Path:
        return write_bag(folder, self.messages, self.facts(**more), most_files)
