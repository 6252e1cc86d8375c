"""The fusion transformer: vision tokens and words as one sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vla_ros.models.config import VLAConfig
from vla_ros.models.masks import masked_mean, spread


class TransformerFusion(nn.Module):
    """vision B x N x D, words B x L x D, pooled B x D, mask B x L -> features B x D, and None.

    None is for attention, which it has not. Transformer layers over the N + L tokens, each with a
    sign of its modality; the mean of those that are no padding. Options: `layers`, `heads`,
    `feed_forward`, `dropout`. `checkpointing` true recomputes layers in the backward pass.
    """

    def __init__(self, config: VLAConfig, grid: tuple[int, int] | None) -> None:
        super().__init__()
        options = config.options("fusion")
        width = config.width
        self.checkpointing = False
        self.modality = nn.Parameter(0.02 * torch.randn(2, width))  # of vision, of words
        self.layers = nn.ModuleList()
        for _ in range(options["layers"]):
            layer = nn.TransformerEncoderLayer(
                width,
                options["heads"],
                options["feed_forward"],
                options["dropout"],
                "gelu",
                batch_first=True,
                norm_first=True,
            )
            self.layers.append(layer)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, vision: Tensor, words: Tensor, pooled: Tensor, mask: Tensor
    ) -> tuple[Tensor, None]:
        vision = spread(vision, words)
        tokens = torch.cat([vision + self.modality[0], words + self.modality[1]], 1)
        true = torch.cat([mask.new_ones(vision.shape[:2]), mask], 1)  # B x (N + L)
        for layer in self.layers:
            # evaluation has no backward pass that would want its layers again
            if self.checkpointing and self.training:
                tokens = checkpoint(layer, tokens, None, ~true, use_reentrant=False)
            else:
                tokens = layer(tokens, src_key_padding_mask=~true)
        return masked_mean(self.norm(tokens), true), None
