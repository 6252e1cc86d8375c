"""Several intents one after another, or none at all, and when they are done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from vla_ros.tasks.arm.intent import ArmIntent
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.phrases import OBJECT_KINDS
from vla_ros.tasks.success import (
    STILL_ANGULAR,
    STILL_LINEAR,
    Judgement,
    judge,
    judge_bit,
    judge_turned,
    resolved,
    targets,
)
from vla_ros.tasks.world_state import WorldState

SEQUENCE = "sequence"
REFUSED = "refuse"
UNTOUCHED_M = 0.03  # that the robot may have moved where it was to refuse: a wheel settles
# Kinds whose amounts add up where one follows another. Not turn_around, whose side is open.
ADDED_UP = ("turn_left", "turn_right", "forward", "back")


@dataclass(frozen=True)
class IntentSequence:
    """Intents of a cart or an arm, one after another; none where the robot is to refuse."""

    intents: tuple[Any, ...]

    @property
    def kind(self) -> str:
        """As a kind of instruction: "sequence", or "refuse" of none."""
        return SEQUENCE if self.intents else REFUSED

    @property
    def colour(self) -> str | None:
        """None: no single thing is meant."""
        return None

    @property
    def shape(self) -> str | None:
        """As `colour`."""
        return None


@dataclass(frozen=True)
class BitIntent(Intent):
    """A turn or a drive of "a bit": its amount is the usual one, and less of it will do."""


def meant_by(intents: tuple[Any, ...]) -> Any:
    """The intent itself where there is one alone; of a cart's or of an arm's."""
    return intents[0] if len(intents) == 1 else IntentSequence(intents)


def steps_of(meant: Any) -> tuple[Any, ...]:
    """The intents of it, a cart's or an arm's."""
    return meant.intents if isinstance(meant, IntentSequence) else (meant,)


def first_kind(meant: Any) -> str:
    """The kind of its first step; of an arm's intent, and where nothing may be done, its own."""
    if isinstance(meant, IntentSequence) and meant.intents:
        return meant.intents[0].kind
    kind: str = meant.kind
    return kind


def named_first(meant: Intent | IntentSequence, start: WorldState | None) -> str:
    """The name of the first thing that is meant, as the room has it; "" where none is."""
    for intent in steps_of(meant):
        if intent.kind in OBJECT_KINDS and start is not None:
            try:
                return targets(intent, start)[0].name
            except ValueError:  # the room has none: whoever judges says so
                return ""
    return ""


def in_words(meant: Any) -> str:
    """For people: "go to the red block, then turn left 60 degrees".

    Of an intent, a sequence of some, or an arm's.
    """
    parts = [_step_in_words(intent) for intent in steps_of(meant)]
    return ", then ".join(parts) or "nothing that the robot may do"


def _step_in_words(intent: Intent | ArmIntent) -> str:
    if isinstance(intent, ArmIntent):
        return intent.text
    words = intent.kind.replace("_", " ")
    if intent.kind in OBJECT_KINDS:
        whichever = intent.which is not None and intent.which.relation == "any"
        return f"{words} {intent.target}" if whichever else f"{words} the {_named(intent)}"
    if isinstance(intent, BitIntent):
        return f"{words} a bit"
    if intent.kind.startswith("turn"):
        return f"{words} {math.degrees(intent.amount):.0f} degrees"
    return f"{words} {intent.amount:g} m" if intent.amount else words


def _named(intent: Intent) -> str:
    """As `target` says it, without its "any" for a colour that is not named."""
    return intent.target.removeprefix("any ")


class StepByStep:
    """Judges steps one after another, moment by moment.

    A step counts once it is done; the next is judged from that moment on. Of the steps, the last is
    judged to the end. What a robot's own judge adds: `_begin` a step, and `_judge` it.
    """

    def __init__(self, meant: Any) -> None:
        """`meant`: one step, or several."""
        self._steps = steps_of(meant)
        self._number = 0

    def __call__(self, now: Any) -> Judgement:
        """The verdict on all of it.

        Raises:
            ValueError: there is not what the step under way names.
        """
        verdict = self._judge(now)
        count = len(self._steps)
        if count <= 1:
            return verdict
        sentence = f"step {self._number + 1} of {count}: {verdict.sentence}"
        if verdict.done and self._number < count - 1:
            self._number += 1
            self._begin(now)
            return Judgement(False, math.inf, f"{sentence}; that step is done")
        return replace(verdict, sentence=sentence)

    @property
    def done_steps(self) -> int:
        """How many steps are done, the last not counted."""
        return self._number

    def _begin(self, start: Any) -> None:
        """The step under way is judged from this moment on."""
        raise NotImplementedError

    def _judge(self, now: Any) -> Judgement:
        """The verdict on the step under way."""
        raise NotImplementedError


