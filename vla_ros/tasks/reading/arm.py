"""What the arm at its table can be told: it reaches, picks up, puts, pushes and hands over."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from vla_ros.tasks.arm.intent import (
    ARM_KINDS,
    ARM_OBJECT_KINDS,
    HOLDING_KINDS,
    PLACES,
    PLAIN_ARM_WORDS,
    PUT_KINDS,
    TABLE_SHAPES,
    ArmIntent,
    Named,
    problem_of,
)
from vla_ros.tasks.reading.amounts import Amount
from vla_ros.tasks.reading.objections import REPORTED
from vla_ros.tasks.reading.objects import NamedThing, Nouns
from vla_ros.tasks.reading.parts import ITEM, Part
from vla_ros.tasks.reading.robot import NEVER_DONE, CannotBe, RobotWords

ONE = "one"  # of a place: of the shape of what is put there
_MORE_NAMES = {
    "block": "die cuboid hexahedron",
    "cup": "tumbler goblet chalice teacup",
    "bowl": "",
    "": "object thing one toy item piece thingy doodad",
}
_NO_AMOUNTS = "and the arm takes no amounts"
_WHICH = "do not say which thing; name a colour and a block, cup or bowl"
_FILLS = re.compile(r"(?:fill|load) \[item\] with ")
# What stands before the place where something is put, at the end of the words before its mark.
_BEFORE_PLACE = re.compile(
    r"(?:^| )(?:in|into|inside|within|on|onto|upon|atop|beside|besides|by|near|alongside|against"
    r"|over|(?:next|close|adjacent|up|nearer|closer|on|in) to"
    r"|(?:top|side|inside|middle|centre|center) of|(?:level|flush|up) with)$"
)
# "the cup is next to the bowl" asks for nothing; "the cup is to go into the bowl" does
_TELLS_WHERE = re.compile(
    r"(?:[a-z]+ , )?"
    r"\[item\] (?:is|was|are|were|has been|had been|stands|stood|sits|sat|lies|lay|rests|fell)"
    r"(?! (?:to|supposed to|meant to) )(?!\S)"
)
# nouns that name nothing without an article or a colour: they mean something else, too
_NEEDS_COMPANY = frozenset(
    ["one", "thing", "object", "item", "piece", "toy", "die", "dice", "box", "brick", "glass"]
)


def _nouns() -> Nouns:
    shapes = dict(TABLE_SHAPES)
    for shape, names in _MORE_NAMES.items():
        shapes.update(dict.fromkeys(names.split(), shape))
    roundness = {"square": "block", "cubic": "block", "cubical": "block"}
    return Nouns(shapes, roundness, _NEEDS_COMPANY, relations=False)


def arm_step(kind: str, thing: NamedThing, place: NamedThing | None = None) -> ArmIntent:
    """The step about a thing of the table. Raises CannotBe."""
    if kind in PUT_KINDS and place is None:
        raise CannotBe(
            "do not say where to put it; say it, as in 'put the red block into the blue bowl'"
        )
    put = None
    if place is not None:
        if place.shape == ONE and place.colour is None:
            raise CannotBe(_WHICH)  # "next to that one"
        # "beside the red one": of the same shape; "on it": there is but one shape for that
        shape = thing.shape if place.shape == ONE else place.shape
        put = _named(replace(place, shape=shape or PLACES.get(kind)))
    intent = ArmIntent(kind, _named(thing), put)
    problem = problem_of(intent)
    if problem is not None:
        raise CannotBe(problem)
    return intent


def _named(thing: NamedThing) -> Named:
    if thing.excluded:
        raise CannotBe("say what a thing is not, and the arm takes only what it is")
    if thing.which is not None and thing.which.relation != "any":
        raise CannotBe(
            "say by its place which thing is meant, which the arm does not know; name its colour "
            "and its shape"
        )
    if thing.colour is None and thing.shape is None:
        raise CannotBe(_WHICH)
    return Named(thing.colour, thing.shape)


def plain_step(kind: str, parts: Sequence[Part]) -> ArmIntent:
    """The step of a kind that is about no thing. Raises CannotBe."""
    for part in parts:
        size = isinstance(part.value, Amount) and part.value.unit != "little"
        if size and kind != "stop":  # "not another inch"
            raise CannotBe(f"ask for {part.said}, {_NO_AMOUNTS}")
    return ArmIntent(kind)


def thing_and_place(parts: Sequence[Part]) -> tuple[NamedThing | None, NamedThing | None]:
    """Which of the things that a clause names is put, and where.

    The place is what "into", "next to" and the like stand before; of two, else the second.

    Raises:
        CannotBe: the clause only says where a thing is.
    """
    text = ""
    found: list[tuple[Part, bool]] = []
    for part in parts:
        if part.text == ITEM:
            found.append((part, _BEFORE_PLACE.search(text) is not None))
        text = f"{text} {part.text}".strip()
    if _TELLS_WHERE.match(text):
        raise CannotBe(REPORTED)
    if not found or len(found) > 2:
        return None, None
    first, is_place = found[0]
    if len(found) == 1:
        return (None, _place(first)) if is_place else (_value(first), None)
    second, is_second_place = found[1]
    if (is_place and not is_second_place) or _FILLS.search(text):
        first, second = second, first
    return _value(first), _place(second)


def _value(part: Part) -> NamedThing:
    assert isinstance(part.value, NamedThing)
    return part.value


def _place(part: Part) -> NamedThing:
    place = _value(part)
    if place.shape is None and "one" in part.said.split():
        return replace(place, shape=ONE)
    return place


def one_task(steps: tuple[ArmIntent, ...]) -> tuple[ArmIntent, ...]:
    """With what belongs to one task made one: "pick up the cup and put it into the bowl".

    Raises:
        CannotBe: a thing is taken while the gripper holds another one.
    """
    kept: list[ArmIntent] = []
    held: Named | None = None
    for step in steps:
        before = kept[-1] if kept else None
        if before is not None and before.kind in ("reach", "pick") and _goes_on(before, step):
            kept.pop()
            step = replace(step, thing=before.thing)
            if before.kind == "pick":
                held = None
        if step.kind in HOLDING_KINDS:
            if held is not None and step.thing != held:
                taken = step.thing.one if step.thing else "thing"
                raise CannotBe(
                    f"take the {taken} while the gripper holds the {held.one}; say first where to "
                    "put that"
                )
            held = None if step.kind in PUT_KINDS else step.thing
        elif step.kind == "open":
            held = None
        kept.append(step)
    return tuple(kept)


def _goes_on(before: ArmIntent, step: ArmIntent) -> bool:
    """Whether `step` needs what `before` does, with the same thing."""
    if step.kind not in HOLDING_KINDS or before.thing is None or step.thing is None:
        return False
    same_colour = step.thing.colour in (None, before.thing.colour)
    return same_colour and step.thing.shape in (None, before.thing.shape)


def _examples() -> dict[str, str]:
    places = {"put_into": "a bowl", "put_onto": "a block"}
    found = {}
    for kind, words in PLAIN_ARM_WORDS.items():
        found[kind] = words.format("{}", places.get(kind, "a cup"))
    return found


ARM = RobotWords(
    name="arm",
    kinds=ARM_KINDS,
    object_kinds=ARM_OBJECT_KINDS,
    place_kinds=PUT_KINDS,
    nouns=_nouns(),
    examples=_examples(),
    help="try 'pick up the red block', 'put the red block into the blue bowl', 'hand me the "
    "yellow cup', 'go home'",
    cannot=re.compile(
        r"(?:(?:please|now|just|you|robot|can|could|to|go|and|then) )*(?:fly|teleport|swim|jump"
        r"|climb|levitate|warp|beam|blink|apparate|tunnel|dig|dive|soar|walk|drive|run"
        rf"|{NEVER_DONE})(?!\S)"
    ),
    cannot_problem="ask for what this arm cannot do; it reaches, picks up, puts, pushes and hands "
    "over",
    no_amounts=_NO_AMOUNTS,
    about=arm_step,
    alone=plain_step,
    roles=thing_and_place,
    joined=one_task,
)
