"""Simulated robots in lockstep that follow instructions and are told by the simulator's truth how
well they did."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vla_ros.core.images import resize
from vla_ros.core.types import ActionChunk
from vla_ros.models.stages import told
from vla_ros.models.vla import VLA
from vla_ros.policies.builtin import actions, look
from vla_ros.policies.progress import Progress
from vla_ros.sim.episode import Reward, robot_state
from vla_ros.sim.expert import ID
from vla_ros.sim.world import World
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.objects import COLOURS, SHAPES
from vla_ros.tasks.phrases import KINDS, OBJECT_KINDS, UNSEEN_PAIRS, intent_of
from vla_ros.tasks.success import STILL_ANGULAR, STILL_LINEAR, judge
from vla_ros.tasks.world_state import WorldState
from vla_ros.training.image_dataset import make_world, scene_for
from vla_ros.training.labels import phrase
from vla_ros.training.rollout import PERIOD, go_on, read

# images: done for so many in a row ends an episode, and so does standing undone for longer
SETTLED = 4
IDLE = 18
Choose = Callable[[Tensor, np.random.Generator], Tensor]  # trunk's inputs A x F -> chunks A x T x C


@dataclass
class Episode:
    """What was met (the trunk's inputs, F each), done (chunks, T x C) and gained, image by image;
    and how much was lacking (m and rad, by the truth) before the first image and after each."""

    inputs: list[Tensor] = field(default_factory=list)
    chunks: list[Tensor] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    success: bool = False
    lacking: list[float] = field(default_factory=list)


@dataclass
class Try:
    """One world with its instruction."""

    world: World
    intent: Intent
    text: str
    start: WorldState
    progress: Progress
    episode: Episode
    chunk: ActionChunk | None = None
    settled: int = 0
    idle: int = 0
    over: bool = False


class VectorEnv:
    """`count` worlds, with training's scenes and phrases; an episode lasts `longest` s at most.

    Raises ValueError for a model that this loop cannot drive.
    """

    def __init__(
        self, vla: VLA, count: int = 8, longest: float = 16.0, reward: Reward | None = None
    ) -> None:
        if (
            vla.auxiliary is None
            or vla.config.fusion != "grounded"
            or vla.config.model != "end_to_end"
        ):
            raise ValueError(
                "the vector_env drives models like the built-in one: end_to_end, fusion grounded, "
                f"auxiliary true; this is {vla.config.model}, {vla.config.fusion}, "
                f"auxiliary {str(vla.auxiliary is not None).lower()}"
            )
        self.vla = vla
        self.longest = longest
        self.reward = reward or Reward()
        self._worlds = [make_world(vla.config.image_size) for _ in range(count)]

    def play(self, tasks: Sequence[str], rng: np.random.Generator, choose: Choose) -> list[Episode]:
        """An episode for each of the kinds of instruction."""
        found: list[Episode] = []
        while len(found) < len(tasks):
            fleet = [
                _begin(world, task, rng) for world, task in zip(self._worlds, tasks[len(found) :])
            ]
            for _ in range(round(self.longest / PERIOD)):
                active = [one for one in fleet if not one.over]
                if not active:
                    break
                self._image(active, rng, choose)
            found += [one.episode for one in fleet]
        return found

    def close(self) -> None:
        for world in self._worlds:
            world.close()

    def _image(self, fleet: list[Try], rng: np.random.Generator, choose: Choose) -> None:
        """One image of each world, what it does about it, and what came of that."""
        for one in fleet:
            one.progress.move(robot_state(one.world))
        progress = [one.progress for one in fleet]
        images = [_seen(one.world, self.vla) for one in fleet]
        with inputs_of(self.vla.trunk) as inputs:
            output = look(self.vla, images, read(self.vla, [one.text for one in fleet]), progress)
        met = inputs[0].clone()  # outside of inference mode: these can be learnt from
        with torch.no_grad():
            chunks = choose(met, rng)
        values = actions(told(output._replace(actions=chunks)), progress)
        for index, one in enumerate(fleet):
            one.chunk = go_on(one.world, one.chunk, values[index], self.vla.config, rng)
            one.episode.inputs.append(met[index])
            one.episode.chunks.append(chunks[index])
            self._judge(one)

    def _judge(self, one: Try) -> None:
        now = one.world.state()
        verdict = judge(one.intent, one.start, now)
        one.settled = one.settled + 1 if verdict.done else 0
        still = (
            abs(now.linear) < STILL_LINEAR and abs(now.angular) < STILL_ANGULAR and not verdict.done
        )
        # noise moves a robot that means to stand, now and then
        one.idle = max(0, one.idle + (1 if still else -1))
        one.episode.success = one.settled >= SETTLED
        one.over = one.episode.success or one.idle >= IDLE
        before = one.episode.lacking[-1]
        one.episode.lacking.append(verdict.lacking)
        one.episode.rewards.append(
            self.reward.of(before, verdict.lacking, PERIOD, one.episode.success)
        )


@contextmanager
def inputs_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    """What the layer is given inside, call by call."""
    found: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, given: found.append(given[0].detach()))
    try:
        yield found
    finally:
        handle.remove()


def _seen(world: World, vla: VLA) -> NDArray[np.uint8]:
    return resize(world.render(), vla.config.image_size)


def _begin(world: World, task: str, rng: np.random.Generator) -> Try:
    """A scene, an instruction that it allows, and the robot standing in it."""
    scene_for(world, rng)
    colour = None
    shape = None
    if task in OBJECT_KINDS:
        allowed = [
            one for one in world.scene.objects if (one.colour, one.shape) not in UNSEEN_PAIRS
        ]
        if not allowed:
            return _begin(world, task, rng)
        thing = allowed[int(rng.integers(len(allowed)))]
        colour = thing.colour
        shape = thing.shape
    intent = intent_of(task, colour, shape)
    text = phrase(
        rng, ID[task], COLOURS.index(colour) if colour else -1, SHAPES.index(shape) if shape else -1
    )
    progress = Progress()
    progress.command = 1.0
    if task == "open":
        world.place_gripper(0.0)
        progress.command = 0.0
    start = world.state()
    return Try(
        world, intent, text, start, progress, Episode(lacking=[judge(intent, start, start).lacking])
    )


def success(model: VLA, episodes: int, seed: int) -> float:
    """The share of episodes done, of every kind of instruction in turn, by the model as it is."""
    vla = model if next(model.parameters()).device.type == "cpu" else copy.deepcopy(model).cpu()
    vector_env = VectorEnv(vla)
    tasks = [KINDS[index % len(KINDS)] for index in range(episodes)]
    try:
        played = vector_env.play(
            tasks, np.random.default_rng(seed), lambda inputs, _: vla.head(vla.trunk(inputs))
        )
    finally:
        vector_env.close()
    return float(np.mean([one.success for one in played]))
