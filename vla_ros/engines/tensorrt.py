"""TensorRT on an NVIDIA GPU: torch.export, then torch_tensorrt's dynamo converter, into one
serialized engine.

The whole part must convert: there is no graph break, so the file is TensorRT's own and holds no
Python. It runs in a CUDA graph. int8 and fp8 are ModelOpt's, calibrated on the part's examples. NOT
YET RUN: no machine with torch_tensorrt has been at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from vla_ros.engines.base import SubModel, lacking, versions_of
from vla_ros.engines.eager import TYPES
from vla_ros.engines.export import calibrated, exported
from vla_ros.engines.serialized_engine import SerializedEngine

ENGINE_FILE = "part.engine"
REQUIRED_LIBRARIES = ("torch_tensorrt", "tensorrt")
# The compute capability from which on a chip has them.
EIGHT_BIT_CAPABILITY = {"int8": (7, 2), "fp8": (8, 9)}
WORKSPACE_BYTES = 1 << 30


class TensorRT(SerializedEngine):
    """An engine that torch_tensorrt builds on the GPU that will run it."""

    COPIES = 2

    @staticmethod
    def missing(device: str, precision: str) -> str:
        required = list(REQUIRED_LIBRARIES)
        if precision in EIGHT_BIT_CAPABILITY:
            required.append("modelopt")
        if lacks := lacking(*required):
            names = " and ".join(lacks)
            return f"{names} not installed; which belong together is in doc/engines.md"
        if torch.device(device).type != "cuda" or not torch.cuda.is_available():
            return f"tensorrt needs an NVIDIA GPU; torch sees {device}"
        least = EIGHT_BIT_CAPABILITY.get(precision, (0, 0))
        has = torch.cuda.get_device_capability(device)
        if has < least:
            return (
                f"{precision} is for a chip of compute capability {least[0]}.{least[1]} or more, "
                f"and this one has {has[0]}.{has[1]}"
            )
        return ""

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
            row = example.shape[1:]
            return torch_tensorrt.Input(
                min_shape=(1, *row),
                opt_shape=(best, *row),
                max_shape=(most, *row),
                dtype=example.dtype,
            )

        # The timing cache's usual place is one file in /tmp for all users.
        with torch.cuda.device(device), TemporaryDirectory() as place:
            if precision in EIGHT_BIT_CAPABILITY:
                graph = calibrated(part, device, precision)
            else:
                graph = exported(part, device, TYPES[precision])
            engine = torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine(
                graph,
                arg_inputs=list(map(sized, part.examples[0])),
                use_explicit_typing=True,  # the graph's own types, as `exported` has set them
                disable_tf32=precision == "fp32",  # that is not fp32: it would be refused
                workspace_size=WORKSPACE_BYTES,
                require_full_compilation=True,
                assume_dynamic_shape_support=most > 1,
                timing_cache_path=str(Path(place) / "timing"),
            )
        (folder / ENGINE_FILE).write_bytes(engine)

    def __init__(self, part: SubModel, device: str, precision: str, folder: Path) -> None:
        import tensorrt

        super().__init__(tensorrt, folder / ENGINE_FILE, part, device)
