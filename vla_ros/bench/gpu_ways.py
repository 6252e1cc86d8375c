"""How `vla bench gpu` runs a part of a model: by torch, compiled, on an engine, as a CUDA graph."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from vla_ros.core.registry import lookup
from vla_ros.engines import ENGINES, accuracy_check, inductor
from vla_ros.engines.base import SubModel, to_cpu_fp32, to_device
from vla_ros.engines.device_buffers import Run
from vla_ros.engines.eager import TYPES, Eager
from vla_ros.engines.export import Cast
from vla_ros.engines.select import EngineRequest, load_engine

PLAIN = "plain"
COMPILED = "torch.compile"


@dataclass
class ExecutionWay:
    """How a part runs.

    Attributes:
        open: Gives what takes tensors on the device and gives such; None where an engine does not
            offer that.
        call: Tensors on the CPU in and out, as the engine does it; None: there is no engine.
        difference: The largest from the model, in its largest value; None: nobody has compared.
        cached: Did a start find what an earlier one had compiled?
        fits: Does `call` take an image of a camera's size?
    """

    open: Callable[[], Run] | None
    call: Run | None = None
    difference: float | None = None
    cached: bool = False
    fits: bool = False


def missing(way: str, device: str, precision: str) -> str:
    """Why a way cannot run here at a precision; empty: it can. An engine that is not registered is
    named as module:Class."""
    if way == PLAIN:
        return Eager.missing(device, precision).replace("eager", way)
    if way == COMPILED and device != "cpu":
        return Eager.missing(device, precision).replace("eager", way)
    if way == COMPILED:  # which wants a compiler there
        return inductor.Inductor.missing(device, precision).replace("inductor", way)
    _register(way)
    return str(lookup(ENGINES, way, "engine").missing(device, precision))


def make(way: str, part: SubModel, device: str, precision: str, folder: Path) -> ExecutionWay:
    """The part on the device, ready to run; what compiles has done so.

    Args:
        way: PLAIN, COMPILED, or an engine by its name or as module:Class.
        folder: Where this way, part and precision alone keep what they compile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / "compiled"  # left by an earlier start that compiled into this folder
    cached = mark.exists()
    if way in (PLAIN, COMPILED):
        module = Cast(copy.deepcopy(part.module).to(device), TYPES[precision]).eval()
        run = _compiled(module, part) if way == COMPILED else module
        run(*to_device(part.stacked(part.batch[0]), device))  # it compiles now
        made = ExecutionWay(lambda: run, cached=cached)
    else:
        _register(way)
        loaded = load_engine(
            part, EngineRequest(way, precision, (), device=device, cache=str(folder))
        )
        fits = way == "eager" and device != "cpu"
        made = ExecutionWay(None, loaded.engine, loaded.difference, loaded.cached, fits)
        if way == "inductor":  # its package can be called with what is on the device already
            packages = folder.glob(f"*/{inductor.ENGINE_FILE}")
            package = max(packages, key=lambda path: path.stat().st_mtime)
            made.open = partial(_of_package, package)
    mark.touch()
    return made


def _register(way: str) -> None:
    if ":" in way:
        ENGINES[way] = way


def _compiled(module: torch.nn.Module, part: SubModel) -> Run:
    compiled = torch.compile(module)

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        if part.batch[1] > 1:
            for tensor in inputs:  # else it would compile anew for each number of rows
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        return tuple(compiled(*inputs))

    return run


def _of_package(path: Path) -> Run:
    """What Inductor's engine loads, less the locks between threads, which no graph can record."""
    loaded = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", True, 1, -1)
    return lambda *inputs: loaded.run(list(inputs))


class Resident:
    """Runs as torch is used plainly, from memory that is not page-locked; words stay on the device.

    Args:
        host: The part's inputs, of which those that are not `part.kept` are copied each time.
    """

    def __init__(self, run: Run, host: Sequence[Tensor], part: SubModel, device: str) -> None:
        self._run = run
        self._host = host
        self._kept = part.kept
        self._device = device
        self._inputs = to_device(host, device)

    def step(self) -> None:
        """What is on the device alone; done when the device says so."""
        self._run(*self._inputs)

    def __call__(self) -> tuple[Tensor, ...]:
        given = list(self._inputs)
        for index, tensor in enumerate(self._host):
            if index not in self._kept:
                given[index] = tensor.to(self._device)
        return to_cpu_fp32(self._run(*given))


def difference(outputs: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """The largest of all outputs, each in the largest value that is wanted of it.

    Infinity for a value that is no finite number.
    """
    largest = 0.0
    for output, reference in zip(outputs, wanted):
        if not bool(torch.isfinite(output).all()):
            return float("inf")
        largest = max(largest, accuracy_check.difference(output.float(), reference))
    return largest
