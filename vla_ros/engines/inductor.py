"""Ahead of time by Inductor: torch.export, then native code in a file that is loaded without
compiling."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vla_ros.engines.base import SubModel, versions_of
from vla_ros.engines.eager import TYPES, Eager
from vla_ros.engines.export import exported

FILE = "part.pt2"


class Inductor:
    COPIES = 2

    @staticmethod
    def missing(device: str, precision: str) -> str:
        if device == "cpu" and not any(map(shutil.which, ("g++", "c++", "clang++"))):
            return "inductor compiles C++ here, and there is no compiler: apt install g++"
        return Eager.missing(device, precision).replace("eager", "inductor")

    @staticmethod
    def versions() -> Mapping[str, str]:
        return versions_of()

    @staticmethod
    def build(part: SubModel, device: str, precision: str, folder: Path) -> None:
        from torch._inductor import aoti_compile_and_package

        aoti_compile_and_package(
            exported(part, device, TYPES[precision]), package_path=str(folder / FILE)
        )

    def __init__(self, part: SubModel, device: str, precision: str, folder: Path) -> None:
        # What aoti_load_package comes to. That one imports the compiler first, which takes seconds
        # at every start. its defaults: one runner, on the current device
        self._device = device
        self._loaded = torch._C._aoti.AOTIModelPackageLoader(
            str(folder / FILE), "model", False, 1, -1
        )

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            return tuple(
                one.float().cpu()
                for one in self._loaded.run([one.to(self._device) for one in inputs])
            )
