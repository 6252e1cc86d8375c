"""TensorRT on an NVIDIA GPU: torch.export, then torch_tensorrt's dynamo converter, into one serialized engine.

The whole part must convert: there is no graph break, so the file is TensorRT's own and holds no Python. It runs in a
CUDA graph. NOT YET RUN: no machine with torch_tensorrt has been at hand.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vla_ros.engines.base import Part, lacking, versions_of
from vla_ros.engines.eager import TYPES
from vla_ros.engines.export import exported

FILE = "part.engine"
NEEDED = ("torch_tensorrt", "tensorrt")
WORKSPACE = 1 << 30  # bytes


class TensorRT:
    COPIES = 2

    @staticmethod
    def missing(device: str, precision: str) -> str:
        if lacks := lacking(*NEEDED):
            return f"{' and '.join(lacks)} not installed; which belong together is in doc/engines.md"
        if torch.device(device).type != "cuda":
            return f"tensorrt needs an NVIDIA GPU; torch sees {device}"
        return "" if precision in TYPES else f"tensorrt runs {', '.join(TYPES)} here, not {precision}"

    @staticmethod
    def versions() -> Mapping[str, str]:
        return versions_of(*NEEDED)

    @staticmethod
    def build(part: Part, device: str, precision: str, folder: Path) -> None:
        import torch_tensorrt

        inputs = [one.to(device) for one in part.examples[0]]
        engine = torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine(
            exported(part, device, TYPES[precision]), arg_inputs=inputs, use_explicit_typing=True,
            workspace_size=WORKSPACE, require_full_compilation=True)
        (folder / FILE).write_bytes(engine)

    def __init__(self, part: Part, device: str, precision: str, folder: Path) -> None:
        import tensorrt

        self._runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.WARNING))
        self._engine = self._runtime.deserialize_cuda_engine((folder / FILE).read_bytes())
        if self._engine is None:
            raise ValueError(f"{folder / FILE} is no engine of this TensorRT and this GPU")
        self._context = self._engine.create_execution_context()
        self._inputs = [one.to(device).clone() for one in part.examples[0]]
        self._outputs = []
        inputs = iter(self._inputs)
        for index in range(self._engine.num_io_tensors):  # both in the part's order
            name = self._engine.get_tensor_name(index)
            if self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT:
                tensor = next(inputs)
            else:
                tensor = torch.empty(tuple(self._context.get_tensor_shape(name)), device=device)
                self._outputs.append(tensor)
            self._context.set_tensor_address(name, tensor.data_ptr())
        self._stream = torch.cuda.Stream(device)
        self._graph = self._captured()

    def _captured(self) -> torch.cuda.CUDAGraph:
        """One launch for all kernels: addresses and shapes never change."""
        with torch.cuda.stream(self._stream):
            self._context.execute_async_v3(self._stream.cuda_stream)  # what it allocates, it does before the capture
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._stream):
                self._context.execute_async_v3(self._stream.cuda_stream)
        return graph

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.cuda.stream(self._stream):
            for place, one in zip(self._inputs, inputs):
                place.copy_(one, non_blocking=True)
            self._graph.replay()
            outputs = tuple(one.cpu() for one in self._outputs)
        self._stream.synchronize()
        return outputs
