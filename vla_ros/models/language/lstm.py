"""The recurrent language encoder: an LSTM over words."""

from __future__ import annotations

from torch import Tensor, nn

from vla_ros.models.config import VLAConfig
from vla_ros.models.masks import last_word


class LSTMLanguage(nn.Module):
    """ids, mask B x L (words first, padding 0 behind them) -> words B x L x D and pooled B x D.

    The pooled one is that of the last true word. It reads forwards, so padding behind the words
    changes none of them. Options: `vocabulary` (ids, padding among them), `embedding`, `hidden`,
    `layers`, `dropout` (between layers).
    """

    def __init__(self, config: VLAConfig) -> None:
        super().__init__()
        options = config.options("language")
        layers = options["layers"]
        self.embedding = nn.Embedding(options["vocabulary"], options["embedding"], padding_idx=0)
        self.lstm = nn.LSTM(
            options["embedding"],
            options["hidden"],
            layers,
            batch_first=True,
            dropout=options["dropout"] if layers > 1 else 0.0,  # torch warns of it behind one
        )
        self.project = nn.Linear(options["hidden"], config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        read, _ = self.lstm(self.embedding(ids))
        words = self.norm(self.project(read))
        return words, last_word(words, mask)
