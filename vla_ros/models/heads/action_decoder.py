"""The action decoder: features in, a chunk of actions in SI units out, inside the bounds by
construction."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vla_ros.models.config import VLAConfig
from vla_ros.models.options import decoder_layers

ROUNDING = 2.0**-22  # of the larger bound: more than float32 can lose in one product and one sum


class Bounded(nn.Module):
    """What ends in actions: `bounded` puts -1 … 1 between each channel's bounds (SI units).

    The bounds stay in float32 when the model is cast to fewer bits: rounded, they would be others.
    """

    scale: Tensor
    bias: Tensor

    def __init__(self, config: VLAConfig) -> None:
        super().__init__()
        low, high = (
            torch.tensor(bounds, dtype=torch.float64) for bounds in (config.low, config.high)
        )
        margin = ROUNDING * torch.maximum(low.abs(), high.abs())
        self.register_buffer("scale", ((high - low) / 2 - margin).clamp(min=0.0).float())
        self.register_buffer("bias", ((high + low) / 2).float())

    def bounded(self, unit: Tensor) -> Tensor:
        return unit.float() * self.scale + self.bias

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Bounded:
        exact = {name: getattr(self, name) for name in ("scale", "bias")}
        super()._apply(fn, recurse)
        for name, kept in exact.items():
            if not kept.is_meta:
                setattr(self, name, kept.to(getattr(self, name).device))
        return self


class ActionDecoder(Bounded):
    """features B x `inputs` -> actions B x T x C: linear layers with ReLU, tanh, then scale and
    bias to each channel's bounds.

    Any number of channels; a single step where T is 1. Options: `preset` ("small": 256-256; "7d":
    1024-512-256, dropout 0.1; "6d": 1024-512, dropout 0.3 and 0.2: layers as the literature sizes
    them for so many channels); `hidden` (widths) and `dropout` (one for all, or one a layer)
    instead of the preset's.
    """

    def __init__(self, config: VLAConfig, inputs: int) -> None:
        super().__init__(config)
        layers: list[nn.Module] = []
        for width, drop in decoder_layers(config.options("head")):
            layers += [nn.Linear(inputs, width), nn.ReLU(), *([nn.Dropout(drop)] if drop else [])]
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, config.steps * len(config.channels)))
        self.shape = (config.steps, len(config.channels))

    def unit(self, features: Tensor) -> Tensor:
        """The same in -1 … 1."""
        return torch.tanh(self.layers(features).float()).unflatten(-1, self.shape)

    def forward(self, features: Tensor) -> Tensor:
        return self.bounded(self.unit(features))
