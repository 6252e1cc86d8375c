"""What kind of clause some words are: a table of words, and small heads on it, in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vla_ros.tasks.reading.parts import MARKS

# what a clause can be, beside the kinds of instruction
REFUSE = "refuse"
FILLER = "filler"  # "please", "my friend": says nothing
MENTION = "mention"  # "there is a red ball": names what the next clause is about
UNKNOWN = "[UNK]"
MOST_PIECES = 48  # of a clause; the rest is not read
MOST_PIECES_OF_WORD = 12

Array = NDArray[np.floating]


class WordPieces:
    """Words cut into the pieces of a BERT vocabulary, the longest first; marks follow them."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.vocabulary = tuple(vocabulary)
        names = (*vocabulary, *MARKS)
        self._ids = {name: number for number, name in enumerate(names)}
        self._unknown = self._ids[UNKNOWN]

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def encode(self, words: Sequence[str]) -> list[int]:
        """Numbers of rows of the table."""
        found: list[int] = []
        for word in words:
            found.extend(self._pieces(word))
        return found[:MOST_PIECES]

    def _pieces(self, word: str) -> list[int]:
        if word in self._ids:
            return [self._ids[word]]
        found: list[int] = []
        start = 0
        while start < len(word) and len(found) < MOST_PIECES_OF_WORD:
            for end in range(len(word), start, -1):
                name = word[start:end] if start == 0 else f"##{word[start:end]}"
                if name in self._ids:
                    found.append(self._ids[name])
                    start = end
                    break
            else:
                return [self._unknown]
        return found


class Network:
    """Heads that were trained apart and are averaged.

    A head: a linear layer, two residual convolutions over three neighbours, attention with a few
    learned questions, and two layers to the classes.
    """

    def __init__(self, table: Array, heads: Sequence[Mapping[str, Array]]) -> None:
        """
        Args:
            table: V x D, a row for each piece, and for each mark after them.
            heads: Weights by name, as the recipe `words` saves them.
        """
        self.table = table
        self._heads = heads

    def __call__(self, clauses: Sequence[Sequence[int]]) -> Array:
        """Rows of numbers, one a clause, none empty -> B x classes, each row adding to 1."""
        longest = max(map(len, clauses))
        ids = np.zeros((len(clauses), longest), np.int64)
        mask = np.zeros((len(clauses), longest, 1), np.float32)
        for row, clause in enumerate(clauses):
            ids[row, : len(clause)] = clause
            mask[row, : len(clause)] = 1.0
        words = self.table[ids] * mask
        total = sum(softmax(run_head(head, words, mask)) for head in self._heads)
        return np.asarray(total / len(self._heads), np.float32)


def run_head(head: Mapping[str, Array], words: Array, mask: Array) -> Array:
    """Words B x L x D, mask B x L x 1 (1: a word) -> scores B x classes before the softmax."""
    hidden: Array = (words @ head["enter.weight"].T + head["enter.bias"]) * mask
    for layer in ("near", "far"):
        hidden = hidden + relu(_convolve(hidden, head[f"{layer}.weight"], head[f"{layer}.bias"]))
        hidden = hidden * mask
    hidden = _normalise(hidden, head["norm.weight"], head["norm.bias"])
    asked = hidden @ head["questions"].T + (mask - 1.0) * 1e4  # B x L x Q
    weights = softmax(asked.transpose(0, 2, 1))
    answers = (weights @ hidden).reshape(len(hidden), -1)
    deep = relu(answers @ head["deep.weight"].T + head["deep.bias"])
    return deep @ head["leave.weight"].T + head["leave.bias"]


def relu(values: Array) -> Array:
    return np.maximum(values, 0.0)


def softmax(scores: Array) -> Array:
    """Over the last axis."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _convolve(hidden: Array, weight: Array, bias: Array) -> Array:
    """Over each word and its two neighbours; weight is out x in x 3, as torch has it."""
    padded = np.pad(hidden, ((0, 0), (1, 1), (0, 0)))
    length = hidden.shape[1]
    total = bias + np.zeros_like(hidden)
    for offset in range(3):
        total += padded[:, offset : offset + length] @ weight[:, :, offset].T
    return total


def _normalise(hidden: Array, weight: Array, bias: Array) -> Array:
    mean = hidden.mean(-1, keepdims=True)
    variance = hidden.var(-1, keepdims=True)
    return (hidden - mean) / np.sqrt(variance + 1e-5) * weight + bias
