"""Cross-modal attention: one modality asks the other."""

from __future__ import annotations

from torch import Tensor, nn

from vla_ros.models.masks import masked_softmax


class CrossModalAttention(nn.Module):
    """query B x Lq x D, keys B x Lk x D, mask B x Lk -> B x Lq x D and weights B x `heads` x Lq x
    Lk.

    Norms before; a head's scores are scaled by its width^-0.5; output projection, residual,
    LayerNorm. A row whose keys are all masked hears nothing.
    """

    def __init__(self, width: int, heads: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"attention has heads {heads}, which do not divide width {width}")
        self.heads = heads
        self.ask_norm, self.tell_norm, self.norm = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, query: Tensor, keys: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        told = self.tell_norm(keys)
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(self.ask_norm(query)), self.key(told), self.value(told))
        )
        scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
        if mask is None:
            weights = scores.float().softmax(-1)
        else:
            weights = masked_softmax(scores, mask[:, None, None])
        heard = (weights.to(v.dtype) @ v).transpose(1, 2).flatten(2)
        return self.norm(query + self.dropout(self.out(heard))), weights
