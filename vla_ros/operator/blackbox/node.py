"""blackbox: keeps the last minutes of every topic of the suite, and writes them when it matters."""

from __future__ import annotations

import os
import sys
import threading
import time
from array import array
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger

from vla_ros.core.compressed import to_jpeg
from vla_ros.core.robot import load_robot
from vla_ros.core.yaml_file import read_yaml
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.camera_nodes import chosen_cameras
from vla_ros.nodes.common.from_bytes import reader_of
from vla_ros.nodes.common.message_class import message_class
from vla_ros.nodes.common.reader import Reader
from vla_ros.nodes.common.run_node import run
from vla_ros.operator.blackbox.bag_file import (
    BagFacts,
    missing_library,
    profile_text,
    write_bag,
)
from vla_ros.operator.blackbox.ring import MEGABYTE, MessageRing, RecordedMessage
from vla_ros.operator.blackbox.schemas import definition
from vla_ros.operator.blackbox.topics import RecordedTopic, recorded_topics
from vla_ros.operator.blackbox.triggers import CauseWatch, WriteTriggers
from vla_ros.operator.replay.gate_parameters import files_of_command, read_gate_parameters
from vla_ros_msgs.msg import Fault, Halt, SafetyReport

READ_PERIOD_S = 0.1  # also between two images of a camera
PROFILES_PERIOD_S = 10.0
JPEG_QUALITY = 80
# A larger message would push out everything else; a raw camera image is read as a frame.
MOST_BYTES = 4 * MEGABYTE
# How long an end waits for a file that is being written: the process has five seconds in all.
WRITING_TIMEOUT_S = 2.0
ENDED = "the process was told to end"
ASKED = "an operator asked"


def default_folder() -> Path:
    """Beside ROS' own logs."""
    home = os.environ.get("ROS_HOME") or "~/.ros"
    return Path(home).expanduser() / "vla_blackbox"


