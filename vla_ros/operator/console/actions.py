"""Who pressed what and when, for every viewer to see; and the second press that arming needs."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

MOST_ACTIONS = 50
MOST_NAME_CHARACTERS = 40
ARM_WITHIN_S = 6.0
ARM_NOT_BEFORE_S = 0.3  # a double click, or a key that bounces, is one decision and not two

# What the page may ask for, beside the stop and the words -> the service that does it, under the
# suite's namespace. There is no way to any other.
SERVICES = {
    "arm": "safety_validator/arm",
    "disarm": "safety_validator/disarm",
    "reset": "safety_validator/reset",
    "give_back": "teleop/give_back",
    "record_start": "record/start",
    "record_stop": "record/stop",
    "record_discard": "record/discard",
    "record_success": "record/success",
    "record_failure": "record/failure",
    "blackbox_write": "blackbox/write",
}
GATE_ACTIONS = ("arm", "disarm", "reset")
WORDS = ("say", "note")
ACTIONS = (*SERVICES, *WORDS, "release")


@dataclass(frozen=True)
class Who:
    """A person at a page; the name is what they typed, and no proof of anything."""

    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.name or 'somebody'} ({self.address})"


def person(name: object, address: str) -> Who:
    """With a name that fits into a line of a log."""
    text = str(name)[: 4 * MOST_NAME_CHARACTERS] if isinstance(name, str) else ""
    printable = "".join(filter(str.isprintable, text))
    return Who(" ".join(printable.split())[:MOST_NAME_CHARACTERS], address)


@dataclass(frozen=True)
class ActionRecord:
    """Something that a person did; `when` in s since 1970."""

    when: float
    who: str
    what: str
    done: bool
    answer: str


class ActionLog:
    """The last actions of all viewers.

    It writes nothing itself: a terminal that is held up must not hold up a press.
    """

    def __init__(self) -> None:
        self._records: deque[ActionRecord] = deque(maxlen=MOST_ACTIONS)
        self._unwritten: deque[str] = deque(maxlen=MOST_ACTIONS)

    def add(self, when: float, who: Who, what: str, done: bool, answer: str) -> None:
        record = ActionRecord(when, str(who), what, done, answer[:300])
        self._records.append(record)
        self._unwritten.append(f"{what} by {record.who}: {record.answer}")

    def take_lines(self) -> list[str]:
        """A line for each action since the last call, for the node's log."""
        lines = []
        while self._unwritten:
            lines.append(self._unwritten.popleft())
        return lines

    def page(self) -> list[dict[str, Any]]:
        """The newest first."""
        return [asdict(record) for record in reversed(tuple(self._records))]


class Confirmation:
    """A first press gets a key; only a second one with that key, in time, counts.

    It is held here and not on the page: a request that is forged, repeated or late does nothing.

    Args:
        what: the second press does, as a sentence begins.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._keys: dict[str, float] = {}  # key -> when it was given, steady s

    def first(self, now: float) -> str:
        """A key for the second press."""
        # keys that nobody used
        for key, given in list(self._keys.items()):
            if now - given > ARM_WITHIN_S:
                del self._keys[key]
        key = secrets.token_urlsafe(12)
        self._keys[key] = now
        return key

    def second(self, key: str, now: float) -> str:
        """Why the second press does not count; empty: it does, and once only."""
        given = self._keys.get(key)
        if given is None or now - given > ARM_WITHIN_S:
            self._keys.pop(key, None)
            return f"{self._what} needs two presses within {ARM_WITHIN_S:g} s; press twice again"
        if now - given < ARM_NOT_BEFORE_S:
            return "the two presses came as one; look at the robot, then press again"
        del self._keys[key]  # it counts once
        return ""
