"""TensorRT for RTX: torch.export, ONNX, then one serialized engine for RTX 30, 40 or 50.

An engine is built on any computer, with no GPU and no driver, for the compute capabilities that are
asked for; the GPU that loads it compiles the kernels for itself, and they are kept with the engine.
Built in `make test`; LOADING IS NOT YET RUN: no RTX GPU has been at hand.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import filterfalse
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vla_ros.engines import RTX_WHEELS
from vla_ros.engines.base import SubModel, lacking
from vla_ros.engines.cache import RUNTIME_FOLDER
from vla_ros.engines.eager import TYPES
from vla_ros.engines.export import exported, save_onnx
from vla_ros.engines.onnxruntime import save_quantized
from vla_ros.engines.serialized_engine import SerializedEngine

ENGINE_FILE = "part.engine"
KERNELS_FILE = "kernels"  # as compiled for one GPU, behind their hash
MODULE_NAMES = ("tensorrt_rtx_bindings", "tensorrt_rtx")  # PyPI's wheel, and NVIDIA's own package
REQUIRED_LIBRARIES = ("onnx", "onnxscript")
QUANTIZED = ("int8", "fp8")
PRECISIONS = (*TYPES, *QUANTIZED)
# What is sold under which name. An engine for 8.6 does not run on 8.9.
TARGETS = {
    "rtx30": "sm_86",
    "rtx40": "sm_89",
    "rtx50": "sm_120",
    "sm_80": "sm_80",
    "sm_86": "sm_86",
    "sm_89": "sm_89",
    "sm_120": "sm_120",
    "sm_121": "sm_121",
}
WITHOUT_FP8 = ("sm_80", "sm_86")
# Parts of warnings that are known, and why they are of no concern.
EXPLAINED_WARNINGS = {
    "has Int64 binding": "ids are bound as int64, and a type that differs is refused at loading",
}


class Serialized(NamedTuple):
    """An engine, and how it came about.

    Attributes:
        data: Its file.
        warned: What TensorRT warned of, less what is explained.
        explained: What it warned of, and EXPLAINED_WARNINGS knows.
        export_s: What the graph took of the processors, calibration included.
        build_s: What TensorRT took of them, in all of its threads.
    """

    data: bytes
    warned: list[str]
    explained: list[str]
    export_s: float
    build_s: float


class TensorRTRTX(SerializedEngine):
    """An engine for one compute capability, with the kernels that a GPU compiled of it."""

    COPIES = 4
    TARGETS = TARGETS

    @staticmethod
    def lacks(precision: str) -> str:
        """Why it cannot be built here at this precision, for whatever GPU; empty: it can."""
        calibrates = ("onnxruntime",) if precision in QUANTIZED else ()
        if lacks := lacking(*REQUIRED_LIBRARIES, *calibrates):
            return f"{' and '.join(lacks)} not installed: pip install {' '.join(lacks)}"
        return _unknown(precision)

    @staticmethod
    def missing(device: str, precision: str) -> str:
        """What was built ahead runs without all that building needs."""
        if why := _unknown(precision):
            return why
        if torch.device(device).type != "cuda" or not torch.cuda.is_available():
            return f"tensorrt_rtx needs an NVIDIA RTX GPU; torch sees {device}"
        target = TensorRTRTX.target(device)
        if target not in TARGETS:
            known = ", ".join(sorted(set(TARGETS.values())))
            return f"TensorRT for RTX is for {known}, and this GPU is {target}"
        return _unfit(target, precision)

    @staticmethod
    def target(device: str) -> str:
        """All of the GPU that an engine's file depends on."""
        major, minor = torch.cuda.get_device_capability(device)
        return f"sm_{major}{minor}"

    @staticmethod
    def versions() -> Mapping[str, str]:
        """Not torch's, which has no part in the file: a laptop's is another than the robot's."""
        return {"tensorrt_rtx": library().__version__}

    @staticmethod
    def build(part: SubModel, device: str, precision: str, folder: Path) -> None:
        if why := TensorRTRTX.lacks(precision):
            raise ValueError(why)
        TensorRTRTX.build_for(part, TensorRTRTX.target(device), precision, folder)

    @staticmethod
    def build_for(part: SubModel, target: str, precision: str, folder: Path) -> None:
        """Leaves the engine for `target`, as sm_89, in `folder`; needs no GPU."""
        engine = serialize(part, [target], precision)
        for text in engine.warned:
            logging.getLogger(__name__).warning("TensorRT for RTX on %s: %s", part.name, text)
        (folder / ENGINE_FILE).write_bytes(engine.data)

    def __init__(self, part: SubModel, device: str, precision: str, folder: Path) -> None:
        rtx = library()
        super().__init__(rtx, folder / ENGINE_FILE, part, device)
        self._eager = rtx.DynamicShapesKernelSpecializationStrategy.EAGER
        name = torch.cuda.get_device_name(device).replace(" ", "_").replace("/", "_")
        self._place = folder / RUNTIME_FOLDER / f"{KERNELS_FILE} {name}"
        self._kernels = self._engine.create_runtime_config().create_runtime_cache()
        if kept := read_hashed(self._place):
            # It refuses those of another driver, GPU or version, and compiles anew.
            with torch.cuda.device(device):
                self._kernels.deserialize(kept)
        self._kept = hashlib.sha256(kept).digest()

    def make_context(self) -> Any:
        config = self._engine.create_runtime_config()
        # Otherwise general kernels run until better ones are compiled beside, and the CUDA graph
        # would hold the general ones for good.
        config.dynamic_shapes_kernel_specialization_strategy = self._eager
        config.set_runtime_cache(self._kernels)
        return self._engine.create_execution_context(runtime_config=config)

    def keep_kernels(self) -> None:
        data = bytes(self._kernels.serialize())
        if hashlib.sha256(data).digest() != self._kept:
            write_hashed(self._place, data)
            self._kept = hashlib.sha256(data).digest()


