"""How people say amounts, where things stand, and one step after another.

The evaluation's sentences. Nothing keeps a reader's training text from holding the same patterns:
what counts is a list that a stranger wrote (`vla evaluate --phrasings`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vla_ros.tasks.intent import Intent, Which
from vla_ros.tasks.phrases import AMOUNTS, ARTICLE_SHARE, OBJECT_KINDS, SLOTS, TEMPLATES, politely
from vla_ros.tasks.sequence import IntentSequence

AMOUNT_KINDS = ("turn_left", "turn_right", "forward", "back")
# {n} is the amount with its unit, {side} "left" or "right".
TURN_TEMPLATES = (
    "turn {side} {n}",
    "turn {n} to the {side}",
    "rotate {side} by {n}",
    "rotate {n} {side}",
    "spin {n} to the {side}",
    "turn {n} {side}",
    "turn to the {side} by {n}",
    "{n} to the {side}",
    "make a turn of {n} to the {side}",
    "pivot {side} {n}",
)
FORWARD_TEMPLATES = (
    "go forward {n}",
    "drive {n} forward",
    "move ahead {n}",
    "drive straight ahead for {n}",
    "advance {n}",
    "go {n} ahead",
    "roll {n} forwards",
    "move {n} straight ahead",
)
BACK_TEMPLATES = (
    "back up {n}",
    "go back {n}",
    "reverse {n}",
    "drive backwards for {n}",
    "move back by {n}",
    "back off {n}",
    "drive {n} backwards",
    "go {n} in reverse",
)
NUMBER_WORDS = {
    10: "ten",
    15: "fifteen",
    20: "twenty",
    25: "twenty-five",
    30: "thirty",
    40: "forty",
    45: "forty-five",
    50: "fifty",
    60: "sixty",
    75: "seventy-five",
    80: "eighty",
    90: "ninety",
    100: "a hundred",
    120: "a hundred and twenty",
}
TURN_NAMES = {45: "an eighth of a turn", 90: "a quarter turn"}  # degrees
DRIVE_NAMES = {50: "half a metre", 100: "a metre", 150: "one and a half metres"}  # cm
# Where the thing stands: {it} is the thing, {mark} the one beside it.
RELATION_TEMPLATES = {
    "left_of": (
        "{it} left of {mark}",
        "{it} to the left of {mark}",
        "{it} on the left of {mark}",
        "{it} that is left of {mark}",
        "{it} on the left side of {mark}",
    ),
    "right_of": (
        "{it} right of {mark}",
        "{it} to the right of {mark}",
        "{it} on the right of {mark}",
        "{it} that is right of {mark}",
        "{it} on the right side of {mark}",
    ),
    "behind": ("{it} behind {mark}", "{it} that stands behind {mark}", "{it} just behind {mark}"),
    "in_front_of": (
        "{it} in front of {mark}",
        "{it} that stands in front of {mark}",
        "{it} before {mark}",
    ),
    "next_to": (
        "{it} next to {mark}",
        "{it} beside {mark}",
        "{it} close to {mark}",
        "{it} near {mark}",
    ),
}
NEAREST_TEMPLATES = ("the nearest {shape}", "the closest {shape}", "the {shape} nearest to you")
NOT_TEMPLATES = (
    "the {shape} that is not {colour}",
    "the {shape} that isn't {colour}",
    "the {shape} which is not {colour}",
)
ANY_TEMPLATES = ("any {shape}", "some {shape}", "any of the {shape}s")
OTHER_TEMPLATES = ("the other {shape}",)
JOINTS = (", then ", " and then ", ", and then ", ", after that ", " then ")


def say_steps(rng: np.random.Generator, meant: Intent | IntentSequence) -> str:
    """A way to say amounts, relations and sequences."""
    if not isinstance(meant, IntentSequence):
        amount = meant.kind in AMOUNT_KINDS  # said even where it goes without saying
        return politely(rng, _say_amount(rng, meant) if amount else _say_one(rng, meant))
    joint = JOINTS[rng.integers(len(JOINTS))]
    parts = [_say_one(rng, intent) for intent in meant.intents]
    if len(parts) > 2:
        # "a, b, then c": a joint before the last step alone
        parts = [", ".join(parts[:-1]), parts[-1]]
    return politely(rng, joint.join(parts))


def _say_one(rng: np.random.Generator, intent: Intent) -> str:
    if intent.kind in OBJECT_KINDS:
        return _say_object(rng, intent)
    if intent.kind in AMOUNT_KINDS and not _goes_without_saying(intent):
        return _say_amount(rng, intent)
    return _filled(rng, _pick(rng, TEMPLATES[intent.kind]))


def _goes_without_saying(intent: Intent) -> bool:
    return math.isclose(intent.amount, AMOUNTS[intent.kind])


def _say_amount(rng: np.random.Generator, intent: Intent) -> str:
    if intent.kind.startswith("turn"):
        side = intent.kind.removeprefix("turn_")
        return _pick(rng, TURN_TEMPLATES).format(n=_angle(rng, intent.amount), side=side)
    templates = FORWARD_TEMPLATES if intent.kind == "forward" else BACK_TEMPLATES
    return _pick(rng, templates).format(n=_distance(rng, intent.amount))


def _angle(rng: np.random.Generator, radians: float) -> str:
    degrees = round(math.degrees(radians))
    ways = [f"{degrees} degrees", f"{degrees}°", f"{degrees} deg"]
    if degrees in NUMBER_WORDS:
        ways.append(f"{NUMBER_WORDS[degrees]} degrees")
    if degrees in TURN_NAMES:
        ways.append(TURN_NAMES[degrees])
    return _pick(rng, ways)


def _distance(rng: np.random.Generator, metres: float) -> str:
    centimetres = round(100 * metres)
    ways = [
        f"{centimetres} cm",
        f"{centimetres} centimetres",
        f"{metres:g} m",
        f"{metres:g} meters",
    ]
    if centimetres in NUMBER_WORDS:
        ways.append(f"{NUMBER_WORDS[centimetres]} centimetres")
    if centimetres in DRIVE_NAMES:
        ways.append(DRIVE_NAMES[centimetres])
    return _pick(rng, ways)


def _say_object(rng: np.random.Generator, intent: Intent) -> str:
    """The kind's words around a thing that is named in more words than training has."""
    templates = []
    for template in TEMPLATES[intent.kind]:
        # "push the ball that is red over" and "take hold the ball" are not what people say
        if template.endswith("{it}") and "hold" not in template:
            templates.append(template)
    return _filled(rng, _pick(rng, templates)).replace("{it}", _thing(rng, intent))


