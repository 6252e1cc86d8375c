"""How `vla bench gpu` runs a part of a model: by torch, compiled, on an engine, as a CUDA graph."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vla_ros.core.registry import lookup
from vla_ros.engines import ENGINES, accuracy_check, inductor
from vla_ros.engines.base import SubModel, to_cpu_fp32, to_device
from vla_ros.engines.eager import TYPES, Eager
from vla_ros.engines.export import Cast
from vla_ros.engines.select import EngineRequest, load_engine

PLAIN = "plain"
COMPILED = "torch.compile"
FRESH_INPUTS = ("image", "state")  # new at each observation; words stay on the device
WARM_UP_RUNS = 3  # before a graph is recorded: what allocates and chooses does so once

Run = Callable[..., Sequence[Tensor]]


@dataclass
class ExecutionWay:
    """How a part runs.

    Attributes:
        open: Gives what takes tensors on the device and gives such; None where an engine does not
            offer that.
        call: Tensors on the CPU in and out, as the engine does it; None: there is no engine.
        difference: The largest from the model, in its largest value; None: nobody has compared.
        cached: Did a start find what an earlier one had compiled?
    """

    open: Callable[[], Run] | None
    call: Run | None = None
    difference: float | None = None
    cached: bool = False


def missing(way: str, device: str, precision: str) -> str:
    """Why a way cannot run here at a precision; empty: it can. An engine that is not registered is
    named as module:Class."""
    if way == PLAIN:
        return Eager.missing(device, precision).replace("eager", way)
    if way == COMPILED:
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
        made = ExecutionWay(None, loaded.engine, loaded.difference, loaded.cached)
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
    """Runs with inputs that stay on the device.

    Those of `fresh`, by their index, are copied there each time, from `host`, and the outputs back.
    """

    def __init__(self, run: Run, host: Sequence[Tensor], fresh: Sequence[int], device: str) -> None:
        self.run = run
        self.host = list(host)
        self.fresh = list(fresh)
        self.device = device
        # copies on a CPU as well: `load` writes into them
        self.inputs = [tensor.to(device, copy=True) for tensor in host]

    def load(self, host: Sequence[Tensor]) -> None:
        """Takes other inputs of the same shapes."""
        for index, tensor in enumerate(host):
            self.host[index].copy_(tensor)
            self.inputs[index].copy_(tensor)

    def step(self) -> Sequence[Tensor]:
        """What is on the device alone; done when the device says so."""
        return self.run(*self.inputs)

    def __call__(self) -> list[Tensor]:
        given = list(self.inputs)
        for index in self.fresh:
            given[index] = self.host[index].to(self.device)
        return list(to_cpu_fp32(self.run(*given)))


class Recorded(Resident):
    """The same as one CUDA graph, with page-locked memory at both ends and one wait, at the end."""

    def __init__(self, run: Run, host: Sequence[Tensor], fresh: Sequence[int], device: str) -> None:
        super().__init__(run, list(map(Tensor.pin_memory, host)), fresh, device)
        # On a stream of its own, as torch wants it before a capture.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_RUNS):
                run(*self.inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = list(run(*self.inputs))
        self._answers: list[Tensor] = []
        for output in self._outputs:
            answer = torch.empty(output.shape, dtype=output.dtype, pin_memory=True)
            self._answers.append(answer)

    def step(self) -> Sequence[Tensor]:
        self._graph.replay()
        return self._outputs

    def __call__(self) -> list[Tensor]:
        for index in self.fresh:
            self.inputs[index].copy_(self.host[index], non_blocking=True)
        self._graph.replay()
        for answer, output in zip(self._answers, self._outputs):
            answer.copy_(output, non_blocking=True)
        torch.cuda.current_stream().synchronize()
        return self._answers


def letterbox(image: Tensor, size: tuple[int, int]) -> Tensor:
    """B x H x W x 3 uint8 -> B x height x width x 3 uint8, all of the image in it, on its device.

    It averages where it shrinks, as core.images.resize does with other weights.
    """
    height, width = size
    scale = min(height / image.shape[1], width / image.shape[2])
    inner = (max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[2])))
    pixels = F.interpolate(
        image.permute(0, 3, 1, 2).float(), inner, mode="bilinear", antialias=True
    )
    top = (height - inner[0]) // 2
    left = (width - inner[1]) // 2
    padded = F.pad(pixels, (left, width - inner[1] - left, top, height - inner[0] - top))
    return padded.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


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
