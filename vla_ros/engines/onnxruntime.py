"""ONNX Runtime: torch.export, then ONNX; int8 is calibrated on the part's examples.

On a GPU its providers run it, TensorRT before CUDA; what they cannot run is left to the CPU. NOT
YET RUN THERE: no GPU with onnxruntime-gpu has been at hand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vla_ros.engines.base import SubModel, lacking, versions_of
from vla_ros.engines.device_buffers import DeviceBuffers
from vla_ros.engines.eager import TYPES
from vla_ros.engines.export import LARGE, exported, is_large, save_onnx

FILE = "part.onnx"  # as ONNX Runtime wants it on this processor
WEIGHTS = "part.weights"  # its weights, which a start maps into memory and need not read
NEEDED = ("onnx", "onnxscript", "onnxruntime")
QUANTIZED = ("Conv", "MatMul", "Gemm")
SMALL = 32  # a layer with less than such a part of the largest one's arithmetic


PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
PRECISIONS = {"cpu": ("fp32", "int8"), "cuda": ("fp32", "fp16")}


class OnnxRuntime:
    COPIES = 2

    @staticmethod
    def missing(device: str, precision: str) -> str:
        if lacks := lacking(*NEEDED):
            return f"{' and '.join(lacks)} not installed: pip install {' '.join(lacks)}"
        kind = torch.device(device).type
        if precision not in PRECISIONS[kind]:
            has = " and ".join(PRECISIONS[kind])
            return f"onnxruntime runs {has} on a {kind.upper()} device here, not {precision}"
        if kind == "cuda" and not set(PROVIDERS[:2]) & set(available_providers()):
            return "this onnxruntime has no provider for a GPU: pip install onnxruntime-gpu"
        return ""

    @staticmethod
    def versions() -> Mapping[str, str]:
        import onnxruntime  # whose distribution is another with GPU providers

        known = {"onnxruntime": onnxruntime.__version__, "providers": str(available_providers())}
        return dict(versions_of("onnx", "onnxscript")) | known

    @staticmethod
    def build(part: SubModel, device: str, precision: str, folder: Path) -> None:
        if torch.device(device).type != "cpu":
            # Optimized when it is loaded: what a provider compiled cannot be written as ONNX.
            save_onnx(exported(part, kind=TYPES[precision]), part, folder / FILE)
            return
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
        self._device = torch.device(device)
        self._stream: torch.cuda.Stream | None = None
        self._lock = Lock()
        self._runs: dict[tuple[torch.Size, ...], BoundRun] = {}
        if self._device.type == "cpu":
            self._session = _session(folder / FILE)
        else:
            self._stream = torch.cuda.Stream(device)
            providers = gpu_providers(part, precision, folder, self._stream)
            self._session = _gpu_session(folder / FILE, providers)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if self._stream is None:
            given = {name: one.numpy() for name, one in zip(self._inputs, inputs)}
            return tuple(map(torch.from_numpy, self._session.run(None, given)))
        shapes = tuple(tensor.shape for tensor in inputs)
        with self._lock, torch.no_grad():  # the buffers are one caller's at a time
            if shapes not in self._runs:
                device = f"cuda:{self._stream.device.index}"
                self._runs[shapes] = BoundRun(
                    self._session, self._inputs, inputs, device, self._stream
                )
            return self._runs[shapes](inputs)


class BoundRun:
    """A session for inputs of some shapes, bound to buffers of the device: nothing is allocated or
    copied but what goes in and comes out, on one stream, and `run` does not wait."""

    def __init__(
        self,
        session: Any,
        names: Sequence[str],
        inputs: Sequence[Tensor],
        device: str,
        stream: torch.cuda.Stream | None,
    ) -> None:
        import onnxruntime

        self._session = session
        self._binding = session.io_binding()
        self._options = onnxruntime.RunOptions()
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        rows = inputs[0].shape[0]
        told = session.get_outputs()
        # The batch is the only size that has a name in place of a number.
        shapes = [tuple(n if isinstance(n, int) else rows for n in one.shape) for one in told]
        outputs = [(shape, torch.float32) for shape in shapes]
        self._buffers = DeviceBuffers(inputs, outputs, device, stream)
        place = torch.device(device)
        index = place.index or 0
        for name, given, tensor in zip(names, inputs, self._buffers.inputs):
            kind = given.numpy().dtype
            shape = tuple(tensor.shape)
            self._binding.bind_input(name, place.type, index, kind, shape, tensor.data_ptr())
        for one, tensor in zip(told, self._buffers.outputs):
            shape = tuple(tensor.shape)
            self._binding.bind_output(
                one.name, place.type, index, np.float32, shape, tensor.data_ptr()
            )

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        self._buffers.send(inputs)
        self._session.run_with_iobinding(self._binding, self._options)
        return self._buffers.receive()


def available_providers() -> list[str]:
    """What the installed onnxruntime was built with; whether a library of theirs is missing shows
    only when a session is made."""
    import onnxruntime

    return list(onnxruntime.get_available_providers())


def gpu_providers(
    part: SubModel, precision: str, folder: Path, stream: torch.cuda.Stream
) -> list[tuple[str, dict[str, str]]]:
    """The providers that are there, the best first, each with its options: all on one stream, and
    TensorRT's engine in the part's own folder, built for 1 to the batch's most rows."""
    place = {"device_id": str(stream.device.index), "user_compute_stream": str(stream.cuda_stream)}
    engine = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder / "tensorrt")}
    best, most = part.batch
    if most > 1:
        for name, rows in (("min", 1), ("opt", best), ("max", most)):
            engine[f"trt_profile_{name}_shapes"] = ",".join(
                f"{given}:{'x'.join(map(str, (rows, *example.shape[1:])))}"
                for given, example in zip(part.inputs, part.examples[0])
            )
    # TF32 is not fp32: the accuracy check would refuse it.
    cuda = {"use_tf32": "0"} if precision == "fp32" else {}
    options = dict(zip(PROVIDERS, (place | engine, place | cuda, {})))
    there = available_providers()
    return [(name, options[name]) for name in PROVIDERS if name in there]


def _gpu_session(path: Path, providers: Sequence[tuple[str, dict[str, str]]]) -> Any:
    """Raises ValueError where none of the GPU's providers came up: onnxruntime itself goes on
    without them, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=list(providers))
    if not set(PROVIDERS[:2]) & set(session.get_providers()):
        wanted = " and ".join(name for name, _ in providers if name in PROVIDERS[:2])
        raise ValueError(f"onnxruntime cannot load {wanted}; its reason is on stderr")
    return session


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
