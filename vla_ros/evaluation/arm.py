"""The arm at its table in `vla evaluate --robot arm`: its episodes, and who runs them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from vla_ros.core.config_files import config_folder
from vla_ros.core.robot import Robot, load_robot
from vla_ros.evaluation.plan import EvaluatedRobot, PlannedEpisode, swapped_colour
from vla_ros.evaluation.runner import EpisodeWorker, PolicyChoice
from vla_ros.evaluation.scenarios import SCENARIOS
from vla_ros.evaluation.word_plan import OBJECT_LIMIT_S, OTHER_LIMIT_S
from vla_ros.sim.arm.domain_randomization import TableLook, apply_look, random_table_look
from vla_ros.sim.arm.episode import ARM_RULES, ARM_STEP_S, prepare
from vla_ros.sim.arm.scene import Standing, TableScene, sample_table
from vla_ros.sim.arm.world import CAMERAS, ArmWorld
from vla_ros.tasks.arm.intent import (
    LEARNED_KINDS,
    LEARNED_OBJECT_KINDS,
    PLACES,
    PUT_KINDS,
    ArmIntent,
    Named,
)
from vla_ros.tasks.arm.judged_meaning import judged_arm_meaning
from vla_ros.tasks.arm.phrases import UNSEEN_TABLE_PAIRS, say_arm
from vla_ros.tasks.arm.sequence import arm_untouched
from vla_ros.tasks.arm.success import BESIDE_GAP_M, judge_arm
from vla_ros.tasks.arm.table import GRASPABLE, SHAPES, TableState
from vla_ros.tasks.objects import COLOURS
from vla_ros.tasks.sequence import IntentSequence, first_kind, steps_of

# Kind -> the shapes that it is asked for: what the expert does on every table.
SHAPES_OF = {
    "reach": SHAPES,
    "pick": GRASPABLE,
    "put_into": ("block",),
    "put_onto": ("block",),
    "put_beside": GRASPABLE,
    "hand_over": GRASPABLE,
}
# With one thing each; where it is put is not counted.
COMMANDS = sum(len(shapes) * len(COLOURS) for shapes in SHAPES_OF.values()) + 4
ROOM_M = 0.01  # that something put beside another thing is farther away than that, before
# Of SCENARIOS, those that the table can have.
ARM_SCENARIOS = (
    "dim",
    "bright",
    "other_sun",
    "noise",
    "blur",
    "latency",
    "dropped_frames",
    "new_scenes",
    "stranger_scenes",
)


def draw(
    number: int, split: str, kind: str, seed: int, objects: int | None = None
) -> PlannedEpisode:
    """The first table from `seed` on with a thing for `kind`, and words for it."""
    while True:
        rng = np.random.default_rng((seed, 1))
        meant = _meaning(rng, sample_table(seed), split, kind)
        if meant is not None:
            seconds = OBJECT_LIMIT_S if kind in LEARNED_OBJECT_KINDS else OTHER_LIMIT_S
            return PlannedEpisode(
                number,
                "success",
                split,
                seed,
                meant,
                say_arm(rng, meant, split),
                seconds,
                robot="arm",
            )
        seed += 1


def _meaning(
    rng: np.random.Generator, scene: TableScene, split: str, kind: str
) -> ArmIntent | None:
    """What to ask for at that table; None where it has nothing fitting."""
    if kind not in LEARNED_OBJECT_KINDS:
        return ArmIntent(kind)
    fitting = []
    for thing in scene.objects:
        unseen = (thing.colour, thing.shape) in UNSEEN_TABLE_PAIRS
        if thing.shape in SHAPES_OF[kind] and unseen == (split == "pairs"):
            fitting.append(thing)
    if not fitting:
        return None
    chosen = fitting[int(rng.integers(len(fitting)))]
    named = Named(chosen.colour, chosen.shape)
    if kind not in PUT_KINDS:
        return ArmIntent(kind, named)
    wanted = PLACES.get(kind)
    places = []
    for other in scene.objects:
        place = Named(other.colour, other.shape)
        seen = (other.colour, other.shape) not in UNSEEN_TABLE_PAIRS
        if kind == "put_beside" and _beside(chosen, other):
            continue
        if place != named and wanted in (None, other.shape) and seen:
            places.append(place)
    if not places:
        return None
    return ArmIntent(kind, named, places[int(rng.integers(len(places)))])


def _beside(thing: Standing, other: Standing) -> bool:
    """Whether it stands there already, or nearly."""
    apart = math.dist((thing.x, thing.y), (other.x, other.y))
    return apart - (thing.size + other.size) / 2 < BESIDE_GAP_M + ROOM_M


def allows(meant: ArmIntent | IntentSequence, seed: int) -> bool:
    """Whether the table of this seed has what each step names, and it is not done already."""
    scene = sample_table(seed)
    return all(_allows_step(step, scene) for step in steps_of(meant))


def _allows_step(meant: ArmIntent, scene: TableScene) -> bool:
    if meant.thing is None:
        return True
    for thing in scene.objects:
        if thing.shape not in SHAPES_OF[meant.kind] or not _is(meant.thing, thing):
            continue
        if meant.place is None:
            return True
        for place in scene.objects:
            there = meant.kind == "put_beside" and _beside(thing, place)
            fits = PLACES.get(meant.kind) in (None, place.shape) and _is(meant.place, place)
            if place is not thing and fits and not there:
                return True
    return False


def _is(named: Named, thing: Standing) -> bool:
    return named.colour in (None, thing.colour) and named.shape in (None, thing.shape)


def swap(episode: PlannedEpisode) -> str:
    """The same words with another colour of the thing, that of another one there if possible."""
    scene = sample_table(episode.seed)
    meant: ArmIntent = episode.meant
    excluded = {meant.colour}
    if meant.place is not None:  # or the words would name one thing twice
        excluded.add(meant.place.colour)
    same_shape = set()
    for thing in scene.objects:
        if thing.shape == meant.shape:
            same_shape.add(thing.colour)
    return swapped_colour(episode, excluded, same_shape, first=True)


def named_done(meant: ArmIntent | IntentSequence, start: TableState, end: TableState) -> list[str]:
    """Of the table's things, those with which the asked-for kind of thing is done at the end."""
    if isinstance(meant, IntentSequence):
        return []
    names = []
    for thing in end.objects if meant.thing else ():
        intent = ArmIntent(meant.kind, Named(thing.colour, thing.shape), meant.place)
        fits = thing.shape in SHAPES_OF[meant.kind] and intent.thing != intent.place
        if fits and judge_arm(intent, start, end).done:
            names.append(thing.name)
    return names


