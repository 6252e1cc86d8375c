"""A part as a graph: torch.export, the way into every compiled engine."""
from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from vla_ros.engines.base import Part
from vla_ros.models.quantized import is_packed, unpack


class Cast(nn.Module):
    """The module with weights of one type, fp32 outside."""

    def __init__(self, module: nn.Module, kind: torch.dtype) -> None:
        super().__init__()
        self.module, self.kind = module.to(kind), kind

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = (one.to(self.kind) if one.is_floating_point() else one for one in inputs)
        return tuple(one.float() for one in self.module(*given))


def exported(part: Part, device: str = "cpu", kind: torch.dtype = torch.float32) -> ExportedProgram:
    """The part's graph for the shapes of its examples; packed weights are plain ones in it. Raises what torch.export
    does where it is none."""
    module = part.module
    if kind != torch.float32 or device != "cpu" or is_packed(module):
        module = Cast(unpack(copy.deepcopy(module)), kind).to(device)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's, about torch
        return torch.export.export(module.eval(), tuple(one.to(device) for one in part.examples[0]))
