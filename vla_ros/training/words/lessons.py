"""What each robot's reader learns from: which text files, and what its things are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from vla_ros.tasks.arm.intent import PLACES, ArmIntent, Named
from vla_ros.tasks.arm.phrases import TABLE_SLOTS, say_arm
from vla_ros.tasks.objects import COLOURS
from vla_ros.tasks.phrases import OBJECT_KINDS, SLOTS, SPLITS, intent_of, say
from vla_ros.tasks.reading.arm import ARM
from vla_ros.tasks.reading.cart import CART
from vla_ros.tasks.reading.network import REFUSE
from vla_ros.tasks.reading.robot import RobotWords

Template = tuple[str, str]  # a class, and what is said
Choose = Callable[[Sequence[str]], str]

# Kinds of the cart's commands that mean the same to an arm, and those that an arm refuses.
_SHARED_KINDS = ("push", "close", "stop", "filler", "mention")
_DRIVING_KINDS = ("turn_left", "turn_right", "turn_around", "forward", "back", "face")
# Lines of the cart's files that an arm would follow, or nearly; it has its own.
_OF_AN_ARM = re.compile(
    r"\b(?:put|place|stack|set|lay|drop|balance|pile|rest|hand|give|bring|pass|home|release|hover|align|level|lock|zero"
    r"|reach|point|aim|line|retract|withdraw|show)\b|\b(?:go|move)\b.*\bover\b.*\{it\}"
)
_OF_AN_ARM_ALONE = frozenset(("hover over", "pass", "show", "point at", "reach"))
_NO_THINGS = ("ball", "sphere", "cylinder", "can", "tube", "tin", "barrel", "pyramid", "cone")


@dataclass(frozen=True, eq=False)
class Lessons:
    """Of one robot.

    Attributes:
        templates: Class and template of each line.
        names: Shape -> what a thing of it is called; "object": any.
        relations: Whether things are also named by where they stand beside others.
        nouns: What is none of its things.
        verbs: What it does to none of its things.
        known: (numbers, choose, kind) -> the kind as the robot's phrases say it.
        slots: The words of those phrases; a misspelt word may be one of them.
    """

    robot: RobotWords[Any]
    templates: Callable[[], tuple[Template, ...]]
    names: Mapping[str, Sequence[str]]
    relations: bool
    nouns: Callable[[], tuple[str, ...]]
    verbs: Callable[[], tuple[str, ...]]
    known: Callable[[np.random.Generator, Choose, str], str]
    slots: Mapping[str, tuple[str, str]]

    def commands(self) -> Iterator[str]:
        """The templates of what is done."""
        for label, template in self.templates():
            if label != REFUSE:
                yield template


@cache
def lines_of(name: str) -> tuple[str, ...]:
    """The lines of a text file; "#" begins a comment."""
    path = Path(__file__).with_name(f"{name}.txt")
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def listed(name: str) -> tuple[str, ...]:
    """The entries of a text file, which has "|" between them."""
    found: list[str] = []
    for line in lines_of(name):
        found.extend(entry.strip() for entry in line.split("|"))
    return tuple(found)


def _commands(name: str, robot: RobotWords[Any]) -> list[Template]:
    found = []
    for line in lines_of(name):
        label, _, template = line.partition(": ")
        if label not in robot.classes:
            raise ValueError(f"{name}.txt: {line!r} begins with none of {', '.join(robot.classes)}")
        found.append((label, template))
    return found


@cache
def _cart_templates() -> tuple[Template, ...]:
    refusals = [(REFUSE, line) for line in lines_of("refusals")]
    return (*_commands("commands", CART), *refusals)


@cache
def _arm_templates() -> tuple[Template, ...]:
    found = _commands("arm_commands", ARM)
    found.extend((REFUSE, line) for line in lines_of("arm_refusals"))
    for label, template in _cart_templates():
        if label in _SHARED_KINDS:
            found.append((label, template))
        elif label in (*_DRIVING_KINDS, REFUSE) and not _OF_AN_ARM.search(template):
            found.append((REFUSE, template))
    return tuple(found)


@cache
def _arm_nouns() -> tuple[str, ...]:
    named = set(ARM.nouns.shapes)
    others = [noun for noun in listed("nouns") if named.isdisjoint(noun.split())]
    return (*others, *_NO_THINGS)


@cache
def _arm_verbs() -> tuple[str, ...]:
    return tuple(verb for verb in listed("verbs") if verb not in _OF_AN_ARM_ALONE)


def _cart_known(numbers: np.random.Generator, choose: Choose, kind: str) -> str:
    colour = None
    shape = None
    if kind in OBJECT_KINDS:
        colour = choose(COLOURS)
        shape = choose(("block", "ball", "cylinder", "")) or None
    return say(numbers, intent_of(kind, colour, shape), choose(SPLITS[:3]))


def _arm_known(numbers: np.random.Generator, choose: Choose, kind: str) -> str:
    thing = None
    place = None
    if kind in ARM.object_kinds:
        thing = Named(choose(COLOURS), choose(("block", "cup", "")) or None)
    if kind in ARM.place_kinds:
        place = Named(choose(COLOURS), PLACES.get(kind) or choose(("block", "cup", "bowl")))
    return say_arm(numbers, ArmIntent(kind, thing, place), choose(SPLITS[:3]))


CART_LESSONS = Lessons(
    CART,
    _cart_templates,
    {
        "block": ["block", "cube", "box", "brick", "die", "crate"],
        "ball": ["ball", "sphere", "orb", "globe", "marble"],
        "cylinder": ["cylinder", "can", "tube", "tin", "drum", "barrel", "canister", "pipe"],
        "object": ["object", "thing", "one", "item", "toy", "thingy"],
    },
    relations=True,
    nouns=lambda: listed("nouns"),
    verbs=lambda: listed("verbs"),
    known=_cart_known,
    slots=SLOTS,
)
ARM_LESSONS = Lessons(
    ARM,
    _arm_templates,
    {
        "block": ["block", "cube", "box", "brick", "dice"],
        "cup": ["cup", "mug", "glass", "beaker"],
        "bowl": ["bowl", "dish", "basin"],
        "object": ["object", "thing", "one", "item", "toy"],
    },
    relations=False,
    nouns=_arm_nouns,
    verbs=_arm_verbs,
    known=_arm_known,
    slots={**SLOTS, **TABLE_SLOTS},
)
LESSONS = {"cart": CART_LESSONS, "arm": ARM_LESSONS}
