"""Late fusion: eyes and words each decide, then listen to each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vla_ros.models.config import VLAConfig
from vla_ros.models.masks import spread


class LateFusion(nn.Module):
    """vision B x N x D, words B x L x D, pooled B x D, mask B x L -> features B x D, and None.

    None is for attention, which it has not. Options: `hidden` (of each decision's layers),
    `decision` (numbers in a decision, default T x C).
    """

    pooled_only = True  # it looks at no word by itself

    def __init__(self, config: VLAConfig, grid: tuple[int, int] | None) -> None:
        super().__init__()
        options = config.options("fusion")
        width = config.width
        hidden = options["hidden"]
        size = options["decision"] or config.steps * len(config.channels)
        self.eyes = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, size))
        self.ears = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, size))
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        # In the literature this layer says the action (14 -> 7). Here both decisions become
        # features of width D, so that every fusion ends alike: the head bounds the action,
        # completion and value have something to read.
        self.merge = nn.Sequential(nn.Linear(2 * size, width), nn.LayerNorm(width))

    def forward(
        self, vision: Tensor, words: Tensor, pooled: Tensor, mask: Tensor
    ) -> tuple[Tensor, None]:
        seen = self.eyes(spread(vision.mean(1), pooled))
        both = torch.stack([seen, self.ears(pooled)], 1)  # B x 2 x size
        scores = self.query(both) @ self.key(both).transpose(1, 2) * both.shape[-1] ** -0.5
        both = both + scores.softmax(-1) @ self.value(both)
        return self.merge(both.flatten(1)), None
