"""The action decoder: features in, a chunk of actions in SI units out, within their bounds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vla_ros.models.config import VLAConfig
from vla_ros.models.options import decoder_layers

ROUNDING = 2.0**-22  # of the larger bound: more than float32 can lose in one product and one sum


class Bounded(nn.Module):
    """What ends in actions, inside each channel's bounds (SI units) by construction.

    The bounds stay in float32 when the model is cast to fewer bits: rounded, they would be others.
    """

    scale: Tensor
    bias: Tensor

    def __init__(self, config: VLAConfig) -> None:
        super().__init__()
        low = torch.tensor(config.low, dtype=torch.float64)
        high = torch.tensor(config.high, dtype=torch.float64)
        # taken off, or -1 and 1 might be rounded to just beyond a bound
        margin = ROUNDING * torch.maximum(low.abs(), high.abs())
        self.register_buffer("scale", ((high - low) / 2 - margin).clamp(min=0.0).float())
        self.register_buffer("bias", ((high + low) / 2).float())

    def bounded(self, unit: Tensor) -> Tensor:
        """-1 … 1 (… x C) put between the bounds, in float32."""
        return unit.float() * self.scale + self.bias

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Bounded:
        # what .to(), .half() and .cuda() call: devices are followed, types are not
        exact = {"scale": self.scale, "bias": self.bias}
        super()._apply(fn, recurse)
        for name, kept in exact.items():
            if not kept.is_meta:  # without values there is nothing to keep
                setattr(self, name, kept.to(getattr(self, name).device))
        return self


class ActionDecoder(Bounded):
    """features B x `inputs` -> actions B x T x C.

    Linear layers with ReLU, tanh, then scale and bias to each channel's bounds. Any number of
    channels; a single step where T is 1. Options: `preset` ("small": 256-256; "7d": 1024-512-256,
    dropout 0.1; "6d": 1024-512, dropout 0.3 and 0.2: layers as the literature sizes them for so
    many channels); `hidden` (widths) and `dropout` (one for all, or one a layer) instead of the
    preset's.
    """

    def __init__(self, config: VLAConfig, inputs: int) -> None:
        super().__init__(config)
        layers: list[nn.Module] = []
        for width, drop in decoder_layers(config.options("head")):
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            if drop:
                layers.append(nn.Dropout(drop))
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, config.steps * len(config.channels)))
        self.shape = (config.steps, len(config.channels))

    def unit(self, features: Tensor) -> Tensor:
        """The same in -1 … 1."""
        return torch.tanh(self.layers(features).float()).unflatten(-1, self.shape)

    def forward(self, features: Tensor) -> Tensor:
        return self.bounded(self.unit(features))
