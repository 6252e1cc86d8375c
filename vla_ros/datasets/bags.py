"""Reads ROS 2 recordings, where there is no ROS: rosbag2 folders, and .mcap and .db3 files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SUFFIXES = (".mcap", ".db3")
METADATA = "metadata.yaml"
# Bags of Humble say no message's definition: ours has to be known beforehand.
INSTRUCTION = "vla_ros_msgs/msg/Instruction"
INSTRUCTION_FIELDS = "std_msgs/Header header\nuint64 instruction_id\nstring text\n"


def find_bags(source: Path) -> list[Path]:
    """The bags in a folder, or the only one that `source` is; by name.

    Raises ValueError where there is none.
    """
    if source.suffix in SUFFIXES and source.is_file():
        return [source]
    if (source / METADATA).is_file():
        return [source]
    bags: list[Path] = []
    if source.is_dir():
        for path in sorted(source.iterdir()):
            if path.suffix in SUFFIXES or (path / METADATA).is_file():
                bags.append(path)
    if not bags:
        raise ValueError(
            f"{source} is no bag: give a rosbag2 folder (with {METADATA}), a file that ends in "
            f"{' or '.join(SUFFIXES)}, or a folder of those"
        )
    return bags


def topic_types(path: Path) -> dict[str, str]:
    """Topic -> type, of those with messages. Raises ValueError for what is no whole bag."""
    types: dict[str, str] = {}
    with opened_bag(path) as reader:
        for connection in reader.connections:
            if connection.msgcount:
                types[connection.topic] = connection.msgtype
    return types


def read_messages(path: Path, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
    """Topic, when it was recorded (ns), and the message with ROS 2's fields; in that order.

    Raises ValueError for what is no whole bag.
    """
    with opened_bag(path) as reader:
        wanted = []
        for connection in reader.connections:
            if connection.topic in topics:
                wanted.append(connection)
        if not wanted:  # to the library, none means all
            return
        for connection, recorded, data in reader.messages(wanted):
            yield connection.topic, recorded, reader.deserialize(data, connection.msgtype)


@contextmanager
def opened_bag(path: Path) -> Iterator[Any]:
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    # Its types of Humble are those of Jazzy too, for all that a robot file can name.
    known = get_typestore(Stores.ROS2_HUMBLE)
    known.register(get_types_from_msg(INSTRUCTION_FIELDS, INSTRUCTION))
    try:
        with AnyReader([path], default_typestore=known) as reader:
            yield reader
    except (ValueError, GeneratorExit):
        raise
    except Exception as problem:  # the library raises many kinds, those of its storages too
        detail = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise ValueError(
            f"{path} cannot be read as a bag: {detail}; was its recording cut off? `ros2 bag "
            "reindex` mends a folder, `mcap recover` an .mcap"
        ) from None
