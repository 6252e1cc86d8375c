"""What an instruction asks for: a small grammar over words, and the paraphrases it knows."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from vla_ros.core.instructions import NotUnderstood

# A word -> the colour, the shape that it means.
COLOURS = {
    "red": "red",
    "crimson": "red",
    "scarlet": "red",
    "orange": "orange",
    "yellow": "yellow",
    "green": "green",
    "blue": "blue",
    "purple": "purple",
    "violet": "purple",
}
SHAPES = {
    "block": "block",
    "cube": "block",
    "box": "block",
    "brick": "block",
    "ball": "ball",
    "sphere": "ball",
    "cylinder": "cylinder",
    "can": "cylinder",
    "tube": "cylinder",
    "tin": "cylinder",
}
ANY_SHAPE = frozenset(("object", "thing", "one", "toy", "item"))

_GO = r"(?:go|drive|move|travel|roll|run|come|walk|navigate|head)"
_TURN = r"(?:turn|rotate|spin|pivot)"
_TO_SIDE = rf"(?:{_TURN}|go|look|face) (?:to )?(?:the |your )?"

# Kind -> pattern; the first that matches wins, so the longer phrases come first.
_PATTERNS: tuple[tuple[str, str], ...] = (
    ("open", r"(?:open|release|let go|drop|ungrasp|put (?:it |that |this )?down|loosen)\b"),
    ("close", r"(?:close|shut) (?:the |your )?(?:gripper|hand|claw|fingers|jaws?)\b|squeeze$"),
    ("stop", r"(?:stop|halt|freeze|stand still|stay|wait|hold(?: on| still)?$)"),
    ("turn_around", rf"(?:{_TURN} (?:right )?(?:around|round)\b|make a u-?turn)"),
    ("turn_left", rf"{_TO_SIDE}left\b|{_TURN} (?:counter|anti)-?clockwise\b"),
    # "go right up to the block" is no turn
    ("turn_right", rf"{_TO_SIDE}right\b(?! up| over| to)|{_TURN} clockwise\b"),
    (
        "back",
        rf"(?:back (?:up|off|away)|reverse|retreat|{_GO} (?:back(?:wards?)?|in reverse)\b|step "
        r"back)",
    ),
    (
        "grab",
        # "get to the block" is not "get the block"
        r"(?:grab|grasp|grip|pick up|pick|take|get(?! to)|fetch|catch|seize|clutch|collect|hold)\b",
    ),
    ("push", r"(?:push|shove|nudge|bump)\b"),
    (
        "face",
        r"(?:face|look (?:at|towards?)|point (?:at|to|towards?)|aim (?:at|for)"
        rf"|{_TURN} (?:to(?:wards?)?|to face|and face))\b",
    ),
    (
        "go_to",
        rf"(?:{_GO} (?:up |over |on |straight |right )*(?:to(?:wards?)?|for|near|next to|close "
        r"to)\b"
        r"|approach|reach|visit|find|make for|get to|make your way to(?:wards?)?)\b",
    ),
    (
        "forward",
        rf"(?:{_GO} (?:straight )?(?:forwards?|ahead|on|straight)\b|advance\b|forwards?\b)",
    ),
)
_NEEDS_OBJECT = ("grab", "push", "face", "go_to")
# what stands before or after the words that count
_POLITE = re.compile(
    r"^(?:(?:please|now|then|robot|hey|ok(?:ay)?|could you|can you|would you|will you"
    r"|you should|i want you to|let'?s)\b[\s,]*)+"
    r"|[\s,]*(?:please|now|for me|thanks|thank you)$"
)
# with one of these the other words mean what not to do
_NEGATION = re.compile(r"\b(?:not|never|without|except|unless)\b|n't\b")
# two instructions in one
_SEVERAL = re.compile(
    r"\b(?:then|after that|and (?:go|turn|drive|move|back|grab|stop|open|close|push))\b"
)
_DISTANCE = re.compile(r"(\d+(?:\.\d+)?)\s*(m|metres?|meters?|cm|centimet(?:re|er)s?)\b")
_ANGLE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:°|deg|degrees?)")

DEFAULT_DISTANCE_M = 0.5  # for "go forward", "back up"
DEFAULT_ANGLE_RAD = math.pi / 2  # for "turn left"
# what may be asked for
DISTANCE_RANGE_M = (0.05, 3.0)
ANGLE_RANGE_RAD = (math.radians(5), 2 * math.pi)


# Where the meant thing stands: seen from the robot, or beside another thing that the words name.
ROBOT_RELATIONS = ("any", "nearest", "farthest", "leftmost", "rightmost", "ahead", "other")
THING_RELATIONS = ("left_of", "right_of", "in_front_of", "behind", "next_to")


@dataclass(frozen=True)
class Which:
    """Which of the things that fit is meant.

    Attributes:
        relation: One of ROBOT_RELATIONS ("any": the person does not mind; "other": not the thing
            that was meant last) or of THING_RELATIONS, as the robot sees them: "behind" is farther
            away from it.
        colour: Of the thing that a relation of THING_RELATIONS is about; None: any.
        shape: Likewise.
    """

    relation: str
    colour: str | None = None
    shape: str | None = None


@dataclass(frozen=True)
class Intent:
    """`kind` with what it needs: a `colour` and a `shape` (None: any), an `amount` in m or rad.

    Kinds: go_to, face, grab, push, turn_left, turn_right, turn_around, forward, back, open, close,
    stop. `which` says more of the object where colour and shape do not tell it; `excluded` are
    colours and shapes that it has not: "a block that is not red".
    """

    kind: str
    colour: str | None = None
    shape: str | None = None
    amount: float = 0.0
    which: Which | None = None
    excluded: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """For people: "red block", "any object", "ball left of the red block"."""
        if self.which is None and not self.excluded:
            return f"{self.colour or 'any'} {self.shape or 'object'}"
        words = [self.colour or "", self.shape or "object"]
        if self.excluded:
            words.append(f"that is not {' or '.join(self.excluded)}")
        if self.which is not None and self.which.relation in ROBOT_RELATIONS:
            words.insert(0, self.which.relation)
        elif self.which is not None:
            relation = self.which.relation.replace("_", " ")
            words.append(f"{relation} the {self.which.colour or ''} {self.which.shape or 'object'}")
        return " ".join(" ".join(words).split())


def parse(text: str) -> Intent:
    """The intent of an instruction.

    Raises:
        NotUnderstood: there is none; it names the words.
    """
    words = plain_words(text)
    kind = next((kind for kind, pattern in _PATTERNS if re.match(pattern, words)), None)
    if kind is None:
        raise NotUnderstood(
            f"the words {text[:80]!r} are not understood; try "
            "'go to the red block', 'grab the green ball', 'turn left', 'back up', "
            "'open the gripper'"
        )
    if _SEVERAL.search(words):
        raise NotUnderstood(f"the words {text[:80]!r} name several steps; give them one at a time")
    if kind in _NEEDS_OBJECT:
        return _with_object(kind, text, words)
    return Intent(kind, amount=_amount(kind, text, words))


def plain_words(text: str) -> str:
    """The words that count: in lower case, without signs and politeness.

    Raises:
        NotUnderstood: they say what not to do: "grab anything except the ball".
    """
    words = re.sub(r"[^\w\s.°'-]", " ", text.lower()).strip(" .")
    words = re.sub(r"\s+", " ", words)
    # twice: "for me please" ends with two of them
    words = _POLITE.sub("", _POLITE.sub("", words)).strip(" .")
    if _NEGATION.search(words):
        raise NotUnderstood(f"the words {text[:80]!r} say what not to do; say what to do")
    return words


def _with_object(kind: str, text: str, words: str) -> Intent:
    tokens = re.findall(r"[a-z]+", words)
    colours = set()
    shapes = set()
    for token in tokens:
        singular = token.removesuffix("s")
        if token in COLOURS:
            colours.add(COLOURS[token])
        if token in SHAPES:
            shapes.add(SHAPES[token])
        elif singular in SHAPES:
            shapes.add(SHAPES[singular])
    if len(colours) > 1 or len(shapes) > 1:
        raise NotUnderstood(
            f"the words {text[:80]!r} name more than one object; name one at a time"
        )
    if not colours:
        raise NotUnderstood(
            f"the words {text[:80]!r} name no colour that this policy knows; "
            f"name one of {', '.join(sorted(set(COLOURS.values())))}"
        )
    # "the red" is enough; "the red dog" names a shape that is not known
    any_shape = not ANY_SHAPE.isdisjoint(tokens) or tokens[-1] in COLOURS
    if not shapes and not any_shape:
        raise NotUnderstood(
            f"the words {text[:80]!r} name no shape that this policy knows; "
            f"name one of {', '.join(sorted(set(SHAPES.values())))}, or 'object' for any"
        )
    return Intent(kind, colours.pop(), shapes.pop() if shapes else None)


def _amount(kind: str, text: str, words: str) -> float:
    """Metres for forward and back, radians for turns; 0 for kinds without an amount."""
    if kind in ("forward", "back"):
        distance = _DISTANCE.search(words)
        metres = DEFAULT_DISTANCE_M
        if distance:
            number, unit = distance.groups()
            metres = float(number) * (0.01 if unit.startswith("c") else 1.0)
        shortest, longest = DISTANCE_RANGE_M
        if not shortest <= metres <= longest:
            raise NotUnderstood(
                f"the words {text[:80]!r} ask for {metres:g} m; "
                f"ask for {shortest:g} to {longest:g} m"
            )
        return metres
    if kind in ("turn_left", "turn_right", "turn_around"):
        angle = _ANGLE.search(words)
        radians = math.pi if kind == "turn_around" else DEFAULT_ANGLE_RAD
        if angle:
            radians = math.radians(float(angle[1]))
        least, most = ANGLE_RANGE_RAD
        if not least <= radians <= most:
            raise NotUnderstood(
                f"the words {text[:80]!r} ask for {math.degrees(radians):g} degrees; "
                f"ask for {math.degrees(least):g} to {math.degrees(most):g}"
            )
        return radians
    return 0.0
