"""ONNX Runtime: torch.export, then ONNX; int8 is calibrated on the part's examples.

On a GPU its providers run it, TensorRT before CUDA; what they cannot run is left to the CPU. NOT
YET RUN THERE: no GPU with onnxruntime-gpu has been at hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.engines.base import SubModel, lacking, versions_of
from vla_ros.engines.device_buffers import BufferedRun, DeviceBuffers, RunsByShape
from vla_ros.engines.eager import TYPES
from vla_ros.engines.export import EXTERNAL_WEIGHTS_BYTES, exported, is_large, save_onnx
from vla_ros.engines.float8 import to_float8

ENGINE_FILE = "part.onnx"  # as ONNX Runtime wants it on this processor
WEIGHTS_FILE = "part.weights"  # its weights, which a start maps into memory and need not read
REQUIRED_LIBRARIES = ("onnx", "onnxscript", "onnxruntime")
QUANTIZED_OPERATORS = ("Conv", "MatMul", "Gemm")
# A layer with less than such a part of the largest one's arithmetic keeps its fp32: in 8 bits they
# took as long, and cost the built-in policy a quarter of its episodes (doc/engines.md).
SMALL_LAYER_PART = 32

# ONNX Runtime asks them in this order: what one does not take goes to the next.
PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
GPU_PROVIDERS = PROVIDERS[:2]
Array = NDArray[Any]
PRECISIONS = {"cpu": ("fp32", "int8"), "cuda": ("fp32", "fp16")}


class OnnxRuntime:
    """An optimized ONNX graph on the CPU; on a GPU a plain one, which its providers compile."""

    COPIES = 2

    @staticmethod
    def missing(device: str, precision: str) -> str:
        if lacks := lacking(*REQUIRED_LIBRARIES):
            return f"{' and '.join(lacks)} not installed: pip install {' '.join(lacks)}"
        kind = torch.device(device).type
        if precision not in PRECISIONS[kind]:
            has = " and ".join(PRECISIONS[kind])
            return f"onnxruntime runs {has} on a {kind.upper()} device here, not {precision}"
        if kind == "cuda" and not set(GPU_PROVIDERS) & set(available_providers()):
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
            save_onnx(exported(part, kind=TYPES[precision]), part, folder / ENGINE_FILE)
            return
        with TemporaryDirectory(dir=folder) as place:
            path = Path(place) / ENGINE_FILE
            if precision == "int8":
                save_quantized(part, path)
            else:
                save_onnx(exported(part), part, path)
            _session(path, folder / ENGINE_FILE)  # made for the file that it writes

    def __init__(self, part: SubModel, device: str, precision: str, folder: Path) -> None:
        self._inputs = part.inputs
        self._device = torch.device(device)
        self._stream: torch.cuda.Stream | None = None
        self._kept = part.kept
        self._runs = RunsByShape(self._bound)
        if self._device.type == "cpu":
            self._session = _session(folder / ENGINE_FILE)
        else:
            self._stream = torch.cuda.Stream(device)
            providers = gpu_providers(part, precision, folder, self._stream)
            self._session = _gpu_session(folder / ENGINE_FILE, providers)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if self._stream is None:
            outputs = self._session.run(None, _arrays(self._inputs, inputs))
            return tuple(map(torch.from_numpy, outputs))
        return self._runs(inputs)

    def _bound(self, inputs: Sequence[Tensor]) -> BufferedRun:
        assert self._stream is not None
        device = f"cuda:{self._stream.device.index}"
        return bound_run(self._session, self._inputs, inputs, device, self._stream, self._kept)


def bound_run(
    session: Any,
    names: Sequence[str],
    inputs: Sequence[Tensor],
    device: str,
    stream: torch.cuda.Stream | None,
    kept: Sequence[int] = (),
) -> BufferedRun:
    """A session for inputs of some shapes, bound to buffers of the device.

    Nothing is allocated or copied but what goes in and comes out, on one stream, and its work does
    not wait.
    """
    import onnxruntime

    binding = session.io_binding()
    options = onnxruntime.RunOptions()
    # The buffers wait for the stream themselves, once, behind the last copy.
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    rows = inputs[0].shape[0]
    outputs = []
    for output in session.get_outputs():
        # The batch is the only size that has a name in place of a number.
        sizes = [size if isinstance(size, int) else rows for size in output.shape]
        outputs.append((tuple(sizes), torch.float32))
    buffers = DeviceBuffers(inputs, outputs, device, stream, kept)
    place = torch.device(device)
    index = place.index or 0
    for name, given, tensor in zip(names, inputs, buffers.inputs):
        kind = given.numpy().dtype
        shape = tuple(tensor.shape)
        binding.bind_input(name, place.type, index, kind, shape, tensor.data_ptr())
    for output, tensor in zip(session.get_outputs(), buffers.outputs):
        shape = tuple(tensor.shape)
        binding.bind_output(output.name, place.type, index, np.float32, shape, tensor.data_ptr())
    return BufferedRun(buffers, lambda: session.run_with_iobinding(binding, options))


def available_providers() -> list[str]:
    """What the installed onnxruntime was built with; whether a library of theirs is missing shows
    only when a session is made."""
    import onnxruntime

    return list(onnxruntime.get_available_providers())


def gpu_providers(
    part: SubModel, precision: str, folder: Path, stream: torch.cuda.Stream
) -> list[tuple[str, dict[str, str]]]:
    """The providers that are there, the best first, each with its options.

    All run on one stream. TensorRT's engine lies in the part's own folder, and is built for 1 to
    the batch's most rows.
    """
    place = {"device_id": str(stream.device.index), "user_compute_stream": str(stream.cuda_stream)}
    engine = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder / "tensorrt")}
    best, most = part.batch
    if most > 1:
        engine["trt_profile_min_shapes"] = _profile_shapes(part, 1)
        engine["trt_profile_opt_shapes"] = _profile_shapes(part, best)
        engine["trt_profile_max_shapes"] = _profile_shapes(part, most)
    # TF32 is not fp32: the accuracy check would refuse it.
    cuda = {"use_tf32": "0"} if precision == "fp32" else {}
    options = dict(zip(PROVIDERS, (place | engine, place | cuda, {})))
    available = available_providers()
    return [(name, options[name]) for name in PROVIDERS if name in available]


def _profile_shapes(part: SubModel, rows: int) -> str:
    """So many rows of the part's inputs, in the provider's notation: image:8x224x224x3,ids:8x16."""
    shapes = []
    for name, example in zip(part.inputs, part.examples[0]):
        sizes = (rows, *example.shape[1:])
        shapes.append(f"{name}:{'x'.join(map(str, sizes))}")
    return ",".join(shapes)


def _arrays(names: Sequence[str], tensors: Sequence[Tensor]) -> dict[str, Array]:
    """Inputs by name, as a session on the CPU takes them; they share the tensors' memory."""
    return dict(zip(names, map(Tensor.numpy, tensors)))


