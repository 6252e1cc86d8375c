"""The grounded fusion: the words look for their object in the image.

Where they find it is named in cells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vla_ros.models.config import VLAConfig
from vla_ros.models.vision.pixels import places


class GroundedFusion(nn.Module):
    """vision B x N x D, words B x L x D, pooled B x D, mask B x L -> features, attention logits.

    Features are B x D, logits B x (N + 1). There may be several instructions an image: words,
    pooled and mask then have a whole multiple of B rows, image by image. One softmax over the
    cells and "nowhere". With the auxiliary heads, `match` (rows of `pooled` x N) says how well
    each cell is what the words name, and the fusion learns only which cells are an object's
    middle and how good a match must be: a colour and a shape that were never named together are
    found like any others. Without them it learns a question and a key. Option: `map` (channels of
    the coarse map of everything else in the room).
    """

    pooled_only = True  # it looks at no word by itself
    place: Tensor

    def __init__(self, config: VLAConfig, grid: tuple[int, int] | None) -> None:
        super().__init__()
        if grid is None:
            raise ValueError(
                f"grounded fusion needs cells of an image, and vision {config.vision!r} gives none"
            )
        width = config.width
        depth = config.options("fusion")["map"]
        cells = grid[0] * grid[1]
        self.register_buffer("place", places(grid), persistent=False)
        self.matches = config.auxiliary
        if self.matches:
            self.middle = nn.Linear(width, 1)
        else:
            self.query = nn.Linear(width, width)
            self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.nowhere = nn.Linear(width, 1)
        # a few channels of every cell, or `room` would have most of the model's weights
        self.thin = nn.Linear(width, depth)
        self.room = nn.Linear(depth * cells, width)
        # target, room and words, D each; where it looks, across and down, and "nowhere"
        self.merge = nn.Sequential(
            nn.Linear(3 * width + 3, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, width),
            nn.LayerNorm(width),
        )

    def forward(
        self,
        vision: Tensor,
        words: Tensor,
        pooled: Tensor,
        mask: Tensor,
        match: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        values = self.value(vision)
        room = torch.relu(self.room(torch.relu(self.thin(vision)).flatten(1)))
        asked = pooled.unflatten(0, (vision.shape[0], -1))  # B x instructions an image x D
        logits = torch.cat(
            [self._cells(vision, asked, match).float(), self.nowhere(asked).float()], -1
        )
        # B x M x (N + 1) for M instructions an image, in float32
        attention = logits.softmax(-1)
        cells = attention[..., :-1]
        target = cells.to(values.dtype) @ values
        at = torch.cat([cells @ self.place.float(), attention[..., -1:]], -1)
        parts = [target, at.to(target.dtype), room[:, None].expand_as(asked), asked]
        everything = torch.cat(parts, -1)
        return self.merge(everything).flatten(0, 1), logits.flatten(0, 1)

    def _cells(self, vision: Tensor, asked: Tensor, match: Tensor | None) -> Tensor:
        """Logits of the cells, B x M x N."""
        if not self.matches:
            return self.query(asked) @ self.key(vision).transpose(1, 2) * vision.shape[-1] ** -0.5
        if match is None:
            raise ValueError(
                "this grounded fusion was made for a model with auxiliary heads; "
                "give it their match()"
            )
        return self.middle(vision).transpose(1, 2) + match.unflatten(0, asked.shape[:2])
