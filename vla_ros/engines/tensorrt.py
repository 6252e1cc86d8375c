"""TensorRT on an NVIDIA GPU: torch.export, then torch_tensorrt's dynamo converter, into one serialized engine.

The whole part must convert: there is no graph break, so the file is TensorRT's own and holds no Python. It runs in a
CUDA graph. int8 and fp8 are ModelOpt's, calibrated on the part's examples. NOT YET RUN: no machine with torch_tensorrt
has been at hand.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vla_ros.engines.base import Part, lacking, versions_of
from vla_ros.engines.eager import TYPES
from vla_ros.engines.export import calibrated, exported

FILE = "part.engine"
NEEDED = ("torch_tensorrt", "tensorrt")
EIGHT_BITS = {"int8": (7, 2), "fp8": (8, 9)}  # and the compute capability from which on a chip has it
WORKSPACE = 1 << 30  # bytes


class TensorRT:
    COPIES = 2

    @staticmethod
    def missing(device: str, precision: str) -> str:
        needed = (*NEEDED, *(("modelopt",) if precision in EIGHT_BITS else ()))
        if lacks := lacking(*needed):
            return f"{' and '.join(lacks)} not installed; which belong together is in doc/engines.md"
        if torch.device(device).type != "cuda":
            return f"tensorrt needs an NVIDIA GPU; torch sees {device}"
        least, has = EIGHT_BITS.get(precision, (0, 0)), torch.cuda.get_device_capability(device)
        return "" if has >= least else (
            f"{precision} is for a chip of compute capability {least[0]}.{least[1]} or more, and this one has "
            f"{has[0]}.{has[1]}")

    @staticmethod
    def versions() -> Mapping[str, str]:
        return versions_of(*NEEDED)

    @staticmethod
    def build(part: Part, device: str, precision: str, folder: Path) -> None:
        import torch_tensorrt

        best, most = part.batch

        def sized(example: Tensor) -> Any:
            if most == 1:
                return example.to(device)
            shapes = {name: (rows, *example.shape[1:]) for name, rows in (
                ("min_shape", 1), ("opt_shape", best), ("max_shape", most))}
            return torch_tensorrt.Input(**shapes, dtype=example.dtype)

        if precision in EIGHT_BITS:
            graph = calibrated(part, device, precision)
        else:
            graph = exported(part, device, TYPES[precision])
        engine = torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine(
            graph, arg_inputs=[sized(one) for one in part.examples[0]], use_explicit_typing=True,
            workspace_size=WORKSPACE, require_full_compilation=True)
        (folder / FILE).write_bytes(engine)

    def __init__(self, part: Part, device: str, precision: str, folder: Path) -> None:
        import tensorrt

        self._runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.WARNING))
        self._engine = self._runtime.deserialize_cuda_engine((folder / FILE).read_bytes())
        if self._engine is None:
            raise ValueError(f"{folder / FILE} is no engine of this TensorRT and this GPU")
        self._device, self._stream = device, torch.cuda.Stream(device)
        self._shots: dict[tuple[torch.Size, ...], _Shot] = {}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        shapes = tuple(one.shape for one in inputs)
        if shapes not in self._shots:
            self._shots[shapes] = _Shot(self._engine, self._stream, [one.to(self._device) for one in inputs])
        return self._shots[shapes](inputs)


class _Shot:
    """The engine for inputs of some shapes: one launch for all kernels, because addresses and shapes never change. Its
    context is its own: a captured graph is void once another shape was set."""

    def __init__(self, engine: Any, stream: torch.cuda.Stream, inputs: list[Tensor]) -> None:
        import tensorrt

        self._context, self._stream = engine.create_execution_context(), stream
        self._inputs, self._outputs = [one.clone() for one in inputs], []
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]  # in the part's order
        given = [name for name in names if engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT]
        for name, tensor in zip(given, self._inputs):
            self._context.set_input_shape(name, tuple(tensor.shape))
            self._context.set_tensor_address(name, tensor.data_ptr())
        for name in names:
            if name not in given:
                shape = tuple(self._context.get_tensor_shape(name))
                self._outputs.append(torch.empty(shape, device=inputs[0].device))
                self._context.set_tensor_address(name, self._outputs[-1].data_ptr())
        with torch.cuda.stream(stream):
            self._context.execute_async_v3(stream.cuda_stream)  # what it allocates, it does before the capture
            stream.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=stream):
                self._context.execute_async_v3(stream.cuda_stream)

    def __call__(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        with torch.cuda.stream(self._stream):
            for place, one in zip(self._inputs, inputs):
                place.copy_(one, non_blocking=True)
            self._graph.replay()
            outputs = tuple(one.cpu() for one in self._outputs)
        self._stream.synchronize()
        return outputs
