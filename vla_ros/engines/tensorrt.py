"""TensorRT on an NVIDIA GPU: torch.export, then torch_tensorrt's dynamo converter, into one
serialized engine.

The whole part must convert: there is no graph break, so the file is TensorRT's own and holds no
Python. It runs in a CUDA graph. int8 and fp8 are ModelOpt's, calibrated on the part's examples. NOT
YET RUN: no machine with torch_tensorrt has been at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from vla_ros.engines.base import SubModel, lacking, versions_of
from vla_ros.engines.eager import TYPES
from vla_ros.engines.export import calibrated, exported

FILE = "part.engine"
NEEDED = ("torch_tensorrt", "tensorrt")
# and the compute capability from which on a chip has it
EIGHT_BITS = {"int8": (7, 2), "fp8": (8, 9)}
WORKSPACE = 1 << 30  # bytes


class TensorRT:
    COPIES = 2

    @staticmethod
    def missing(device: str, precision: str) -> str:
        needed = (*NEEDED, *(("modelopt",) if precision in EIGHT_BITS else ()))
        if lacks := lacking(*needed):
            return (
                f"{' and '.join(lacks)} not installed; which belong together is in doc/engines.md"
            )
        if torch.device(device).type != "cuda" or not torch.cuda.is_available():
            return f"tensorrt needs an NVIDIA GPU; torch sees {device}"
        least = EIGHT_BITS.get(precision, (0, 0))
        has = torch.cuda.get_device_capability(device)
        return (
            ""
            if has >= least
            else (
                f"{precision} is for a chip of compute capability {least[0]}.{least[1]} or more, "
                "and this one has "
                f"{has[0]}.{has[1]}"
            )
        )

    @staticmethod
    def versions() -> Mapping[str, str]:
        import tensorrt  # whose distribution is called after CUDA's version

        quantizes = () if lacking("modelopt") else ("nvidia-modelopt",)
        return dict(versions_of("torch_tensorrt", *quantizes)) | {"tensorrt": tensorrt.__version__}

    @staticmethod
    def build(part: SubModel, device: str, precision: str, folder: Path) -> None:
        import torch_tensorrt

        best, most = part.batch

        def sized(example: Tensor) -> Any:
            if most == 1:
                return example.to(device)
            shapes = {
                name: (rows, *example.shape[1:])
                for name, rows in (("min_shape", 1), ("opt_shape", best), ("max_shape", most))
            }
            return torch_tensorrt.Input(**shapes, dtype=example.dtype)

        # The timing cache's usual place is one file in /tmp for all users. TF32 is not fp32: parity
        # would refuse it.
        with torch.cuda.device(device), TemporaryDirectory() as place:
            if precision in EIGHT_BITS:
                graph = calibrated(part, device, precision)
            else:
                graph = exported(part, device, TYPES[precision])
            engine = torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine(
                graph,
                arg_inputs=[sized(one) for one in part.examples[0]],
                use_explicit_typing=True,
                disable_tf32=precision == "fp32",
                workspace_size=WORKSPACE,
                require_full_compilation=True,
                assume_dynamic_shape_support=most > 1,
                timing_cache_path=str(Path(place) / "timing"),
            )
        (folder / FILE).write_bytes(engine)

    def __init__(self, part: SubModel, device: str, precision: str, folder: Path) -> None:
        import tensorrt

        with torch.cuda.device(device):
            self._runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.WARNING))
            self._engine = self._runtime.deserialize_cuda_engine((folder / FILE).read_bytes())
        if self._engine is None:
            raise ValueError(f"{folder / FILE} is no engine of this TensorRT and this GPU")
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._lock = Lock()
        self._shots: dict[tuple[torch.Size, ...], _Shot] = {}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        shapes = tuple(one.shape for one in inputs)
        # Its buffers are one caller's at a time, and must not be inference tensors, which cannot be
        # written elsewhere.
        with (
            self._lock,
            torch.cuda.device(self._device),
            torch.inference_mode(False),
            torch.no_grad(),
        ):
            if shapes not in self._shots:
                self._shots[shapes] = _Shot(self._engine, self._stream, inputs)
            return self._shots[shapes](inputs)


class _Shot:
    """The engine for inputs of some shapes: one launch for all kernels, because addresses and
    shapes never change. Its context is its own: a captured graph is void once another shape was
    set."""

    def __init__(self, engine: Any, stream: torch.cuda.Stream, inputs: Sequence[Tensor]) -> None:
        import tensorrt

        # in the part's order
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        given = [
            name for name in names if engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
        ]
        if len(given) != len(inputs):
            raise ValueError(
                f"the engine takes {', '.join(given)}, and the part has {len(inputs)} inputs"
            )
        self._context = engine.create_execution_context()
        self._stream = stream
        with torch.cuda.stream(stream):
            self._inputs = [
                one.to(stream.device, copy=True, memory_format=torch.contiguous_format)
                for one in inputs
            ]
            for name, tensor in zip(given, self._inputs):
                _must(
                    self._context.set_input_shape(name, tuple(tensor.shape)),
                    f"{name} of {tuple(tensor.shape)}",
                )
            told = [name for name in names if name not in given]
            self._outputs = [
                torch.empty(tuple(self._context.get_tensor_shape(name)), device=stream.device)
                for name in told
            ]
            for name, tensor in zip((*given, *told), (*self._inputs, *self._outputs)):
                _must(
                    self._context.set_tensor_address(name, tensor.data_ptr()),
                    f"the address of {name}",
                )
            self._run()  # what it allocates, it does before the capture
            stream.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self._run()

    def _run(self) -> None:
        _must(self._context.execute_async_v3(self._stream.cuda_stream), "to run")

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        with torch.cuda.stream(self._stream):
            for place, one in zip(self._inputs, inputs):
                place.copy_(one, non_blocking=True)
            self._graph.replay()
            outputs = tuple(one.cpu() for one in self._outputs)
        self._stream.synchronize()
        return outputs


def _must(done: bool, what: str) -> None:
    if not done:
        raise RuntimeError(f"TensorRT refuses {what}; its reason is on stderr")
