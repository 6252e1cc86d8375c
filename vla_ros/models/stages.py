"""A VLA's two stages as modules of tensors alone, for engines: what the words say, once an
instruction; what to do about an image, each time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vla_ros.models.fusion.grounded import GroundedFusion
from vla_ros.models.vla import VLA, VLAOutput


def told(output: VLAOutput) -> dict[str, Tensor]:
    """What a policy asks of an output, by name, fp32: actions B x T x C, completion B (0 … 1); of a
    model that says where it looks also nowhere B (0 … 1: the target is out of view), target B x 2
    (m) and contact B (0 … 1)."""
    found = {"actions": output.actions.float(), "completion": output.completion.sigmoid()}
    if output.attention is not None and output.auxiliary is not None:
        found |= {
            "nowhere": output.attention.softmax(-1)[:, -1],
            "target": output.auxiliary.target,
            "contact": output.auxiliary.contact.sigmoid(),
        }
    return found


class LanguageStage(nn.Module):
    """ids, mask B x L -> words B x L x D, pooled B x D, and of a model with auxiliary heads task B
    x 13 (0 … 1)."""

    def __init__(self, vla: VLA) -> None:
        super().__init__()
        if vla.reads_vision:
            raise ValueError(
                f"language '{vla.config.language}' reads the image too, so words cannot be read "
                "alone"
            )
        self.vla = vla
        self.outputs = ("words", "pooled", *(("task",) if vla.auxiliary else ()))

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        words, pooled = self.vla.encode_text(ids, mask)
        return (
            words,
            pooled,
            *((self.vla.auxiliary.tasks(pooled).softmax(-1),) if self.vla.auxiliary else ()),
        )


class ActionStage(nn.Module):
    """image B x H x W x 3 (uint8) and what `inputs` names -> `told`, in its order: pooled B x D,
    words B x L x D and mask B x L (where the fusion looks at words one by one), state B x S (where
    the model wants one). Of a model whose language reads the image too: ids and mask B x L, and it
    reads them here."""

    def __init__(self, vla: VLA) -> None:
        super().__init__()
        self.vla = vla
        # An input that nothing reads would be copied to the GPU for each image all the same.
        if vla.reads_vision:
            words = ["ids", "mask"]
        elif getattr(vla.fusion, "pooled_only", False):
            words = ["pooled"]
        else:
            words = ["pooled", "words", "mask"]
        self.inputs = ("image", *words, *(["state"] if vla.state else []))
        looks = isinstance(vla.fusion, GroundedFusion) and vla.auxiliary is not None
        self.outputs = (
            "actions",
            "completion",
            *(["nowhere", "target", "contact"] if looks else []),
        )

    def forward(self, image: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        return self.decide(self.encode_image(image), *more)

    def encode_image(self, image: Tensor) -> Tensor:
        pixels = image.float() / 255  # before anything else: TensorRT takes bytes for a cast alone
        return self.vla.encode_image(pixels.permute(0, 3, 1, 2))

    def decide(self, vision: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.inputs[1:], more))
        if self.vla.reads_vision:
            given["words"], given["pooled"] = self.vla.encode_text(
                given["ids"], given["mask"], vision
            )
        pooled = given["pooled"]
        words = given.get("words", pooled[:, None])
        mask = given.get("mask", torch.ones_like(words[..., 0], dtype=torch.bool))
        return tuple(
            told(self.vla.decode_action(vision, words, pooled, mask, given.get("state"))).values()
        )
