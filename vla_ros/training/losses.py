"""What the model is taught at once: actions, when it is done, where to look, what stands where."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vla_ros.models.vla import VLA, VLAOutput
from vla_ros.training.labels import UNCLEAR, Batch

EMPTY_CELL_WEIGHT = 0.1  # most cells show no object, and would drown those that do
# of the parts by name
WEIGHTS = {
    "action": 1.0,
    "done": 0.1,
    "where": 0.25,
    "target": 0.3,
    "contact": 0.1,
    "words": 0.1,
    "cells": 0.3,
}


def act(model: VLA, batch: Batch) -> VLAOutput:
    """One look at each image for all of its instructions."""
    vision = model.encode_image(batch.pixels)
    words, pooled = model.encode_text(batch.ids, batch.mask)
    return model.decode_action(vision, words, pooled, batch.mask, batch.state)


def losses(model: VLA, batch: Batch) -> dict[str, Tensor]:
    """Each part by name, before its weight."""
    output = act(model, batch)
    extra = output.auxiliary
    scale = model.head.scale
    assert extra is not None and output.attention is not None and isinstance(scale, Tensor)
    task = F.cross_entropy(extra.task, batch.words[:, 0])
    colour = F.cross_entropy(extra.colour, batch.words[:, 1])
    shape = F.cross_entropy(extra.shape, batch.words[:, 2])
    # m; where a target is that is not in the image, nobody can say
    miss = F.smooth_l1_loss(extra.target, batch.target, reduction="none", beta=0.05).sum(-1)
    return {
        "action": F.smooth_l1_loss(output.actions / scale, batch.actions / scale, beta=0.1),
        "done": F.binary_cross_entropy_with_logits(output.completion, batch.done),
        "where": _where(output.attention, batch),
        "target": (miss * batch.seen).mean(),
        "contact": F.binary_cross_entropy_with_logits(extra.contact, batch.contact),
        "words": task + colour + shape,
        "cells": _cells(extra.cell_colour, batch.cells[..., 0])
        + _cells(extra.cell_shape, batch.cells[..., 1]),
    }


def _where(logits: Tensor, batch: Batch) -> Tensor:
    """Cross entropy of where the target is.

    Cells with an object that is never asked for are no wrong answer: else the model learns never to
    look there.
    """
    many = len(logits) // len(batch.unasked)  # instructions of an image
    # "nowhere" always counts
    hidden = F.pad(batch.unasked, (0, 1)).repeat_interleave(many, 0) & (batch.where == 0)
    log_shares = logits.float().masked_fill(hidden, -1e4).log_softmax(-1)  # BM x (N + 1)
    return -(batch.where * log_shares).sum(-1).mean()


def _cells(logits: Tensor, truth: Tensor) -> Tensor:
    weight = torch.ones(logits.shape[-1], device=logits.device)
    weight[-1] = EMPTY_CELL_WEIGHT
    return F.cross_entropy(logits.flatten(0, 1), truth.flatten(), weight)


def unclear(model: VLA, ids: Tensor, mask: Tensor) -> Tensor:
    """Words that say nothing must be told from instructions."""
    assert model.auxiliary is not None
    _, pooled = model.encode_text(ids, mask)
    wanted = torch.full((len(ids),), UNCLEAR, device=ids.device)
    return F.cross_entropy(model.auxiliary.tasks(pooled), wanted)
