"""The steps of an instruction, one after another: where it is, and when a step is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from vla_ros.core.step_words import all_done, step_begins
from vla_ros.tasks.choice import Sighting
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.phrases import AMOUNTS, OBJECT_KINDS, PLAIN_WORDS

# images in a row that must show a step done until the next one begins: the cart's, 0.4 s at 12.5 a
# second
DONE_IMAGES = 5
Step = TypeVar("Step")  # an Intent, or an ArmIntent


def canonical(intent: Intent, thing: Sighting | None = None) -> str:
    """What the model is told; of an object that was chosen, its name."""
    it = thing.name if thing else f"{intent.colour or ''} {intent.shape or 'object'}".strip()
    return _in_plain_words(intent, it)


def _in_plain_words(intent: Intent, it: str) -> str:
    words = PLAIN_WORDS[intent.kind]
    return f"{words} the {it}" if needs_object(intent) else words


def spoken(intent: Intent) -> str:
    """For people: "go to the ball left of the red block", "turn left 45 degrees"."""
    words = _in_plain_words(intent, named(intent))
    if intent.amount in (0.0, AMOUNTS.get(intent.kind)):
        return words
    if intent.kind in ("forward", "back"):
        return f"{words} {intent.amount:g} m"
    return f"{words} {math.degrees(intent.amount):.0f} degrees"


def named(intent: Intent) -> str:
    """The thing, for people, behind "the": "ball", "nearest ball", "ball ahead"."""
    words = intent.target.removeprefix("any ")
    return f"{words.removeprefix('ahead ')} ahead" if words.startswith("ahead ") else words


def needs_object(intent: Intent) -> bool:
    """Is it about a thing of the room?"""
    return intent.kind in OBJECT_KINDS


def must_look(intent: Intent) -> bool:
    """Do its words leave open which thing they mean, until it is known what is there?"""
    complete = intent.colour is not None and intent.shape is not None
    return needs_object(intent) and (not complete or intent.which is not None)


class Steps(Generic[Step]):
    """Which step of an instruction it is. After the last one it stays with that.

    Attributes:
        announced: Sentences for the operator, in their order: which steps began, and their end.
    """

    def __init__(
        self, intents: Sequence[Step], say: Callable[[Any], str] = spoken, images: int = DONE_IMAGES
    ) -> None:
        """
        Args:
            intents: One or more.
            say: Says one, for people.
            images: In a row that must show a step done.
        """
        self._intents = tuple(intents)
        self._say = say
        self._images = images
        self._index = 0
        self._done_images = 0
        self._over = False
        self.announced: list[str] = []
        self._announce()

    @property
    def current(self) -> Step:
        return self._intents[self._index]

    @property
    def first(self) -> bool:
        """Is it the first step that is under way?"""
        return self._index == 0

    @property
    def over(self) -> bool:
        """Is the last step done?"""
        return self._over

    @property
    def title(self) -> str:
        """ "step 2 of 3: turn around"; of a single step its words alone."""
        return step_begins(self._index + 1, len(self._intents), self._say(self.current))

    @property
    def cut_off(self) -> str:
        """Why an instruction ends that a reset of the policy came upon in the middle of it."""
        return f"the policy was reset in {self.title!r}; say what is left to do"

    def blamed(self, sentence: str) -> str:
        """Why the instruction ended here: which step it was, where there are several."""
        return sentence if len(self._intents) == 1 else f"{self.title}: {sentence}"

    def note(self, done: bool) -> bool:
        """An image of the current step, and whether it shows it done.

        Returns:
            Whether the next step begins.
        """
        self._done_images = self._done_images + 1 if done else 0
        if self._over or self._done_images < self._images:
            return False
        self._done_images = 0
        if self._index + 1 == len(self._intents):
            self._over = True
            self.announced.append(all_done(len(self._intents), self._say(self.current)))
            return False
        self._index += 1
        self._announce()
        return True

    def _announce(self) -> None:
        if len(self._intents) > 1:
            self.announced.append(self.title)
