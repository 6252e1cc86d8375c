"""Writes one MCAP file with ROS 2 schemas, as Foxglove, `ros2 bag` and rosbags read it. No ROS."""

from __future__ import annotations

import fcntl
import itertools
import json
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from vla_ros import __version__
from vla_ros.core.types import NANOSECONDS
from vla_ros.core.whole_file import rename_whole
from vla_ros.operator.blackbox.ring import MEGABYTE, RecordedMessage

NAME = "blackbox"
SUFFIX = ".mcap"
PART = ".part"  # until a file is whole
# A stop's, a fault's or a halt's; and what an operator asked for or an orderly end left. Each kind
# has its own place for files: ten restarts push out no stop.
INCIDENT = "incident"
ROUTINE = "routine"
# moment, number, kind and namespace: other robots' recorders may share a folder
NAMES = re.compile(
    rf"{NAME}_(\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\dZ)(?:-(\d+))?"
    rf"_({INCIDENT}|{ROUTINE})((?:_[\w-]+)?){re.escape(SUFFIX)}"
)
# What the robot itself needs of its disk is not taken for its history.
SPARE_BYTES = 64 * MEGABYTE
MISSING = "the flight recorder needs the Python module mcap: pip install mcap; nothing is recorded"
ROBOT_FILE = "robot.yaml"  # the attachment
METADATA = "vla_ros"  # the metadata record's name


@dataclass(frozen=True)
class BagFacts:
    """What a file says beside its messages.

    Attributes:
        reasons: why it was written.
        types: topic -> its type, as "std_msgs/msg/String".
        schemas: type -> its definition.
        profiles: topic -> its publishers' QoS, as rosbag2 writes it.
        robot_file: its text.
        beside: what the robot file names, by its name there -> its content.
        parameters: the gate's.
        namespace: of the recorder.
        incident: whether a stop, a fault or a halt is why.
    """

    reasons: Sequence[str]
    types: Mapping[str, str]
    schemas: Mapping[str, str]
    profiles: Mapping[str, str] = field(default_factory=dict)
    robot_file: str = ""
    beside: Mapping[str, bytes] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    namespace: str = ""
    incident: bool = True

    @property
    def end(self) -> str:
        """What names end in that share a quota: the kind and the namespace."""
        words = [INCIDENT if self.incident else ROUTINE]
        if self.namespace.strip("/"):
            words.append(self.namespace.strip("/").replace("/", "-"))
        return f"_{'_'.join(words)}{SUFFIX}"


def missing_library() -> str:
    """Why no file can be written here, as a sentence; empty: it can."""
    try:
        import mcap.writer  # noqa: F401
    except ImportError:
        return MISSING
    return ""


def write_bag(
    folder: Path, messages: Sequence[RecordedMessage], facts: BagFacts, most_files: int
) -> Path:
    """Writes a file, and removes the oldest of its kind and namespace beyond `most_files`.

    Args:
        folder: is made where it is not there.
        messages: in the order in which they arrived.
        facts: what else the file says.
        most_files: that stay.

    Returns:
        The file. It has its name only once it is whole, and on the disk.

    Raises:
        ValueError: a sentence: the disk is full, the folder cannot be written to.
    """
    size = sum(message.size for message in messages)
    part: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear_killed(folder)
        free = shutil.disk_usage(folder).free
        if free < size + SPARE_BYTES:
            raise ValueError(
                f"the flight recorder wrote nothing: {folder} has {free // MEGABYTE} MB left, and "
                f"the file may take {size // MEGABYTE + 1} MB; {SPARE_BYTES // MEGABYTE} MB stay "
                "free for the robot"
            )
        path, stream = _begin(folder, facts.end)
        part = _part_of(path)
        with stream:
            _write(stream, messages, facts)
            stream.flush()
            # still open: its lock says that its writer lives
            rename_whole(part, path)
        _tidy(path, facts.end, most_files)
    except OSError as problem:
        if part is not None:
            _remove(part)
        raise ValueError(
            f"the flight recorder wrote nothing to {folder}: {problem.strerror or problem}; free "
            "the disk, or give it another folder (blackbox_folder)"
        ) from None
    return path


def _part_of(path: Path) -> Path:
    return path.with_name(path.name + PART)


