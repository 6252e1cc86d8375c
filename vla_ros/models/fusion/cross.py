"""Cross-attention fusion: words ask the image and the image asks the words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vla_ros.models.config import VLAConfig
from vla_ros.models.fusion.attention import CrossModalAttention
from vla_ros.models.masks import masked_mean, spread


class CrossAttentionFusion(nn.Module):
    """vision B x N x D, words B x L x D, pooled B x D, mask B x L -> features, attention logits.

    Features are B x D, logits B x (N + 1). `both` gives the fused tokens of the two. Their means
    side by side (2D) go through 4D to D. The logits are those of the cells that the words look
    at, all heads and words together, for evaluation; the last, "nowhere", is never looked at.
    Options: `heads`, `dropout`.
    """

    def __init__(self, config: VLAConfig, grid: tuple[int, int] | None) -> None:
        super().__init__()
        options = config.options("fusion")
        width = config.width
        self.from_words = CrossModalAttention(width, options["heads"], options["dropout"])
        self.from_vision = CrossModalAttention(width, options["heads"], options["dropout"])
        self.merge = nn.Sequential(
            nn.Linear(2 * width, 4 * width),
            nn.GELU(),
            nn.Dropout(options["dropout"]),
            nn.Linear(4 * width, width),
            nn.LayerNorm(width),
        )

    def both(self, vision: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> fused vision B x N x D, fused words B x L x D, weights B x heads x L x N.

        The weights are those of words that look at vision.
        """
        # every cell is a true one: only words have padding
        asked, weights = self.from_words(words, vision)
        answered, _ = self.from_vision(vision, words, mask)
        return answered, asked, weights

    def forward(
        self, vision: Tensor, words: Tensor, pooled: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        answered, asked, weights = self.both(spread(vision, words), words, mask)
        looked = masked_mean(weights.mean(1), mask).clamp(min=1e-9).log()  # B x N
        # "nowhere", so unlikely that softmax gives 0
        logits = torch.cat([looked, torch.full_like(looked[:, :1], -1e4)], -1)
        means = torch.cat([answered.mean(1), masked_mean(asked, mask)], -1)  # B x 2D
        return self.merge(means), logits