@cache
def simulated_arm() -> Robot:
    """Its robot file, config/robots/sim_arm.yaml."""
    return load_robot(config_folder() / "robots" / "sim_arm.yaml")


class ArmWorker(EpisodeWorker):
    """One policy and its table."""

    robot_file: Callable[[], Robot] = staticmethod(simulated_arm)
    CAMERAS = CAMERAS
    RULES = ARM_RULES
    RATE_HZ = 1.0 / ARM_STEP_S

    def __init__(self, player: PolicyChoice) -> None:
        self.player = player
        self.spec, self._make = player.prepare()
        width, height = player.camera
        self._truth = None
        self._table = ArmWorld(0, (height, width))

    def begin(self, episode: PlannedEpisode) -> ArmWorld:  # type: ignore[override]
        """The table as it is when the words are said."""
        world = self._table
        conditions = SCENARIOS[episode.scenario]
        world.data.time = 0.0
        world.reset(episode.seed)
        look = TableLook(light=conditions.look.light, sun=conditions.look.sun)
        if conditions.varied:
            rng = np.random.default_rng((episode.seed, 11))
            look = random_table_look(rng, conditions.varied)
        apply_look(world, look)
        prepare(world, first_kind(episode.meant), episode.seed)
        return world

    def reached(self, meant: Any, start: TableState, end: TableState) -> list[str]:
        return named_done(meant, start, end)

    def pose(self, state: TableState) -> tuple[float, float, float]:
        return state.tool[0], state.tool[1], state.tool_yaw

    def close(self) -> None:
        self._table.close()


ARM = EvaluatedRobot(
    "arm",
    LEARNED_KINDS,
    LEARNED_OBJECT_KINDS,
    COMMANDS,
    draw,
    say_arm,
    swap,
    judged_arm_meaning,
    allows,
    arm_untouched,
    "vla_ros.evaluation.arm:ArmWorker",
    ARM_SCENARIOS,
)
