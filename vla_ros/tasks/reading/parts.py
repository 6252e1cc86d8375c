"""A sentence as its words, with one mark where a thing or an amount stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vla_ros.tasks.intent import ANGLE_RANGE_RAD
from vla_ros.tasks.reading.amounts import Amount, amount_at
from vla_ros.tasks.reading.objects import DETERMINERS, NamedThing, Things

ITEM = "[item]"
# What the head reads in their place: it learns "go to [item]" once, whatever stands there.
MARKS = (ITEM, "[distance]", "[angle]", "[little]", "[number]")
# before an amount they change nothing: "left, say 20 degrees"
_ABOUT = frozenset(
    [
        "say",
        "about",
        "roughly",
        "approximately",
        "approx",
        "like",
        "exactly",
        "maybe",
        "perhaps",
        "just",
    ]
)
# behind one: "20 degrees or so"
_OR_SO = (("exactly",), ("precisely",), ("or", "so"), ("or", "thereabouts"))

_SIDES = frozenset(
    ("left", "right", "clockwise", "anticlockwise", "counterclockwise", "port", "starboard")
)
_AFTER_AMOUNT = frozenset(("and", "then", "please", "now", "but", "robot"))


@dataclass(frozen=True)
class Part:
    """A word, or a mark with what the words in its place say; `said` are those words."""

    text: str
    said: str
    value: NamedThing | Amount | None = None


def parts_of(words: Sequence[str], things: Things) -> list[Part]:
    """The parts of a sentence, in its order."""
    found: list[Part] = []
    place = 0
    while place < len(words):
        thing = things.at(words, place)
        if thing is not None and not _after_unknown(words, place):
            found.append(Part(ITEM, " ".join(words[place : thing[1]]), thing[0]))
            place = thing[1]
            continue
        amount = amount_at(words, place)
        if amount is not None:
            while found and found[-1].text in _ABOUT:
                found.pop()
            said = " ".join(words[place : amount[1]])
            found.append(Part(f"[{amount[0].unit}]", said, amount[0]))
            place = _behind_amount(words, amount[1])
            continue
        found.append(Part(words[place], words[place]))
        place += 1
    return found


def _behind_amount(words: Sequence[str], place: int) -> int:
    for idle in _OR_SO:
        if tuple(words[place : place + len(idle)]) == idle:
            return place + len(idle)
    return place


def _after_unknown(words: Sequence[str], place: int) -> bool:
    """Whether a word that says who knows what stands before the noun: "the wed ball"."""
    if place < 2 or words[place] in DETERMINERS or words[place - 2] not in DETERMINERS:
        return False
    # "all that the blocks" and the like are no names
    return words[place - 1].isalpha() and words[place - 1] not in DETERMINERS


def with_degrees(parts: Sequence[Part]) -> list[Part]:
    """With a bare number after a side read as degrees, as in "turn left 45"."""
    found = list(parts)
    for place in range(1, len(parts)):
        value = parts[place].value
        before = parts[place - 1].text
        after = parts[place + 1].text if place + 1 < len(parts) else ","
        if not isinstance(value, Amount) or value.unit != "number" or before not in _SIDES:
            continue
        degrees = value.value
        least, most = (math.degrees(limit) for limit in ANGLE_RANGE_RAD)
        if least <= degrees <= most and (not after[0].isalnum() or after in _AFTER_AMOUNT):
            angle = Amount(math.radians(degrees), "angle")
            found[place] = Part("[angle]", parts[place].said, angle)
    return found


def said(parts: Sequence[Part]) -> str:
    """The words again, for a sentence to the operator."""
    return " ".join(part.said for part in parts)
