"""Parts that transformers supplies: weights from a local folder where one is named, else random.

Never from a network.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from safetensors import SafetensorError


class RandomWeights(UserWarning):
    """A part that is usually pretrained starts from random weights."""


def backbone(
    kind: Any, config: Any, folder: str, part: str, dtype: torch.dtype = torch.float32
) -> Any:
    """The transformers model `kind`, in `dtype`.

    Raises ValueError where the folder holds other weights.
    """
    if not folder:
        warnings.warn(
            f"{part} starts from random weights; name a folder of pretrained ones in its option "
            "`weights`",
            RandomWeights,
            stacklevel=3,  # where the part is built
        )
        return kind(config).to(dtype)
    try:
        model, loading = kind.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,  # never a pickle
            output_loading_info=True,
        )
    except (OSError, RuntimeError, SafetensorError) as error:
        message = " ".join(str(error).split())[:300]  # the library's fills a screen
        raise ValueError(f"{part}'s weights {folder} do not load: {message}") from error
    missing = sorted(loading["missing_keys"])
    if missing:  # the library would leave them random
        raise ValueError(
            f"{part}'s weights {folder} lack {len(missing)} tensors, {missing[0]} first; "
            "give whole weights"
        )
    return model
