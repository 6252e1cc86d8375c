"""A part as a graph: torch.export, the way into every compiled engine."""

from __future__ import annotations

import copy
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from vla_ros.engines.base import SubModel, to_device
from vla_ros.models.quantized import is_packed, unpack

# From here on weights lie beside an ONNX file, which holds 2 GB at most.
EXTERNAL_WEIGHTS_BYTES = 1_500_000_000
SMALLEST_RANGE = 1e-6  # of an input or a weight that is always 0: a scale must not be


class Cast(nn.Module):
    """The module with weights of one type, fp32 outside; any number of inputs."""

    def __init__(self, module: nn.Module, kind: torch.dtype) -> None:
        super().__init__()
        self.module = module.to(kind)
        self.kind = kind

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = []
        for tensor in inputs:  # ids, masks and the bytes of images stay what they are
            given.append(tensor.to(self.kind) if tensor.is_floating_point() else tensor)
        return tuple(output.float() for output in self.module(*given))


def exported(
    part: SubModel, device: str = "cpu", kind: torch.dtype = torch.float32
) -> ExportedProgram:
    """The part's graph for the shapes of its examples, and its batch.

    Packed weights are plain ones in it. Raises what torch.export does where it is none.
    """
    module = part.module
    # A copy where something changes: the module goes on running as it is.
    if kind != torch.float32 or device != "cpu" or is_packed(module):
        module = unpack(copy.deepcopy(module))
    return _graph(Cast(module, kind), part, device)


def calibrated(part: SubModel, device: str, precision: str) -> ExportedProgram:
    """The same in int8 or fp8.

    Layers' weights and inputs are rounded as ModelOpt does, to the ranges that the part's examples
    have.
    """
    import modelopt.torch.quantization as ptq
    from modelopt.torch.quantization.nn import TensorQuantizer
    from modelopt.torch.quantization.utils import export_torch_mode

    def run(module: nn.Module) -> None:
        for example in part.examples:
            module(*to_device(example, device))

    settings = {"int8": ptq.INT8_DEFAULT_CFG, "fp8": ptq.FP8_DEFAULT_CFG}[precision]
    module = Cast(unpack(copy.deepcopy(part.module)), torch.float32).to(device)
    quick = torch.backends.mha.get_fastpath_enabled()
    # it would pass a transformer's layers by, and their ranges
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            ptq.quantize(module, settings, forward_loop=run)
        for quantizer in module.modules():
            if isinstance(quantizer, TensorQuantizer) and quantizer.is_enabled:
                if quantizer.amax is None:
                    # no example went through it, and TensorRT wants its scales beforehand
                    quantizer.disable()
                else:
                    quantizer.amax.clamp_(min=SMALLEST_RANGE)
        with export_torch_mode():
            return _graph(module, part, device)
    finally:
        torch.backends.mha.set_fastpath_enabled(quick)


def is_large(graph: ExportedProgram) -> bool:
    """Do its weights lie beside its ONNX file, not in it?"""
    return sum(weight.nbytes for weight in graph.state_dict.values()) > EXTERNAL_WEIGHTS_BYTES


def save_onnx(graph: ExportedProgram, part: SubModel, path: Path) -> None:
    """Writes the part's graph to `path` as ONNX, with the part's names of inputs and outputs."""
    # it warns of a vision library that nobody asked for
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's, about torch
        program = torch.onnx.export(
            graph,
            graph.example_inputs[0],
            dynamo=True,
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            verbose=False,
        )
        assert program is not None  # dynamo's exporter gives one
        _match_weights(program.model)
        program.save(str(path), external_data=is_large(graph))


def _match_weights(model: Any) -> None:
    """Convolutions' weights in bf16, where the model's are.

    The exporter's optimizer merges normalisations into convolutions, and leaves weights in fp32
    where both were bf16, which no runtime takes: they are rounded again.
    """
    import onnx_ir

    kinds = {value.dtype for value in model.graph.initializers.values()}
    if onnx_ir.DataType.BFLOAT16 not in kinds:
        return
    for node in model.graph:
        if node.op_type != "Conv":
            continue
        for value in node.inputs[1:]:  # weights and bias
            if value is not None and value.dtype == onnx_ir.DataType.FLOAT:
                weights = torch.from_numpy(value.const_value.numpy()).bfloat16()
                value.const_value = onnx_ir.tensor(weights, name=value.name)
                value.dtype = onnx_ir.DataType.BFLOAT16


def _graph(module: nn.Module, part: SubModel, device: str) -> ExportedProgram:
    most = part.batch[1]
    # of one row, its graph would be for one alone
    given = to_device(part.stacked(min(most, 2)), device)
    rows = {0: torch.export.Dim("batch", min=1, max=most)} if most > 1 else None
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's, about torch
        warnings.filterwarnings("ignore", "The tensor attributes .*_flat_weights")  # of an LSTM
        # twice in a tuple: Cast takes all inputs as one argument, `*inputs`
        shapes = ((rows,) * len(given),)
        return torch.export.export(module.to(device).eval(), given, dynamic_shapes=shapes)
