"""The table of words: what all-MiniLM-L6-v2 makes of each piece of its vocabulary alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WIDTH = 96  # numbers of a piece; with them the file stays below 4 MB
_BATCH = 512


def distilled(folder: Path, width: int = WIDTH) -> tuple[list[str], NDArray, NDArray]:
    """Pieces, int8 rows (V x width), and float16 scales (V): row times scale is the vector.

    Pieces of other alphabets are left out: whoever writes them is told that it is not understood.
    """
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    kept = []
    for number, piece in enumerate(vocabulary):
        if piece.isascii() and piece and not piece.startswith("[unused"):
            kept.append(number)
    vectors = _encoded(folder, np.array(kept))
    vectors -= vectors.mean(0)
    # principal components: those few directions in which the words differ most
    values, directions = np.linalg.eigh(np.cov(vectors.T))
    reduced = vectors @ directions[:, np.argsort(values)[::-1][:width]]
    reduced /= np.linalg.norm(reduced, axis=1, keepdims=True) / np.sqrt(width)
    scale = np.abs(reduced).max(1) / 127.0
    rows = np.round(reduced / scale[:, None]).astype(np.int8)
    return [vocabulary[number] for number in kept], rows, scale.astype(np.float16)


def _encoded(folder: Path, numbers: NDArray) -> NDArray:
    """Each piece alone between the encoder's two marks, averaged over the three."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(str(folder), local_files_only=True).eval()
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    begin = vocabulary.index("[CLS]")
    end = vocabulary.index("[SEP]")
    vectors = []
    with torch.no_grad():
        for start in range(0, len(numbers), _BATCH):
            batch = torch.from_numpy(numbers[start : start + _BATCH])
            ids = torch.stack(
                [torch.full_like(batch, begin), batch, torch.full_like(batch, end)], 1
            )
            hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            vectors.append(hidden.mean(1).numpy())
    return np.concatenate(vectors).astype(np.float64)
