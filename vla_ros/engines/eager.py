"""The model as it is, by torch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vla_ros.engines.base import SubModel, versions_of

TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Eager:
    COPIES = 0

    @staticmethod
    def missing(device: str, precision: str) -> str:
        if precision not in TYPES:
            return f"eager runs {', '.join(TYPES)}, not {precision}"
        return (
            "fp16 is for a GPU; on a CPU take fp32 or bf16"
            if (device, precision) == ("cpu", "fp16")
            else ""
        )

    @staticmethod
    def versions() -> Mapping[str, str]:
        return versions_of()

    @staticmethod
    def build(part: SubModel, device: str, precision: str, folder: Path) -> None:
        """Nothing is compiled."""

    def __init__(self, part: SubModel, device: str, precision: str, folder: Path) -> None:
        self._device = device
        self._type = TYPES[precision]
        self._module = part.module if device == "cpu" else copy.deepcopy(part.module).to(device)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        kind = torch.device(self._device).type
        with (
            torch.inference_mode(),
            torch.autocast(kind, self._type, enabled=self._type != torch.float32),
        ):
            outputs = self._module(*(one.to(self._device) for one in inputs))
        return tuple(one.float().cpu() for one in outputs)
