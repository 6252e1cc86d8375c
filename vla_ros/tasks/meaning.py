"""A short notation for what an instruction means, in which lists of phrasings are written.

go_to:red block                     one step
turn_left:45deg ; forward:0.3m      one after another
grab:ball left_of red block         the ball that stands left of the red block
face:nearest block                  of the blocks, the one that is nearest
push:block not red                  a block of any other colour
refuse                              nothing that the robot may do
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from vla_ros.tasks.intent import ROBOT_RELATIONS, THING_RELATIONS, Intent, Which
from vla_ros.tasks.objects import COLOURS, SHAPES
from vla_ros.tasks.phrases import AMOUNTS, KINDS, OBJECT_KINDS

REFUSE = "refuse"
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)(deg|m)")


def meaning_of(notation: str) -> tuple[Intent, ...]:
    """The steps; none for `refuse`.

    Raises:
        ValueError: the notation says nothing known; it names the part.
    """
    if notation.strip() == REFUSE:
        return ()
    return tuple(_step(part.strip()) for part in notation.split(";"))


def _step(text: str) -> Intent:
    kind, _, rest = text.partition(":")
    kind = kind.strip()
    if kind in OBJECT_KINDS:
        return _with_object(kind, rest, text)
    if kind not in KINDS:
        known = ", ".join((*KINDS, REFUSE))
        raise ValueError(f"{text!r} begins with {kind!r}; it is one of {known}")
    amount = AMOUNTS.get(kind, 0.0)
    if rest:
        match = _AMOUNT.fullmatch(rest.strip())
        unit = "deg" if kind.startswith("turn") else "m"
        if kind not in AMOUNTS or match is None or match[2] != unit:
            raise ValueError(
                f"{text!r} has the amount {rest!r}; write turn_left:45deg or forward:0.3m"
            )
        amount = math.radians(float(match[1])) if unit == "deg" else float(match[1])
    return Intent(kind, amount=amount)


def _with_object(kind: str, rest: str, text: str) -> Intent:
    words = rest.split()
    which = None
    excluded: tuple[str, ...] = ()
    if "not" in words:
        place = words.index("not")
        excluded = tuple(words[place + 1 :])
        words = words[:place]
    for place, word in enumerate(words):
        if word in THING_RELATIONS:
            which = Which(word, *colour_and_shape(words[place + 1 :], SHAPES, text))
            words = words[:place]
            break
    if words and words[0] in ROBOT_RELATIONS:
        which = Which(words[0])
        words = words[1:]
    unknown = [word for word in excluded if word not in COLOURS and word not in SHAPES]
    if unknown or not (words or excluded or which):
        raise ValueError(f"{text!r} names no object; write {kind}:red block, {kind}:any ball")
    colour, shape = colour_and_shape(words, SHAPES, text)
    return Intent(kind, colour, shape, which=which, excluded=excluded)


def colour_and_shape(
    words: Sequence[str], shapes: Sequence[str], text: str
) -> tuple[str | None, str | None]:
    """What the words of the step `text` name; None: any. Raises ValueError for any other word."""
    colour = None
    shape = None
    for word in words:
        if word in COLOURS:
            colour = word
        elif word in shapes:
            shape = word
        elif word != "object":
            raise ValueError(
                f"{text!r} names {word!r}, which is no colour ({', '.join(COLOURS)}) and no shape "
                f"({', '.join(shapes)})"
            )
    return colour, shape
