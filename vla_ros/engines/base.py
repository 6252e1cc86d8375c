"""What an engine runs, and what it is asked."""
from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Part:
    """A piece of a model: `module` takes tensors named `inputs` and gives a tuple named `outputs`.

    `examples` are real inputs, one tuple each, all of the same shapes: engines are compiled for those, calibrated and
    compared on them. `key` stands for the config and the weights.
    """

    name: str
    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    examples: tuple[tuple[Tensor, ...], ...]
    key: str


class Engine(Protocol):
    """`build` leaves files in an empty folder, which `__init__` loads, in this process or a later one. `COPIES` is how
    often either takes the weights in memory, beside the model itself.

    Both raise what they like: whoever asked takes the next engine and says why.
    """

    COPIES: int

    @staticmethod
    def missing(device: str, precision: str) -> str:
        """Why it cannot run here at this precision; empty: it can."""
        ...

    @staticmethod
    def versions() -> Mapping[str, str]:
        """What its files depend on, beside the part, the precision and the chip."""
        ...

    @staticmethod
    def build(part: Part, device: str, precision: str, folder: Path) -> None: ...

    def __init__(self, part: Part, device: str, precision: str, folder: Path) -> None: ...

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Tensors on the CPU in, tensors on the CPU out."""
        ...


def lacking(*names: str) -> list[str]:
    """Which of an engine's libraries are not here."""
    return [name for name in names if find_spec(name) is None]


def versions_of(*names: str) -> Mapping[str, str]:
    """Of torch, and of an engine's libraries."""
    return {"torch": torch.__version__} | {name: importlib.metadata.version(name) for name in names}
