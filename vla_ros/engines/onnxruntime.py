"""ONNX Runtime on a CPU: torch.export, then ONNX; int8 is calibrated on the part's examples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vla_ros.engines.base import SubModel, lacking, versions_of
from vla_ros.engines.export import LARGE, exported, is_large, save_onnx

FILE = "part.onnx"  # as ONNX Runtime wants it on this processor
WEIGHTS = "part.weights"  # its weights, which a start maps into memory and need not read
NEEDED = ("onnx", "onnxscript", "onnxruntime")
QUANTIZED = ("Conv", "MatMul", "Gemm")
SMALL = 32  # a layer with less than such a part of the largest one's arithmetic


class OnnxRuntime:
    COPIES = 2

    @staticmethod
    def missing(device: str, precision: str) -> str:
        if lacks := lacking(*NEEDED):
            return f"{' and '.join(lacks)} not installed: pip install {' '.join(lacks)}"
        if device != "cpu":
            return f"onnxruntime runs on the CPU here, not on {device}"
        return (
            ""
            if precision in ("fp32", "int8")
            else f"onnxruntime runs fp32 and int8 here, not {precision}"
        )

    @staticmethod
    def versions() -> Mapping[str, str]:
        return versions_of(*NEEDED)

    @staticmethod
    def build(part: SubModel, device: str, precision: str, folder: Path) -> None:
        graph = exported(part)
        if precision == "int8" and is_large(graph):
            raise ValueError(f"int8 is for models of less than {LARGE / 1e9:.2g} GB of weights")
        with TemporaryDirectory(dir=folder) as place:
            path = Path(place) / FILE
            save_onnx(graph, part, path)
            if precision == "int8":
                _quantize(part, path)
            _session(path, folder / FILE)

    def __init__(self, part: SubModel, device: str, precision: str, folder: Path) -> None:
        self._inputs = part.inputs
        self._session = _session(folder / FILE)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = {name: one.numpy() for name, one in zip(self._inputs, inputs)}
        return tuple(map(torch.from_numpy, self._session.run(None, given)))


def _session(path: Path, out: Path | None = None) -> Any:
    """Of a graph that was optimized before; or of one that is optimized now and written to
    `out`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    if out:
        options.optimized_model_filepath = str(out)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", WEIGHTS
        )
        # it warns that the file is for this kind of processor, as the cache's key says
        options.log_severity_level = 3
    else:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _left_alone(path: Path) -> list[str]:
    """Layers that stay as they are: small ones, as a head of one row, make most of the error and
    take none of the time. So do products of two activations, as attention's, which have no weights
    at all."""
    import onnx

    graph = onnx.load(str(path)).graph
    weights = {one.name: math.prod(one.dims) for one in graph.initializer if len(one.dims) > 1}
    # 0: the batch
    shapes = {
        one.name: [max(1, size.dim_value) for size in one.type.tensor_type.shape.dim]
        for one in (*graph.value_info, *graph.output)
    }
    work = {}  # multiply-adds
    for node in graph.node:
        if node.op_type in QUANTIZED:
            shape = shapes[node.output[0]]
            channels = shape[1 if node.op_type == "Conv" else -1]
            work[node.name] = (
                math.prod(shape) * max(weights.get(name, 0) for name in node.input) // channels
            )
    return [name for name, one in work.items() if one * SMALL < max(work.values())]


def _quantize(part: SubModel, path: Path) -> None:
    """In place: weights and activations of convolutions and products in 8 bits, with the ranges of
    the examples."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Examples(CalibrationDataReader):
        def __init__(self) -> None:
            self._left: Iterator[dict[str, np.ndarray[Any, Any]]] = (
                {name: one.numpy() for name, one in zip(part.inputs, example)}
                for example in part.examples
            )

        def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
            return next(self._left, None)

    whole = path.with_suffix(".fp32.onnx")
    quant_pre_process(str(path), str(whole), skip_symbolic_shape=True)
    quantize_static(
        str(whole),
        str(path),
        Examples(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=list(QUANTIZED),
        nodes_to_exclude=_left_alone(whole),
    )
    whole.unlink()
