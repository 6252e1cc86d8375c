"""Which episodes are run: drawn from seeds that training never uses, before anything is simulated.

A plan is data. Which scene a seed gives is known without physics, so a target is chosen that only
one object fits and that is not yet done when the instruction is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from operator import attrgetter
from typing import Any

import numpy as np

from vla_ros.core.registry import lookup
from vla_ros.sim.scene import Placement, Scene, sample_scene
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.objects import COLOURS, SHAPES
from vla_ros.tasks.phrases import KINDS, OBJECT_KINDS, SLOTS, SPLITS, UNSEEN_PAIRS, intent_of, say
from vla_ros.tasks.success import FACE_BEARING_RAD

FIRST_SEED = 1_000_000  # training stays below
# simulated seconds that an instruction with an object, and one without, may take
OBJECT_LIMIT_S = 30.0
OTHER_LIMIT_S = 15.0
# of object instructions that name a colour only, where only one object has it
ANY_SHAPE_SHARE = 0.1
# between two bearings, so that facing one is not facing the other: twice what counts as faced, and
# 9 degrees between them
MIN_APART_RAD = 2 * FACE_BEARING_RAD + math.radians(9)
# with one target each
COMMANDS = len(OBJECT_KINDS) * len(COLOURS) * len(SHAPES) + len(KINDS) - len(OBJECT_KINDS)
PARAPHRASES = 4  # of one scene and meaning
OF_KNOWN_WORDS = ("known", "recombined", "pairs")  # splits


@dataclass(frozen=True)
class PlannedEpisode:
    """One trial.

    `part` says what it is for; `meant` is judged, `text` is said: in a counterfactual they differ.
    `group` is the number of the episode whose scene and meaning it has; `scenario` names the
    conditions (scenarios.py).
    """

    number: int
    part: str  # success, paraphrases, swapped, blank, scenarios
    split: str
    seed: int
    meant: Any  # an Intent, or an ArmIntent
    text: str
    seconds: float
    group: int = 0
    scenario: str = "plain"
    robot: str = "cart"


Draw = Callable[[int, str, str, int, int | None], PlannedEpisode]


@dataclass(frozen=True)
class EvaluatedRobot:
    """What can be asked of a robot, and how its episodes are drawn.

    Attributes:
        kinds: Of instruction.
        object_kinds: Those that name an object.
        commands: How many distinct ones there are, with one target each.
        draw: An episode of a number, split and kind, with the first scene from a seed on that has a
            target; the last is how many objects there shall be, None as usual.
        say: Words for an intent, of a split.
        swap: The words of an episode with another colour.
        worker: Runs the episodes of a `PolicyChoice`: module:Class.
        scenarios: Those that it can have; empty: all.
    """

    name: str
    kinds: tuple[str, ...]
    object_kinds: tuple[str, ...]
    commands: int
    draw: Draw
    say: Callable[[np.random.Generator, Any, str], str]
    swap: Callable[[PlannedEpisode], str]
    worker: str
    scenarios: tuple[str, ...] = ()


ROBOTS = {"cart": "vla_ros.evaluation.plan:CART", "arm": "vla_ros.evaluation.arm:ARM"}


def robot_named(name: str) -> EvaluatedRobot:
    """One of ROBOTS."""
    robot: EvaluatedRobot = lookup(ROBOTS, name, "robot")
    return robot


def check(
    episodes: int,
    splits: Sequence[str],
    kinds: Sequence[str],
    first_seed: int,
    robot: EvaluatedRobot,
) -> None:
    """Raises ValueError, a sentence, for a plan that cannot be."""
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; run at least 1")
    for what, given, known in (("split", splits, SPLITS), ("kind", kinds, robot.kinds)):
        for name in given:
            if name not in known:
                raise ValueError(f"unknown {what} '{name}'; known are: {', '.join(known)}")
        if not given:
            raise ValueError(f"no {what} is named; name some of {', '.join(known)}")
    if "pairs" in splits and not set(kinds) & set(robot.object_kinds):
        raise ValueError(
            f"the split 'pairs' is about objects, and none of {', '.join(kinds)} names one; "
            f"add one of {', '.join(robot.object_kinds)}"
        )
    if first_seed < FIRST_SEED:
        raise ValueError(
            f"seed is {first_seed}, and training uses the seeds below {FIRST_SEED}; give that or "
            "more"
        )


def success(
    episodes: int,
    splits: Sequence[str] = SPLITS,
    kinds: Sequence[str] | None = None,
    first_seed: int = FIRST_SEED,
    robot: EvaluatedRobot | None = None,
) -> list[PlannedEpisode]:
    """`episodes` over splits and, within each, over kinds, as evenly as they divide.

    Each has a scene of its own.

    Raises:
        ValueError: there can be no such plan.
    """
    robot = robot or CART
    kinds = robot.kinds if kinds is None else kinds
    check(episodes, splits, kinds, first_seed, robot)
    object_kinds = [kind for kind in kinds if kind in robot.object_kinds]
    turn = dict.fromkeys(splits, 0)
    seed = first_seed
    plan: list[PlannedEpisode] = []
    for number in range(episodes):
        split = splits[number % len(splits)]
        fitting = object_kinds if split == "pairs" else kinds
        kind = fitting[turn[split] % len(fitting)]
        turn[split] += 1
        episode = robot.draw(number, split, kind, seed, None)
        plan.append(episode)
        seed = episode.seed + 1  # seeds whose scene did not fit are passed over
    return plan


def paraphrases(plan: Sequence[PlannedEpisode], groups: int) -> list[PlannedEpisode]:
    """The scene and meaning of `groups` known episodes, each said in PARAPHRASES other ways.

    Of three splits in turn; the fourth, pairs, is about objects and not about words.
    """
    out: list[PlannedEpisode] = []
    for chosen in _spread(_known(plan), groups):
        rng = np.random.default_rng((chosen.seed, 2))
        texts: list[str] = []
        while len(texts) < PARAPHRASES:
            split = SPLITS[len(texts) % 3]
            text = robot_named(chosen.robot).say(rng, chosen.meant, split)
            if text not in texts and text != chosen.text:
                texts.append(text)
                out.append(_derived(chosen, "paraphrases", split=split, text=text))
    return out


def counterfactuals(plan: Sequence[PlannedEpisode], each: int) -> list[PlannedEpisode]:
    """Object tasks of known words with another colour, and only that; and with no words at all.

    Judged is what was meant first, so success must vanish.
    """
    usable = []
    for episode in plan:
        objects = robot_named(episode.robot).object_kinds
        if episode.split in OF_KNOWN_WORDS and episode.meant.kind in objects:
            usable.append(episode)
    swapped = []
    blank = []
    for episode in _spread(usable, each):
        swapped.append(_derived(episode, "swapped", text=robot_named(episode.robot).swap(episode)))
        blank.append(_derived(episode, "blank", text=""))
    return swapped + blank


def scenario(
    plan: Sequence[PlannedEpisode], name: str, objects: int | None, each: int
) -> list[PlannedEpisode]:
    """`each` known episodes under the conditions `name`.

    Args:
        objects: how many there are in the room, where the conditions change that: the scenes are
            others then, of the same seeds and kinds.
    """
    out = []
    for episode in _spread(_known(plan), each):
        scene = episode
        if objects is not None:
            draw = robot_named(episode.robot).draw
            scene = draw(episode.number, "known", episode.meant.kind, episode.seed, objects)
        out.append(_derived(scene, "scenarios", scenario=name))
    return out


def _known(plan: Sequence[PlannedEpisode]) -> list[PlannedEpisode]:
    return [episode for episode in plan if episode.split == "known"]


def _derived(episode: PlannedEpisode, part: str, **changes: Any) -> PlannedEpisode:
    """The same scene and meaning for another part of the plan."""
    return replace(episode, part=part, group=episode.number, **changes)


def swap_colour(episode: PlannedEpisode) -> str:
    """The same words with another colour.

    Best that of an object of the same shape in the room, else any. Never that of an object in the
    same direction, because who faces that one faces the target too.

    Raises:
        ValueError: no colour can be swapped in, or the words do not name their colour once.
    """
    scene = sample_scene(episode.seed)
    target = _target(scene, episode.meant)
    excluded = {episode.meant.colour}
    same_shape = set()  # colours
    for thing in scene.objects:
        if thing.colour == episode.meant.colour:
            continue
        if _apart(scene, thing, target) < MIN_APART_RAD:
            excluded.add(thing.colour)
        if thing.shape == target.shape:
            same_shape.add(thing.colour)
    return swapped_colour(episode, excluded, same_shape)


def swapped_colour(
    episode: PlannedEpisode,
    excluded: Collection[str | None],
    preferred: Collection[str],
    first: bool = False,
) -> str:
    """The words of an episode with another colour.

    Args:
        episode: It names its colour once.
        excluded: Colours that it must not become.
        preferred: Colours that it becomes if possible.
        first: The first colour is meant where the words name it twice.

    Raises:
        ValueError: no colour can be swapped in, or the words do not name their colour once.
    """
    rng = np.random.default_rng((episode.seed, 3))
    free = []
    best = []
    for name in COLOURS:  # in this order: the draw must not depend on that of a set
        if name not in excluded:
            free.append(name)
            if name in preferred:
                best.append(name)
    if not free:
        raise ValueError(
            f"no colour can be swapped into '{episode.text}' (seed {episode.seed}); leave it out"
        )
    choices = best or free
    new = choices[int(rng.integers(len(choices)))]
    words = episode.text.split()
    spoken = set(" ".join(SLOTS[str(episode.meant.colour)]).split())
    places = [index for index, word in enumerate(words) if word in spoken]
    if len(places) != 1 and not (first and places):
        raise ValueError(
            f"'{episode.text}' names its colour {len(places)} times; a swap needs it once"
        )
    # the colour's own name, which every phrasing may use
    words[places[0]] = new
    return " ".join(words)


def _draw(
    number: int, split: str, kind: str, seed: int, objects: int | None = None
) -> PlannedEpisode:
    """The first scene from `seed` on with a target for `kind`, and words for it."""
    while True:
        # (seed, 1) to (seed, 3): meaning, paraphrases and colours are drawn apart from each other
        rng = np.random.default_rng((seed, 1))
        meant = _meaning(rng, sample_scene(seed, objects), split, kind)
        if meant is not None:
            seconds = OBJECT_LIMIT_S if kind in OBJECT_KINDS else OTHER_LIMIT_S
            return PlannedEpisode(
                number, "success", split, seed, meant, say(rng, meant, split), seconds
            )
        seed += 1


def _meaning(rng: np.random.Generator, scene: Scene, split: str, kind: str) -> Intent | None:
    """What to ask for in that scene; None where it has nothing fitting."""
    if kind not in OBJECT_KINDS:
        return intent_of(kind)
    pairs = split == "pairs"
    fitting = []
    for thing in scene.objects:
        unseen = (thing.colour, thing.shape) in UNSEEN_PAIRS
        # what the robot faces already would be done before it begins
        faced = kind == "face" and abs(_bearing(scene, thing)) < MIN_APART_RAD
        if unseen == pairs and not faced:
            fitting.append(thing)
    if not fitting:
        return None
    thing = fitting[int(rng.integers(len(fitting)))]
    # a colour alone is enough to say which, where no other object has it
    alone = list(map(attrgetter("colour"), scene.objects)).count(thing.colour) == 1
    any_shape = alone and not pairs and rng.random() < ANY_SHAPE_SHARE
    return intent_of(kind, thing.colour, None if any_shape else thing.shape)


def _target(scene: Scene, meant: Intent) -> Placement:
    return next(
        thing
        for thing in scene.objects
        if thing.colour == meant.colour and meant.shape in (None, thing.shape)
    )


def _bearing(scene: Scene, thing: Placement) -> float:
    """rad, left positive, from where the robot starts."""
    x, y, yaw = scene.robot
    return math.remainder(math.atan2(thing.y - y, thing.x - x) - yaw, 2 * math.pi)


def _apart(scene: Scene, thing: Placement, other: Placement) -> float:
    """rad, between the two bearings."""
    return abs(math.remainder(_bearing(scene, thing) - _bearing(scene, other), 2 * math.pi))


def _spread(plan: Sequence[PlannedEpisode], count: int) -> list[PlannedEpisode]:
    """`count` of them, kinds in turn, in the plan's order."""
    by_kind: dict[str, list[PlannedEpisode]] = {}
    for episode in plan:
        by_kind.setdefault(episode.meant.kind, []).append(episode)
    mixed: list[PlannedEpisode] = []
    for turn in zip_longest(*by_kind.values()):  # None where a kind has no more
        mixed.extend(filter(None, turn))
    return sorted(mixed[:count], key=attrgetter("number"))


CART = EvaluatedRobot(
    "cart",
    KINDS,
    OBJECT_KINDS,
    COMMANDS,
    _draw,
    say,
    swap_colour,
    "vla_ros.evaluation.runner:EpisodeWorker",
)
