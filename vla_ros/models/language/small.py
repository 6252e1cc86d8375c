"""The small language encoder: one transformer layer, read out by a few learned questions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vla_ros.models.config import VLAConfig
from vla_ros.models.language.lexicon import CART, LENGTH, TABLE


class SmallLanguage(nn.Module):
    """ids, mask B x L (mask true at words) -> words B x L x D and pooled B x D.

    A word's embedding is that of its meaning in the lexicon plus one of its own, which starts at
    zero and is dropped at random: a word that no demonstration used is read as its meaning. What is
    read out is what the words mean alone, a part of `pooled` for each question; their sentence only
    says which ones to read: "green" beside a word that it was never trained with is still green.
    Options: `slots` (questions), `word_dropout`.
    """

    LEXICON = CART
    concept_of: Tensor

    def __init__(self, config: VLAConfig) -> None:
        super().__init__()
        options = config.options("language")
        width = config.width
        slots = options["slots"]
        self.word_dropout = options["word_dropout"]
        self.register_buffer("concept_of", torch.tensor(self.LEXICON.concept_of), persistent=False)
        self.concepts = nn.Embedding(len(self.LEXICON.concepts), width)
        self.own = nn.Embedding(len(self.LEXICON.words), width)
        nn.init.zeros_(self.own.weight)
        self.order = nn.Parameter(0.02 * torch.randn(LENGTH, width))
        self.layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.questions = nn.Parameter(torch.randn(slots, width) / width**0.5)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        if width % slots:
            raise ValueError(
                f"small language shares a width of {width} between {slots} slots; give a divisor"
            )
        self.join = nn.Parameter(torch.randn(slots, width, width // slots) / width**0.5)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        own = self.own(ids)
        if self.training:  # a word at a time, all of it
            own = own * (torch.rand_like(own[..., :1]) >= self.word_dropout)
        alone = self.concepts(self.concept_of[ids]) + own
        words = self.layer(alone + self.order[: ids.shape[1]], src_key_padding_mask=~mask)
        scores = self.questions @ self.key(words).transpose(1, 2)  # B x slots x L
        # not -inf, which would give NaN where no word is true; fp16 holds this too
        scores = scores.masked_fill(~mask[:, None], -1e4).softmax(-1)
        answers = scores @ self.value(alone)  # B x slots x D
        return words, torch.einsum("bsd,sdp->bsp", answers, self.join).flatten(1)


class TableLanguage(SmallLanguage):
    """The same with the words of the arm at its table."""

    LEXICON = TABLE
