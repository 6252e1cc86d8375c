"""Ahead of time by Inductor: torch.export, then native code that is loaded without compiling."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vla_ros.engines.base import SubModel, to_cpu_fp32, to_device, versions_of
from vla_ros.engines.eager import TYPES, Eager
from vla_ros.engines.export import exported

ENGINE_FILE = "part.pt2"


class Inductor:
    """Torch's AOTInductor: a package of native code and weights for one device, a CPU."""

    COPIES = 2

    @staticmethod
    def missing(device: str, precision: str) -> str:
        if torch.device(device).type != "cpu":
            # On an H200 they did, of every model and precision (doc/bench_gpu.md). A process that
            # ends takes the policy along; no fallback catches that.
            return "inductor is for a CPU: its packages end the process that runs them on a GPU"
        if not any(map(shutil.which, ("g++", "c++", "clang++"))):
            return "inductor compiles C++ here, and there is no compiler: apt install g++"
        # It runs what eager runs, so the reasons are eager's under its own name.
        return Eager.missing(device, precision).replace("eager", "inductor")

    @staticmethod
    def versions() -> Mapping[str, str]:
        return versions_of()

    @staticmethod
    def build(part: SubModel, device: str, precision: str, folder: Path) -> None:
        # Imported here: a start that finds its engine in the cache never needs the compiler.
        from torch._inductor import aoti_compile_and_package

        graph = exported(part, device, TYPES[precision])
        aoti_compile_and_package(graph, package_path=str(folder / ENGINE_FILE))

    def __init__(self, part: SubModel, device: str, precision: str, folder: Path) -> None:
        self._device = device
        # What aoti_load_package comes to, with its defaults: one runner, on the current device.
        # That function imports the compiler first, which takes seconds at every start.
        self._loaded = torch._C._aoti.AOTIModelPackageLoader(
            str(folder / ENGINE_FILE), "model", False, 1, -1
        )

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            return to_cpu_fp32(self._loaded.run(list(to_device(inputs, self._device))))