def _unknown(precision: str) -> str:
    if len(lacking(*MODULE_NAMES)) == len(MODULE_NAMES):
        return f"TensorRT for RTX is not installed: pip install {RTX_WHEELS}"
    if precision not in PRECISIONS:
        return f"tensorrt_rtx runs {', '.join(PRECISIONS)} here, not {precision}"
    return ""


def _unfit(target: str, precision: str) -> str:
    """Why a GPU's cores do not compute at this precision; empty: they do."""
    if precision == "fp8" and target in WITHOUT_FP8:
        return f"fp8 is for compute capability 8.9 or more (RTX 40, RTX 50), and this is {target}"
    return ""


def library() -> Any:
    """The module, by the first of its names that is here. Raises ImportError where none is."""
    absent = lacking(*MODULE_NAMES)
    for name in MODULE_NAMES:
        if name not in absent:
            return importlib.import_module(name)
    return importlib.import_module(MODULE_NAMES[0])  # raises, and names it


def serialize(part: SubModel, targets: Sequence[str], precision: str) -> Serialized:
    """The part's engine for some GPUs.

    Args:
        targets: Compute capabilities, as sm_89.

    Raises:
        ValueError: With TensorRT's own words, where it cannot take the graph; for a precision that
            a target has not.
    """
    for target in targets:
        if why := _unfit(target, precision):
            raise ValueError(why)
    began = time.process_time()
    rtx = library()
    log = _log(rtx)
    builder = rtx.Builder(log)
    network = builder.create_network(1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = rtx.OnnxParser(network, log)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "part.onnx"
        if precision in QUANTIZED:
            save_quantized(part, path, precision, symmetric=True)
        else:
            save_onnx(exported(part, kind=TYPES[precision]), part, path)
        exported_at = time.process_time()
        if not parser.parse_from_file(str(path)):
            raise ValueError(f"its parser refuses {part.name}: {_reasons(parser)}")
        config = builder.create_builder_config()
        _aim(rtx, config, targets)
        if precision == "fp32":
            config.clear_flag(rtx.BuilderFlag.TF32)  # that is not fp32: it would be refused
        if part.batch[1] > 1:
            config.add_optimization_profile(_profile(builder, network, part.batch))
        data = builder.build_serialized_network(network, config)
    if data is None:
        raise ValueError(f"it cannot build {part.name}: {'; '.join(log.errors) or 'no reason'}")
    return Serialized(
        bytes(data),
        list(filterfalse(_is_explained, log.warned)),
        list(filter(_is_explained, log.warned)),
        exported_at - began,
        time.process_time() - exported_at,
    )


def _is_explained(warning: str) -> bool:
    return any(part in warning for part in EXPLAINED_WARNINGS)


def _reasons(parser: Any) -> str:
    """What a parser refuses: the operators, and why."""
    reasons = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        reasons.append(f"{error.node_operator()} ({error.desc()})")
    return "; ".join(reasons)


def _aim(rtx: Any, config: Any, targets: Sequence[str]) -> None:
    """Builds for the targets, which need not be here."""
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        capability = getattr(rtx.ComputeCapability, target.replace("sm_", "SM"), None)
        if capability is None or not config.set_compute_capability(capability, index):
            raise ValueError(f"TensorRT for RTX {rtx.__version__} builds nothing for {target}")


def _profile(builder: Any, network: Any, batch: tuple[int, int]) -> Any:
    """1 to the most rows, quickest with the best: batch is (best, most)."""
    best, most = batch
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        row = tuple(tensor.shape)[1:]  # the first is the batch
        profile.set_shape(tensor.name, (1, *row), (best, *row), (most, *row))
    return profile


def _log(rtx: Any) -> Any:
    """A logger of the library that keeps what it is told."""

    class BuildLog(rtx.ILogger):
        def __init__(self) -> None:
            rtx.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warned: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity <= rtx.ILogger.Severity.ERROR:
                self.errors.append(text)
            elif severity == rtx.ILogger.Severity.WARNING:
                self.warned.append(text)

    return BuildLog()


def read_hashed(path: Path) -> bytes:
    """What `write_hashed` wrote; nothing where it is not there, or not whole."""
    try:
        data = path.read_bytes()
    except OSError:
        return b""
    size = hashlib.sha256().digest_size
    digest = data[:size]
    content = data[size:]
    return content if hashlib.sha256(content).digest() == digest else b""


def write_hashed(path: Path, data: bytes) -> None:
    """Whole or not at all; where nothing can be written, it is compiled at the next start again."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        aside = path.with_name(f".{os.getpid()}")  # two processes may write at once
        aside.write_bytes(hashlib.sha256(data).digest() + data)
        aside.replace(path)
