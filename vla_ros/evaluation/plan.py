"""Which episodes are run: drawn from seeds that training never uses, before anything is simulated.

A plan is data. Which scene a seed gives is known without physics, so a target is chosen that only
one object fits and that is not yet done when the instruction is given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import zip_longest
from operator import attrgetter
from typing import Any

import numpy as np

from vla_ros.core.registry import lookup
from vla_ros.evaluation.clear_scenes import MIN_APART_RAD, apart, bearing, can_be_done
from vla_ros.evaluation.word_plan import (
    KINDS_OF,
    OBJECT_LIMIT_S,
    OTHER_LIMIT_S,
    REFUSALS_SPLIT,
    WORD_SPLITS,
    draw_refusal,
    draw_words,
    seconds_for,
)
from vla_ros.sim.scene import Placement, Scene, sample_scene
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.judged_meaning import AS_READ, judged_meaning
from vla_ros.tasks.objects import COLOURS, SHAPES
from vla_ros.tasks.phrases import KINDS, OBJECT_KINDS, SLOTS, SPLITS, UNSEEN_PAIRS, intent_of, say
from vla_ros.tasks.reading.reader import InstructionReader
from vla_ros.tasks.sequence import IntentSequence, steps_of, untouched

FIRST_SEED = 1_000_000  # training stays below
# of object instructions that name a colour only, where only one object has it
ANY_SHAPE_SHARE = 0.1
# with one target each
COMMANDS = len(OBJECT_KINDS) * len(COLOURS) * len(SHAPES) + len(KINDS) - len(OBJECT_KINDS)
PARAPHRASES = 4  # of one scene and meaning
OF_KNOWN_WORDS = ("known", "recombined", "pairs")  # splits
# the splits of sentences that the user gave: by the grammar's meaning, and where it has none
SAID = "said"
SAID_AS_READ = f"said, {AS_READ}"
MAX_SCENES = 1000  # looked at for one in which a sentence can be followed


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
    meant: Any  # an Intent, several as IntentSequence, or an ArmIntent
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
        parse: What words mean, and whether only a reader says so that a policy may read with.
            Raises ValueError.
        allows: Of an intent and a scene's seed: the scene has what it names, and it is to be done.
        untouched: Of the truth at the start and on the way: the robot did nothing, as is right
            where it is to refuse.
        worker: Runs the episodes of a `PolicyChoice`: module:Class.
        scenarios: Those that it can have; empty: all.
        splits: Those that it can be asked for.
    """

    name: str
    kinds: tuple[str, ...]
    object_kinds: tuple[str, ...]
    commands: int
    draw: Draw
    say: Callable[[np.random.Generator, Any, str], str]
    swap: Callable[[PlannedEpisode], str]
    parse: Callable[[str], tuple[Any, bool]]
    allows: Callable[[Any, int], bool]
    untouched: Callable[[Any, Sequence[Any]], bool]
    worker: str
    scenarios: tuple[str, ...] = ()
    splits: tuple[str, ...] = SPLITS


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
    for what, given, known in (("split", splits, robot.splits), ("kind", kinds, robot.kinds)):
        for name in given:
            if name not in known:
                raise ValueError(f"unknown {what} '{name}'; known are: {', '.join(known)}")
        if not given:
            raise ValueError(f"no {what} is named; name some of {', '.join(known)}")
    for split in splits:
        if not kinds_in(split, kinds, robot):
            about = "amounts" if split == "amounts" else "objects"
            wanted = KINDS_OF.get(split, robot.object_kinds)
            raise ValueError(
                f"the split '{split}' is about {about}, and none of {', '.join(kinds)} names one; "
                f"add one of {', '.join(wanted)}"
            )
    if first_seed < FIRST_SEED:
        raise ValueError(
            f"seed is {first_seed}, and training uses the seeds below {FIRST_SEED}; give that or "
            "more"
        )


def kinds_in(split: str, kinds: Sequence[str], robot: EvaluatedRobot) -> list[str]:
    """Of these kinds those that the split asks for; sequences and refusals have their own."""
    own = KINDS_OF.get(split, robot.object_kinds if split == "pairs" else robot.kinds)
    if not set(own) & set(robot.kinds):
        return list(own)
    return [kind for kind in kinds if kind in own]


def success(
    episodes: int,
    splits: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    first_seed: int = FIRST_SEED,
    robot: EvaluatedRobot | None = None,
) -> list[PlannedEpisode]:
    """`episodes` over splits and, within each, over kinds, as evenly as they divide.

    Each has a scene of its own. Without splits, all are taken that have something to ask of these
    kinds.

    Raises:
        ValueError: there can be no such plan.
    """
    robot = robot or CART
    kinds = robot.kinds if kinds is None else kinds
    if splits is None:  # all that are about such kinds
        splits = [split for split in robot.splits if kinds_in(split, kinds, robot)] or robot.splits
    check(episodes, splits, kinds, first_seed, robot)
    turn = dict.fromkeys(splits, 0)
    seed = first_seed
    plan: list[PlannedEpisode] = []
    for number in range(episodes):
        split = splits[number % len(splits)]
        fitting = kinds_in(split, kinds, robot)
        kind = fitting[turn[split] % len(fitting)]
        if split == REFUSALS_SPLIT:
            episode = _refusal(number, turn[split], seed)
        else:
            episode = robot.draw(number, split, kind, seed, None)
        turn[split] += 1
        plan.append(episode)
        seed = episode.seed + 1  # seeds whose scene did not fit are passed over
    return plan


