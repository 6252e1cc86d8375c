"""Policy gradient in the simulator: REINFORCE (Williams 1992).

With a value baseline and a Gaussian over actions.

Only the trunk and the heads are trained. What is before them is asked once, while the robots drive,
and its answers are kept: a step of learning costs next to nothing on a CPU. So that other tasks are
not forgotten, each step also holds the model to the expert on images of everything else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal

from vla_ros.models import PACKED
from vla_ros.models.vla import VLA
from vla_ros.tasks.phrases import KINDS
from vla_ros.training.settings import OptimizerSettings
from vla_ros.training.trainer import Trainer
from vla_ros.training.vector_env import EpisodeRecord, VectorEnv, inputs_of, success_rate

TRAINED = ("trunk", "head", "value")  # of a VLA's parts
ROWS = 2  # of a chunk that a robot may obey before the next one arrives
KEPT_PER_STEP = 256  # images of other tasks


@dataclass(frozen=True)
class Reinforcement:
    """What is learnt, and how.

    Attributes:
        task: the kind of instruction.
        episodes: of the task, in a step.
        worlds: how many of them drive at once.
        longest: s of an episode, at most.
        gamma: what a reward is worth an image earlier.
        deviation: of the Gaussian, in halves of a channel's range, fixed or `learned`. It must move
            a robot that means to stand (more than STILL_SPEEDS of policies/builtin.py), or what
            moving is worth is never found out.
        entropy, value, keep: weights of the loss's parts; `keep` is holding to the expert on
            `keep_images` of other tasks.
        value_factor: of the learning rate: the value head begins from nothing.
        checked: episodes of an evaluation, without noise.
    """

    task: str
    episodes: int = 16
    worlds: int = 8
    longest: float = 16.0
    gamma: float = 0.95
    deviation: float = 0.07
    learned: bool = False
    entropy: float = 1e-3
    value: float = 0.5
    value_factor: float = 30.0
    keep: float = 20.0
    keep_images: int = 256
    checked: int = 50

    def __post_init__(self) -> None:
        if self.task not in KINDS:
            raise ValueError(f"the task is {self.task!r}; it is one of {', '.join(KINDS)}")
        if not 0.0 < self.gamma <= 1.0:
            raise ValueError(f"gamma is {self.gamma}; give more than 0 and at most 1")
        if not 0.0 < self.deviation <= 1.0:
            raise ValueError(f"deviation is {self.deviation}; give more than 0 and at most 1")
        for name in ("episodes", "worlds", "checked"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")


class RolloutBatch(NamedTuple):
    """N images of some episodes, and K (may be 0) of other tasks with what the expert would do."""

    inputs: Tensor  # N x F, the trunk's
    chunks: Tensor  # N x T x C
    returns: Tensor  # N, normalised
    keep_inputs: Tensor  # K x F
    keep_actions: Tensor  # K x T x C
    reward: Tensor  # mean of the episodes' sums
    success: Tensor  # share of the episodes
    length: Tensor  # mean, images


def discounted(rewards: Sequence[float], gamma: float) -> list[float]:
    """The return of each step: its reward and the later ones, each step on gamma times less."""
    returns = []
    later = 0.0
    for reward in reversed(rewards):
        later = reward + gamma * later
        returns.append(later)
    return returns[::-1]


def shaped(episode: EpisodeRecord, gamma: float) -> list[float]:
    """The returns of an episode, less what was lacking when each began.

    How far away a task was would drown what was done about it, and no action changes it. What is
    lacking is a potential (Ng, Harada & Russell 1999): the best policy is the same with it,
    whatever the discount.
    """
    lacking = np.array(episode.lacking)  # images + 1: before the first, and after each
    rewards = np.array(episode.rewards) + (1 - gamma) * lacking[1:]
    returns = np.array(discounted(rewards.tolist(), gamma)) - lacking[:-1]
    return returns.tolist()


def normalised(returns: Tensor) -> Tensor:
    """Mean 0 and deviation 1; all zero where they are all alike."""
    # 1e-6: of returns that are all alike the deviation is 0
    return (returns - returns.mean()) / (returns.std(unbiased=False) + 1e-6)


class Actor(nn.Module):
    """What is trained: a VLA from its trunk's inputs on, and the Gaussian's deviation."""

    def __init__(self, vla: Any, deviation: float, learned: bool = False) -> None:
        super().__init__()
        self.vla = vla.eval()
        for name, value in vla.named_parameters():
            value.requires_grad_(name.split(".")[0] in TRAINED)
        channels = vla.head.scale.shape[0]
        self.log_deviation = nn.Parameter(
            torch.full((channels,), math.log(deviation)), requires_grad=learned
        )

    def train(self, mode: bool = True) -> Actor:
        """Training mode for all but the VLA, which stays as it drives.

        With dropout, what was done would not have the probability that it had.
        """
        super().train(mode)
        self.vla.eval()
        return self

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """inputs N x F -> mean chunks N x T x C and values N. Values do not pull at the trunk."""
        features = self.vla.trunk(inputs)
        return self.vla.head(features), self.vla.value(features.detach()).squeeze(-1).float()

    def spread(self) -> Tensor:
        """The deviation of each channel, C, SI units."""
        return self.log_deviation.exp() * self.vla.head.scale

    def log_probability(self, mean: Tensor, chunks: Tensor) -> Tensor:
        """Of the rows that are obeyed: N."""
        return Normal(mean[:, :ROWS], self.spread()).log_prob(chunks[:, :ROWS]).sum((1, 2))

    def choose(self, inputs: Tensor, rng: np.random.Generator) -> Tensor:
        """Chunks N x T x C with noise on the rows that are obeyed, drawn from the generator."""
        mean = self(inputs)[0].clone()
        noise = torch.from_numpy(rng.standard_normal(mean[:, :ROWS].shape).astype(np.float32))
        mean[:, :ROWS] += noise * self.spread()
        return mean


def policy_loss(actor: Actor, batch: RolloutBatch) -> dict[str, Tensor]:
    """The parts by name.

    What was better than expected becomes likelier; the value head learns what to expect.
    """
    mean, value = actor(batch.inputs)
    scale = actor.vla.head.scale
    # a value head that is off by a constant would add but noise
    better = normalised(batch.returns - value.detach())
    parts = {
        "policy": -(actor.log_probability(mean, batch.chunks) * better).mean(),
        "value": F.mse_loss(value, batch.returns),
        "entropy": Normal(0.0, actor.spread()).entropy().sum(),
    }
    if len(batch.keep_inputs):
        kept, _ = actor(batch.keep_inputs)
        parts["keep"] = F.smooth_l1_loss(kept / scale, batch.keep_actions / scale, beta=0.1)
    # these are logged, and weigh nothing (`weights_of`)
    parts["reward"] = batch.reward
    parts["success"] = batch.success
    parts["length"] = batch.length
    return parts


class EpisodePlayer(Protocol):
    """Who plays episodes: a `VectorEnv`."""

    def play(
        self, tasks: Sequence[str], rng: np.random.Generator, choose: Any
    ) -> list[EpisodeRecord]: ...


class Rollouts:
    """Batches that the actor makes with the weights that it has.

    To be asked for one by one, none ahead: one made ahead would be of older weights, and of a
    thread that may not draw.
    """

    def __init__(
        self,
        actor: Actor,
        player: EpisodePlayer,
        plan: Reinforcement,
        seed: int,
        kept: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.actor = actor
        self.player = player
        self.plan = plan
        self.seed = seed
        self.kept = kept

    def batch(self, index: int) -> RolloutBatch:
        """Episodes of this number, with the weights of now."""
        rng = np.random.default_rng((self.seed, index))
        self.actor.eval()
        episodes = self.player.play([self.plan.task] * self.plan.episodes, rng, self.actor.choose)
        self.actor.train()
        return gathered(episodes, self.plan.gamma, self._kept(rng))

    def _kept(self, rng: np.random.Generator) -> tuple[Tensor, Tensor] | None:
        if self.kept is None:
            return None
        inputs, expert_actions = self.kept
        count = min(KEPT_PER_STEP, len(inputs))
        rows = torch.from_numpy(rng.choice(len(inputs), count, replace=False))
        return inputs[rows], expert_actions[rows]


def gathered(
    episodes: Sequence[EpisodeRecord], gamma: float, kept: tuple[Tensor, Tensor] | None = None
) -> RolloutBatch:
    """The images of all episodes as one batch."""
    met: list[Tensor] = []
    done: list[Tensor] = []
    returns: list[float] = []
    gained = []
    images = []
    for episode in episodes:
        met += episode.inputs
        done += episode.chunks
        returns += shaped(episode, gamma)
        gained.append(sum(episode.rewards))
        images.append(len(episode.rewards))
    inputs = torch.stack(met)  # N x F
    chunks = torch.stack(done)  # N x T x C
    keep_inputs, keep_actions = kept or (inputs[:0], chunks[:0])
    return RolloutBatch(
        inputs,
        chunks,
        normalised(torch.tensor(returns)),
        keep_inputs,
        keep_actions,
        reward=torch.tensor(float(np.mean(gained))),
        success=torch.tensor(success_rate(episodes)),
        length=torch.tensor(float(np.mean(images))),
    )


def weights_of(plan: Reinforcement) -> Mapping[str, float]:
    """Of the loss's parts. The last three are told, not learnt."""
    return {
        "policy": 1.0,
        "value": plan.value,
        "entropy": -plan.entropy,
        "keep": plan.keep,
        "reward": 0.0,
        "success": 0.0,
        "length": 0.0,
    }


