"""Sentences to learn from, made of the templates in the text files beside this one.

In a template `(a|b)` is one of them, `[a]` perhaps a, `{it}` one of the robot's things, `{there}`
the thing to which it is put, `{dist}` and `{ang}` an amount, `{noun}` something that is none of the
robot's things.

Held out are whole lines, told by their hash: none of their fillings is learned from.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vla_ros.tasks.objects import COLOURS
from vla_ros.tasks.reading.amounts import NUMBERS
from vla_ros.tasks.reading.network import FILLER, MENTION, REFUSE
from vla_ros.training.words.lessons import CART_LESSONS, Lessons, listed

HELD_OUT_SHARE = 0.1
WORDS_A_TURN = 3
_TIMES = {REFUSE: 4, FILLER: 2, "stop": 2}  # as many sentences as of a kind: they have more to say
POLITE_SHARE = 0.45
TYPO_SHARE = 0.12  # of the sentences: one word of it
_IDLE = (REFUSE, FILLER)
_CHOICE = re.compile(r"\(([^()\[\]]*)\)|\[([^()\[\]]*)\]")
_VERBS = re.compile(r"\(([^()]*)\) \{it\}")
_JOINS = (" and ", ", ", " then ", " and then ", " ", ". ", " or ", " but ")
_MANNERS = ("", "", "", "", "for me", "again", "now", "with care", "at once", "today", "quickly")
_RELATIONS = [
    "left of",
    "to the left of",
    "on the left of",
    "right of",
    "to the right of",
    "behind",
    "in front of",
    "next to",
    "beside",
    "near",
    "by",
    "close to",
    "on the right side of",
]
_WHICH = ["nearest", "closest", "other", "leftmost", "farthest", "rightmost", "left", "right"]


@dataclass(frozen=True)
class Example:
    """A sentence and which of the robot's classes it is."""

    text: str
    label: str


def held_out(template: str) -> bool:
    """Whether no sentence of this line is learned from."""
    return zlib.crc32(template.encode()) % 1000 < 1000 * HELD_OUT_SHARE


