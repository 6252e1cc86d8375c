"""Simulated robots in lockstep that follow instructions, rewarded by the simulator's truth."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from operator import attrgetter

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
from vla_ros.policies.steps import canonical
from vla_ros.sim.episode import Reward, robot_state
from vla_ros.sim.world import World
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.phrases import KINDS, OBJECT_KINDS, UNSEEN_PAIRS, intent_of
from vla_ros.tasks.success import STILL_ANGULAR, STILL_LINEAR, judge
from vla_ros.tasks.world_state import WorldState
from vla_ros.training.image_dataset import make_world, scene_for
from vla_ros.training.rollout import PERIOD_S, go_on, read

# done for so many images in a row ends an episode, and so does standing undone for longer
DONE_IMAGES = 4
IDLE_IMAGES = 18
Choose = Callable[[Tensor, np.random.Generator], Tensor]  # trunk's inputs A x F -> chunks A x T x C


@dataclass
class EpisodeRecord:
    """What was met, done and gained, image by image."""

    inputs: list[Tensor] = field(default_factory=list)  # the trunk's, F each
    chunks: list[Tensor] = field(default_factory=list)  # T x C each
    rewards: list[float] = field(default_factory=list)
    success: bool = False
    # m and rad, by the truth: before the first image and after each
    lacking: list[float] = field(default_factory=list)


@dataclass
class WorldTrial:
    """One world with its instruction."""

    world: World
    intent: Intent
    text: str
    start: WorldState
    progress: Progress
    episode: EpisodeRecord
    chunk: ActionChunk | None = None
    settled: int = 0
    idle: int = 0
    over: bool = False


class VectorEnv:
    """Worlds with training's scenes and sentences.

    Args:
        count: how many there are.
        longest: simulated seconds that an episode lasts at most.

    Raises:
        ValueError: this loop cannot drive such a model.
    """

    def __init__(
        self, vla: VLA, count: int = 8, longest: float = 16.0, reward: Reward | None = None
    ) -> None:
        config = vla.config
        if vla.auxiliary is None or config.fusion != "grounded" or config.model != "end_to_end":
            raise ValueError(
                "the vector_env drives models like the built-in one: end_to_end, fusion grounded, "
                f"auxiliary true; this is {config.model}, {config.fusion}, "
                f"auxiliary {str(vla.auxiliary is not None).lower()}"
            )
        self.vla = vla
        self.longest = longest
        self.reward = reward or Reward()
        self._worlds = [make_world(config.image_size) for _ in range(count)]

    def play(
        self, tasks: Sequence[str], rng: np.random.Generator, choose: Choose
    ) -> list[EpisodeRecord]:
        """An episode for each of the kinds of instruction in `tasks`."""
        episodes: list[EpisodeRecord] = []
        while len(episodes) < len(tasks):
            # as many at a time as there are worlds
            trials = []
            for world, task in zip(self._worlds, tasks[len(episodes) :]):
                trials.append(_begin(world, task, rng))
            for _ in range(round(self.longest / PERIOD_S)):
                active = [trial for trial in trials if not trial.over]
                if not active:
                    break
                self._image(active, rng, choose)
            episodes += map(attrgetter("episode"), trials)
        return episodes

    def close(self) -> None:
        """Free the worlds' renderers, in the thread that drew with them."""
        for world in self._worlds:
            world.close()

    def _image(self, trials: list[WorldTrial], rng: np.random.Generator, choose: Choose) -> None:
        """One image of each world, what it does about it, and what came of that."""
        images = []
        for trial in trials:
            trial.progress.move(robot_state(trial.world))
            images.append(_seen(trial.world, self.vla))
        progress = list(map(attrgetter("progress"), trials))
        read_words = read(self.vla, list(map(attrgetter("text"), trials)))
        with inputs_of(self.vla.trunk) as inputs:
            output = look(self.vla, images, read_words, progress)
        met = inputs[0].clone()  # A x F; outside of inference mode: these can be learnt from
        with torch.no_grad():
            chunks = choose(met, rng)  # A x T x C
        values = actions(told(output._replace(actions=chunks)), progress)
        for index, trial in enumerate(trials):
            trial.chunk = go_on(trial.world, trial.chunk, values[index], self.vla.config, rng)
            trial.episode.inputs.append(met[index])
            trial.episode.chunks.append(chunks[index])
            self._judge(trial)

    def _judge(self, trial: WorldTrial) -> None:
        """By the truth, after the image's chunk was obeyed."""
        now = trial.world.state()
        verdict = judge(trial.intent, trial.start, now)
        trial.settled = trial.settled + 1 if verdict.done else 0
        stands = abs(now.linear) < STILL_LINEAR and abs(now.angular) < STILL_ANGULAR
        idles = stands and not verdict.done
        # noise moves a robot that means to stand, now and then
        trial.idle = max(0, trial.idle + (1 if idles else -1))
        episode = trial.episode
        episode.success = trial.settled >= DONE_IMAGES
        trial.over = episode.success or trial.idle >= IDLE_IMAGES
        before = episode.lacking[-1]
        episode.lacking.append(verdict.lacking)
        reward = self.reward.of(before, verdict.lacking, PERIOD_S, episode.success)
        episode.rewards.append(reward)


@contextmanager
def inputs_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    """What the layer is given inside of the block, call by call."""
    inputs: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0].detach()))
    try:
        yield inputs
    finally:
        handle.remove()


def _seen(world: World, vla: VLA) -> NDArray[np.uint8]:
    return resize(world.render(), vla.config.image_size)


def _begin(world: World, task: str, rng: np.random.Generator) -> WorldTrial:
    """A scene, an instruction that it allows, and the robot standing in it."""
    scene_for(world, rng)
    colour = None
    shape = None
    if task in OBJECT_KINDS:
        allowed = []
        for thing in world.scene.objects:
            if (thing.colour, thing.shape) not in UNSEEN_PAIRS:
                allowed.append(thing)
        if not allowed:
            return _begin(world, task, rng)  # another scene
        thing = allowed[int(rng.integers(len(allowed)))]
        colour = thing.colour
        shape = thing.shape
    intent = intent_of(task, colour, shape)
    text = canonical(intent)
    progress = Progress()
    progress.command = 1.0  # a scene begins with the gripper open
    if task == "open":  # which would be done already
        world.place_gripper(0.0)
        progress.command = 0.0
    start = world.state()
    episode = EpisodeRecord(lacking=[judge(intent, start, start).lacking])
    return WorldTrial(world, intent, text, start, progress, episode)


def success(model: VLA, episodes: int, seed: int) -> float:
    """The share of episodes done, of every kind of instruction in turn, by the model as it is."""
    on_cpu = next(model.parameters()).device.type == "cpu"
    vla = model if on_cpu else copy.deepcopy(model).cpu()  # a copy: the model is trained on
    vector_env = VectorEnv(vla)
    tasks = list(islice(cycle(KINDS), episodes))
    try:
        played = vector_env.play(
            tasks, np.random.default_rng(seed), lambda inputs, _: vla.head(vla.trunk(inputs))
        )
    finally:
        vector_env.close()
    return success_rate(played)


def success_rate(episodes: Sequence[EpisodeRecord]) -> float:
    """The share of these episodes that was done."""
    return float(np.mean(list(map(attrgetter("success"), episodes))))
