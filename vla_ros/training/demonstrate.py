"""Demonstrations from the simulated robot, with a policy as the expert.

A frame's action is the first row of the chunk that answers its image: what the expert would have
the robot do at that moment. Nothing of ROS and no gate: an episode takes a tenth of its time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from vla_ros.core.types import ActionChunk, Observation
from vla_ros.datasets.lerobot.layout import DatasetSpec
from vla_ros.datasets.lerobot.write import DatasetWriter, new_folder
from vla_ros.policies import make_policy, policy_spec
from vla_ros.sim.episode import run_episode
from vla_ros.sim.world import World
from vla_ros.tasks.intent import parse
from vla_ros.tasks.success import targets
from vla_ros.tasks.world_state import WorldState

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


def possible(state: WorldState) -> list[str]:
    """The instructions that this room allows."""
    instructions = list(OTHER_TASKS)
    for thing, task in product(state.objects, OBJECT_TASKS):
        instructions.append(task.format(thing.name))
    return instructions


class Demonstrator:
    """Records successful episodes.

    Args:
        folder: where to; it must be new.
        episodes: how many are wanted.
        seed: rooms are those of `seed`, `seed` + 1, ...
        instructions: taken in turn; without any, one that the room allows is drawn.
        policy: the expert.
        fps: images a second.
        seconds: simulated, that an episode lasts at most.
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
        policy: str = "color_servo",
        fps: int = 10,
        seconds: float = 30.0,
        failures: bool = False,
        say: Callable[[str], None] = lambda line: None,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        for words in instructions:
            parse(words)
        self._spec = policy_spec(policy)
        DatasetSpec(fps, {}, ("x",), ("x",))  # raises for a rate that no dataset has
        self._folder = Path(folder)
        new_folder(self._folder)
        self._policy = make_policy(policy)
        self._wanted = episodes
        self._seed = seed
        self._words = tuple(instructions)
        self._fps = fps
        self._seconds = seconds
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
        world = World(self._seed)
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
        return self.counts

    def _next(self, world: World, room: int) -> tuple[int, str]:
        """The next room from `room` on in which the words mean something, and the words."""
        for seed in range(room, room + MAX_ROOMS):
            world.reset(seed)
            if not self._words:
                return seed, random.Random(seed).choice(possible(world.state()))
            words = self._words[self.counts.episodes % len(self._words)]
            try:
                intent = parse(words)
                if intent.colour or intent.shape:
                    targets(intent, world.state())  # raises where the room has none
                return seed, words
            except ValueError:
                continue
        raise ValueError(
            f"none of the rooms {room} to {room + MAX_ROOMS - 1} has what '{words}' names; give "
            "other words"
        )

    def _episode(self, world: World, words: str) -> None:
        self._policy.reset()
        outcome = run_episode(
            self._policy,
            world,
            words,
            self._seconds,
            spec=self._spec,
            rate=self._fps,
            watch=self._note,
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
            self.counts.episodes = self._writer.episodes
            self.counts.frames = self._writer.frames
        else:
            self._writer.drop_episode()
        name = f"episode {self.counts.episodes - 1}" if outcome.done else "failed"
        self._say(
            f"{name}: '{words}' in room {world.seed}: {length} frames; {outcome.verdict.sentence}"
        )

    def _note(self, state: WorldState, observation: Observation, chunk: ActionChunk) -> None:
        """A frame: what the policy saw, and the first row of its answer."""
        self._watch()
        if self._writer is None:  # only now it is known which state and channels there are
            spec = DatasetSpec.of(observation, chunk.channels, self._fps, "sim")
            self._writer = DatasetWriter(self._folder, spec, flush_every=100)
        action = dict(zip(chunk.channels, chunk.values[0].tolist()))
        self._writer.add_frame(observation.images, observation.state, action)
