"""The small vision encoder: four convolutions and where each cell lies in the image."""

from __future__ import annotations

from torch import Tensor, nn

from vla_ros.models.config import VLAConfig
from vla_ros.models.vision.pixels import places

STRIDE = 8  # pixels of a cell's side


class SmallVision(nn.Module):
    """pixels B x 3 x H x W in 0 … 1 -> tokens B x N x D, one a cell of 8 x 8 pixels, row by row.

    `grid` is (rows, columns). Options: `channels` (of the first two convolutions, default 24, 48).
    """

    place: Tensor

    def __init__(self, config: VLAConfig) -> None:
        super().__init__()
        first, second = config.options("vision")["channels"]
        height, width = config.image_size
        if height % STRIDE or width % STRIDE:
            raise ValueError(
                f"small vision cuts the image into cells of {STRIDE} pixels, and {height} x "
                f"{width} is no whole number of them; give multiples of {STRIDE}"
            )
        self.grid = (height // STRIDE, width // STRIDE)
        depth = config.width
        # three halvings: a cell is STRIDE pixels wide
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, first, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(second, depth, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(depth, depth, 3, padding=1),
            nn.ReLU(),
        )
        self.register_buffer("place", places(self.grid), persistent=False)
        self.where = nn.Linear(2, depth)
        self.norm = nn.LayerNorm(depth)

    def forward(self, pixels: Tensor) -> Tensor:
        cells = self.convolutions((pixels - 0.5) * 4.0)  # -2 … 2
        return self.norm(cells.flatten(2).transpose(1, 2) + self.where(self.place))
