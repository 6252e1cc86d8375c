"""The model as it is, by torch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vla_ros.engines.base import SubModel, to_cpu_fp32, to_device, versions_of

TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Eager:
    """Runs the module itself; lower precisions by torch's autocast, with weights in fp32."""

    COPIES = 0  # on a CPU it is the model's own module

    @staticmethod
    def missing(device: str, precision: str) -> str:
        if precision not in TYPES:
            return f"eager runs {', '.join(TYPES)}, not {precision}"
        if (device, precision) == ("cpu", "fp16"):
            return "fp16 is for a GPU; on a CPU take fp32 or bf16"
        return ""

    @staticmethod
    def versions() -> Mapping[str, str]:
        return versions_of()

    @staticmethod
    def build(part: SubModel, device: str, precision: str, folder: Path) -> None:
        """Nothing is compiled."""

    def __init__(self, part: SubModel, device: str, precision: str, folder: Path) -> None:
        self._device = device
        self._type = TYPES[precision]
        # A copy: `to` moves a module in place, and the model's other users want it where it is.
        self._module = part.module if device == "cpu" else copy.deepcopy(part.module).to(device)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        lowered = self._type != torch.float32
        autocast = torch.autocast(torch.device(self._device).type, self._type, enabled=lowered)
        with torch.inference_mode(), autocast:
            outputs = self._module(*to_device(inputs, self._device))
        return to_cpu_fp32(outputs)
