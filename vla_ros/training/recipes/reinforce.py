"""Policy gradient in the simulator: REINFORCE (Williams 1992) with a value baseline and a Gaussian
over actions.

Only the trunk and the heads are trained. What is before them is asked once, while the robots drive,
and its answers are kept: a step of learning costs next to nothing on a CPU. So that other tasks are
not forgotten, each step also holds the model to the expert on images of everything else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal

from vla_ros.models.quantized import is_packed
from vla_ros.models.vla import VLA
from vla_ros.tasks.phrases import KINDS
from vla_ros.training.settings import Settings
from vla_ros.training.trainer import Trainer
from vla_ros.training.vector_env import Episode, VectorEnv, inputs_of

TRAINED = ("trunk", "head", "value")
ROWS = 2  # of a chunk that a robot may obey before the next one arrives


@dataclass(frozen=True)
class Reinforcement:
    """`episodes` of `task` a step in `worlds`, each at most `longest` s. `deviation` of the
    Gaussian is in halves of a channel's range, fixed or `learned`; it must move a robot that means
    to stand (more than `policies.vla.STILL`), or what moving is worth is never found out. `keep`
    weighs holding to the expert on `keep_images` of other tasks."""

    task: str
    episodes: int = 16
    worlds: int = 8
    longest: float = 16.0
    gamma: float = 0.95
    deviation: float = 0.07
    learned: bool = False
    entropy: float = 1e-3
    value: float = 0.5
    value_factor: float = 30.0  # of the learning rate: the value head begins from nothing
    keep: float = 20.0
    keep_images: int = 256
    checked: int = 50  # episodes of an evaluation, without noise

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
    """N images of some episodes, and images of other tasks (K, may be 0) with what the expert would
    do."""

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


def shaped(episode: Episode, gamma: float) -> list[float]:
    """The returns of an episode, less what was lacking when each began: how far away a task was
    would drown what was done about it, and no action changes it. What is lacking is a potential
    (Ng, Harada & Russell 1999): the best policy is the same with it, whatever the discount."""
    rewards = [
        reward + (1 - gamma) * lacking
        for reward, lacking in zip(episode.rewards, episode.lacking[1:])
    ]
    return [value - lacking for value, lacking in zip(discounted(rewards, gamma), episode.lacking)]


def normalised(returns: Tensor) -> Tensor:
    """Mean 0 and deviation 1; all zero where they are all alike."""
    return (returns - returns.mean()) / (returns.std(unbiased=False) + 1e-6)


class Actor(nn.Module):
    """What is trained: a VLA's trunk and heads from the trunk's inputs on, and the Gaussian's
    deviation."""

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
        """The VLA stays as it drives, without dropout: what was done must have the probability that
        it had."""
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
    """The parts by name: what was better than expected becomes likelier; the value head learns what
    to expect."""
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
        kept = actor(batch.keep_inputs)[0]
        parts["keep"] = F.smooth_l1_loss(kept / scale, batch.keep_actions / scale, beta=0.1)
    return parts | {name: getattr(batch, name) for name in ("reward", "success", "length")}


class Player(Protocol):
    def play(
        self, tasks: Sequence[str], rng: np.random.Generator, choose: Any
    ) -> list[Episode]: ...


class Rollouts:
    """Batches that the actor makes with the weights that it has: to be asked for one by one, none
    ahead."""

    def __init__(
        self,
        actor: Actor,
        player: Player,
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
        rng = np.random.default_rng((self.seed, index))
        self.actor.eval()
        episodes = self.player.play([self.plan.task] * self.plan.episodes, rng, self.actor.choose)
        self.actor.train()
        return gathered(episodes, self.plan.gamma, self._kept(rng))

    def _kept(self, rng: np.random.Generator) -> tuple[Tensor, Tensor] | None:
        if self.kept is None:
            return None
        rows = torch.from_numpy(
            rng.choice(len(self.kept[0]), min(256, len(self.kept[0])), replace=False)
        )
        return self.kept[0][rows], self.kept[1][rows]


def gathered(
    episodes: Sequence[Episode], gamma: float, kept: tuple[Tensor, Tensor] | None = None
) -> RolloutBatch:
    """The images of all episodes as one batch."""
    inputs = torch.stack([one for episode in episodes for one in episode.inputs])
    chunks = torch.stack([one for episode in episodes for one in episode.chunks])
    returns = torch.tensor([value for episode in episodes for value in shaped(episode, gamma)])
    keep_inputs, keep_actions = kept or (inputs[:0], chunks[:0])
    return RolloutBatch(
        inputs,
        chunks,
        normalised(returns),
        keep_inputs,
        keep_actions,
        torch.tensor(float(np.mean([sum(one.rewards) for one in episodes]))),
        torch.tensor(float(np.mean([one.success for one in episodes]))),
        torch.tensor(float(np.mean([len(one.rewards) for one in episodes]))),
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
    """The trunk's inputs and the expert's chunks for other instructions, on images placed at
    random."""
    from vla_ros.sim.expert import ID
    from vla_ros.training.image_dataset import make_world, place_at_random
    from vla_ros.training.labels import label
    from vla_ros.training.losses import act

    config = vla.config
    rng = np.random.default_rng((seed, 7))
    world = make_world(config.image_size)
    frames = place_at_random(world, config.image_size, images, int(rng.integers(1 << 30)))
    world.close()
    found: list[tuple[Tensor, Tensor]] = []
    for rows in np.array_split(np.arange(images), max(1, images // 64)):
        batch, _ = label(
            rng, frames, rows, 6, vla.vision.grid, config.steps, config.step, frames.images[rows]
        )
        with torch.no_grad(), inputs_of(vla.trunk) as inputs:
            act(vla, batch)
        others = batch.words[:, 0] != ID[task]
        found.append((inputs[0][others], batch.actions[others]))
    return torch.cat([one for one, _ in found]), torch.cat([one for _, one in found])


def reinforce(
    checkpoint: Path, out: Path, plan: Reinforcement, settings: Settings, *, resume: bool = False
) -> Trainer:
    """Improve the policy in `checkpoint` at the plan's task; leaves `out`/policy and what the
    trainer leaves.

    Raises ValueError for a checkpoint or task that does not fit.
    """
    from vla_ros.models.checkpoint import from_pretrained

    vla = from_pretrained(checkpoint)
    if is_packed(vla):
        raise ValueError(
            f"{checkpoint} has packed weights ({vla.config.quantization}), which cannot be "
            "trained; give "
            "the checkpoint that it was made from"
        )
    vector_env = VectorEnv(vla, plan.worlds, plan.longest)
    try:
        actor = Actor(vla, plan.deviation, plan.learned)
        kept = other_tasks(vla, plan.task, plan.keep_images, settings.seed) if plan.keep else None

        def check(_: Any) -> dict[str, float]:
            """Without noise, on scenes that no step drives in."""
            rng = np.random.default_rng((settings.seed, 1 << 20))
            played = vector_env.play(
                [plan.task] * plan.checked, rng, lambda inputs, _: actor(inputs)[0]
            )
            return {"without_noise": float(np.mean([one.success for one in played]))}

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
