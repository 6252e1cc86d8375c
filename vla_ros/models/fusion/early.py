"""Early fusion: both features side by side, then layers over the two."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vla_ros.models.config import VLAConfig
from vla_ros.models.masks import spread


class EarlyFusion(nn.Module):
    """vision B x N x D, words B x L x D, pooled B x D, mask B x L -> features B x D, and None.

    None is for attention, which it has not. The mean of the vision tokens and the pooled words
    are projected, concatenated (2D), and come down to D again. Options: `hidden` (default 2D),
    `dropout`.
    """

    pooled_only = True  # it looks at no word by itself

    def __init__(self, config: VLAConfig, grid: tuple[int, int] | None) -> None:
        super().__init__()
        options = config.options("fusion")
        width = config.width
        hidden = options["hidden"] or 2 * width
        self.vision = nn.Linear(width, width)
        self.language = nn.Linear(width, width)
        self.merge = nn.Sequential(
            nn.Linear(2 * width, hidden),
            nn.ReLU(),
            nn.Dropout(options["dropout"]),
            nn.Linear(hidden, width),
            nn.LayerNorm(width),
        )

    def forward(
        self, vision: Tensor, words: Tensor, pooled: Tensor, mask: Tensor
    ) -> tuple[Tensor, None]:
        # the mean is spread, not the tokens: a row each is enough for several instructions
        seen = self.vision(spread(vision.mean(1), pooled))  # B x D
        return self.merge(torch.cat([seen, self.language(pooled)], -1)), None
