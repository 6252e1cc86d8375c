"""A serialized engine of TensorRT or of TensorRT for RTX, which have one API, on a GPU.

NOT YET RUN: no GPU with either of them has been at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vla_ros.engines.base import SubModel
from vla_ros.engines.device_buffers import BufferedRun, DeviceBuffers, RunsByShape

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
        part: What it runs.

    Raises:
        ValueError: For a file that is no engine of that library and that GPU.
    """

    def __init__(self, library: Any, path: Path, part: SubModel, device: str) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        with torch.cuda.device(device):
            self._runtime = library.Runtime(library.Logger(library.Logger.WARNING))
            self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:  # it raises nothing, and logs why
            raise ValueError(f"{path} is no engine of {library.__name__} for this GPU")
        self._part = part
        self._runs = RunsByShape(self._recorded)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.cuda.device(self._device):
            return self._runs(inputs)

    def _recorded(self, inputs: Sequence[Tensor]) -> BufferedRun:
        """One launch for all kernels, because addresses and shapes never change.

        Its context is its own: a captured graph is void once another shape was set.
        """
        context = self.make_context()
        input_names, output_names = _names(self._engine)
        check_inputs(self._engine, input_names, inputs)
        for name, tensor in zip(input_names, inputs):
            shape = tuple(tensor.shape)
            _must(context.set_input_shape(name, shape), f"{name} of {shape}")
        outputs = []  # their shapes follow from the inputs', which are set by now
        for name in output_names:
            shape = tuple(context.get_tensor_shape(name))
            outputs.append((shape, type_of(self._engine, name)))
        stream = self._stream
        buffers = DeviceBuffers(inputs, outputs, str(stream.device), stream, self._part.kept)
        names = input_names + output_names
        for name, tensor in zip(names, buffers.inputs + buffers.outputs):
            _must(context.set_tensor_address(name, tensor.data_ptr()), f"the address of {name}")
        with buffers.on_stream():
            run = BufferedRun(
                buffers, lambda: _must(context.execute_async_v3(stream.cuda_stream), "to run")
            )
        run.record()
        self.keep_kernels()  # its warm-up has compiled what it needs
        return run

    def make_context(self) -> Any:
        """A context for inputs of one set of shapes."""
        return self._engine.create_execution_context()

    def keep_kernels(self) -> None:
        """Called when inputs of new shapes have run once: what was compiled for them may be kept.
        TensorRT compiles nothing then."""


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
