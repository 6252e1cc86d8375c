"""The heads on the table, in torch: `tasks/reading/network.py` runs the same in numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

HIDDEN = 96
QUESTIONS = 4
DEEP = 128
BATCH = 128


class WordHead(nn.Module):
    """Words B x L x D and mask B x L x 1 -> scores B x classes."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, HIDDEN)
        self.near = nn.Conv1d(HIDDEN, HIDDEN, 3, padding=1)
        self.far = nn.Conv1d(HIDDEN, HIDDEN, 3, padding=1)
        self.norm = nn.LayerNorm(HIDDEN)
        self.questions = nn.Parameter(torch.randn(QUESTIONS, HIDDEN) / math.sqrt(HIDDEN))
        self.deep = nn.Linear(QUESTIONS * HIDDEN, DEEP)
        self.leave = nn.Linear(DEEP, classes)
        self.dropout = nn.Dropout(0.2)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        hidden = self.enter(self.dropout(words)) * mask
        for layer in (self.near, self.far):
            more = layer(hidden.transpose(1, 2)).transpose(1, 2)
            hidden = (hidden + torch.relu(more)) * mask
        hidden = self.norm(hidden)
        asked = hidden @ self.questions.T + (mask - 1.0) * 1e4
        answers = asked.transpose(1, 2).softmax(-1) @ hidden
        deep = torch.relu(self.deep(self.dropout(answers.flatten(1))))
        return self.leave(self.dropout(deep))

    def arrays(self) -> dict[str, NDArray[np.float16]]:
        """Weights by the names that `run_head` reads."""
        found = {}
        for name, values in self.state_dict().items():
            found[name] = values.numpy().astype(np.float16)
        return found


def trained_head(
    table: NDArray,
    rows: Sequence[Sequence[int]],
    labels: NDArray,
    classes: int,
    seed: int,
    epochs: int,
) -> WordHead:
    """A head that tells the labels of rows of the table apart.

    Args:
        table: V x D.
        rows: A sentence each: numbers of the table's rows.
        labels: N, numbers of classes.
        classes: How many there are.
        seed: Another one, another head.
        epochs: How often each sentence is seen.
    """
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    vectors = torch.from_numpy(table.astype(np.float32))
    head = WordHead(table.shape[1], classes)
    steps = epochs * (len(rows) // BATCH)
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps + 1)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.02)
    ids, lengths = _padded(rows)
    for _ in range(epochs):
        shuffled = order.permutation(len(rows))
        for start in range(0, len(rows) - BATCH + 1, BATCH):
            batch = shuffled[start : start + BATCH]
            longest = int(lengths[batch].max())
            numbers = torch.from_numpy(ids[batch, :longest])
            mask = (torch.arange(longest) < torch.from_numpy(lengths[batch])[:, None])[..., None]
            words = vectors[numbers]
            # a word is learned with what lies around it: others that mean about the same
            words = (words + 0.25 * torch.randn_like(words)) * mask
            loss = loss_of(head(words, mask.float()), torch.from_numpy(labels[batch]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return head.eval()


def _padded(rows: Sequence[Sequence[int]]) -> tuple[NDArray, NDArray]:
    lengths = np.array([len(row) for row in rows])
    ids = np.zeros((len(rows), int(lengths.max())), np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
    return ids, lengths
