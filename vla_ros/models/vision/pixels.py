"""Pixels as a vision encoder wants them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def unit_pixels(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """pixels B x 3 x H x W, uint8 or in 0 … 1 -> in 0 … 1.

    Raises ValueError for another shape or type.
    """
    if pixels.ndim != 4 or pixels.shape[1] != 3 or tuple(pixels.shape[2:]) != tuple(size):
        raise ValueError(
            f"pixels are {' x '.join(map(str, pixels.shape))}; give B x 3 x {size[0]} x {size[1]}"
        )
    if pixels.dtype == torch.uint8:
        return pixels.float() / 255.0
    if not pixels.is_floating_point():
        raise ValueError(f"pixels are {pixels.dtype}; give uint8, or floating point in 0 to 1")
    return pixels


def places(grid: tuple[int, int]) -> Tensor:
    """Where each of rows x columns cells lies, row by row: N x 2, -1 … 1 across and down."""
    rows, columns = grid
    down, across = torch.meshgrid(
        torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij"
    )
    return torch.stack([across, down], -1).flatten(0, 1)


class Normalise(nn.Module):
    """pixels B x 3 x H x W in 0 … 1 -> less `mean`, over `std` (each a number a colour)."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        # buffers: they follow the model to its device
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels - self.mean) / self.std
