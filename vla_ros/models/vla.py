"""The end-to-end VLA: pixels, words and state in; actions, task completion, value and features out."""
from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vla_ros.core.registry import lookup
from vla_ros.models import FUSION, HEADS, LANGUAGE, VISION
from vla_ros.models.auxiliary import Auxiliary, AuxiliaryOutput
from vla_ros.models.config import VLAConfig


class VLAOutput(NamedTuple):
    """actions B x T x C (SI units), completion B (logit: is the task done?), value B, features B x F, attention B x (N + 1)."""

    actions: Tensor
    completion: Tensor
    value: Tensor
    features: Tensor
    attention: Tensor | None
    auxiliary: AuxiliaryOutput | None


class VLA(nn.Module):
    """Put together from a config. `see`, `read` and `act` are its three stages: words need reading only once."""

    def __init__(self, config: VLAConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = lookup(VISION, config.vision, "vision encoder")(config)
        self.language = lookup(LANGUAGE, config.language, "language encoder")(config)
        self.fusion = lookup(FUSION, config.fusion, "fusion")(config, getattr(self.vision, "grid", None))
        features = config.width + len(config.state)
        self.trunk = nn.Sequential(nn.Linear(2 * config.width + len(config.state), features), nn.ReLU())
        self.head = lookup(HEADS, config.head, "head")(config, features)
        self.completion, self.value = nn.Linear(features, 1), nn.Linear(features, 1)
        self.auxiliary = Auxiliary(config) if config.auxiliary else None

    def see(self, pixels: Tensor) -> Tensor:
        """pixels B x 3 x H x W in 0 … 1 -> vision tokens B x N x D."""
        return self.vision(pixels)

    def read(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """ids, mask B x L -> words B x L x D, pooled B x D."""
        return self.language(ids, mask)

    def act(self, vision: Tensor, words: Tensor, pooled: Tensor, mask: Tensor, state: Tensor | None = None) -> VLAOutput:
        """What `see` and `read` gave, and the state B x S -> the output."""
        fused, attention = self.fusion(vision, words, pooled, mask)
        parts = [fused, pooled] if state is None else [fused, pooled, state.to(fused.dtype)]
        features = self.trunk(torch.cat(parts, -1))
        extra = None if self.auxiliary is None else self.auxiliary(vision, fused, pooled)
        return VLAOutput(self.head(features), self.completion(features).squeeze(-1).float(), self.value(features).squeeze(-1).float(),
                         features, attention, extra)

    def forward(self, pixels: Tensor, ids: Tensor, mask: Tensor, state: Tensor | None = None) -> VLAOutput:
        words, pooled = self.read(ids, mask)
        return self.act(self.see(pixels), words, pooled, mask, state)
