"""BERT's layer: words see each other (Devlin et al. 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EncoderLayer(nn.Module):
    """B x L x H, mask B x L -> B x L x H. Without dropout."""

    def __init__(self, hidden: int, heads: int, feed_forward: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.attended = nn.Linear(hidden, hidden)
        self.attended_norm = nn.LayerNorm(hidden, epsilon)
        self.widen = nn.Linear(hidden, feed_forward)
        self.narrow = nn.Linear(feed_forward, hidden)
        self.norm = nn.LayerNorm(hidden, epsilon)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        # not -inf, which would give NaN where no word is true; fp16 holds this too
        bias = torch.zeros_like(words[:, :, 0]).masked_fill(~mask, -1e4)  # B x L
        found = F.scaled_dot_product_attention(
            self._split(self.query(words)),
            self._split(self.key(words)),
            self._split(self.value(words)),
            attn_mask=bias[:, None, None],
        )  # B x heads x L x H / heads
        words = self.attended_norm(words + self.attended(found.transpose(1, 2).flatten(2)))
        return self.norm(words + self.narrow(F.gelu(self.widen(words))))

    def _split(self, words: Tensor) -> Tensor:
        """B x L x H -> B x heads x L x H / heads."""
        return words.unflatten(2, (self.heads, -1)).transpose(1, 2)
