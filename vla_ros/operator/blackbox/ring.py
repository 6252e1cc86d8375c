"""The last minutes of many topics, in memory, within a bound. No ROS, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from vla_ros.core.types import to_nanoseconds

MESSAGE_BYTES = 300  # what Python takes for a message beside its data
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class RecordedMessage:
    """A message as it came.

    Attributes:
        topic: as it is called in the file.
        data: CDR.
        arrived: steady clock, ns: how long it is kept.
        received, published: system clock, ns, as DDS says it.
    """

    topic: str
    data: bytes
    arrived: int
    received: int
    published: int

    @property
    def size(self) -> int:
        """Bytes that it takes in memory."""
        return len(self.data) + MESSAGE_BYTES


class MessageRing:
    """Keeps what is not older than `seconds`, and not more than `megabytes`: the oldest goes first.

    Of a latched topic the newest message is kept for good: what was said last still holds.
    """

    def __init__(self, seconds: float, megabytes: float, latched: Collection[str] = ()) -> None:
        self._longest = to_nanoseconds(seconds)
        self._most = int(megabytes * MEGABYTE)
        self._latched = frozenset(latched)
        self._messages: deque[RecordedMessage] = deque()
        self._held: dict[str, RecordedMessage] = {}  # of latched topics, those that left the ring
        self.size = 0  # bytes

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: RecordedMessage) -> None:
        """Takes the newest message, and lets go of what there is no place for."""
        self._messages.append(message)
        self.size += message.size
        while self.size > self._most and len(self._messages) > 1:
            self._drop_oldest()
        self.forget(message.arrived)

    def forget(self, now: int) -> None:
        """Lets go of what is too old at `now`, steady ns."""
        while self._messages and now - self._messages[0].arrived > self._longest:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        oldest = self._messages.popleft()
        self.size -= oldest.size
        if oldest.topic in self._latched:
            self._held[oldest.topic] = oldest

    def seconds(self) -> float:
        """From the oldest message to the newest, s."""
        if not self._messages:
            return 0.0
        return (self._messages[-1].arrived - self._messages[0].arrived) / 1e9

    def messages(self) -> list[RecordedMessage]:
        """All of them as they arrived; before them what still holds from earlier."""
        there: set[str] = set()
        for message in self._messages:
            if message.topic in self._latched:
                there.add(message.topic)
        earlier = [held for topic, held in self._held.items() if topic not in there]
        earlier.sort(key=lambda held: held.arrived)
        return [*earlier, *self._messages]
