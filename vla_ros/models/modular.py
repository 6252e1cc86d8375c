"""The modular VLA: which task is it, which skills does it take, and their decoders mixed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vla_ros.models.config import VLAConfig
from vla_ros.models.heads.action_decoder import ActionDecoder, Bounded
from vla_ros.models.vla import VLA, VLAOutput

MAPPING_LOGIT = 4.0  # logit that a given task-to-skill mapping starts with


class Mixture(NamedTuple):
    """What the mixed decoders say, and how they were mixed."""

    actions: Tensor  # B x T x C, SI units
    tasks: Tensor  # B x tasks, logits
    skills: Tensor  # B x skills, weights that add up to 1


class SkillMixture(Bounded):
    """features B x `inputs`, pooled words B x D, task B (ids) or None -> Mixture.

    A task's own view of the words is a light layer on the one language trunk: a language model for
    each task, as in some sketches, would hold the same words ten times. Skill weights come from a
    selector and from the tasks through a learned table. A mean of actions within the bounds lies
    within them. Options (`model_options`): `tasks`, `skills`, `selector` (its hidden width),
    `light` (width of a task's layer), `mapping` (the skill that each task starts with).
    """

    def __init__(self, config: VLAConfig, inputs: int) -> None:
        super().__init__(config)
        options = config.options("model")
        self.tasks = options["tasks"]
        skills = options["skills"]
        hidden = options["selector"]
        light = options["light"]
        self.task_selector = nn.Sequential(
            nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, self.tasks)
        )
        self.skill_selector = nn.Sequential(
            nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, skills)
        )
        # logits of the skills that a task takes, to learn on from there
        table = torch.zeros(self.tasks, skills)
        for task, skill in enumerate(options["mapping"]):
            table[task, skill] = MAPPING_LOGIT
        self.mapping = nn.Parameter(table)
        self.views = nn.Parameter(torch.randn(self.tasks, config.width, light) * config.width**-0.5)
        self.decoders = nn.ModuleList(ActionDecoder(config, inputs + light) for _ in range(skills))

    def forward(self, features: Tensor, pooled: Tensor, task: Tensor | None = None) -> Mixture:
        """features B x F, pooled B x D, and the tasks' numbers B where they are known.

        Raises ValueError for a number that is no task's.
        """
        tasks = self.task_selector(features).float()
        share = tasks.softmax(-1)  # B x tasks
        if task is not None:
            # what is compiled cannot look at values
            if not torch.compiler.is_compiling():
                self._check(task)
            share = nn.functional.one_hot(task, self.tasks).float()
        skills = (self.skill_selector(features).float() + share @ self.mapping.float()).softmax(-1)
        views = torch.relu(torch.einsum("bd,tdl->btl", pooled, self.views))
        view = torch.einsum("bt,btl->bl", share.to(views.dtype), views)
        inputs = torch.cat([features, view], -1)
        units = []
        for decoder in self.decoders:
            assert isinstance(decoder, ActionDecoder)
            units.append(decoder.unit(inputs))
        # weights may add up to a hair over 1
        unit = torch.einsum("bk,bktc->btc", skills, torch.stack(units, 1)).clamp(-1.0, 1.0)
        return Mixture(self.bounded(unit), tasks, skills)

    def _check(self, task: Tensor) -> None:
        if not bool(((task >= 0) & (task < self.tasks)).all()):
            raise ValueError(f"task is {task.tolist()}; give numbers from 0 to {self.tasks - 1}")


class ModularVLA(VLA):
    """The end-to-end VLA's eyes, words and fusion, with a SkillMixture as its head."""

    def _head(self, features: int) -> nn.Module:
        return SkillMixture(self.config, features)

    def decode_action(
        self,
        vision: Tensor,
        words: Tensor,
        pooled: Tensor,
        mask: Tensor,
        state: Tensor | None = None,
        task: Tensor | None = None,
    ) -> VLAOutput:
        """What `encode_image` and `encode_text` gave, and the state B x S -> the output.

        And, where they are known, the numbers of the tasks, B.
        """
        features, fused, attention = self._meet(vision, words, pooled, mask, state)
        mixed = self.head(features, pooled, task)
        output = self._output(mixed.actions, features, fused, attention, vision, pooled)
        return output._replace(tasks=mixed.tasks, skills=mixed.skills)

    def forward(
        self,
        pixels: Tensor,
        ids: Tensor,
        mask: Tensor,
        state: Tensor | None = None,
        task: Tensor | None = None,
    ) -> VLAOutput:
        """The three stages, one after the other."""
        vision = self.encode_image(pixels)
        words, pooled = self.encode_text(ids, mask, vision)
        return self.decode_action(vision, words, pooled, mask, state, task)