def other_tasks(vla: VLA, task: str, images: int, seed: int) -> tuple[Tensor, Tensor]:
    """The trunk's inputs (K x F) and the expert's chunks (K x T x C) for other instructions.

    Args:
        task: the kind that is left out.
        images: placed at random; each has six instructions.
    """
    from vla_ros.sim.expert import ID
    from vla_ros.training.image_dataset import make_world, place_at_random
    from vla_ros.training.labels import label
    from vla_ros.training.losses import act

    config = vla.config
    rng = np.random.default_rng((seed, 7))
    world = make_world(config.image_size)
    frames = place_at_random(world, config.image_size, images, int(rng.integers(1 << 30)))
    world.close()
    trunk_inputs = []
    expert_actions = []
    # 64 images at a time, so that a large number needs no more memory than a batch of training
    for rows in np.array_split(np.arange(images), max(1, images // 64)):
        pixels = frames.images[rows]
        batch, _ = label(rng, frames, rows, 6, vla.vision.grid, config.steps, config.step, pixels)
        with torch.no_grad(), inputs_of(vla.trunk) as inputs:
            act(vla, batch)
        others = batch.words[:, 0] != ID[task]
        trunk_inputs.append(inputs[0][others])
        expert_actions.append(batch.actions[others])
    return torch.cat(trunk_inputs), torch.cat(expert_actions)


def reinforce(
    checkpoint: Path,
    out: Path,
    plan: Reinforcement,
    settings: OptimizerSettings,
    *,
    resume: bool = False,
) -> Trainer:
    """Improve the policy in `checkpoint` at the plan's task.

    Leaves `out`/policy and what the trainer leaves. No batch is made ahead, whatever the settings.

    Raises:
        ValueError: checkpoint or task do not fit.
    """
    from vla_ros.models.checkpoint import from_pretrained

    vla = from_pretrained(checkpoint)
    if vla.config.quantization in PACKED:
        raise ValueError(
            f"{checkpoint} has packed weights ({vla.config.quantization}), which cannot be "
            "trained; give the checkpoint that it was made from"
        )
    # batches are driven with the weights of their step, and a renderer belongs to one thread
    settings = replace(settings, ahead=0)
    vector_env = VectorEnv(vla, plan.worlds, plan.longest)
    try:
        actor = Actor(vla, plan.deviation, plan.learned)
        kept = other_tasks(vla, plan.task, plan.keep_images, settings.seed) if plan.keep else None

        def check(_: Any) -> dict[str, float]:
            """Without noise, on scenes that no step drives in."""
            rng = np.random.default_rng((settings.seed, 1 << 20))
            tasks = [plan.task] * plan.checked
            played = vector_env.play(tasks, rng, lambda inputs, _: actor(inputs)[0])
            return {"without_noise": success_rate(played)}

        trainer = Trainer(
            actor,
            policy_loss,
            Rollouts(actor, vector_env, plan, settings.seed, kept),
            settings,
            out,
            weights=weights_of(plan),
            factors={"vla.value": plan.value_factor},
            evaluate=check,
            resume=resume,
            cpu=True,
        )
        trainer.run()
        trainer.export(out / "policy")
    finally:
        vector_env.close()
    return trainer
