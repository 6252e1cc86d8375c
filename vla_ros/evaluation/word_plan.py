"""What is asked for beside single known commands: amounts, relations, sequences, refusals.

Each is drawn with a scene in which it is clear and can be done (clear_scenes.py).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from vla_ros.evaluation.clear_scenes import can_be_done, seen, sightings
from vla_ros.evaluation.refusals import REFUSALS
from vla_ros.sim.scene import Scene, sample_scene
from vla_ros.tasks.arm.intent import ArmIntent
from vla_ros.tasks.intent import THING_RELATIONS, Intent, Which
from vla_ros.tasks.phrases import OBJECT_KINDS, intent_of
from vla_ros.tasks.sequence import REFUSED, SEQUENCE, IntentSequence, steps_of
from vla_ros.tasks.sequence_phrases import AMOUNT_KINDS, say_steps

AMOUNTS_SPLIT = "amounts"
RELATIONS_SPLIT = "relations"
SEQUENCES_SPLIT = "sequences"
REFUSALS_SPLIT = "refusals"
# Split -> the kinds that it asks for.
KINDS_OF = {
    AMOUNTS_SPLIT: AMOUNT_KINDS,
    RELATIONS_SPLIT: OBJECT_KINDS,
    SEQUENCES_SPLIT: (SEQUENCE,),
    REFUSALS_SPLIT: (REFUSED,),
}
WORD_SPLITS = tuple(KINDS_OF)
PHRASINGS = "phrasings"  # the split of a list that somebody brought
# degrees: from where a turn is more than its tolerance, to where its side still tells
TURNS_DEG = tuple(range(20, 175, 5))
DRIVES_M = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.8, 1.0, 1.2, 1.5)
NOT_RELATION = "not"
RELATIONS = (*THING_RELATIONS, "nearest", "any", "other", NOT_RELATION)
# Kinds of step, in an order that people give: nothing is driven at that stands before the robot.
ORDERS = (
    ("go_to", "turn_left"),
    ("turn_right", "go_to"),
    ("go_to", "back"),
    ("back", "turn_around"),
    ("turn_left", "forward"),
    ("go_to", "go_to"),
    ("face", "face"),
    ("grab", "back"),
    ("grab", "turn_around"),
    ("grab", "open"),
    ("push", "back"),
    ("turn_around", "grab"),
    ("go_to", "close"),
    ("open", "face"),
    ("go_to", "turn_around", "grab"),
    ("turn_right", "forward", "face"),
    ("grab", "back", "open"),
    ("go_to", "go_to", "turn_right"),
    ("back", "turn_left", "push"),
    ("open", "turn_left", "close"),
    ("face", "go_to", "back"),
    ("turn_left", "turn_right", "go_to"),
)
AMOUNT_SHARE = 0.4  # of the turns and drives in a sequence, that have an amount of their own
MAX_SCENES = 3000  # looked at for one in which it is clear
TURN_SPEED = 0.35  # rad/s, m/s: slower than the policy is on the way, its start and end included
DRIVE_SPEED = 0.3
# simulated seconds that an instruction with an object, and one without, may take
OBJECT_LIMIT_S = 30.0
OTHER_LIMIT_S = 15.0
LOOK_AROUND_S = 15.0  # more, where words may make a robot look at all that is there first
REFUSAL_LIMIT_S = 8.0  # for a policy that does not refuse: time enough to do something

Drawn = tuple[int, Intent | IntentSequence, str]  # the scene's seed, what is meant, the words


def draw_words(split: str, kind: str, seed: int) -> Drawn:
    """The first scene from `seed` on in which something of that split is clear, and its words.

    Args:
        split: One of WORD_SPLITS, but for refusals, which are said in their order.
        kind: One of the split's.
        seed: Of the first scene.

    Raises:
        ValueError: no scene was found.
    """
    rng = np.random.default_rng((seed, 1))
    wanted = _WANTED[split](rng, kind)
    for tried in range(seed, seed + MAX_SCENES):
        scene = sample_scene(tried)
        meanings = list(wanted(scene))
        if meanings:
            meant = meanings[int(rng.integers(len(meanings)))]
            return tried, meant, say_steps(rng, meant)
    raise ValueError(f"none of {MAX_SCENES} scenes from {seed} on has a clear '{kind}' of {split}")


def refusal_sentences() -> list[str]:
    """All of them, their sorts in turn, so that a part of them holds all sorts."""
    sorts = list(REFUSALS.values())
    sentences = []
    for place in range(max(map(len, sorts))):
        for sort in sorts:
            if place < len(sort):
                sentences.append(sort[place])
    return sentences


AMBIGUOUS = "ambiguous"  # a sort of refusals: which of two things in sight?
AMBIGUOUS_EVERY = 10  # of the refusals


def draw_refusal(turn: int, seed: int) -> tuple[int, str]:
    """A scene's seed and words that are to be refused there.

    Args:
        turn: How many were drawn before: our sentences are said in their order, and every tenth
            time what is asked for is one of two things in sight, and the words do not say which.
        seed: Of the first scene.
    """
    sentences = refusal_sentences()
    if turn % AMBIGUOUS_EVERY != AMBIGUOUS_EVERY - 1:
        return seed, sentences[(turn - turn // AMBIGUOUS_EVERY) % len(sentences)]
    rng = np.random.default_rng((seed, 1))
    kind = OBJECT_KINDS[rng.integers(len(OBJECT_KINDS))]
    while True:
        in_sight = list(filter(seen, sightings(sample_scene(seed))))
        shapes = Counter(thing.shape for thing in in_sight)
        for shape, count in shapes.items():
            if count > 1:
                return seed, say_steps(rng, Intent(kind, None, shape))
        seed += 1


def sort_of_refusal(text: str) -> str:
    """Which sort of REFUSALS the sentence is of; else it was drawn as an ambiguous one."""
    for sort, sentences in REFUSALS.items():
        if text in sentences:
            return sort
    return AMBIGUOUS


def seconds_for(meant: Any) -> float:
    """Simulated, that it may take."""
    if isinstance(meant, IntentSequence) and not meant.intents:
        return REFUSAL_LIMIT_S
    return sum(map(_step_seconds, steps_of(meant)))


def _step_seconds(intent: Intent | ArmIntent) -> float:
    if isinstance(intent, ArmIntent):
        return OBJECT_LIMIT_S if intent.thing else OTHER_LIMIT_S
    if intent.kind in OBJECT_KINDS:
        return OBJECT_LIMIT_S + LOOK_AROUND_S * (intent.which is not None)
    speed = TURN_SPEED if intent.kind.startswith("turn") else DRIVE_SPEED
    return max(OTHER_LIMIT_S, OTHER_LIMIT_S / 2 + intent.amount / speed)


Wanted = Callable[[Scene], Iterator[Intent | IntentSequence]]


def _amount_wanted(rng: np.random.Generator, kind: str) -> Wanted:
    intent = Intent(kind, amount=_amount(rng, kind))

    def wanted(scene: Scene) -> Iterator[Intent | IntentSequence]:
        if can_be_done([intent], scene):
            yield intent

    return wanted


def _amount(rng: np.random.Generator, kind: str) -> float:
    if kind.startswith("turn"):
        return math.radians(TURNS_DEG[rng.integers(len(TURNS_DEG))])
    return DRIVES_M[rng.integers(len(DRIVES_M))]


def _relation_wanted(rng: np.random.Generator, kind: str) -> Wanted:
    # the relation is drawn before the scene: else what most scenes have would be asked most
    relation = RELATIONS[rng.integers(len(RELATIONS))]

    def wanted(scene: Scene) -> Iterator[Intent | IntentSequence]:
        for meant in relation_meanings(relation, kind, scene):
            if can_be_done(steps_of(meant), scene):
                yield meant

    return wanted


def relation_meanings(relation: str, kind: str, scene: Scene) -> Iterator[Intent | IntentSequence]:
    """Everything of that kind and relation that could be said of the scene's things."""
    shapes = sorted({thing.shape for thing in scene.objects})
    if relation in THING_RELATIONS:
        for mark in scene.objects:
            which = Which(relation, mark.colour, mark.shape)
            for shape in (*shapes, None):
                yield Intent(kind, None, shape, which=which)
    elif relation == NOT_RELATION:
        for thing in scene.objects:
            alike = [other for other in scene.objects if other.shape == thing.shape]
            if len(alike) == 2:  # or "not red" would not tell which
                yield Intent(kind, None, thing.shape, excluded=(thing.colour,))
    elif relation == "other":
        for thing in scene.objects:
            first = Intent("face", thing.colour, thing.shape)
            yield IntentSequence((first, Intent(kind, None, thing.shape, which=Which("other"))))
    else:
        for shape in shapes:
            yield Intent(kind, None, shape, which=Which(relation))


def _sequence_wanted(rng: np.random.Generator, kind: str) -> Wanted:
    order = ORDERS[rng.integers(len(ORDERS))]
    steps = []
    for step_kind in order:
        step = intent_of(step_kind)
        if step_kind in AMOUNT_KINDS and rng.random() < AMOUNT_SHARE:
            step = replace(step, amount=_amount(rng, step_kind))
        steps.append(step)

    def wanted(scene: Scene) -> Iterator[Intent | IntentSequence]:
        # one draw a scene: which things, none of them twice
        things = [scene.objects[place] for place in rng.permutation(len(scene.objects))]
        named = []
        for step in steps:
            if step.kind in OBJECT_KINDS:
                thing = things.pop()
                step = replace(step, colour=thing.colour, shape=thing.shape)
            named.append(step)
        if can_be_done(named, scene):
            yield IntentSequence(tuple(named))

    return wanted


_WANTED: dict[str, Callable[[np.random.Generator, str], Wanted]] = {
    AMOUNTS_SPLIT: _amount_wanted,
    RELATIONS_SPLIT: _relation_wanted,
    SEQUENCES_SPLIT: _sequence_wanted,
}
