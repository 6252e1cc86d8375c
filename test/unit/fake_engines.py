"""Engines that are not to be trusted, and one that is."""
from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from vla_ros.engines.base import SubModel


class Good:
    """Computes as the model does; counts how often it was built and loaded."""

    built: ClassVar[list[str]] = []
    loaded: ClassVar[list[str]] = []
    version = "1"
    COPIES = 2

    @classmethod
    def missing(cls, device: str, precision: str) -> str:
        return "" if precision == "fp32" else f"it runs fp32, not {precision}"

    @classmethod
    def versions(cls) -> dict[str, str]:
        return {"fake": cls.version}

    @classmethod
    def build(cls, part: SubModel, device: str, precision: str, folder: Path) -> None:
        cls.built.append(part.name)
        (folder / "engine.bin").write_bytes(b"engine" * 100)

    def __init__(self, part: SubModel, device: str, precision: str, folder: Path) -> None:
        if (folder / "engine.bin").read_bytes() != b"engine" * 100:
            raise ValueError("these are not the bytes that were built")
        self.loaded.append(part.name)
        self.part = part

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(one.detach() for one in self.part.module(*inputs))


class Noted(Good):
    """Runs, and has something to say of how."""

    notes: ClassVar[list[str]] = ["it runs kernel by kernel"]


class Missing(Good):
    @classmethod
    def missing(cls, device: str, precision: str) -> str:
        return "its library is not installed"


class Broken(Good):
    @classmethod
    def build(cls, part: SubModel, device: str, precision: str, folder: Path) -> None:
        (folder / "half").write_bytes(b"written")
        raise RuntimeError("the compiler does not know this operator")


class Off(Good):
    """Adds `error` of the largest value to its last output."""

    error = 0.0

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        *others, last = super().__call__(*inputs)
        return *others, last + self.error * last.abs().max()


class Wrong(Off):
    error = 0.5


class NotANumber(Off):
    error = float("nan")


class Ahead(Good):
    """Is built on any computer for a GPU of the name `gpu`, which this one has."""

    TARGETS: ClassVar[dict[str, str]] = {"green": "g1", "blue": "b1"}
    gpu = "g1"

    @staticmethod
    def lacks(precision: str) -> str:
        return "" if precision in ("fp32", "fp16") else f"it runs fp32 and fp16, not {precision}"

    @classmethod
    def target(cls, device: str) -> str:
        return cls.gpu

    @classmethod
    def build_for(cls, part: SubModel, target: str, precision: str, folder: Path) -> None:
        cls.built.append(target)
        (folder / "engine.bin").write_bytes(b"engine" * 100)


class AheadWrong(Ahead, Wrong):
    """Computes something else."""


class Slow(Good):
    @classmethod
    def build(cls, *arguments: Any) -> None:
        time.sleep(1.0)
        super().build(*arguments)
