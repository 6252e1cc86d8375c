"""What an instruction asks of an arm at a table: a small grammar over words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vla_ros.core.instructions import NotUnderstood
from vla_ros.tasks.arm.table import GRASPABLE
from vla_ros.tasks.intent import ANY_SHAPE, plain_words
from vla_ros.tasks.objects import COLOURS
from vla_ros.tasks.phrases import SLOTS

# A word -> the shape that it means.
TABLE_SHAPES = {
    "block": "block",
    "cube": "block",
    "box": "block",
    "brick": "block",
    "dice": "block",
    "cup": "cup",
    "mug": "cup",
    "glass": "cup",
    "beaker": "cup",
    "bowl": "bowl",
    "dish": "bowl",
    "basin": "bowl",
}
# A word -> the colour that it means.
COLOUR_WORDS: dict[str, str] = {}
for _colour in COLOURS:
    COLOUR_WORDS.update(dict.fromkeys(" ".join(SLOTS[_colour]).split(), _colour))
# What may stand before a shape; any other word there says which, and is not known.
_ARTICLES = ("the", "a", "an", "any", "this", "that", "your", "my", "some")
_BEFORE_SHAPE = frozenset((*_ARTICLES, "to", "for", "of", "over", "on", "at", "up", "me"))
ARM_KINDS = (
    "reach",
    "pick",
    "put_into",
    "put_onto",
    "put_beside",
    "push",
    "hand_over",
    "open",
    "close",
    "home",
    "stop",
)
ARM_OBJECT_KINDS = ARM_KINDS[:7]
# What the learned policy knows; its weights keep to this order, and the first ones name a thing.
LEARNED_KINDS = tuple(kind for kind in ARM_KINDS if kind != "push")
LEARNED_OBJECT_KINDS = LEARNED_KINDS[:6]
PUT_KINDS = ("put_into", "put_onto", "put_beside")
HOLDING_KINDS = ("pick", "hand_over", *PUT_KINDS)  # that the gripper holds something for
# How one would say it; of a thing and a place.
PLAIN_ARM_WORDS = {
    "reach": "reach for {}",
    "pick": "pick up {}",
    "put_into": "put {} into {}",
    "put_onto": "put {} onto {}",
    "put_beside": "put {} next to {}",
    "push": "push {}",
    "hand_over": "hand over {}",
    "open": "open the gripper",
    "close": "close the gripper",
    "home": "go home",
    "stop": "stop",
}
# What something can be put into and onto; beside all.
PLACES = {"put_into": "bowl", "put_onto": "block"}

_PUT = re.compile(
    r"(?:put|place|set|lay|drop|move|stack|insert|leave)\b(?P<thing>.+?)\b"
    r"(?:(?P<put_into>into|inside|in)|(?P<put_onto>onto|on top of|on|upon|atop)"
    r"|(?P<put_beside>beside|next to|near|by|alongside|close to))\b(?P<place>.+)$"
)
# Kind -> pattern; the first that matches wins, so the longer phrases come first.
_PATTERNS: tuple[tuple[str, str], ...] = (
    (
        "home",
        r"(?:(?:go|move|return|come|get|drive) (?:back )?(?:to )?(?:the |your )?"
        r"(?:home|start|rest)\b|home\b|retract\b|rest\b)",
    ),
    ("stop", r"(?:stop|halt|freeze|stand still|stay|wait|pause|hold(?: on| still)?$)"),
    (
        "close",
        r"(?:close|shut|clench) (?:the |your )?(?:gripper|hand|claw|fingers|jaws?)\b|squeeze$",
    ),
    ("open", r"(?:open|release|let (?:it )?go|drop|loosen|ungrasp)\b"),
    ("hand_over", r"(?:hand|give|pass|offer|bring|deliver)\b"),
    (
        "pick",
        r"(?:pick up|pick|grab|grasp|grip|take|get(?! to)|fetch|lift|raise|seize|collect|catch"
        r"|clutch|hold)\b",
    ),
    ("push", r"(?:push|shove|nudge|bump|slide|poke)\b"),
    (
        "reach",
        r"(?:reach|approach|hover|(?:go|move|come) (?:up |over )*(?:to(?:wards?)?|over|above|for)"
        r"|point (?:at|to|towards?)|get to)\b",
    ),
)
_SEVERAL = re.compile(
    r"\b(?:then|after that"
    r"|and (?:go|put|place|move|pick|grab|take|give|hand|push|stop|open|close))\b"
)


@dataclass(frozen=True)
class Named:
    """A thing as words name it; None: any."""

    colour: str | None = None
    shape: str | None = None

    @property
    def text(self) -> str:
        """For people: "red block", "any cup"."""
        return f"{self.colour or 'any'} {self.shape or 'object'}"

    @property
    def one(self) -> str:
        """For people, behind "the": "red block", "cup"."""
        return self.text.removeprefix("any ")


@dataclass(frozen=True)
class ArmIntent:
    """`kind` (of ARM_KINDS) with the `thing` that it is about, and the `place` where it is put."""

    kind: str
    thing: Named | None = None
    place: Named | None = None

    @property
    def colour(self) -> str | None:
        """Of the thing."""
        return self.thing.colour if self.thing else None

    @property
    def shape(self) -> str | None:
        """Of the thing."""
        return self.thing.shape if self.thing else None

    @property
    def text(self) -> str:
        """For people: "put the red block into the blue bowl"."""
        thing = f"the {self.thing.one}" if self.thing else ""
        place = f"the {self.place.one}" if self.place else ""
        return PLAIN_ARM_WORDS[self.kind].format(thing, place)


def parse_arm(text: str) -> ArmIntent:
    """The intent of an instruction to an arm.

    Raises:
        NotUnderstood: there is none; it names the words.
    """
    words = plain_words(text)
    if _SEVERAL.search(words):
        raise NotUnderstood(f"the words {text[:80]!r} name several steps; give them one at a time")
    put = _PUT.match(words)
    if put:
        kind = next(kind for kind in PUT_KINDS if put[kind])
        thing = _named(text, put["thing"])
        return _checked(text, ArmIntent(kind, thing, _named(text, put["place"])))
    for kind, pattern in _PATTERNS:
        match = re.match(pattern, words)
        if match is None:
            continue
        if kind in ("home", "stop", "close", "open"):
            return ArmIntent(kind)
        return _checked(text, ArmIntent(kind, _named(text, words[match.end() :])))
    raise NotUnderstood(
        f"the words {text[:80]!r} are not understood; try 'pick up the red block', 'put the red "
        "block into the blue bowl', 'push the green cup', 'hand me the yellow block', 'go home'"
    )


def _named(text: str, words: str) -> Named:
    """The one thing that these words name."""
    tokens = re.findall(r"[a-z]+", words)
    colours = set()
    shapes = set()
    known = True
    before = "the"
    for token in tokens:
        if token in COLOUR_WORDS:
            colours.add(COLOUR_WORDS[token])
        if token in TABLE_SHAPES:
            shapes.add(TABLE_SHAPES[token])
            known &= before in COLOUR_WORDS or before in _BEFORE_SHAPE
        before = token
    if len(colours) > 1 or len(shapes) > 1:
        raise NotUnderstood(
            f"the words {text[:80]!r} name more than one object; name one at a time"
        )
    colour = colours.pop() if colours else None
    shape = shapes.pop() if shapes else None
    any_shape = not ANY_SHAPE.isdisjoint(tokens) or bool(tokens and tokens[-1] in COLOUR_WORDS)
    # "the red dog" names a shape that is not known, "the tartan cup" a colour, and "it" neither
    if not known or (shape is None and (colour is None or not any_shape)):
        raise NotUnderstood(
            f"the words {text[:80]!r} name nothing that is known here; name a colour "
            f"({', '.join(COLOURS)}) and a block, cup or bowl"
        )
    return Named(colour, shape)


def problem_of(intent: ArmIntent) -> str | None:
    """Why no arm can do it, as the end of "the words ..."; None where it can."""
    shape = intent.thing.shape if intent.thing else None
    if intent.kind in HOLDING_KINDS and shape is not None and shape not in GRASPABLE:
        return f"ask to hold a {shape}, which is wider than the gripper; name a block or a cup"
    if intent.place is None:
        return None
    wanted = PLACES.get(intent.kind)
    shape = intent.place.shape
    if wanted is not None and shape not in (None, wanted):
        way = intent.kind.removeprefix("put_")
        return f"ask to put something {way} a {shape}; it can be put {way} a {wanted}"
    if intent.place == intent.thing:
        return "name the same object twice; name the one that it shall be put to"
    return None


def _checked(text: str, intent: ArmIntent) -> ArmIntent:
    problem = problem_of(intent)
    if problem is not None:
        raise NotUnderstood(f"the words {text[:80]!r} {problem}")
    return intent
