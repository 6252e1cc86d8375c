"""A serialized engine of TensorRT or of TensorRT for RTX, which have one API, on a GPU.

NOT YET RUN: no GPU with either of them has been at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from vla_ros.engines.device_buffers import DeviceBuffers

# torch's type by the name of TensorRT's
TYPES = {
    "FLOAT": torch.float32,
    "HALF": torch.float16,
    "BF16": torch.bfloat16,
    "INT64": torch.int64,
    "INT32": torch.int32,
    "UINT8": torch.uint8,
    "BOOL": torch.bool,
}


class SerializedEngine:
    """A serialized engine on a GPU; one CUDA graph for each set of shapes.

    Args:
        library: The module of TensorRT, or of TensorRT for RTX.
        path: The engine's file.

    Raises:
        ValueError: For a file that is no engine of that library and that GPU.
    """

    def __init__(self, library: Any, path: Path, device: str) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        with torch.cuda.device(device):
            self._runtime = library.Runtime(library.Logger(library.Logger.WARNING))
            self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:  # it raises nothing, and logs why
            raise ValueError(f"{path} is no engine of {library.__name__} for this GPU")
        self._lock = Lock()
        self._runs: dict[tuple[torch.Size, ...], _Run] = {}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        shapes = tuple(tensor.shape for tensor in inputs)
        # Its buffers are one caller's at a time.
        with self._lock, torch.cuda.device(self._device), torch.no_grad():
            if shapes not in self._runs:
                context = self.make_context()
                self._runs[shapes] = _Run(self._engine, context, self._stream, inputs)
                self.keep_kernels()
            return self._runs[shapes](inputs)

    def make_context(self) -> Any:
        """A context for inputs of one set of shapes."""
        return self._engine.create_execution_context()

    def keep_kernels(self) -> None:
        """Called when inputs of new shapes have run once: what was compiled for them may be kept.
        TensorRT compiles nothing then."""


class _Run:
    """An engine for inputs of some shapes: one launch for all kernels.

    That is so because addresses and shapes never change. Its context is its own: a captured graph
    is void once another shape was set.
    """

    def __init__(
        self, engine: Any, context: Any, stream: torch.cuda.Stream, inputs: Sequence[Tensor]
    ) -> None:
        self._context = context
        self._stream = stream
        input_names, output_names = _names(engine)
        check_inputs(engine, input_names, inputs)
        for name, tensor in zip(input_names, inputs):
            shape = tuple(tensor.shape)
            _must(context.set_input_shape(name, shape), f"{name} of {shape}")
        outputs = []  # their shapes follow from the inputs', which are set by now
        for name in output_names:
            shape = tuple(context.get_tensor_shape(name))
            outputs.append((shape, type_of(engine, name)))
        self._buffers = DeviceBuffers(inputs, outputs, str(stream.device), stream)
        names = input_names + output_names
        for name, tensor in zip(names, self._buffers.inputs + self._buffers.outputs):
            _must(context.set_tensor_address(name, tensor.data_ptr()), f"the address of {name}")
        self._buffers.send(inputs)
        self._run()  # what it allocates and compiles, it does before the capture
        stream.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        # thread_local: what other threads do on the GPU meanwhile does not end the capture
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._run()

    def _run(self) -> None:
        _must(self._context.execute_async_v3(self._stream.cuda_stream), "to run")

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        self._buffers.send(inputs)
        # The graph reads and writes the buffers at their addresses: there is nothing to pass.
        with self._buffers.on_stream():
            self._graph.replay()
        return self._buffers.receive()


def _names(engine: Any) -> tuple[list[str], list[str]]:
    """Of its inputs and of its outputs, in the part's order."""
    inputs = []
    outputs = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        if "INPUT" in str(engine.get_tensor_mode(name)):
            inputs.append(name)
        else:
            outputs.append(name)
    return inputs, outputs


def type_of(engine: Any, name: str) -> torch.dtype:
    """torch's type for a tensor of the engine. Raises ValueError where it has none."""
    kind = str(engine.get_tensor_dtype(name)).rpartition(".")[2]
    if kind not in TYPES:
        raise ValueError(f"the engine's {name} is of type {kind}; known are {', '.join(TYPES)}")
    return TYPES[kind]


def check_inputs(engine: Any, names: Sequence[str], inputs: Sequence[Tensor]) -> None:
    """Raises ValueError for inputs that are not the engine's.

    It would read their bytes as another type's, ids of 64 bits as those of 32, say.
    """
    if len(names) != len(inputs):
        raise ValueError(
            f"the engine takes {', '.join(names)}, and the part has {len(inputs)} inputs"
        )
    for name, tensor in zip(names, inputs):
        if type_of(engine, name) != tensor.dtype:
            raise ValueError(
                f"the engine takes {name} as {type_of(engine, name)}, and the part gives "
                f"{tensor.dtype}"
            )


def _must(done: bool, request: str) -> None:
    """TensorRT raises nothing: its calls return whether they were done."""
    if not done:
        raise RuntimeError(f"TensorRT refuses {request}; its reason is on stderr")
