"""A VLA's two stages as modules of tensors alone, for engines.

What the words say, once an instruction; what to do about an image, each time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vla_ros.models.fusion.grounded import GroundedFusion
from vla_ros.models.vla import VLA, VLAOutput


def told(output: VLAOutput) -> dict[str, Tensor]:
    """What a policy asks of an output, by name, fp32.

    Returns:
        actions B x T x C, completion B (0 … 1); of a model that says where it looks also nowhere B
        (0 … 1: the target is out of view), target B x 2 (m) and contact B (0 … 1).
    """
    tensors = {"actions": output.actions.float(), "completion": output.completion.sigmoid()}
    if output.attention is not None and output.auxiliary is not None:
        # in this order: ActionStage.outputs names them
        tensors["nowhere"] = output.attention.softmax(-1)[:, -1]
        tensors["target"] = output.auxiliary.target
        tensors["contact"] = output.auxiliary.contact.sigmoid()
    return tensors


class LanguageStage(nn.Module):
    """ids, mask B x L -> words B x L x D, pooled B x D.

    And of a model with auxiliary heads task B x 13 (0 … 1). Raises ValueError for a model whose
    language reads the image too.
    """

    def __init__(self, vla: VLA) -> None:
        super().__init__()
        if vla.reads_vision:
            raise ValueError(
                f"language '{vla.config.language}' reads the image too, "
                "so words cannot be read alone"
            )
        self.vla = vla
        self.outputs: tuple[str, ...] = ("words", "pooled")
        if vla.auxiliary:
            self.outputs = ("words", "pooled", "task")

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Gives what `outputs` names, in its order."""
        words, pooled = self.vla.encode_text(ids, mask)
        if not self.vla.auxiliary:
            return words, pooled
        return words, pooled, self.vla.auxiliary.tasks(pooled).softmax(-1)


class ActionStage(nn.Module):
    """image B x H x W x 3 (uint8) and what `inputs` names -> `told`, in its order.

    Inputs are pooled B x D, words B x L x D and mask B x L (where the fusion looks at words one by
    one), state B x S (where the model wants one). Of a model whose language reads the image too:
    ids and mask B x L, and it reads them here.
    """

    def __init__(self, vla: VLA) -> None:
        super().__init__()
        self.vla = vla
        # An engine fixes its inputs: only what this model looks at. One that nothing reads would be
        # copied to the GPU for each image all the same.
        if vla.reads_vision:
            inputs = ["image", "ids", "mask"]
        elif getattr(vla.fusion, "pooled_only", False):
            inputs = ["image", "pooled"]
        else:
            inputs = ["image", "pooled", "words", "mask"]
        if vla.state:
            inputs.append("state")
        outputs = ["actions", "completion"]
        if isinstance(vla.fusion, GroundedFusion) and vla.auxiliary is not None:
            outputs += ["nowhere", "target", "contact"]
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)

    def forward(self, image: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """`more`: what `inputs` names behind the image, in its order."""
        return self.decide(self.encode_image(image), *more)

    def encode_image(self, image: Tensor) -> Tensor:
        """-> vision tokens B x N x D."""
        pixels = image.float() / 255  # before anything else: TensorRT takes bytes for a cast alone
        return self.vla.encode_image(pixels.permute(0, 3, 1, 2))

    def decide(self, vision: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """From what `encode_image` gave on."""
        given = dict(zip(self.inputs[1:], more))
        if self.vla.reads_vision:
            given["words"], given["pooled"] = self.vla.encode_text(
                given["ids"], given["mask"], vision
            )
        # the grounded fusion looks at neither, but both have to be there
        pooled = given["pooled"]
        words = given.get("words", pooled[:, None])
        mask = given.get("mask", torch.ones_like(words[..., 0], dtype=torch.bool))
        output = self.vla.decode_action(vision, words, pooled, mask, given.get("state"))
        return tuple(told(output).values())
