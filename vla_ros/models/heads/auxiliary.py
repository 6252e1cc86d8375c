"""What training and evaluation ask of the features.

It teaches the parts what to look for, and shows what they found.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from vla_ros.models.config import VLAConfig
from vla_ros.tasks.objects import COLOURS, SHAPES
from vla_ros.tasks.phrases import KINDS, OBJECT_KINDS

TASKS = len(KINDS) + 1  # kinds of instruction, and one for words that are none
OBJECT_TASKS = len(OBJECT_KINDS)  # the first ones name an object


class AuxiliaryOutput(NamedTuple):
    """Logits of what the model takes things for, and where the target is."""

    cell_colour: Tensor  # B x N x 7, the last: no object
    cell_shape: Tensor  # B x N x 4, likewise
    task: Tensor  # B x 13
    colour: Tensor  # of the words, B x 7, the last: none named
    shape: Tensor  # of the words, B x 4, likewise
    contact: Tensor  # B: the target is at the fingers
    target: Tensor  # B x 2, m: ahead, left


class Auxiliary(nn.Module):
    """vision B x N x D, fused B x D, pooled B x D -> AuxiliaryOutput."""

    def __init__(self, config: VLAConfig) -> None:
        super().__init__()
        width = config.width
        self.cells = nn.Linear(width, len(COLOURS) + len(SHAPES) + 2)
        # of pooled: the first is to hold the colour, the second the shape, and neither the other
        quarter = width // 4
        self.colour = nn.Linear(quarter, len(COLOURS) + 1)
        self.shape = nn.Linear(quarter, len(SHAPES) + 1)
        self.task = nn.Linear(width - 2 * quarter, TASKS)
        self.found = nn.Linear(width, 3)  # ahead, left, contact

    def forward(self, vision: Tensor, fused: Tensor, pooled: Tensor) -> AuxiliaryOutput:
        cell_colour, cell_shape = self.stands(vision)
        colour, shape = self.named(pooled)
        target = self.found(fused).float()
        return AuxiliaryOutput(
            cell_colour,
            cell_shape,
            self.tasks(pooled),
            colour,
            shape,
            contact=target[:, 2],
            target=target[:, :2],
        )

    def stands(self, vision: Tensor) -> tuple[Tensor, Tensor]:
        """Logits B x N x 7 and B x N x 4: the colour and the shape of what stands in each cell."""
        colour, shape = self.cells(vision).float().split((len(COLOURS) + 1, len(SHAPES) + 1), -1)
        return colour, shape

    def match(self, vision: Tensor, pooled: Tensor) -> Tensor:
        """How well each cell is what the words name, BM x N for M instructions an image.

        The logarithm of how likely it has their colour and their shape; 0 where they name none.
        """
        cell_colour, cell_shape = self.stands(vision)
        colour, shape = self.named(pooled)
        return (_agree(cell_colour, colour) + _agree(cell_shape, shape)).flatten(0, 1)

    def tasks(self, pooled: Tensor) -> Tensor:
        """Logits B x 13: which kind of instruction the words are, the last for none."""
        return self.task(pooled[:, 2 * self.colour.in_features :]).float()

    def named(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Logits B x 7 and B x 4: the colour and the shape that the words name."""
        quarter = self.colour.in_features
        colour = self.colour(pooled[:, :quarter]).float()
        shape = self.shape(pooled[:, quarter : 2 * quarter]).float()
        return colour, shape


def _agree(cell: Tensor, word: Tensor) -> Tensor:
    """Logits of cells B x N x K and of words BM x K -> B x M x N, without the last kind, "none"."""
    images = cell.shape[0]  # len() would fix the batch of an exported graph
    return word.softmax(-1)[:, :-1].unflatten(0, (images, -1)) @ cell.log_softmax(-1)[..., :-1].mT
