"""Demonstrations from the simulated robot, with a policy as the expert.

A frame's action is the first row of the chunk that answers its image: what the expert would have
the robot do at that moment. Nothing of ROS and no gate: an episode takes a tenth of its time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from vla_ros.core.registry import lookup
from vla_ros.core.types import TELEOP, ActionChunk, Observation, Size
from vla_ros.datasets.lerobot.append import FolderLock, clear_left
from vla_ros.datasets.lerobot.layout import (
    CONTROL_SOURCE,
    DRIVEN_IN_TURNS,
    INTERVENTION,
    DatasetSpec,
)
from vla_ros.datasets.lerobot.write import DatasetWriter, new_folder
from vla_ros.policies import make_policy, policy_spec
from vla_ros.policies.base import Policy, PolicySpec
from vla_ros.sim.episode import CART_RULES, EpisodeRules, run_episode
from vla_ros.sim.world import World
from vla_ros.tasks.intent import parse
from vla_ros.tasks.success import targets
from vla_ros.tasks.world_state import WorldState
from vla_ros.training.scripted_person import PERSON, PERSON_SIZE, WatchedPolicy

OBJECT_TASKS = ("go to the {}", "face the {}", "grab the {}", "push the {}")
OTHER_TASKS = (
    "turn left",
    "turn right",
    "go forward",
    "back up",
    "open the gripper",
    "close the gripper",
)
MAX_ROOMS = 200  # tried until one has what the words name
TRIES_PER_EPISODE = 5  # until the expert is given up


@dataclass
class Counts:
    """What came of it: `episodes` and `frames` are those kept."""

    episodes: int = 0
    frames: int = 0
    failed: int = 0
    takeovers: int = 0


Expert = tuple[Policy, PolicySpec]


@dataclass(frozen=True)
class DemonstratedRobot:
    """What an episode of a simulated robot asks for.

    Attributes:
        rules: How it is observed, moved and judged.
        size: Of its images where nobody says another, height and width, pixels.
        world: Of a seed and the images' size.
        draw: Of a world and its seed: an instruction that is possible there.
        check: Raises ValueError for words that mean nothing to it.
        allows: Of words and a world: whether they can be followed there.
        expert: Of a world: who knows how, and what it looks at; None: a policy's name is asked for.
        seconds: Simulated, that an episode lasts at most.
    """

    rules: EpisodeRules
    size: Size
    world: Callable[[int, Size], Any]
    draw: Callable[[Any, int], str]
    check: Callable[[str], Any]
    allows: Callable[[str, Any], bool]
    expert: Callable[[Any, Size], Expert] | None
    seconds: float


ROBOTS = {
    "cart": "vla_ros.training.demonstrate:CART",
    "arm": "vla_ros.training.arm_demonstrations:ARM",
}
# Who takes over where the policy errs: of the world, and the policy with its spec, if there is one.
PERSONS = {PERSON: "vla_ros.training.scripted_person:watched_policy"}
DEFAULT_EXPERT = "color_servo"  # of a robot without one of its own
EPISODES_A_FILE = 100


def possible(state: WorldState) -> list[str]:
    """The instructions that this room allows."""
    instructions = list(OTHER_TASKS)
    for thing, task in product(state.objects, OBJECT_TASKS):
        instructions.append(task.format(thing.name))
    return instructions


def _world(seed: int, size: Size) -> World:
    height, width = size
    return World(seed, width, height)


def _draw(world: World, seed: int) -> str:
    return random.Random(seed).choice(possible(world.state()))


def _allows(words: str, world: World) -> bool:
    intent = parse(words)
    if intent.colour or intent.shape:
        try:
            targets(intent, world.state())
        except ValueError:  # the room has none
            return False
    return True


CART = DemonstratedRobot(
    CART_RULES, (240, 320), _world, _draw, parse, _allows, expert=None, seconds=30.0
)


class Demonstrator:
    """Records successful episodes.

    Args:
        folder: where to; it must be new.
        episodes: how many are wanted.
        seed: rooms are those of `seed`, `seed` + 1, ...
        instructions: taken in turn; without any, one that the room allows is drawn.
        robot: one of ROBOTS.
        policy: the expert; empty: the robot's own.
        options: the policy's.
        person: one of PERSONS, who takes over where the policy errs, and drives alone where there
            is none.
        append: a dataset that is in the folder goes on.
        fps: images a second.
        seconds: simulated, that an episode lasts at most; default: the robot's.
        size: of the images, height and width, pixels; default: the robot's.
        failures: what the expert did not bring about is kept as well, and marked.
        say: hears a line for each episode.
        watch: called at every frame; may raise to end it all: what is saved by then stays.

    Raises:
        ValueError: words that mean nothing, a folder in use, an unknown policy.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        episodes: int,
        seed: int = 0,
        instructions: Sequence[str] = (),
        robot: str = "cart",
        policy: str = "",
        options: Mapping[str, Any] | None = None,
        person: str = "",
        append: bool = False,
        fps: int = 10,
        seconds: float | None = None,
        size: Size | None = None,
        failures: bool = False,
        say: Callable[[str], None] = lambda line: None,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self._robot: DemonstratedRobot = lookup(ROBOTS, robot, "robot")
        self._name = robot
        for words in instructions:
            self._robot.check(words)
        self._size = size or self._robot.size
        if person:
            # drawn as ever, and smaller where it is looked at: edges come out as from a camera
            self._size = self._robot.size
            self._recorded = size or PERSON_SIZE
        self._expert: Expert | None = None  # else the robot's, which knows its world
        self._person = lookup(PERSONS, person, "person") if person else None
        if person and robot != "cart":
            raise ValueError(f"the {person} person drives the cart, not the {robot}; leave it out")
        if policy or (self._robot.expert is None and not person):
            name = policy or DEFAULT_EXPERT
            self._expert = make_policy(name, options or {}), policy_spec(name, options or {})
        DatasetSpec(fps, {}, ("x",), ("x",))  # raises for a rate that no dataset has
        self._folder = Path(folder)
        self._append = append
        if not append:
            new_folder(self._folder)
        self._lock = FolderLock(self._folder)
        if append and (left := clear_left(self._folder)):
            say(left)
        self._wanted = episodes
        self._seed = seed
        self._words = tuple(instructions)
        self._fps = fps
        self._seconds = seconds or self._robot.seconds
        self._failures = failures
        self._say = say
        self._watch = watch
        self._writer: DatasetWriter | None = None
        self.counts = Counts()

    def run(self) -> Counts:
        """Record them.

        There are fewer only where the expert was tried TRIES_PER_EPISODE times as often as it was
        asked to succeed.
        """
        world = self._robot.world(self._seed, self._size)
        if self._person is not None:
            self._expert = self._person(world, self._recorded, self._expert)
        elif self._robot.expert is not None and self._expert is None:
            self._expert = self._robot.expert(world, self._size)
        room = self._seed
        tries = 0
        try:
            while self.counts.episodes < self._wanted and tries < TRIES_PER_EPISODE * self._wanted:
                room, words = self._next(world, room)
                self._episode(world, words)
                room += 1
                tries += 1
        finally:
            world.close()
            if self._writer:
                self._writer.finalize()
            self._lock.release()
        return self.counts

    def _next(self, world: Any, room: int) -> tuple[int, str]:
        """The next room from `room` on in which the words mean something, and the words."""
        for seed in range(room, room + MAX_ROOMS):
            world.reset(seed)
            if not self._words:
                return seed, self._robot.draw(world, seed)
            words = self._words[self.counts.episodes % len(self._words)]
            if self._robot.allows(words, world):
                return seed, words
        raise ValueError(
            f"none of the rooms {room} to {room + MAX_ROOMS - 1} has what '{words}' names; give "
            "other words"
        )

    def _episode(self, world: Any, words: str) -> None:
        assert self._expert is not None
        policy, spec = self._expert
        policy.reset()
        self._interventions = 0  # frames of this episode
        outcome = run_episode(
            policy,
            world,
            words,
            self._seconds,
            spec=spec,
            rate=self._fps,
            watch=self._note,
            rules=self._robot.rules,
        )
        if self._writer is None or not self._writer.length:  # it gave up at once
            self.counts.failed += 1
            self._say(f"failed: '{words}' in room {world.seed}: {outcome.verdict.sentence}")
            return
        length = self._writer.length
        if not outcome.done:
            self.counts.failed += 1
        if outcome.done or self._failures:
            self._writer.save_episode(words, outcome.done)
            self.counts.episodes += 1
            self.counts.frames += length
        else:
            self._writer.drop_episode()
        name = f"episode {self._writer.episodes - 1}" if outcome.done else "failed"
        driven = ""
        if isinstance(policy, WatchedPolicy):
            self.counts.takeovers += policy.takeovers
            driven = f", {self._interventions} of them the person's"
        self._say(
            f"{name}: '{words}' in room {world.seed}: {length} frames{driven}; "
            f"{outcome.verdict.sentence}"
        )

    def _note(self, state: Any, observation: Observation, chunk: ActionChunk) -> None:
        """A frame: what the policy saw, and the first row of its answer."""
        self._watch()
        if self._writer is None:  # only now it is known which state and channels there are
            name = "sim" if self._name == "cart" else f"sim_{self._name}"
            marks = DRIVEN_IN_TURNS if self._person is not None else {}
            spec = DatasetSpec.of(observation, chunk.channels, self._fps, name, marks)
            self._writer = DatasetWriter(
                self._folder,
                spec,
                append=self._append,
                lock=self._lock,
                flush_every=EPISODES_A_FILE,
            )
        action = dict(zip(chunk.channels, chunk.values[0].tolist()))
        given: dict[str, bool | str] = {}
        if self._expert is not None and isinstance(self._expert[0], WatchedPolicy):
            source = self._expert[0].control_source
            given = {INTERVENTION: source == TELEOP, CONTROL_SOURCE: source}
            self._interventions += source == TELEOP
        self._writer.add_frame(observation.images, observation.state, action, marks=given)