def _filled(rng: np.random.Generator, template: str) -> str:
    """The template with words of training: what is asked here is the thing, or the order."""
    words = []
    for word in template.split():
        known = SLOTS[word][0].split() if word.isupper() else [word]
        words.append(_pick(rng, known))
    return " ".join(words)


def _thing(rng: np.random.Generator, intent: Intent) -> str:
    shape = intent.shape or "object"
    if intent.excluded:
        return _pick(rng, NOT_TEMPLATES).format(shape=shape, colour=" or ".join(intent.excluded))
    which = intent.which
    if which is None:
        article = "the " if rng.random() < ARTICLE_SHARE else ""
        return f"{article}{_name(intent.colour, shape)}"
    if which.relation in RELATION_TEMPLATES:
        it = f"the {_name(intent.colour, shape)}"
        mark = f"the {_name(which.colour, which.shape or 'object')}"
        return _pick(rng, RELATION_TEMPLATES[which.relation]).format(it=it, mark=mark)
    if which == Which("nearest"):
        return _pick(rng, NEAREST_TEMPLATES).format(shape=_name(intent.colour, shape))
    if which == Which("any"):
        return _pick(rng, ANY_TEMPLATES).format(shape=_name(intent.colour, shape))
    if which == Which("other"):
        return _pick(rng, OTHER_TEMPLATES).format(shape=_name(intent.colour, shape))
    raise ValueError(f"there are no words for the relation {which.relation!r}")


def _name(colour: str | None, shape: str) -> str:
    return f"{colour} {shape}" if colour else shape


def _pick(rng: np.random.Generator, ways: Sequence[str]) -> str:
    return ways[int(rng.integers(len(ways)))]
