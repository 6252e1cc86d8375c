"""What one robot can be told: all that the reader knows of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from vla_ros.tasks.reading.network import FILLER, MENTION, REFUSE
from vla_ros.tasks.reading.objects import NamedThing, Nouns
from vla_ros.tasks.reading.parts import Part

Step = TypeVar("Step")  # what is done at a time: an Intent, or an ArmIntent


class CannotBe(Exception):
    """Words that are understood, and ask for what cannot be; says so as "the words ..." ends."""


def nothing_more(text: str, things: Sequence[NamedThing]) -> None:
    """For a robot that has no clause of several steps."""


def no_place(parts: Sequence[Part]) -> tuple[None, None]:
    """For a robot that puts nothing anywhere."""
    return None, None


# however a person goes on: no robot of ours does that with its things, or at all
NEVER_DONE = (
    "count|describe|photograph|film|paint|sell|buy|eat|lick|chew|swallow|taste|smell|sniff|drink"
    "|cook|bake|burn|melt|destroy|demolish|wash|rinse|polish|iron|vacuum|weigh|measure|kiss|hug"
    "|juggle|dance|sing|whistle|laugh|cry|sneeze|explode|email|phone|translate|calculate|compute"
    "|explain|look (?:after|into|through|up(?! (?:at|to)))|carry me"
    "|(?:take|get|shoot|make) (?:me )?(?:a|some|another) (?:picture|photo|photograph|video)s?"
)


@dataclass(frozen=True, eq=False)
class RobotWords(Generic[Step]):
    """Of one robot. A kind is what a clause can ask for: "grab", "put_into".

    Attributes:
        name: As `--robot` takes it.
        kinds: In the order of its heads' outputs.
        object_kinds: Those that are about a thing.
        place_kinds: Of these, the ones that put it somewhere: they name a second thing.
        nouns: What its things are called.
        examples: Kind -> how one would say it, for "did you mean"; `{}` is the thing.
        help: What else to say.
        cannot: Words that ask for what no such robot does, however near they are to what it does.
        cannot_problem: That, as the end of "the words ...".
        no_amounts: Why a kind about a thing takes no amount, behind "ask for 30 cm".
        opposites: Kind -> words with which it would mean the other way.
        about: (kind, thing, place) -> the step, of object kinds. Raises CannotBe.
        alone: (kind, parts) -> the step, of the other kinds. Raises CannotBe.
        roles: The parts of a clause of place kinds -> the thing that is put, and where. Raises
            CannotBe.
        at_once: (text, things) -> the steps that a clause asks for which are more than one.
        joined: Steps -> those that are left where several are one task. Raises CannotBe.
        said_twice: Two kinds that mean the second alone, with "and" between.
    """

    name: str
    kinds: tuple[str, ...]
    object_kinds: tuple[str, ...]
    nouns: Nouns
    examples: Mapping[str, str]
    help: str
    cannot: re.Pattern[str]
    cannot_problem: str
    no_amounts: str
    about: Callable[[str, NamedThing, NamedThing | None], Step]
    alone: Callable[[str, Sequence[Part]], Step]
    place_kinds: tuple[str, ...] = ()
    opposites: Mapping[str, re.Pattern[str]] | None = None
    roles: Callable[[Sequence[Part]], tuple[NamedThing | None, NamedThing | None]] = no_place
    at_once: Callable[[str, Sequence[NamedThing]], tuple[Step, ...] | None] = nothing_more
    joined: Callable[[tuple[Step, ...]], tuple[Step, ...]] = tuple
    said_twice: tuple[str, str] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """What a clause can be, in the order of the heads' outputs."""
        return (*self.kinds, REFUSE, FILLER, MENTION)

    def most_things(self, kind: str) -> int:
        """That a clause of the kind may name."""
        return 2 if kind in self.place_kinds else 1