class Blackbox(ManagedNode):
    """The flight recorder. It looks on: nobody waits for it, and its death changes nothing.

    Every topic is read ten times a second, in place of being woken up for each message, from
    readers that are best effort: no publisher ever waits for one.

    Subscribed topics:
        instruction/accepted (vla_ros_msgs/Instruction): what of it holds.
        feedback (std_msgs/String): what a person is told.
        joy (sensor_msgs/Joy): what a person's stick says; so are these two:
        teleop_twist (geometry_msgs/Twist): or TwistStamped, as the robot file's base has it.
        teleop_joints (sensor_msgs/JointState): positions by name, or velocities.
        frame (sensor_msgs/Image): what the policy sees, kept as JPEG; of each camera.
        action_chunk (vla_ros_msgs/ActionChunk): what the policy wants.
        safety_report (vla_ros_msgs/SafetyReport): what the gate does, and why.
        heartbeat (vla_ros_msgs/Heartbeat): which nodes live.
        fault (vla_ros_msgs/Fault): what they report.
        halt (vla_ros_msgs/Halt): what the supervisor says.
        /diagnostics (diagnostic_msgs/DiagnosticArray): how they are.
        the robot file's state: where its joints are, and its odometry.
        the robot file's sensors: what is in the way.
        the robot file's outputs: robot commands.
        what a rule declares: its sources.

    Services:
        ~/write (std_srvs/Trigger): writes a file now.

    Parameters:
        `blackbox` in nodes/node_parameters.py.

    Faults:
        none: a file that cannot be written is a sentence in the log and in /diagnostics.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("blackbox", **options)
        self._readers: dict[Reader, RecordedTopic] = {}
        self._writer: threading.Thread | None = None
        self._files = 0
        self._last_file = ""
        self._folder = default_folder()
        self._ring = MessageRing(1.0, 1.0)
        self._triggers = WriteTriggers(0.0)

    def configure(self) -> None:
        path = self.params["robot_file"]
        robot = load_robot(path)
        self._robot_file = Path(path).read_text(encoding="utf-8")
        self._beside: dict[str, bytes] = {}
        if urdf := read_yaml(path, "robot file").get("urdf"):
            self._beside[urdf] = (Path(path).parent / urdf).read_bytes()
        self._gate = self._gate_parameters()
        self._folder = Path(self.params["blackbox_folder"] or default_folder()).expanduser()
        self._triggers = WriteTriggers(self.params["blackbox_settle"])
        self._causes = CauseWatch()
        self._types: dict[str, str] = {}  # topic in the file -> type
        self._schemas: dict[str, str] = {}
        self._profiles: dict[str, str] = {}
        self._readers = {}
        self._names: dict[Reader, str] = {}  # as _kept says: asked once, not for each message
        self.add_service(Trigger, "~/write", self._on_write)
        if sentence := missing_library():
            self.get_logger().warning(sentence)
            self._ring = MessageRing(1.0, 1.0)
            return
        latched: list[str] = []
        for topic in recorded_topics(robot, chosen_cameras(robot, self.params["cameras"])):
            self._hear(topic)
            if topic.latched:
                latched.append(self._kept(topic.kept_name))
        seconds = self.params["blackbox_seconds"]
        # half: while a file is written, what goes into it is held beside what comes meanwhile
        self._ring = MessageRing(seconds, self.params["blackbox_megabytes"] / 2, latched)
        self._read_image = reader_of(message_class("sensor_msgs/msg/Image"))
        # What the causes are found in: a report costs 30 µs.
        self._watched = {
            self._kept("safety_report"): (reader_of(SafetyReport), self._see_report),
            self._kept("halt"): (reader_of(Halt), self._see_halt),
            self._kept("fault"): (reader_of(Fault), self._see_fault),
        }
        self.add_timer(READ_PERIOD_S, self._look)
        # and not only when it writes: by then the publishers may be gone
        self.add_timer(PROFILES_PERIOD_S, self._note_profiles)

    def _gate_parameters(self) -> dict[str, Any]:
        """As far as they are known here: launch gives one file to all nodes."""
        found: dict[str, Any] = {}
        try:
            for path in files_of_command(sys.argv):
                found.update(read_gate_parameters(path))
        except ValueError as problem:
            self.reject("parameter file", problem)
        found["cameras"] = self.params["cameras"]
        return found

    def _hear(self, topic: RecordedTopic) -> None:
        qos = QoSProfile(depth=topic.depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        if topic.latched:
            # what was said before this process began: only a reliable reader is told it
            qos = QoSProfile(
                depth=topic.depth,
                reliability=ReliabilityPolicy.RELIABLE,
                durability=DurabilityPolicy.TRANSIENT_LOCAL,
            )
        # A package that is not here costs its topic, not the recorder.
        try:
            kind = message_class(topic.type)
            self._schemas[topic.kept_type] = definition(topic.kept_type)
        except ValueError as problem:
            self.reject("unknown type", f"{topic.name} is not recorded: {problem}")
            return
        reader = self.add_reader(kind, topic.name, qos, raw=True, most_bytes=MOST_BYTES)
        self._readers[reader] = topic
        name = self._kept(topic.kept_name)
        self._names[reader] = name
        self._types[name] = topic.kept_type

    def _kept(self, name: str) -> str:
        """What a topic is called in the file: as the robot file says, wherever it really is."""
        kept: str = self.resolve_topic_name(name, only_expand=True)
        return kept

    def activate(self) -> None:
        for reader, topic in self._readers.items():
            if not topic.latched:
                reader.discard()

    def deactivate(self) -> None:
        if self._writer:
            self._writer.join(timeout=WRITING_TIMEOUT_S)
            if self._writer.is_alive():
                self.get_logger().error("a file is still being written; what came since is lost")
                return
        if not self._readers:
            return
        self._read()
        reasons = [*self._triggers.take_all(time.monotonic_ns()), ENDED]
        if len(self._ring):
            self._write(self._ring.messages(), reasons)

    # -- ten times a second ------------------------------------------------------------
    def _look(self) -> None:
        if not self.active:
            return
        self._read()
        now = time.monotonic_ns()
        if self._writer and self._writer.is_alive():
            return  # what is due waits for it
        if reasons := self._triggers.take_due(now):
            self._note_profiles()
            messages = self._ring.messages()
            self._writer = threading.Thread(
                target=self._write, args=(messages, reasons), name="write", daemon=True
            )
            self._writer.start()

    def _read(self) -> None:
        """Takes all that came, in the order in which it came."""
        now = time.monotonic_ns()
        batch: list[RecordedMessage] = []
        for reader, topic in self._readers.items():
            before = reader.oversized
            for data, info in reader.take_with_info():
                if topic.is_image:
                    data = self._jpeg(data)
                if data:
                    received = info.get("received_timestamp", 0) or time.time_ns()
                    sent = info.get("source_timestamp", 0)
                    batch.append(RecordedMessage(self._names[reader], data, now, received, sent))
            for _ in range(reader.oversized - before):
                self.stats.drop(f"{reader.topic}: too large")
        batch.sort(key=attrgetter("received"))
        for message in batch:
            self._ring.add(message)
            if message.topic in self._watched:
                self.guard(self._watch, message, now)
        self._ring.forget(now)

    def _watch(self, message: RecordedMessage, now: int) -> None:
        """Looks for causes in what the gate, the supervisor and the nodes say."""
        read, see = self._watched[message.topic]
        see(read(message.data), now)

    def _jpeg(self, data: bytes) -> bytes:
        """A frame, whose pixels are rgb8, as a CompressedImage; empty where it is none."""
        try:
            image = self._read_image(data)
            # `data` is a view of the bytes, as `rgb_image` wants it
            jpeg = to_jpeg(convert.rgb_image(image), JPEG_QUALITY)
        except ValueError as problem:
            self.reject("bad frame", problem)
            return b""
        message = CompressedImage(format="rgb8; jpeg compressed bgr8")
        message.header.stamp.sec = image.header.stamp.sec
        message.header.stamp.nanosec = image.header.stamp.nanosec
        message.header.frame_id = image.header.frame_id
        message.data = array("B", jpeg)
        return bytes(serialize_message(message))

    def _see_report(self, report: Any, now: int) -> None:
        self._note(self._causes.on_report(report.state, report.reason), now)

    def _see_halt(self, halt: Any, now: int) -> None:
        self._note(self._causes.on_halt(halt.halted, halt.reason), now)

    def _see_fault(self, fault: Any, now: int) -> None:
        self._note(self._causes.on_fault(fault.kind, fault.source, fault.text, now), now)

    def _note(self, cause: str, now: int) -> None:
        if cause:
            self._triggers.note(cause, now)

    def _note_profiles(self) -> None:
        """The QoS that each topic is published with; what nobody publishes now keeps its last."""
        for reader in self._readers:
            profiles: list[tuple[int, int, int, int]] = []
            for info in self.get_publishers_info_by_topic(reader.subscription.topic_name):
                qos = info.qos_profile
                profiles.append(
                    (
                        int(qos.history),
                        int(qos.depth),
                        int(qos.reliability),
                        int(qos.durability),
                    )
                )
            if profiles:
                self._profiles[self._names[reader]] = profile_text(profiles)

    # -- writing -----------------------------------------------------------------------
    def _write(self, messages: Sequence[RecordedMessage], reasons: Sequence[str]) -> None:
        """Whatever goes wrong is a sentence, and the recorder goes on."""
        facts = BagFacts(
            reasons,
            self._types,
            self._schemas,
            dict(self._profiles),
            self._robot_file,
            self._beside,
            self._gate,
            self.get_namespace(),
            any(reason not in (ASKED, ENDED) for reason in reasons),
        )
        try:
            path = write_bag(self._folder, messages, facts, self.params["blackbox_files"])
        except Exception as problem:
            self.problem = str(problem)
            self.get_logger().error(self.problem)
            return
        self.problem = ""
        self._files += 1
        self._last_file = str(path)
        self.get_logger().info(f"wrote {path}: {'; '.join(reasons)[:300]}")

    def _on_write(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        sentence = missing_library()
        if not self.active:
            sentence = f"the flight recorder is {self.state}, not active"
        response.success = not sentence
        if response.success:
            self._triggers.note(ASKED, time.monotonic_ns(), at_once=True)
            sentence = (
                f"{len(self._ring)} messages of the last {self._ring.seconds():.0f} s go to a file "
                f"in {self._folder}"
            )
        response.message = sentence
        return response

    def diagnose(self) -> dict[str, str]:
        values = {
            "seconds": f"{self._ring.seconds():.1f}",
            "megabytes": f"{self._ring.size / MEGABYTE:.1f}",
            "files": str(self._files),
            "last_file": self._last_file,
            "folder": str(self._folder),
        }
        if not self._readers:
            values["not recording"] = missing_library()
        return values


def main() -> None:
    # nobody leads it: it is up, and goes on, whatever becomes of the supervisor
    run(Blackbox, start=True)


if __name__ == "__main__":
    main()
