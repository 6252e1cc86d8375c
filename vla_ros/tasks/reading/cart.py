"""What the cart in its room can be told: it drives, turns, pushes and grabs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from vla_ros.tasks.intent import ANGLE_RANGE_RAD, DISTANCE_RANGE_M, Intent
from vla_ros.tasks.phrases import AMOUNTS, KINDS, OBJECT_KINDS, PLAIN_WORDS
from vla_ros.tasks.reading.amounts import SMALL_ANGLE_RAD, SMALL_DISTANCE_M, Amount
from vla_ros.tasks.reading.objects import ROOM, NamedThing
from vla_ros.tasks.reading.parts import ITEM, Part
from vla_ros.tasks.reading.robot import NEVER_DONE, CannotBe, RobotWords

_TURNS = ("turn_left", "turn_right", "turn_around")
_ARITHMETIC = frozenset(
    ["times", "minus", "divided", "per", "percent", "%", "thousand", "million", "dozen", "squared"]
) | frozenset(["cubed", "root", "hundred", "multiplied", "x", "*"])
_OPPOSITES = {
    "turn_left": re.compile(r"\b(?:right(?:wards?)?|clockwise|starboard)\b"),
    "turn_right": re.compile(r"\b(?:left(?:wards?)?|anticlockwise|counterclockwise|port)\b"),
    "forward": re.compile(r"\b(?:back(?:wards?)?|reverse)\b"),
    "back": re.compile(r"\b(?:forwards?|ahead|onwards?)\b"),
}
_CARRY = re.compile(
    r"(?:take|bring|carry|deliver|move|get|fetch|transport|haul|drag|cart|shuttle|ferry|grab) "
    r"(?P<what>\[item\]|it|that|this|them) "
    r"(?:over |across |back |up |along |right )?(?:to|towards?|next to|beside|near|up to|over to) "
    r"(?:where )?\[item\](?: is)?(?: (?:please|now|for me))?"
)
# however near they are to "go to": this robot drives, and straight to a thing
_CANNOT = re.compile(
    r"(?:(?:please|now|just|you|robot|can|could|to|go|and|then) )*(?:fly|teleport|swim|jump|climb"
    r"|levitate|hover|float|warp|beam|blink|apparate|tunnel|dig|dive|soar|astral|phase"
    r"|(?:go|drive|move|roll|run|walk|head|travel|pass|squeeze) (?:right |straight )?(?:under"
    r"|underneath|beneath|through|past|between|beyond|behind|around|round|across|along) \[item\]"
    rf"|{NEVER_DONE})(?!\S)"
)


def object_step(kind: str, thing: NamedThing, place: NamedThing | None = None) -> Intent:
    """The step about a thing of the room."""
    return Intent(kind, thing.colour, thing.shape, which=thing.which, excluded=thing.excluded)


def carried(text: str, things: Sequence[NamedThing]) -> tuple[Intent, ...] | None:
    """ "take the block to the ball": its two steps; of "take it there" the second alone."""
    match = _CARRY.fullmatch(text)
    if match is None or len(things) != 1 + (match["what"] == ITEM):
        return None
    steps = (object_step("grab", things[0]), object_step("go_to", things[-1]))
    return steps if match["what"] == ITEM else steps[1:]


def with_amount(kind: str, parts: Sequence[Part]) -> Intent:
    """The step of a kind that is about no thing. Raises CannotBe."""
    amounts = []
    for part in parts:
        if isinstance(part.value, Amount):
            amounts.append((part.value, part.said))
    sizes = [each for each in amounts if each[0].unit != "little"]
    amount = AMOUNTS.get(kind, 0.0)
    turns = kind in _TURNS
    if sizes and kind != "stop" and _reckons(parts):
        raise CannotBe(f"ask for an amount that is to be worked out, beside {sizes[0][1]}; say it")
    if len(sizes) > 1:
        raise CannotBe("give two amounts; give one")
    if kind == "stop":
        sizes = []  # "not another inch"
    if kind not in AMOUNTS and sizes:
        raise CannotBe(f"ask for {sizes[0][1]}, which means nothing there")
    if sizes:
        amount = _size(kind, *sizes[0])
    elif amounts and kind != "turn_around" and kind in AMOUNTS:
        amount = SMALL_ANGLE_RAD if turns else SMALL_DISTANCE_M
    return Intent(kind, amount=amount)


def _reckons(parts: Sequence[Part]) -> bool:
    """Whether a word beside an amount makes another one of it: "times ten", "over 30 cm"."""
    for place, part in enumerate(parts):
        if isinstance(part.value, Amount):
            before = parts[place - 1].text if place else ""
            after = parts[place + 1].text if place + 1 < len(parts) else ""
            if before in (*_ARITHMETIC, "over", "under", "between") or after in _ARITHMETIC:
                return True
    return False


def _size(kind: str, value: Amount, words: str) -> float:
    """m or rad."""
    turns = kind in _TURNS
    if value.unit == "number":
        if not turns:
            raise CannotBe(f"say {words}, and not of what; say '{words} cm'")
        value = Amount(math.radians(value.value), "angle")
    if (value.unit == "angle") != turns:
        unit = "degrees" if turns else "metres or centimetres"
        raise CannotBe(f"ask for {words}; give {unit}")
    amount = value.value
    if kind == "turn_around" and not any(
        math.isclose(amount, whole, rel_tol=0.01) for whole in (math.pi, 2 * math.pi)
    ):
        raise CannotBe(f"ask for {words}, and not to which side; say 'left'")
    least, most = ANGLE_RANGE_RAD if turns else DISTANCE_RANGE_M
    if not least * 0.999 <= amount <= most * 1.001:
        raise CannotBe(_out_of_range(amount, turns))
    return min(max(amount, least), most)


def _out_of_range(amount: float, turns: bool) -> str:
    if turns:
        least, most = (math.degrees(limit) for limit in ANGLE_RANGE_RAD)
        return f"ask for {math.degrees(amount):g} degrees; ask for {least:g} to {most:g}"
    shortest, longest = DISTANCE_RANGE_M
    return f"ask for {amount:g} m; ask for {shortest:g} to {longest:g} m"


def _examples() -> dict[str, str]:
    found = {}
    for kind, words in {**PLAIN_WORDS, "face": "look at"}.items():
        found[kind] = f"{words} {{}}" if kind in OBJECT_KINDS else words
    return found


CART = RobotWords(
    name="cart",
    kinds=KINDS,
    object_kinds=OBJECT_KINDS,
    nouns=ROOM,
    examples=_examples(),
    help="try 'go to the red block', 'grab the green ball', 'turn left', 'back up 30 cm'",
    cannot=_CANNOT,
    cannot_problem="ask for what this robot cannot do; it drives, turns, pushes and grabs",
    no_amounts="and 'forward' or a turn takes that",
    about=object_step,
    alone=with_amount,
    opposites=_OPPOSITES,
    at_once=carried,
    # who faces it has turned
    said_twice=("turn_around", "face"),
)
