"""The small language encoder: one transformer layer, read out by a few learned questions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vla_ros.models.config import VLAConfig
from vla_ros.models.language.lexicon import CART, LENGTH, TABLE, GroupedLexicon, Lexicon


class SmallLanguage(nn.Module):
    """ids, mask B x L (mask true at words) -> words B x L x D and pooled B x D.

    What is read out is what the words mean alone, a part of `pooled` for each question; their
    sentence only says which ones to read: "green" beside a word that it was never trained with is
    still green. Options: `slots` (questions).
    """

    LEXICON: Lexicon = CART

    def __init__(self, config: VLAConfig) -> None:
        super().__init__()
        options = config.options("language")
        width = config.width
        slots = options["slots"]
        self._make_words(config)
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

    def _make_words(self, config: VLAConfig) -> None:
        self.embedding = nn.Embedding(len(self.LEXICON.words), config.width)

    def _alone(self, ids: Tensor) -> Tensor:
        """What each word means alone, B x L x D."""
        embedded: Tensor = self.embedding(ids)
        return embedded

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        alone = self._alone(ids)
        words = self.layer(alone + self.order[: ids.shape[1]], src_key_padding_mask=~mask)
        scores = self.questions @ self.key(words).transpose(1, 2)  # B x slots x L
        # not -inf, which would give NaN where no word is true; fp16 holds this too
        scores = scores.masked_fill(~mask[:, None], -1e4).softmax(-1)
        answers = scores @ self.value(alone)  # B x slots x D
        return words, torch.einsum("bsd,sdp->bsp", answers, self.join).flatten(1)


class TableLanguage(SmallLanguage):
    """The same with the words of the arm at its table, which are grouped by meaning.

    A word's embedding is that of its meaning plus one of its own, which starts at zero and is
    dropped at random: a word that no demonstration used is read as its meaning. Options: `slots`,
    `word_dropout`.
    """

    LEXICON: GroupedLexicon = TABLE
    concept_of: Tensor

    def _make_words(self, config: VLAConfig) -> None:
        self.word_dropout = config.options("language")["word_dropout"]
        self.register_buffer("concept_of", torch.tensor(self.LEXICON.concept_of), persistent=False)
        self.concepts = nn.Embedding(len(self.LEXICON.concepts), config.width)
        self.own = nn.Embedding(len(self.LEXICON.words), config.width)
        nn.init.zeros_(self.own.weight)

    def _alone(self, ids: Tensor) -> Tensor:
        own = self.own(ids)
        if self.training:  # a word at a time, all of it
            own = own * (torch.rand_like(own[..., :1]) >= self.word_dropout)
        alone: Tensor = self.concepts(self.concept_of[ids]) + own
        return alone
