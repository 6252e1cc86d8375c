"""The end-to-end VLA: pixels, words and state in; actions, completion, value, features out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vla_ros.core.registry import lookup
from vla_ros.models import FUSION, HEADS, LANGUAGE, TOKENIZERS, VISION
from vla_ros.models.config import VLAConfig
from vla_ros.models.fusion.grounded import GroundedFusion
from vla_ros.models.heads.auxiliary import Auxiliary, AuxiliaryOutput
from vla_ros.models.heads.planner import Plan
from vla_ros.models.language.tokenizers import Tokenizer
from vla_ros.models.vision.pixels import unit_pixels


class VLAOutput(NamedTuple):
    """What a model says about B observations. None: this model has no such part."""

    actions: Tensor  # B x T x C, SI units
    completion: Tensor  # B, a logit: is the task done?
    value: Tensor  # B
    features: Tensor  # B x F
    attention: Tensor | None  # logits B x (N + 1), over cells and "nowhere"
    auxiliary: AuxiliaryOutput | None
    plan: Plan | None = None  # a planner's
    tasks: Tensor | None = None  # the modular model's: logits B x tasks
    skills: Tensor | None = None  # and weights B x skills


class VLA(nn.Module):
    """Put together from a config.

    `encode_image`, `encode_text` and `decode_action` are its three stages: words need reading only
    once, unless the language encoder reads the image as well (`reads_vision`).
    """

    def __init__(self, config: VLAConfig) -> None:
        super().__init__()
        config = config.resolved()
        self.config = config
        tokenizers = lookup(TOKENIZERS, config.language, "tokenizer")
        # None: only the training's texts, or a folder, have its words
        self.tokenizer: Tokenizer | None = tokenizers.default(config)
        # of the data behind the weights, by name: mean, std, min, max, …
        self.statistics: Mapping[str, Any] = {}
        self.vision = lookup(VISION, config.vision, "vision encoder")(config)
        self.language = lookup(LANGUAGE, config.language, "language encoder")(config)
        grid = getattr(self.vision, "grid", None)
        self.fusion = lookup(FUSION, config.fusion, "fusion")(config, grid)
        features = 2 * config.width
        # The words gate what the robot did so far: how far it turned says when a turn is over, not
        # how to grip.
        self.state: nn.Module | None = None
        self.gate: nn.Module | None = None
        parts = 2  # what is fused, and the words
        if config.state:
            self.state = nn.Sequential(nn.Linear(len(config.state), config.width), nn.ReLU())
            self.gate = nn.Linear(config.width, config.width)
            parts = 3
        self.trunk = nn.Sequential(nn.Linear(parts * config.width, features), nn.ReLU())
        self.head = self._head(features)
        self.completion = nn.Linear(features, 1)
        self.value = nn.Linear(features, 1)
        self.auxiliary = Auxiliary(config) if config.auxiliary else None

    def _head(self, features: int) -> nn.Module:
        return lookup(HEADS, self.config.head, "head")(self.config, features)

    @property
    def reads_vision(self) -> bool:
        """Must `encode_text` have what `encode_image` gave, for each image anew?"""
        return getattr(self.language, "reads_vision", False)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """pixels B x 3 x H x W, uint8 or in 0 … 1 -> vision tokens B x N x D."""
        unit = unit_pixels(pixels, self.config.image_size)
        return self.vision(unit.to(self.completion.bias.dtype))  # a bias is never packed

    def encode_text(
        self, ids: Tensor, mask: Tensor, vision: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """ids, mask B x L -> words B x L x D, pooled B x D.

        Where `reads_vision`, it needs what `encode_image` gave.
        """
        if not self.reads_vision:
            return self.language(ids, mask)
        if vision is None:
            raise ValueError(
                f"language '{self.config.language}' reads the image too; "
                "give encode_text() what encode_image() gave"
            )
        return self.language(ids, mask, vision)

    def decode_action(
        self,
        vision: Tensor,
        words: Tensor,
        pooled: Tensor,
        mask: Tensor,
        state: Tensor | None = None,
    ) -> VLAOutput:
        """What `encode_image` and `encode_text` gave, and the state B x S -> the output."""
        features, fused, attention = self._meet(vision, words, pooled, mask, state)
        answer = self.head(features)  # actions, or a planner's plan
        plan = answer if isinstance(answer, Plan) else None
        actions = answer if plan is None else plan.steps
        output = self._output(actions, features, fused, attention, vision, pooled)
        return output._replace(plan=plan)

    def forward(
        self, pixels: Tensor, ids: Tensor, mask: Tensor, state: Tensor | None = None
    ) -> VLAOutput:
        """The three stages, one after the other."""
        vision = self.encode_image(pixels)
        words, pooled = self.encode_text(ids, mask, vision)
        return self.decode_action(vision, words, pooled, mask, state)

    def _meet(
        self, vision: Tensor, words: Tensor, pooled: Tensor, mask: Tensor, state: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """-> features B x F, fused B x D, attention."""
        given = 0 if state is None else state.shape[-1]
        wanted = len(self.config.state)
        if given != wanted:
            raise ValueError(
                f"the state has {given} numbers; this model wants {wanted}: "
                f"{', '.join(self.config.state) or 'none'}"
            )
        more = {}
        if self.auxiliary is not None and isinstance(self.fusion, GroundedFusion):
            # what the heads learn from labels tells the fusion where to look
            more["match"] = self.auxiliary.match(vision, pooled)
        fused, attention = self.fusion(vision, words, pooled, mask, **more)
        parts = [fused, pooled]
        if self.state is not None and self.gate is not None and state is not None:
            parts.append(self.state(state) * self.gate(pooled))
        return self.trunk(torch.cat(parts, -1)), fused, attention

    def _output(
        self,
        actions: Tensor,
        features: Tensor,
        fused: Tensor,
        attention: Tensor | None,
        vision: Tensor,
        pooled: Tensor,
    ) -> VLAOutput:
        completion = self.completion(features).squeeze(-1).float()
        value = self.value(features).squeeze(-1).float()
        extra = None if self.auxiliary is None else self.auxiliary(vision, fused, pooled)
        return VLAOutput(actions, completion, value, features, attention, extra)

    # -- folders -----------------------------------------------------------------------
    def save_pretrained(self, folder: str | Path) -> None:
        """Config, weights, tokenizer and statistics, as checkpoint.py says."""
        from vla_ros.models import checkpoint

        checkpoint.save_pretrained(self, folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "cpu") -> VLA:
        """The model of a checkpoint's folder, in evaluation mode.

        Raises ValueError where it is none, or one of another kind.
        """
        from vla_ros.models import checkpoint

        model = checkpoint.from_pretrained(folder, device)
        if not isinstance(model, cls):
            raise ValueError(f"{folder} holds a {type(model).__name__}, not a {cls.__name__}")
        return model
