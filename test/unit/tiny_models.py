"""Every part in a size that builds in milliseconds."""
from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from vla_ros.core.registry import lookup
from vla_ros.models import TOKENIZERS, build
from vla_ros.models.backbones import RandomWeights
from vla_ros.models.config import VLAConfig
from vla_ros.models.language.lexicon import CART
from vla_ros.models.language.tokenizers import Tokenizer
from vla_ros.models.vla import VLA

torch.set_num_threads(1)
SIZE = (32, 64)  # pixels
STAGES = {"stem": 4, "sizes": (4, 4, 4, 8), "depths": (1, 1, 1, 1)}
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "vision": {
        "small": {"channels": (4, 4)}, "resnet18": STAGES, "resnet50": STAGES,
        "clip": {"hidden": 8, "layers": 1, "heads": 2, "feed_forward": 16, "patch": 16, "native_size": 32},
    },
    "language": {
        "small": {}, "table": {"slots": 4}, "lstm": {"vocabulary": 40, "embedding": 8, "hidden": 8},
        "llama": {"vocabulary": 40, "hidden": 16, "layers": 1, "heads": 2, "kv_heads": 1, "feed_forward": 16},
        "static": {"vocabulary": 40, "embedding": 8, "questions": 2, "weights": ""},
        "minilm": {"vocabulary": 40, "hidden": 16, "layers": 1, "heads": 2, "feed_forward": 16, "places": 24, "begin": 1, "end": 2,
                   "questions": 2, "weights": ""},
    },
    "fusion": {
        "grounded": {"map": 2}, "early": {}, "late": {"hidden": 8}, "cross_attention": {"heads": 2},
        "transformer": {"layers": 1, "heads": 2, "feed_forward": 16},
    },
    "head": {"decoder": {"hidden": (8,)}, "planner": {"hidden": 8}},
    "model": {"end_to_end": {}, "modular": {"selector": 8, "light": 4}},
}

SAME_GRAPH = {"table"}  # the small language with the words of the arm's table: what is compiled of it is the same


def tiny(**changes: Any) -> VLAConfig:
    """A config of tiny parts; `vision_options` and the like are added to the tiny ones."""
    values: dict[str, Any] = {"width": 16, "image_size": SIZE, "steps": 4, **changes}
    for kind, default in (("vision", "small"), ("language", "small"), ("fusion", "grounded"), ("head", "decoder"),
                          ("model", "end_to_end")):
        name = values.get(kind, default)
        values[f"{kind}_options"] = {**OPTIONS[kind].get(name, {}), **changes.get(f"{kind}_options", {})}
    return VLAConfig(**values)


def make(**changes: Any) -> VLA:
    """The model of a tiny config, random but the same each time, in evaluation mode."""
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomWeights)
        return build(tiny(**changes)).eval()


def words_for(model: VLA) -> Tokenizer:
    """A tokenizer for a model whose own would come from a training, or from a folder of weights."""
    kind = lookup(TOKENIZERS, model.config.language, "tokenizer")
    words = ["go", "to", "the", "red", "block", "turn", "left"]
    made: Tokenizer = kind(["[PAD]", "[UNK]", *words] if model.config.language in ("static", "minilm") else words)
    return made


def inputs(batch: int = 2, words: int = 5, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """pixels, ids and mask: the first row has all words, the others two less."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(batch, 3, *SIZE, generator=generator)
    ids = torch.randint(1, len(CART.words), (batch, words), generator=generator)
    lengths = torch.tensor([words] + [words - 2] * (batch - 1))
    mask = torch.arange(words) < lengths[:, None]
    return pixels, ids * mask, mask
