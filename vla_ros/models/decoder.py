"""The action decoder: features in, a chunk of actions in SI units out, inside the bounds by construction."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from vla_ros.models.config import VLAConfig


class ActionDecoder(nn.Module):
    """features B x `inputs` -> actions B x T x C: linear layers with ReLU, tanh, then scale and bias to each channel's bounds.

    Options: `hidden` (widths, default 256, 256), `dropout` (one for all, or one a layer; default 0).
    """

    scale: Tensor
    bias: Tensor

    def __init__(self, config: VLAConfig, inputs: int) -> None:
        super().__init__()
        options = dict(config.head_options)
        hidden = options.pop("hidden", (256, 256))
        dropout = options.pop("dropout", 0.0)
        if options:
            raise ValueError(f"the decoder has no option {sorted(options)[0]!r}; it has hidden, dropout")
        layers: list[nn.Module] = []
        for index, width in enumerate(hidden):
            drop = dropout[index] if isinstance(dropout, (list, tuple)) else dropout
            layers += [nn.Linear(inputs, width), nn.ReLU(), *([nn.Dropout(drop)] if drop else [])]
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, config.steps * len(config.channels)))
        self.shape = (config.steps, len(config.channels))
        low, high = torch.tensor(config.low), torch.tensor(config.high)
        self.register_buffer("scale", (high - low) / 2)
        self.register_buffer("bias", (high + low) / 2)

    def forward(self, features: Tensor) -> Tensor:
        unit = torch.tanh(self.layers(features).float()).unflatten(-1, self.shape)
        return unit * self.scale + self.bias
