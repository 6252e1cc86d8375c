"""What an engine runs, and what it is asked."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

IMAGE = "image"
FRESH_INPUTS = (IMAGE, "state")  # new at each observation; what words say stays on the device


@dataclass(frozen=True)
class SubModel:
    """A piece of a model: `module` takes tensors named `inputs` and gives a tuple named `outputs`.

    `examples` are real inputs, one tuple each, all of the same shapes: engines are compiled for
    those, calibrated and compared on them. `key` stands for the config and the weights. With a
    `batch` of (8, 16) it takes 1 to 16 examples at once, stacked, and is quickest with 8; with one
    of (1, 1), what an example has. `fresh` are the inputs that are new at each observation.
    """

    name: str
    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    examples: tuple[tuple[Tensor, ...], ...]
    key: str
    batch: tuple[int, int] = (1, 1)
    fresh: tuple[str, ...] = FRESH_INPUTS

    def __post_init__(self) -> None:
        best, most = self.batch
        if not 1 <= best <= most:
            raise ValueError(
                f"batch is {self.batch}; give the rows that it is to be quickest with, 1 or more, "
                "and the most rows, no fewer"
            )

    def stacked(self, rows: int) -> tuple[Tensor, ...]:
        """So many of the examples as one input, from the first again where there are fewer."""
        # an engine may take more rows than a checkpoint has examples
        chosen = islice(cycle(self.examples), rows)
        return tuple(map(torch.cat, zip(*chosen)))

    @property
    def kept(self) -> tuple[int, ...]:
        """The inputs, by index, that stay the same for as long as an instruction does."""
        indices = range(len(self.inputs))
        return tuple(index for index in indices if self.inputs[index] not in self.fresh)

    @property
    def weight_bytes(self) -> int:
        """What its weights and buffers take in memory, once."""
        return sum(tensor.nbytes for tensor in self.module.state_dict().values())


class Engine(Protocol):
    """`build` leaves files in an empty folder, which `__init__` loads, in this process or a later
    one. `COPIES` is how often either takes the weights in memory, beside the model itself.

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
    def build(part: SubModel, device: str, precision: str, folder: Path) -> None: ...

    def __init__(self, part: SubModel, device: str, precision: str, folder: Path) -> None: ...

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Tensors on the CPU in, tensors on the CPU out."""
        ...


class AheadEngine(Engine, Protocol):
    """An engine that is built on any computer for the one that will load it.

    Its files depend on its versions and on `target` alone, not on the computer that built them.
    `TARGETS` are the names that people give, each with a target.
    """

    TARGETS: Mapping[str, str]

    @staticmethod
    def lacks(precision: str) -> str:
        """Why it cannot be built here at this precision; empty: it can."""
        ...

    @staticmethod
    def target(device: str) -> str:
        """What an engine must have been built for to run on this device."""
        ...

    @staticmethod
    def build_for(part: SubModel, target: str, precision: str, folder: Path) -> None:
        """As `build`, for a GPU that is not here."""
        ...


def lacking(*names: str) -> list[str]:
    """Which of an engine's libraries are not here; none of them is imported for that."""
    return [name for name in names if find_spec(name) is None]


def versions_of(*names: str) -> Mapping[str, str]:
    """Of torch, and of an engine's libraries."""
    libraries = dict(zip(names, map(importlib.metadata.version, names)))
    return {"torch": torch.__version__} | libraries


def to_device(tensors: Iterable[Tensor], device: str) -> tuple[Tensor, ...]:
    """The tensors on a device; those that are there already are not copied."""
    return tuple(tensor.to(device) for tensor in tensors)


def to_cpu_fp32(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """What a model has computed, as every engine gives it back."""
    return tuple(tensor.float().cpu() for tensor in tensors)
