"""Cross-modal attention: one modality asks the other."""

from __future__ import annotations

from torch import Tensor, nn

from vla_ros.models.masks import masked_softmax


class CrossModalAttention(nn.Module):
    """query B x Lq x D, keys B x Lk x D, mask B x Lk -> B x Lq x D and weights.

    The weights are B x `heads` x Lq x Lk. Norms before; a head's scores are scaled by its
    width^-0.5; output projection, residual, LayerNorm. A row whose keys are all masked hears
    nothing.
    """

    def __init__(self, width: int, heads: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"attention has heads {heads}, which do not divide width {width}")
        self.heads = heads
        self.ask_norm = nn.LayerNorm(width)
        self.tell_norm = nn.LayerNorm(width)
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, query: Tensor, keys: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        keys = self.tell_norm(keys)
        # B x heads x L x D / heads each
        q = self._by_head(self.query(self.ask_norm(query)))
        k = self._by_head(self.key(keys))
        v = self._by_head(self.value(keys))
        scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
        if mask is None:
            # in float32, as masked_softmax does it
            weights = scores.float().softmax(-1)
        else:
            weights = masked_softmax(scores, mask[:, None, None])
        answer = (weights.to(v.dtype) @ v).transpose(1, 2).flatten(2)  # B x Lq x D
        return self.norm(query + self.dropout(self.out(answer))), weights

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)