def _begin(folder: Path, end: str) -> tuple[Path, BinaryIO]:
    """A name that no other recorder has, and its .part, locked while it is open.

    Names begin with the time, so that they sort by age; two of one second differ by a number.
    """
    moment = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    for number in itertools.count(1):
        path = folder / f"{NAME}_{moment}{f'-{number}' if number > 1 else ''}{end}"
        part = _part_of(path)
        try:
            stream = open(part, "xb")  # noqa: SIM115
        except FileExistsError:
            continue
        fcntl.flock(stream, fcntl.LOCK_EX)
        # between the two others may have taken it for a dead process's, or written such a file
        if part.exists() and not path.exists():
            return path, stream
        stream.close()
        _remove(part)
    raise AssertionError("there is no end to the numbers")


def _clear_killed(folder: Path) -> None:
    """Removes unfinished files whose processes are gone: the kernel has let go of their locks."""
    for part in folder.glob(f"{NAME}_*{SUFFIX}{PART}"):
        if not NAMES.fullmatch(part.name[: -len(PART)]):
            continue
        with suppress(OSError), open(part, "rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink(missing_ok=True)


def bag_files(folder: Path, end: str = "") -> list[Path]:
    """Flight recorders' files in a folder, oldest first; `end`: those whose names end so."""
    files: list[tuple[str, int, Path]] = []
    for path in folder.glob(f"{NAME}_*{SUFFIX}"):
        if name := NAMES.fullmatch(path.name):
            moment, number, kind, namespace = name.groups()
            if not end or f"_{kind}{namespace}{SUFFIX}" == end:
                files.append((moment, int(number or 1), path))
    return [path for _, _, path in sorted(files)]


def _tidy(newest: Path, end: str, most_files: int) -> None:
    # by name the newest is not always last: a clock may have been set back
    others = [path for path in bag_files(newest.parent, end) if path != newest]
    for path in others[: max(0, len(others) + 1 - most_files)]:
        _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass  # what cannot be removed is in nobody's way


def _write(stream: Any, messages: Sequence[RecordedMessage], facts: BagFacts) -> None:
    from mcap.writer import Writer

    writer = Writer(stream)
    writer.start("ros2", f"vla_ros {__version__}")
    writer.add_metadata(
        METADATA,
        {
            "version": __version__,
            "namespace": facts.namespace,
            "reasons": json.dumps(list(facts.reasons)),
            "gate_parameters": json.dumps(dict(facts.parameters)),
        },
    )
    files = dict(facts.beside)
    if facts.robot_file:
        files[ROBOT_FILE] = facts.robot_file.encode()
    for name, content in files.items():
        writer.add_attachment(time.time_ns(), time.time_ns(), name, "text/plain", content)
    schemas: dict[str, int] = {}
    channels: dict[str, int] = {}
    for topic in dict.fromkeys(message.topic for message in messages):
        kind = facts.types[topic]
        if kind not in schemas:
            schemas[kind] = writer.register_schema(kind, "ros2msg", facts.schemas[kind].encode())
        channels[topic] = writer.register_channel(
            topic, "cdr", schemas[kind], {"offered_qos_profiles": facts.profiles.get(topic, "")}
        )
    for number, message in enumerate(messages):
        # unknown to this DDS: 0
        received = message.received or message.published
        writer.add_message(
            channels[message.topic],
            received,
            message.data,
            message.published or received,
            number & 0xFFFFFFFF,
        )
    writer.finish()


INFINITE = f"sec: {(1 << 63) // NANOSECONDS}\n    nsec: {((1 << 63) - 1) % NANOSECONDS}"


def profile_text(profiles: Sequence[tuple[int, int, int, int]]) -> str:
    """QoS of publishers as rosbag2 writes it into a channel's metadata.

    Args:
        profiles: history, depth, reliability and durability of each, by their numbers in rmw.
    """
    entries: list[str] = []
    for history, depth, reliability, durability in dict.fromkeys(profiles):
        entries.append(
            f"- history: {history}\n  depth: {depth}\n  reliability: {reliability}\n"
            f"  durability: {durability}\n"
            f"  deadline:\n    {INFINITE}\n  lifespan:\n    {INFINITE}\n  liveliness: 1\n"
            f"  liveliness_lease_duration:\n    {INFINITE}\n"
            "  avoid_ros_namespace_conventions: false"
        )
    return "\n".join(entries)