def said(
    texts: Sequence[str], episodes: int, first_seed: int, robot: EvaluatedRobot
) -> list[PlannedEpisode]:
    """`episodes` of these sentences in turn, each in the next scene in which it can be done.

    Raises:
        ValueError: A sentence means nothing, or no scene has what it names.
    """
    check(episodes, robot.splits, robot.kinds, first_seed, robot)
    meanings = []
    for text in texts:
        meant, as_read = robot.parse(text)
        for step in steps_of(meant):
            if step.kind not in robot.kinds:
                raise ValueError(
                    f"'{text}' is of the kind '{step.kind}', which is not evaluated; these are: "
                    f"{', '.join(robot.kinds)}"
                )
        meanings.append((text, meant, SAID_AS_READ if as_read else SAID))
    seed = first_seed
    plan: list[PlannedEpisode] = []
    for number in range(episodes):
        text, meant, split = meanings[number % len(meanings)]
        tried = seed + MAX_SCENES
        while seed < tried and not robot.allows(meant, seed):
            seed += 1
        if seed == tried:
            raise ValueError(
                f"none of {MAX_SCENES} scenes has what '{text}' names; say it otherwise"
            )
        seconds = OBJECT_LIMIT_S if meant.kind in robot.object_kinds else OTHER_LIMIT_S
        if isinstance(meant, IntentSequence):
            seconds = seconds_for(meant)
        plan.append(
            PlannedEpisode(number, "success", split, seed, meant, text, seconds, robot=robot.name)
        )
        seed += 1
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
        if apart(scene, thing, target) < MIN_APART_RAD:
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
    if split in WORD_SPLITS:
        found, asked, text = draw_words(split, kind, seed)
        return PlannedEpisode(number, "success", split, found, asked, text, seconds_for(asked))
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


def _refusal(number: int, turn: int, seed: int) -> PlannedEpisode:
    """A sentence that is to be refused."""
    found, text = draw_refusal(turn, seed)
    meant = IntentSequence(())
    return PlannedEpisode(number, "success", REFUSALS_SPLIT, found, meant, text, seconds_for(meant))


def _meaning(rng: np.random.Generator, scene: Scene, split: str, kind: str) -> Intent | None:
    """What to ask for in that scene; None where it has nothing fitting."""
    if kind not in OBJECT_KINDS:
        return intent_of(kind)
    pairs = split == "pairs"
    fitting = []
    for thing in scene.objects:
        unseen = (thing.colour, thing.shape) in UNSEEN_PAIRS
        # what the robot faces already would be done before it begins
        faced = kind == "face" and abs(bearing(scene, thing)) < MIN_APART_RAD
        if unseen == pairs and not faced:
            fitting.append(thing)
    if not fitting:
        return None
    thing = fitting[int(rng.integers(len(fitting)))]
    # a colour alone is enough to say which, where no other object has it
    alone = list(map(attrgetter("colour"), scene.objects)).count(thing.colour) == 1
    any_shape = alone and not pairs and rng.random() < ANY_SHAPE_SHARE
    return intent_of(kind, thing.colour, None if any_shape else thing.shape)


def _parse(text: str) -> tuple[Intent | IntentSequence, bool]:
    """What a sentence means that the user gave. Raises ValueError."""
    return judged_meaning(text, _reader())


@cache
def _reader() -> InstructionReader:
    return InstructionReader.load()


def _allows(meant: Intent | IntentSequence, seed: int) -> bool:
    """Whether the room of this seed has what is named, and it is not done already."""
    scene = sample_scene(seed)
    if isinstance(meant, IntentSequence) or meant.which is not None or meant.excluded:
        return can_be_done(steps_of(meant), scene)
    if meant.kind not in OBJECT_KINDS:
        return True
    for thing in scene.objects:
        named = meant.colour in (None, thing.colour) and meant.shape in (None, thing.shape)
        if named and not (meant.kind == "face" and abs(bearing(scene, thing)) < MIN_APART_RAD):
            return True
    return False


def _target(scene: Scene, meant: Intent) -> Placement:
    return next(
        thing
        for thing in scene.objects
        if thing.colour == meant.colour and meant.shape in (None, thing.shape)
    )


def _spread(plan: Sequence[PlannedEpisode], count: int) -> list[PlannedEpisode]:
    """`count` of them, kinds in turn, in the plan's order."""
    by_kind: dict[str, list[PlannedEpisode]] = {}
    for episode in plan:
        by_kind.setdefault(episode.meant.kind, []).append(episode)
    mixed: list[PlannedEpisode] = []
    for turn in zip_longest(*by_kind.values()):  # None where a kind has no more
        mixed.extend(filter(None, turn))
    return sorted(mixed[:count], key=attrgetter("number"))


CART_SPLITS = (*SPLITS, *WORD_SPLITS)
CART = EvaluatedRobot(
    "cart",
    KINDS,
    OBJECT_KINDS,
    COMMANDS,
    _draw,
    say,
    swap_colour,
    _parse,
    _allows,
    untouched,
    "vla_ros.evaluation.runner:EpisodeWorker",
    splits=CART_SPLITS,
)