def _gpu_session(path: Path, providers: Sequence[tuple[str, dict[str, str]]]) -> Any:
    """Raises ValueError where none of the GPU's providers came up: onnxruntime itself goes on
    without them, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=list(providers))
    if not set(GPU_PROVIDERS) & set(session.get_providers()):
        wanted = [name for name, _ in providers if name in GPU_PROVIDERS]
        raise ValueError(f"onnxruntime cannot load {' and '.join(wanted)}; its reason is on stderr")
    return session


def _session(path: Path, out: Path | None = None) -> Any:
    """A session on the CPU for the graph in `path`.

    With `out` the graph is optimized and written there; without, it was optimized before.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    if out:
        options.optimized_model_filepath = str(out)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", WEIGHTS_FILE
        )
        # it warns that the file is for this kind of processor, as the cache's key says
        options.log_severity_level = 3
    else:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _left_alone(path: Path) -> list[str]:
    """Names of the layers that stay as they are.

    Small ones, as a head of one row, make most of the error and take none of the time. So do
    products of two activations, as attention's, which have no weights at all.
    """
    import onnx

    graph = onnx.load(str(path)).graph
    weights = {}  # how many numbers; a bias, of one dimension, is none
    for tensor in graph.initializer:
        if len(tensor.dims) > 1:
            weights[tensor.name] = math.prod(tensor.dims)
    shapes = {}
    for value in (*graph.value_info, *graph.output):
        # The batch has a name in place of a size, which reads as 0: it counts as one row.
        sizes = value.type.tensor_type.shape.dim
        shapes[value.name] = [max(1, size.dim_value) for size in sizes]
    work = {}  # multiply-adds
    for node in graph.node:
        if node.op_type in QUANTIZED_OPERATORS:
            shape = shapes[node.output[0]]
            channels = shape[1 if node.op_type == "Conv" else -1]
            weight = max([weights.get(name, 0) for name in node.input])
            # Each number of the output is a sum over the weights of its channel.
            work[node.name] = math.prod(shape) * weight // channels
    most = max(work.values(), default=0)
    return [name for name, count in work.items() if count * SMALL_LAYER_PART < most]


def save_quantized(
    part: SubModel, path: Path, precision: str = "int8", symmetric: bool = False
) -> None:
    """Writes the part's graph with convolutions and products in 8 bits: weights, and activations as
    the examples'. Quantize and dequantize nodes stand around them, for a compiler to merge.

    Args:
        precision: int8, or fp8, which is symmetric.
        symmetric: 0 stays 0, and biases are left alone, as TensorRT wants it.

    Raises:
        ValueError: For a part whose weights no single ONNX file holds.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Examples(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(part.examples)

        def get_next(self) -> dict[str, Array] | None:
            example = next(self._left, None)
            return None if example is None else _arrays(part.inputs, example)

    graph = exported(part)
    if is_large(graph):
        limit = f"{EXTERNAL_WEIGHTS_BYTES / 1e9:.2g} GB"
        raise ValueError(f"{precision} is for models of less than {limit} of weights")
    save_onnx(graph, part, path)
    symmetric = symmetric or precision == "fp8"
    options = {"ActivationSymmetric": symmetric, "WeightSymmetric": True}
    options["QuantizeBias"] = not symmetric
    options["AddQDQPairToWeight"] = precision == "fp8"  # they are to be rounded to floats alone
    whole = path.with_suffix(".fp32.onnx")
    quant_pre_process(str(path), str(whole), skip_symbolic_shape=True)
    quantize_static(
        str(whole),
        str(path),
        Examples(),
        quant_format=QuantFormat.QDQ,  # the session's optimizer merges its nodes into the layers
        per_channel=True,
        activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=list(QUANTIZED_OPERATORS),
        nodes_to_exclude=_left_alone(whole),
        extra_options=options,
    )
    whole.unlink()
    if precision == "fp8":
        to_float8(path)
