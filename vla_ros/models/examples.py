"""A few real observations beside a checkpoint.

What engines are compiled for, calibrated and compared on.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from vla_ros.models.checkpoint import EXAMPLES
from vla_ros.models.language.lexicon import LENGTH
from vla_ros.models.vla import VLA

KEPT = 8  # by a training
NOISE_EXAMPLES = 4  # made up where a checkpoint has none


def save(folder: Path, images: Tensor, ids: Tensor, state: Tensor) -> None:
    """Images K x H x W x 3 (uint8), ids of what was said K x L, and the state K x S."""
    kept = {"image": images, "ids": ids, "state": state}
    save_file({name: tensor.contiguous() for name, tensor in kept.items()}, folder / EXAMPLES)


def load(folder: Path, vla: VLA) -> tuple[dict[str, Tensor], bool]:
    """The tensors by name, K each, and whether they are real.

    Returns:
        image K x H x W x 3, ids K x LENGTH (filled up with 0), mask and state K x S.

    Raises:
        ValueError: For some that do not fit the model.
    """
    path = folder / EXAMPLES
    tensors = load_file(path) if path.is_file() else _noise(vla)
    wants = {"image": (*vla.config.image_size, 3), "state": (len(vla.config.state),)}
    for name, shape in wants.items():
        if name not in tensors or tuple(tensors[name].shape[1:]) != shape:
            raise ValueError(
                f"{path} has no {name} of shape {' x '.join(map(str, shape))}; "
                "copy the checkpoint again"
            )
    ids = F.pad(tensors["ids"], (0, LENGTH - tensors["ids"].shape[1]))
    return tensors | {"ids": ids, "mask": ids > 0}, path.is_file()


def _noise(vla: VLA) -> dict[str, Tensor]:
    # the same numbers each time
    generator = torch.Generator().manual_seed(0)
    height, width = vla.config.image_size
    return {
        "image": torch.randint(
            0, 256, (NOISE_EXAMPLES, height, width, 3), dtype=torch.uint8, generator=generator
        ),
        "ids": torch.randint(
            1, vla.tokenizer.size if vla.tokenizer else 2, (NOISE_EXAMPLES, 6), generator=generator
        ),
        "state": torch.rand(NOISE_EXAMPLES, len(vla.config.state), generator=generator),
    }
