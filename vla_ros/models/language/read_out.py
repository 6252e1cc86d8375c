"""What an encoder's words say, read out by a few learned questions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vla_ros.models.masks import masked_softmax


class ReadOut(nn.Module):
    """B x L x H, mask B x L -> words B x L x D, and pooled B x D: what learned questions find."""

    def __init__(self, hidden: int, width: int, questions: int) -> None:
        super().__init__()
        self.project = nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width)
        self.questions = nn.Parameter(torch.randn(questions, width) / width**0.5)
        self.join = nn.Linear(questions * width, width)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        words = self.norm(self.project(hidden))
        asked = self.questions @ words.transpose(1, 2)  # B x questions x L
        weights = masked_softmax(asked, mask[:, None]).to(words.dtype)
        return words, self.join((weights @ words).flatten(1))
