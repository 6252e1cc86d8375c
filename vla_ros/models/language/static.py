"""The language encoder on the table of word pieces that instructions are read with."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vla_ros.models.backbones import RandomWeights
from vla_ros.models.config import VLAConfig
from vla_ros.models.language.encoder_layer import EncoderLayer
from vla_ros.models.language.lexicon import LENGTH
from vla_ros.models.language.read_out import ReadOut
from vla_ros.models.language.word_sources import word_table
from vla_ros.models.quantized import Int8

HEADS = 4


class StaticLanguage(nn.Module):
    """ids, mask B x L (mask true at words) -> words B x L x D and pooled B x D.

    A piece's vector is the table's, which was distilled from all-MiniLM-L6-v2 (tasks/reading/
    words.md); one layer lets the words see each other and their order. Frozen, the table is kept in
    8 bits. Options: `weights` ("shipped", a folder with a words.npz, or nothing for random ones),
    `vocabulary` and `embedding` (its size), `questions`, `trained` (the table learns, too, and is
    kept in 32 bits).
    """

    def __init__(self, config: VLAConfig) -> None:
        super().__init__()
        config = config.resolved()
        options = config.options("language")
        self.pieces = nn.Embedding(options["vocabulary"], options["embedding"])
        if options["weights"]:
            table = word_table(options["weights"])
            vectors = table.rows * table.scale[:, None]
            with torch.no_grad():
                self.pieces.weight.copy_(torch.from_numpy(vectors))
        else:
            warnings.warn(
                "static language starts from a random table; name one in its option `weights`",
                RandomWeights,
                stacklevel=2,
            )
        if not options["trained"]:
            self.pieces.requires_grad_(False)
            # Int8 scales a row as the file does: nothing changes
            parametrize.register_parametrization(self.pieces, "weight", Int8(), unsafe=True)
        self.enter = nn.Linear(options["embedding"], config.width)
        self.order = nn.Parameter(0.02 * torch.randn(LENGTH, config.width))
        self.layer = EncoderLayer(config.width, HEADS, 2 * config.width)
        self.read_out = ReadOut(config.width, config.width, options["questions"])

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        words = self.enter(self._vectors(ids)) + self.order[: ids.shape[1]]
        return self.read_out(self.layer(words, mask), mask)

    def _vectors(self, ids: Tensor) -> Tensor:
        """B x L -> B x L x embedding."""
        if parametrize.is_parametrized(self.pieces, "weight"):
            parametrizations: Any = self.pieces.parametrizations
            packed = parametrizations.weight
            if isinstance(packed[0], Int8):
                # not self.pieces(ids), which would unpack all rows for a few
                return packed.original0[ids] * packed.original1[ids][..., None]
        return self.pieces(ids)  # trained, or unpacked for an engine
