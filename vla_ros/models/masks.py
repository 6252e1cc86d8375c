"""What a padding mask asks for: means, last words and attention over true words alone.

A row without a word gives zeros.
"""

from __future__ import annotations

from torch import Tensor


def spread(vision: Tensor, asked: Tensor) -> Tensor:
    """vision B x …, asked BM x … -> vision BM x …, for M instructions an image."""
    times = asked.shape[0] // vision.shape[0]  # len() would fix the batch of an exported graph
    return vision if times == 1 else vision.repeat_interleave(times, 0)


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """tokens B x L x D, mask B x L -> B x D."""
    kept = mask[..., None].to(tokens.dtype)
    return (tokens * kept).sum(1) / kept.sum(1).clamp(min=1.0)


def last_word(tokens: Tensor, mask: Tensor) -> Tensor:
    """tokens B x L x D, mask B x L -> B x D, the token of the last true word."""
    count = mask.sum(1)
    place = (count - 1).clamp(min=0)[:, None, None]  # words come first, so by their number
    last = tokens.gather(1, place.expand(-1, 1, tokens.shape[-1])).squeeze(1)
    return last * (count > 0)[:, None].to(last.dtype)


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """scores … x L, mask that spreads over them -> weights … x L in float32; finite always."""
    # not -inf: where all is masked, softmax would give NaN; the mask makes it 0
    scores = scores.float().masked_fill(~mask, -1e9)
    return scores.softmax(-1) * mask