class Speaker:
    """Says templates, each time otherwise."""

    def __init__(self, seed: int, lessons: Lessons = CART_LESSONS) -> None:
        self._lessons = lessons
        self._kinds = lessons.robot.kinds
        self._rng = random.Random(seed)
        self._numbers = np.random.default_rng(seed)
        self._before = listed("before")
        self._after = listed("after")
        self._things = lessons.nouns()
        own = own_verbs(lessons)
        self._verbs = [verb for verb in lessons.verbs() if verb not in own]

    def examples(self, held: bool, of_each: int) -> list[Example]:
        """So many of each kind, and of what is none several times as many; each text once.

        Args:
            held: Of the lines that are held out, or of the others.
            of_each: Sentences of a kind.
        """
        by_class: dict[str, list[str]] = {}
        for label, template in self._lessons.templates():
            if held_out(template) == held:
                # a line with many words to choose from is said more often
                often = 1 + template.count("|") // WORDS_A_TURN
                by_class.setdefault(label, []).extend([template] * often)
        found: dict[str, str] = {}
        for label in self._lessons.robot.classes:
            of_class = by_class.get(label, [])
            if not of_class:
                continue
            for count in range(of_each * _TIMES.get(label, 1)):
                # each line once before any comes twice: short lists stay even
                template = of_class[count % len(of_class)]
                found.setdefault(self._polite(self.fill(template), label), label)
        for label in (FILLER, MENTION):
            for _ in range(0 if held else of_each // 2):
                text = self._of(self._before + self._after) if label == FILLER else self.thing()
                found.setdefault(text, label)
        for _ in range(3 * of_each):
            text = self._spoilt(by_class)
            if text:
                found.setdefault(text, REFUSE)
        if not held:
            for _ in range(of_each * len(self._kinds) // 4):
                kind = self._of(self._kinds)
                found.setdefault(self._lessons.known(self._numbers, self._of, kind), kind)
        return [
            Example(self._misspelt(text), label) for text, label in found.items() if text.strip()
        ]

    def fill(self, template: str) -> str:
        """The template with everything chosen."""
        text = template
        while True:
            match = _CHOICE.search(text)
            if match is None:
                break
            if match[1] is not None:
                chosen = self._of(match[1].split("|"))
            else:
                chosen = self._of(match[2].split("|")) if self._rng.random() < 0.4 else ""
            text = text[: match.start()] + chosen + text[match.end() :]
        for slot, word in (
            ("{it}", self.thing),
            ("{there}", self.thing),
            ("{dist}", self.distance),
            ("{ang}", self.angle),
            ("{noun}", self.noun),
        ):
            while slot in text:
                text = text.replace(slot, word(), 1)
        return " ".join(text.split())

    def thing(self) -> str:
        """One of the robot's things, as one may name it."""
        name = self._plain_thing()
        if not self._lessons.relations:
            return name
        chance = self._rng.random()
        if chance < 0.1:
            joint = self._of(("", "", "that is ", "which is ", "standing "))
            return f"{name} {joint}{self._of(_RELATIONS)} {self._plain_thing()}"
        if chance < 0.14:
            return f"{name} {self._of(('in front of you', 'on your left', 'over there'))}"
        if chance < 0.17:
            return f"{name} that is not {self._of(COLOURS)}"
        return name

    def _plain_thing(self) -> str:
        names = self._lessons.names
        noun = self._of(names[self._of(tuple(names))])
        article = self._of(("the", "the", "the", "the", "that", "a", "this", "any", "my", "your"))
        look = self._of(("", "", "", "", "", "little ", "big ", "shiny ", "small "))
        if self._rng.random() < 0.12:
            return f"the {self._of(_WHICH)} {noun}"
        colour = "" if self._rng.random() < 0.15 and noun != "can" else f"{self._of(COLOURS)} "
        return f"{article} {look}{colour}{noun}"

    def distance(self) -> str:
        """A distance, as one may give it."""
        number = str(self._rng.randrange(5, 200))
        if self._rng.random() < 0.3:
            number = self._of(tuple(NUMBERS)[5:])
        return self._of(
            (
                f"{number} cm",
                f"{number}cm",
                f"{number} centimetres",
                f"{number} centimeters",
                f"{self._rng.randrange(1, 30) / 10} m",
                f"{self._of(('1', '2', 'one', 'two'))} metres",
                "half a metre",
                "a metre",
                "two feet",
                "ten inches",
                "a yard",
                "a metre and a half",
            )
        )

    def angle(self) -> str:
        """An angle, as one may give it."""
        number = str(5 * self._rng.randrange(1, 37))
        if self._rng.random() < 0.3:
            number = self._of(tuple(NUMBERS)[10:])
        return self._of(
            (
                f"{number} degrees",
                f"{number} degrees",
                f"{number} deg",
                f"{number}\u00b0",
                "a quarter turn",
                "a right angle",
                "half a turn",
                "an eighth of a turn",
            )
        )

    def noun(self) -> str:
        """Something that is none of the robot's things."""
        article = self._of(("the", "the", "the", "a", "my", "that", "your", "this"))
        return f"{article} {self._of(self._things)}"

    def _of(self, choices: Sequence[str]) -> str:
        return choices[self._rng.randrange(len(choices))]

    def _polite(self, text: str, label: str) -> str:
        """With courtesy before or after it; half as often where it is no instruction."""
        share = POLITE_SHARE * (0.6 if label == REFUSE else 1.0)
        if self._rng.random() >= share or label == FILLER:
            return text
        chance = self._rng.random()
        if chance < 0.6:
            text = f"{self._of(self._before)} {text}"
        if chance >= 0.5:
            text = f"{text} {self._of(self._after)}"
        return text

    def _spoilt(self, by_class: dict[str, list[str]]) -> str:
        """An instruction made into none: what it is easily taken for."""
        chance = self._rng.random()
        robot = self._lessons.robot
        kind = self._of(self._kinds)
        template = self._of(by_class.get(kind) or [""])
        if chance < 0.2:  # what this robot does to nothing
            thing = self._of((self.thing(), self.thing(), self.thing(), "it"))
            verb = self._of(self._verbs)
            said = f"{verb} {thing} {self._of(_MANNERS)}".strip()
            return self._polite(said, REFUSE)
        if chance < 0.45:  # about something else
            kind = self._of(robot.object_kinds)
            template = self._of(by_class.get(kind) or [""])
            slot = self._slot(template)
            return self._polite(self.fill(template.replace(slot, "{noun}")), REFUSE) * (
                slot in template
            )
        if chance < 0.6:  # two at once: what is one step is cut from the other before
            other = self._of([each for each in self._kinds if each != kind])
            second = self._of(by_class.get(other) or [""])
            return f"{self.fill(template)}{self._of(_JOINS)}{self.fill(second)}"
        if chance < 0.75:  # half of it is nonsense
            halves = [self.fill(template), self.fill(self._of(by_class[REFUSE]))]
            self._rng.shuffle(halves)
            return self._of(_JOINS).join(halves)
        if chance < 0.9:  # unfinished
            kind = self._of(robot.object_kinds)
            template = self._of(by_class.get(kind) or [""])
            place = template.find(self._slot(template))
            ending = self._of(("", "", "the", "a", "the um"))
            return self._polite(self.fill(template[: max(0, place)]), REFUSE) + f" {ending}"
        words = self.fill(template).split()
        self._rng.shuffle(words)
        return " ".join(words) * (len(words) > 4)

    def _slot(self, template: str) -> str:
        """The thing of a template, or as often the place where it is put."""
        if "{there}" not in template:
            return "{it}"
        return self._of(("{it}", "{there}"))

    def _misspelt(self, text: str) -> str:
        if self._rng.random() >= TYPO_SHARE:
            return text
        words = text.split()
        place = self._rng.randrange(len(words))
        words[place] = self._slip(words[place])
        return " ".join(words)

    def _slip(self, word: str) -> str:
        if len(word) < 4 or not word.isalpha():
            return word
        place = self._rng.randrange(len(word) - 1)
        return self._of(
            (
                word[:place] + word[place + 1] + word[place] + word[place + 2 :],
                word[:place] + word[place + 1 :],
                word[:place] + word[place] + word[place:],
            )
        )


def own_verbs(lessons: Lessons) -> set[str]:
    """What the robot does to its things: the choices of "(take|get) {it}" and the like."""
    found: set[str] = set()
    for template in lessons.commands():
        match = _VERBS.match(template)
        if match is not None:
            found.update(match[1].split("|"))
    return found


def task_words(lessons: Lessons = CART_LESSONS) -> list[str]:
    """Every word of the templates that ask for something, in the alphabet's order."""
    return _words_of(template for label, template in lessons.templates() if label not in _IDLE)


def idle_words(lessons: Lessons = CART_LESSONS) -> list[str]:
    """Every word of those that say nothing: "cobber" is no "clobber" that is misspelt."""
    return _words_of(template for label, template in lessons.templates() if label == FILLER)


def _words_of(templates: Iterable[str]) -> list[str]:
    words: set[str] = set()
    for template in templates:
        words.update(re.findall(r"[a-z]+", re.sub(r"\{[a-z]+\}", " ", template.lower())))
    return sorted(words)
