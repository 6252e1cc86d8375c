"""A recording's messages one after another, as they were written; memory for one chunk at a time.

An MCAP is read from its begin without its index: one that was cut off is read as far as it goes. No
ROS; each message is read by the definition that its own file has of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_ros.core.shown import printable
from vla_ros.datasets.bags import find_bags, opened_bag

MAGIC = b"\x89MCAP0\r\n"
# Of an MCAP's records; a chunk holds one message at least, and none of the suite's is larger.
MOST_RECORD_BYTES = 512 << 20
MOST_CHUNK_BYTES = 64 << 20  # when it is unpacked; writers begin another at some 1 to 10 MB
MOST_REFUSED = 50  # kinds of sentence that are kept
Wanted = Callable[[str, str], bool]  # topic and type -> whether it is read


@dataclass(frozen=True)
class BagMessage:
    """A message with ROS 2's fields.

    Attributes:
        type: as "std_msgs/msg/String".
        received, published: ns, on the clock of the machine that recorded.
    """

    topic: str
    type: str
    received: int
    published: int
    message: Any


@dataclass
class BagStream:
    """Iterate over it once; then its other fields say what came of it.

    Attributes:
        path: an .mcap, a .db3, or a rosbag2 folder.
        wanted: which topics are read.
        problem: why it ended early, as a sentence; empty: it did not.
        refused: what could not be read -> how many messages.
        metadata: of MCAP's metadata records, all together.
        attachments: name -> content.
    """

    path: Path
    wanted: Wanted = lambda topic, kind: True
    problem: str = ""
    refused: Counter[str] = field(default_factory=Counter)
    metadata: dict[str, str] = field(default_factory=dict)
    attachments: dict[str, bytes] = field(default_factory=dict)

    def __iter__(self) -> Iterator[BagMessage]:
        """Raises ValueError for what is no bag."""
        (path,) = find_bags(self.path)[:1]
        if path.suffix == ".mcap" and _has_mcap():
            yield from self._of_mcap(path)
        else:
            yield from self._of_rosbags(path)

    def parameters(self) -> dict[str, Any]:
        """The gate's, where the recorder knew them."""
        with suppress(ValueError, RecursionError):
            found = json.loads(self.metadata.get("gate_parameters", "{}"))
            return found if isinstance(found, dict) else {}
        return {}

    def _of_rosbags(self, path: Path) -> Iterator[BagMessage]:
        with opened_bag(path) as reader:
            chosen = []
            for connection in reader.connections:
                if self.wanted(connection.topic, connection.msgtype):
                    chosen.append(connection)
            for connection, received, data in reader.messages(chosen) if chosen else ():
                try:
                    message = reader.deserialize(data, connection.msgtype)
                except Exception as problem:  # the library's codecs raise many kinds
                    self._refuse(connection.topic, problem)
                    continue
                yield BagMessage(connection.topic, connection.msgtype, received, received, message)

    def _of_mcap(self, path: Path) -> Iterator[BagMessage]:
        from mcap.records import Attachment, Channel, Message, Metadata, Schema
        from mcap.stream_reader import StreamReader

        schemas: dict[int, Any] = {}
        channels: dict[int, tuple[str, str, Callable[[bytes], Any]] | None] = {}
        with open(path, "rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ValueError(f"{path} is no MCAP file: it does not begin as one")
            file.seek(0)
            records = _records(
                StreamReader(file, emit_chunks=True, record_size_limit=MOST_RECORD_BYTES)
            )
            while True:
                try:
                    record = next(records)
                except StopIteration:
                    return
                except Exception as problem:  # of many kinds: the file ends, or is damaged
                    detail = " ".join(str(problem).split())[:100] or type(problem).__name__
                    self.problem = printable(
                        f"{path} is cut off or damaged after {file.tell()} bytes ({detail}); "
                        "what is told is what stands before"
                    )
                    return
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    if record.id not in channels:
                        channels[record.id] = self._channel(record, schemas.get(record.schema_id))
                elif isinstance(record, Metadata):
                    self.metadata.update(record.metadata)
                elif isinstance(record, Attachment):
                    self.attachments[record.name] = record.data
                elif isinstance(record, Message):
                    channel = channels.get(record.channel_id)
                    if channel is None:
                        continue
                    topic, kind, read = channel
                    try:
                        message = read(record.data)
                    except Exception as problem:  # bytes of another definition
                        self._refuse(topic, problem)
                        continue
                    yield BagMessage(topic, kind, record.log_time, record.publish_time, message)

    def _channel(self, channel: Any, schema: Any) -> tuple[str, str, Callable[[bytes], Any]] | None:
        """Topic, type and how its messages are read; None: they are not wanted, or not readable."""
        if schema is None or not self.wanted(channel.topic, schema.name):
            return None
        if schema.encoding != "ros2msg" or channel.message_encoding != "cdr":
            self._refuse(channel.topic, f"{schema.encoding}/{channel.message_encoding}")
            return None
        try:
            return channel.topic, schema.name, reader_by(schema.name, schema.data.decode())
        except Exception as problem:  # a definition that cannot be parsed
            self._refuse(channel.topic, problem)
            return None

    def _refuse(self, topic: str, problem: Exception | str) -> None:
        detail = " ".join(str(problem).split())[:150] or type(problem).__name__
        sentence = printable(f"{topic}: {detail}")
        if sentence in self.refused or len(self.refused) < MOST_REFUSED:
            self.refused[sentence] += 1


def _records(reader: Any) -> Iterator[Any]:
    """A file's records, those of its chunks among them. Raises many kinds where it is damaged."""
    from mcap.records import Chunk
    from mcap.stream_reader import breakup_chunk

    for record in reader.records:
        if not isinstance(record, Chunk):
            yield record
            continue
        # ten kilobytes of zstd can hold gigabytes
        if _unpacked_bytes(record) > MOST_CHUNK_BYTES:
            raise ValueError(f"a chunk unpacks to more than {MOST_CHUNK_BYTES >> 20} MiB")
        yield from breakup_chunk(record)


def _unpacked_bytes(chunk: Any) -> int:
    """The larger of what the chunk and its data say that they unpack to."""
    size = int(chunk.uncompressed_size)
    if chunk.compression == "zstd":
        import zstandard

        # -1: it does not say, and the library takes the chunk's word for the most
        return max(size, zstandard.frame_content_size(chunk.data))
    if chunk.compression == "lz4":
        import lz4.frame

        # which need not say it: unpacked as far as it may go
        unpacked = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, MOST_CHUNK_BYTES + 1)
        return max(size, len(unpacked))
    return size


def bag_head(path: Path) -> tuple[BagStream, BagMessage | None]:
    """A recording read up to its first message: its metadata and attachments are known then."""
    stream = BagStream(path)
    return stream, next(iter(stream), None)


def reader_by(kind: str, definition: str) -> Callable[[bytes], Any]:
    """A function from CDR to a message, by a definition and nothing else that is known of the type.

    Args:
        kind: as "std_msgs/msg/String".
        definition: as in MCAP's `ros2msg`.
    """
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    # One for each definition: two recorders, or two releases, may mean different things by a name.
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(definition, kind))
    return lambda data: store.deserialize_cdr(data, kind)


def _has_mcap() -> bool:
    try:
        import mcap.stream_reader  # noqa: F401
    except ImportError:
        return False
    return True
