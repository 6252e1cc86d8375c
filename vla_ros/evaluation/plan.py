"""Which episodes are run: drawn from seeds that training never uses, before anything is simulated.

A plan is data. Which scene a seed gives is known without physics, so a target is chosen that only
one object fits and that is not yet done when the instruction is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vla_ros.sim.scene import Placement, Scene, sample_scene
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.objects import COLOURS, SHAPES
from vla_ros.tasks.phrases import KINDS, OBJECT_KINDS, SLOTS, SPLITS, UNSEEN_PAIRS, intent_of, say
from vla_ros.tasks.success import FACE_BEARING

FIRST_SEED = 1_000_000  # training stays below
# simulated, that an instruction may take
SECONDS_OBJECT = 30.0
SECONDS_OTHER = 15.0
# of object instructions that name a colour only, where only one object has it
ANY_SHAPE_SHARE = 0.1
# rad between two bearings that facing one is not facing the other
AWAY = 2 * FACE_BEARING + math.radians(9)
# with one target each
COMMANDS = len(OBJECT_KINDS) * len(COLOURS) * len(SHAPES) + len(KINDS) - len(OBJECT_KINDS)
PARAPHRASES = 4
OF_KNOWN_WORDS = ("known", "recombined", "pairs")  # splits


@dataclass(frozen=True)
class Episode:
    """One trial. `part` says what it is for; `meant` is judged, `text` is said: a counterfactual
    tells them apart.

    `group` joins episodes of one scene and meaning; `scenario` names the conditions (scenarios.py).
    """

    number: int
    part: str  # success, paraphrases, swapped, blank, scenarios
    split: str
    seed: int
    meant: Intent
    text: str
    seconds: float
    group: int = 0
    scenario: str = "plain"


def check(episodes: int, splits: Sequence[str], kinds: Sequence[str], first_seed: int) -> None:
    """Raises ValueError, a sentence, for a plan that cannot be."""
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; run at least 1")
    for what, given, known in (("split", splits, SPLITS), ("kind", kinds, KINDS)):
        for name in given:
            if name not in known:
                raise ValueError(f"unknown {what} '{name}'; known are: {', '.join(known)}")
        if not given:
            raise ValueError(f"no {what} is named; name some of {', '.join(known)}")
    if "pairs" in splits and not set(kinds) & set(OBJECT_KINDS):
        raise ValueError(
            f"the split 'pairs' is about objects, and none of {', '.join(kinds)} names one; "
            f"add one of {', '.join(OBJECT_KINDS)}"
        )
    if first_seed < FIRST_SEED:
        raise ValueError(
            f"seed is {first_seed}, and training uses the seeds below {FIRST_SEED}; give that or "
            "more"
        )


def success(
    episodes: int,
    splits: Sequence[str] = SPLITS,
    kinds: Sequence[str] = KINDS,
    first_seed: int = FIRST_SEED,
) -> list[Episode]:
    """`episodes` over splits and, within each, over kinds, as evenly as they divide; each has a
    scene of its own."""
    check(episodes, splits, kinds, first_seed)
    plan: list[Episode] = []
    turn = dict.fromkeys(splits, 0)
    for number in range(episodes):
        split = splits[number % len(splits)]
        fitting = [kind for kind in kinds if split != "pairs" or kind in OBJECT_KINDS]
        kind = fitting[turn[split] % len(fitting)]
        turn[split] += 1
        seed = max(first_seed, plan[-1].seed + 1 if plan else 0)
        plan.append(_draw(number, split, kind, seed))
    return plan


def paraphrases(plan: Sequence[Episode], groups: int) -> list[Episode]:
    """The scene and meaning of `groups` known episodes, each said in PARAPHRASES other ways, of
    three splits."""
    out: list[Episode] = []
    for chosen in _spread([one for one in plan if one.split == "known"], groups):
        rng = np.random.default_rng((chosen.seed, 2))
        texts: list[str] = []
        while len(texts) < PARAPHRASES:
            text = say(rng, chosen.meant, SPLITS[len(texts) % 3])
            if text not in texts and text != chosen.text:
                texts.append(text)
        out += [
            replace(
                chosen, part="paraphrases", split=SPLITS[index % 3], text=text, group=chosen.number
            )
            for index, text in enumerate(texts)
        ]
    return out


def counterfactuals(plan: Sequence[Episode], each: int) -> list[Episode]:
    """Object tasks of known words with the colour, and only the colour, another one; and with no
    words at all. Judged is what was meant first, so success must vanish."""
    usable = [one for one in plan if one.split in OF_KNOWN_WORDS and one.meant.kind in OBJECT_KINDS]
    chosen = _spread(usable, each)
    swapped = [
        replace(one, part="swapped", text=swap_colour(one), group=one.number) for one in chosen
    ]
    return swapped + [replace(one, part="blank", text="", group=one.number) for one in chosen]


def scenario(plan: Sequence[Episode], name: str, objects: int | None, each: int) -> list[Episode]:
    """`each` known episodes under the conditions `name`; where those change the number of objects,
    the scenes are others, of that number."""
    chosen = _spread([one for one in plan if one.split == "known"], each)
    if objects is None:
        return [replace(one, part="scenarios", scenario=name, group=one.number) for one in chosen]
    return [
        replace(
            _draw(one.number, "known", one.meant.kind, one.seed, objects),
            part="scenarios",
            scenario=name,
            group=one.number,
        )
        for one in chosen
    ]


def swap_colour(episode: Episode) -> str:
    """The same words with another colour. Best that of an object of the same shape, else of none
    that is there; never that of an object in the same direction, because who faces that one faces
    the target too. ValueError: no colour."""
    scene = sample_scene(episode.seed)
    rng = np.random.default_rng((episode.seed, 3))
    colour = episode.meant.colour
    target = _target(scene, episode.meant)
    others = [thing for thing in scene.objects if thing.colour != colour]
    near = {thing.colour for thing in others if _apart(scene, thing, target) < AWAY}
    free = [name for name in COLOURS if name not in (colour, *near)]
    there = [
        name
        for name in free
        if any((thing.colour, thing.shape) == (name, target.shape) for thing in others)
    ]
    if not free:
        raise ValueError(
            f"no colour can be swapped into '{episode.text}' (seed {episode.seed}); leave it out"
        )
    new = (there or free)[int(rng.integers(len(there or free)))]
    words = episode.text.split()
    spoken = {word for held in SLOTS[str(colour)] for word in held.split()}
    places = [index for index, word in enumerate(words) if word in spoken]
    if len(places) != 1:
        raise ValueError(
            f"'{episode.text}' names its colour {len(places)} times; a swap needs it once"
        )
    words[places[0]] = new
    return " ".join(words)


def _draw(number: int, split: str, kind: str, seed: int, objects: int | None = None) -> Episode:
    """The first scene from `seed` on with a target for `kind`, and words for it."""
    while True:
        rng = np.random.default_rng((seed, 1))
        meant = _meaning(rng, sample_scene(seed, objects), split, kind)
        if meant is not None:
            seconds = SECONDS_OBJECT if kind in OBJECT_KINDS else SECONDS_OTHER
            return Episode(number, "success", split, seed, meant, say(rng, meant, split), seconds)
        seed += 1


def _meaning(rng: np.random.Generator, scene: Scene, split: str, kind: str) -> Intent | None:
    """What to ask for in that scene; None where it has nothing fitting."""
    if kind not in OBJECT_KINDS:
        return intent_of(kind)
    pairs = split == "pairs"
    fitting = [
        thing
        for thing in scene.objects
        if ((thing.colour, thing.shape) in UNSEEN_PAIRS) == pairs
        and (kind != "face" or abs(_bearing(scene, thing)) >= AWAY)
    ]
    if not fitting:
        return None
    thing = fitting[int(rng.integers(len(fitting)))]
    alone = sum(other.colour == thing.colour for other in scene.objects) == 1
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


def _apart(scene: Scene, one: Placement, other: Placement) -> float:
    return abs(math.remainder(_bearing(scene, one) - _bearing(scene, other), 2 * math.pi))


def _spread(plan: Sequence[Episode], count: int) -> list[Episode]:
    """`count` of them, kinds in turn, in the plan's order."""
    by_kind: dict[str, list[Episode]] = {}
    for one in plan:
        by_kind.setdefault(one.meant.kind, []).append(one)
    longest = max((len(found) for found in by_kind.values()), default=0)
    mixed = [
        found[index] for index in range(longest) for found in by_kind.values() if index < len(found)
    ]
    return sorted(mixed[:count], key=lambda one: one.number)
