"""The models that `vla bench policy` and `vla bench gpu` run: whole, and in halves."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from vla_ros.engines.base import SubModel
from vla_ros.models import build, examples
from vla_ros.models.checkpoint import from_pretrained
from vla_ros.models.config import VLAConfig
from vla_ros.models.language.lexicon import CART, LENGTH
from vla_ros.models.memory import PRESETS
from vla_ros.models.stages import ActionStage
from vla_ros.models.vla import VLA
from vla_ros.policies.builtin import BUILTIN

# name -> what a user would call it, and the config; None: the built-in checkpoint
CONFIGS: dict[str, tuple[str, dict[str, Any] | None]] = {
    "builtin": ("the built-in policy", None),
    "clip": ("CLIP ViT-B/32, LSTM, cross-attention", {**PRESETS["clip-b32"], "language": "lstm"}),
    "resnet50": (
        "ResNet-50, LSTM, late fusion",
        {
            "vision": "resnet50",
            "language": "lstm",
            "fusion": "late",
            "image_size": (224, 224),
            "width": 512,
        },
    ),
    "clip_l_llama": (
        "CLIP ViT-L/14, Llama of 1B, cross-attention",
        {**PRESETS["clip-l14"], **PRESETS["llama-1b"]},
    ),
}
_TINY_CLIP = {"hidden": 32, "layers": 2, "heads": 2, "feed_forward": 64, "patch": 32}
_TINY: dict[str, dict[str, Any]] = {  # what makes each of them small enough for a rehearsal
    "clip": {"width": 32, "image_size": (64, 64), "vision_options": _TINY_CLIP},
    "resnet50": {
        "width": 32,
        "image_size": (64, 64),
        "vision_options": {"stem": 8, "sizes": (8, 16, 16, 32), "depths": (1, 1, 1, 1)},
    },
    "clip_l_llama": {
        "width": 32,
        "image_size": (64, 64),
        "vision_options": _TINY_CLIP,
        "language_options": {
            "vocabulary": 128,
            "hidden": 32,
            "layers": 2,
            "heads": 2,
            "kv_heads": 2,
            "feed_forward": 64,
        },
    },
}


def model_of(
    name: str, tiny: bool = False, device: str = "cpu"
) -> tuple[VLA, dict[str, Tensor], str]:
    """A model that is measured. Random weights, but for the built-in one, are the same each time.

    Args:
        name: One of CONFIGS.
        tiny: The same parts with little in them; the built-in one is as it is.
        device: Where random weights are drawn, a billion of which takes a CPU half a minute.

    Returns:
        The model on the CPU, rows of its inputs by name (image, ids, mask, state), and a key.
    """
    config = CONFIGS[name][1]
    if config is None:
        vla = from_pretrained(BUILTIN)
        return vla, examples.load(BUILTIN, vla)[0], "builtin"
    return random_model({**config, **_TINY[name]} if tiny else config, device)


def random_model(
    config: Mapping[str, Any], device: str = "cpu"
) -> tuple[VLA, dict[str, Tensor], str]:
    """As `model_of`, of the fields of a VLAConfig; weights and inputs are the same each time."""
    torch.manual_seed(0)
    with warnings.catch_warnings(), torch.device(device):
        warnings.simplefilter("ignore")
        vla = build(VLAConfig(**config)).eval()
    vla = vla.to("cpu")
    size = vla.config.image_size
    generator = torch.Generator().manual_seed(0)
    # From 1 on: 0 is padding. No vocabulary, not even a tiny one, is smaller than the cart's.
    ids = torch.randint(1, len(CART.words), (2, LENGTH), generator=generator)
    inputs = {
        "image": torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8, generator=generator),
        "ids": ids,
        "mask": ids > 0,
        "state": torch.rand(2, len(vla.config.state)),
    }
    return vla, inputs, f"random on {device} {config}"


class Vision(nn.Module):
    """The image's half of an ActionStage: image -> vision tokens."""

    def __init__(self, acting: ActionStage) -> None:
        super().__init__()
        self.acting = acting

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return (self.acting.encode_image(image),)


class DecisionPart(Vision):
    """Its other half: vision tokens and its other inputs -> its outputs."""

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        return self.acting.decide(*given)


def halves_of(acting: SubModel) -> tuple[SubModel, SubModel]:
    """Vision, and fusion with action, of the part that is both, with the same examples."""
    stage = cast(ActionStage, acting.module)
    vision = Vision(stage).eval()
    images = []
    tokens = []
    with torch.no_grad():
        for image, *others in acting.examples:  # the image is the stage's first input
            images.append((image,))
            tokens.append((vision(image)[0].clone(), *others))
    seeing = replace(
        acting,
        name="vision",
        module=vision,
        inputs=("image",),
        outputs=("vision",),
        examples=tuple(images),
    )
    deciding = replace(
        acting,
        name="fusion and action",
        module=DecisionPart(stage).eval(),
        inputs=("vision", *acting.inputs[1:]),
        examples=tuple(tokens),
    )
    return seeing, deciding
