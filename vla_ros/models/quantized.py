"""Weights in 8 or 4 bits, kept so in the file and in memory, unpacked where a layer computes.

int8: a scale for each row. int4: two to a byte, a scale for each GROUP_SIZE along the row. Both are
symmetric and rounded to the nearest; scales have the type that the weight had. Biases, norms,
recurrent layers and small weights stay as they are.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vla_ros.models import PACKED

LAYERS = (nn.Linear, nn.Conv2d, nn.Embedding)  # whose weights are packed
SMALLEST_WEIGHT = 1024  # numbers in a weight that is worth it
GROUP_SIZE = 32  # weights of a row that share a scale at 4 bits
SMALLEST_SCALE = 1e-12  # nothing is divided by 0


class Int8(nn.Module):
    """Rows x the rest as int8, and a scale a row."""

    def forward(self, values: Tensor, scale: Tensor) -> Tensor:
        """The weight that a layer computes with."""
        return values * scale.view(-1, *[1] * (values.dim() - 1))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """What is kept of a weight; torch's name for it."""
        rows = weight.flatten(1)
        # to 127 either way, not -128: symmetric, so 0 stays 0
        scale = (rows.abs().amax(1) / 127).clamp_min(SMALLEST_SCALE)
        values = (rows / scale[:, None]).round().clamp(-127, 127).to(torch.int8)
        return values.view(weight.shape), scale


class Int4(nn.Module):
    """Rows x half of the rest as bytes, and rows x groups scales. The last group is filled up."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.columns = math.prod(shape[1:])

    def forward(self, packed: Tensor, scale: Tensor) -> Tensor:
        """The weight that a layer computes with."""
        # half a byte is 1 … 15 for -7 … 7
        values = torch.stack((packed & 15, packed >> 4), -1).flatten(1).to(scale.dtype) - 8
        rows = (values.view(len(packed), -1, GROUP_SIZE) * scale[..., None]).flatten(1)
        return rows[:, : self.columns].view(self.shape)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """What is kept of a weight; torch's name for it."""
        filled = F.pad(weight.flatten(1), (0, -self.columns % GROUP_SIZE))
        rows = filled.view(len(weight), -1, GROUP_SIZE)  # rows x groups x GROUP_SIZE
        scale = (rows.abs().amax(2) / 7).clamp_min(SMALLEST_SCALE)
        values = ((rows / scale[..., None]).round().clamp(-7, 7) + 8).to(torch.uint8).flatten(1)
        return values[:, ::2] | values[:, 1::2] << 4, scale


def quantize_weights(model: nn.Module, kind: str) -> list[str]:
    """Packs the weights of every layer that has many, in place; they can be trained no more.

    Args:
        model: Changed in place.
        kind: int8 or int4.

    Returns:
        The names of the layers.

    Raises:
        ValueError: For another kind, or where no layer has many.
    """
    if kind not in PACKED:
        raise ValueError(f"weights are kept in {' or '.join(PACKED)}, not in {kind!r}")
    layers: dict[str, nn.Module] = {}
    for name, layer in model.named_modules():
        plain = isinstance(layer, LAYERS) and not parametrize.is_parametrized(layer)
        if plain and layer.weight.numel() >= SMALLEST_WEIGHT:
            layers[name] = layer
    if not layers:
        raise ValueError(
            f"no layer has a weight of {SMALLEST_WEIGHT} numbers or more; there is nothing to gain"
        )
    model.requires_grad_(False)
    for layer in layers.values():
        shape = cast(Tensor, layer.weight).shape
        packing = Int8() if kind == "int8" else Int4(shape)
        # What comes out differs a little from what went in, which is the point, and not checked
        # ("unsafe").
        parametrize.register_parametrization(layer, "weight", packing, unsafe=True)
    return list(layers)


def is_packed(model: nn.Module) -> bool:
    """Are any of its weights in 8 or 4 bits?"""
    return any(parametrize.is_parametrized(layer, "weight") for layer in model.modules())


def unpack(model: nn.Module) -> nn.Module:
    """In place: plain layers with the values that the packed ones compute with."""
    for layer in model.modules():
        if parametrize.is_parametrized(layer, "weight"):
            weight = cast(Tensor, layer.weight)
            # Not by remove_parametrizations: it changes the class, which a copy shares with what it
            # was copied from.
            layer.__class__ = type(layer).__bases__[0]
            del layer.parametrizations
            layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    return model
