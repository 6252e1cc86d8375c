"""What one clause of a sentence was read as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vla_ros.tasks.reading.network import FILLER, MENTION, REFUSE
from vla_ros.tasks.reading.objects import NamedThing

PRONOUNS = frozenset(("it", "that", "this", "there", "them", "one", "him", "her"))


@dataclass(frozen=True)
class Clause:
    """What one clause was read as.

    Attributes:
        label: One of the robot's classes; `refuse` where it is not understood.
        steps: What is to be done, where it is an instruction that points at nothing.
        thing: What it names, if anything.
        place: Where that is put.
        pointing: It says "it" or "there" for what was named before.
        idle: It is likelier to say nothing than anything else, though not surely.
        problem: Why it is refused, as the end of "the words ...".
        likeliest: The share of the kind that it resembles most, 0 to 1.
    """

    label: str
    steps: tuple[Any, ...] = ()
    thing: NamedThing | None = None
    place: NamedThing | None = None
    pointing: bool = False
    problem: str = ""
    idle: bool = False
    likeliest: float = 0.0

    @property
    def instructs(self) -> bool:
        """Whether something is to be done."""
        return self.label not in (REFUSE, FILLER, MENTION)