class Judging(StepByStep):
    """Judges what was asked for, moment by moment.

    Neighbouring turns to one side, and drives one way, are judged by their sum as well: else the
    tolerances would add up. Ask often enough that no half turn lies between two moments.
    """

    def __init__(self, meant: Intent | IntentSequence, start: WorldState) -> None:
        """`start`: the world when the words were said. Raises ValueError as `targets` does."""
        super().__init__(meant)
        self._said = start
        self._last: str | None = None  # the name of the thing of the step before
        self._yaw = start.yaw
        self._turned = 0.0  # rad in this step, left positive, over more than a circle too
        self._sum: Intent | None = None  # of this step and its neighbours before, if it has any
        self._sum_start = start
        self._sum_turned = 0.0  # rad, up to this step
        self._begin(start)

    def _judge(self, now: WorldState) -> Judgement:
        if not self._steps:
            return _unmoved(self._start, now)
        self._turned += math.remainder(now.yaw - self._yaw, 2 * math.pi)
        self._yaw = now.yaw
        return self._with_sum(self._judge_alone(now), now)

    def _begin(self, start: WorldState) -> None:
        turned = self._turned
        self._start = start
        self._yaw = start.yaw
        self._turned = 0.0
        if not self._steps:
            return
        intent = self._steps[self._number]
        before = self._steps[self._number - 1] if self._number else None
        if before is not None and _add_up(before, intent):
            total = self._sum or before
            self._sum = replace(intent, amount=total.amount + intent.amount)
            self._sum_turned += turned
        else:
            self._sum = None
            self._sum_start = start
            self._sum_turned = 0.0
        self._intent = intent
        if intent.kind in OBJECT_KINDS:
            try:
                self._intent = resolved(intent, start, self._last)
            except ValueError:  # nothing stands left of it, seen from here: as it was when said
                self._intent = resolved(intent, self._said, self._last)
            self._last = targets(self._intent, start)[0].name

    def _with_sum(self, verdict: Judgement, now: WorldState) -> Judgement:
        """The verdict, which is not done where the sum of the neighbours is not."""
        if self._sum is None or not verdict.done:
            return verdict
        if self._sum.kind.startswith("turn"):
            turned = self._sum_turned + self._turned
            total = judge_turned(self._sum, turned, self._sum_start, now)
        else:
            total = judge(self._sum, self._sum_start, now)
        if total.done:
            return verdict
        return replace(total, sentence=f"{verdict.sentence}; in all {total.sentence}")

    def _judge_alone(self, now: WorldState) -> Judgement:
        if isinstance(self._intent, BitIntent):
            return judge_bit(self._intent, self._start, now)
        if self._intent.kind.startswith("turn") and self._intent.amount > math.pi:
            # by the headings alone, three quarters to the left are one quarter to the right
            return judge_turned(self._intent, self._turned, self._start, now)
        return judge(self._intent, self._start, now)


def _unmoved(start: WorldState, now: WorldState) -> Judgement:
    """What was to be refused is never done; its distance is how far the robot moved, m."""
    moved = math.dist((start.x, start.y), (now.x, now.y))
    sentence = f"the words were to be refused; the robot moved {moved:.2f} m"
    return Judgement(False, moved, sentence)


def _add_up(before: Intent, intent: Intent) -> bool:
    """Whether the amounts of two neighbours add up; "a bit" is no amount."""
    if isinstance(before, BitIntent) or isinstance(intent, BitIntent):
        return False
    return before.kind == intent.kind and intent.kind in ADDED_UP


def untouched(start: WorldState, path: Sequence[WorldState]) -> bool:
    """Whether the robot did nothing that one could see, at no moment of `path`, and stands."""
    end = path[-1]
    stands = abs(end.linear) <= STILL_LINEAR and abs(end.angular) <= STILL_ANGULAR
    return stands and all(_as_it_was(start, now) for now in path)


def _as_it_was(start: WorldState, now: WorldState) -> bool:
    moved = math.dist((start.x, start.y), (now.x, now.y))
    turned = abs(math.remainder(now.yaw - start.yaw, 2 * math.pi))
    return moved <= UNTOUCHED_M and turned <= UNTOUCHED_M and now.held == start.held
