"""What `vla bench gpu` runs in a process of its own: the floors, or ways to run parts of one model.

`python -m vla_ros.bench.gpu_trial SPEC` reads the JSON that SPEC is, and prints a line of JSON for
all that it knows, as soon as it knows it: whoever reads has those even where it crashes or hangs.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import json
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vla_ros.bench import gpu_floors, gpu_ways
from vla_ros.bench.gpu_floors import timed, wait
from vla_ros.bench.gpu_table import folder_of
from vla_ros.bench.gpu_ways import ExecutionWay, Resident
from vla_ros.engines.base import SubModel, to_device
from vla_ros.engines.device_buffers import BufferedRun, Run, buffered
from vla_ros.engines.letterbox import letterbox

PR_SET_PDEATHSIG = 1  # of prctl(2), as linux/prctl.h numbers it
CAMERA_IMAGE = np.random.default_rng(0).integers(0, 256, (1, 480, 640, 3), np.uint8)
WHOLE = "whole"  # else an item is of one of the halves, by its part's name
BATCHES = (8, 16)  # images at once: an engine is quickest with the first, and takes the second


def say(**line: Any) -> None:
    """Prints what is known by now; at once, because a crash would take along what is buffered."""
    print(json.dumps(line), flush=True)


def main(argv: Sequence[str]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # whoever started it has ended
    spec: dict[str, Any] = json.loads(argv[0])
    torch.set_num_threads(spec["threads"])
    with torch.no_grad():
        if spec["config"] is None:
            _machine(spec)
        else:
            GpuTrial(spec).run()


def _machine(spec: Mapping[str, Any]) -> None:
    device = spec["device"]
    lacks = {}
    for way in spec["ways"]:
        for precision in spec["precisions"]:
            lacks[f"{way} {precision}"] = gpu_ways.missing(way, device, precision)
    say(item=0, phase="making", machine=gpu_floors.facts(device), missing=lacks)
    if spec["floors"]:
        for name, figures in gpu_floors.floors(device, spec["quick"]):
            say(item=0, phase="measuring", floor=name, figures=figures)
    say(item=0, phase="done")


class GpuTrial:
    """Items of one model, one after the other.

    An item is a way, a precision, how many rows at once and which piece.

    Args:
        spec: As `bench_gpu.Day` writes it: the model, the items, the device, and how to go about.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        from vla_ros.bench.policy_models import halves_of, model_of
        from vla_ros.engines.compiled_vla import sub_models_of

        self.spec = spec
        self.device: str = spec["device"]
        # The reference outputs by piece and rows: all ways of a piece are compared with the same.
        self.wanted: dict[tuple[str, int], Sequence[Tensor]] = {}
        vla, given, key = model_of(spec["config"], spec["quick"], self.device)
        _, acting = sub_models_of(vla, given, key)
        self.size = vla.config.image_size
        self.whole = acting
        self.halves: dict[str, SubModel] = {}
        if any(item[3] != WHOLE for item in spec["items"]):
            for part in halves_of(acting):
                self.halves[part.name] = part
        if spec["facts"]:
            say(model=self._facts(vla))

    def run(self) -> None:
        for index, item in enumerate(self.spec["items"]):
            say(item=index, phase="making")
            try:
                used = self._measure(index, *item)
            except Exception as error:  # a compiler raises what it likes; the next item is due
                say(item=index, phase="done", problem=_words(error))
                wait(self.device)  # raises where the GPU is lost to this process: a new one goes on
            else:
                self._clear()  # what this gives back is what the item had
                say(item=index, phase="done", memory=used if self._cpu else used - self._used())
            self._clear()

    def _measure(self, index: int, way: str, precision: str, rows: int, piece: str) -> float:
        """Says all figures of an item. Returns the bytes in use when it was measured."""
        part = self._part(piece, rows)
        name = folder_of(self.spec["config"], way, precision, rows, piece)
        folder = Path(self.spec["cache"]) / name

        # The start: what compiles does so until the first answer is there.
        began = time.perf_counter()
        made = gpu_ways.make(way, part, self.device, precision, folder)
        here = self._here(made, part, rows)
        here()
        start = time.perf_counter() - began
        say(item=index, phase="made", start=start, cached=made.cached, difference=made.difference)
        if self.spec["wait"]:
            sys.stdin.readline()  # others compile meanwhile, and would disturb what is measured
        if self.spec["start_only"]:
            return self._used()

        # Call by call.
        say(item=index, phase="measuring")
        began = time.perf_counter()
        here()
        say(item=index, phase="measuring", first=1e3 * (time.perf_counter() - began))
        self._figures(index, made, part, rows, piece)
        if isinstance(here, Resident):
            apart = self._apart(here, part, rows, piece)
            say(item=index, phase="measuring", difference=apart)
        here = made.call = None  # an engine and its package would take twice the memory

        # As one CUDA graph.
        if made.open is not None and not self._cpu:
            say(item=index, phase="graph")
            try:
                self._recorded(index, made.open(), part, rows, piece)
            except Exception as error:  # not every run can be recorded; the item has its figures
                say(item=index, phase="graph", graph=True, problem=_words(error))
        return self._used()

    def _figures(
        self, index: int, made: ExecutionWay, part: SubModel, rows: int, piece: str
    ) -> None:
        """Says what each run takes, call by call.

        Of the whole with its copies in and out, of a half without them where that is to be had.
        """
        whole = piece == WHOLE
        run = made.open() if made.open is not None and not whole else None
        for many in BATCHES if rows > 1 else (1,):
            if run is not None:
                here = self._awaited(Resident(run, part.stacked(many), part, self.device))
            else:
                here = self._here(made, part, many)
            figures = self._timed(here, thorough=whole and rows == 1)
            self._say(index, piece if rows == 1 else f"batch {many}", figures)
        if whole and rows == 1 and made.fits and made.call is not None:
            call = made.call
            inputs = _from_camera(part)
            self._say(index, "from the camera", self._timed(lambda: call(*inputs)))
        elif whole and rows == 1 and find_spec("cv2") is not None:
            from vla_ros.core.images import resize

            def from_camera() -> None:
                resize(CAMERA_IMAGE[0], self.size, "pad")
                here()

            self._say(index, "from the camera", self._timed(from_camera))

    def _recorded(self, index: int, run: Run, part: SubModel, rows: int, piece: str) -> None:
        """The same as one CUDA graph, in which the camera's image is resized as well."""
        whole = piece == WHOLE
        for many in BATCHES if rows > 1 else (1,):
            host = part.stacked(many)
            graph = self._graph(run, host, part)
            here = partial(graph, host) if whole else self._awaited(graph)
            figures = self._timed(here, thorough=whole and rows == 1)
            self._say(index, piece if rows == 1 else f"batch {many}", figures, graph=True)
        if whole and rows == 1:
            apart = self._apart(partial(graph, host), part, rows, piece)
            say(item=index, phase="graph", graph=True, difference=apart)
            inputs = _from_camera(part)
            from_camera = self._graph(
                lambda raw, *others: run(letterbox(raw, self.size), *others), inputs, part
            )
            figures = self._timed(lambda: from_camera(inputs))
            self._say(index, "from the camera", figures, graph=True)

    def _graph(self, run: Run, host: Sequence[Tensor], part: SubModel) -> BufferedRun:
        graph = buffered(run, host, self.device, torch.cuda.Stream(), part.kept)
        graph.record()
        return graph

    def _timed(self, run: Callable[[], Any], thorough: bool = False) -> dict[str, float]:
        runs, most_s = (5, 0.1) if self.spec["quick"] else (200, 1.0)
        if thorough:
            return timed(run, runs, most_s)
        # All but the whole of one image: a quarter of the runs, so that there is time for all.
        return timed(run, max(5, runs // 4), most_s / 4)

    def _say(self, index: int, name: str, figures: dict[str, float], graph: bool = False) -> None:
        """Says the figures of an item under a name of the table."""
        phase = "graph" if graph else "measuring"
        say(item=index, phase=phase, graph=graph, name=name, figures=figures)

    def _here(self, made: ExecutionWay, part: SubModel, rows: int) -> Any:
        """What takes an input on the CPU to an output on the CPU."""
        host = part.stacked(rows)
        if made.call is not None:
            call = made.call
            return lambda: call(*host)
        assert made.open is not None
        return Resident(made.open(), host, part, self.device)

    def _awaited(self, resident: Resident | BufferedRun) -> Callable[[], None]:
        """Its step without copies, until the device has done it."""

        def once() -> None:
            resident.step()
            wait(self.device)

        return once

    def _part(self, piece: str, rows: int) -> SubModel:
        part = self.whole if piece == WHOLE else self.halves[piece]
        if rows == 1:
            return part
        return replace(part, batch=BATCHES)

    def _apart(
        self, here: Callable[[], Sequence[Tensor]], part: SubModel, rows: int, piece: str
    ) -> float:
        """From the model in fp32, run by torch on the same device without TF32."""
        known = (piece, rows)
        if known not in self.wanted:
            self.wanted[known] = self._reference(part, rows)
        return gpu_ways.difference(here(), self.wanted[known])

    def _reference(self, part: SubModel, rows: int) -> Sequence[Tensor]:
        torch.backends.cudnn.allow_tf32 = False  # torch's default is True, for convolutions alone
        folder = Path(self.spec["cache"]) / "reference"
        try:
            plain = gpu_ways.make(gpu_ways.PLAIN, part, self.device, "fp32", folder)
            assert plain.open is not None
            return Resident(plain.open(), part.stacked(rows), part, self.device)()
        finally:
            torch.backends.cudnn.allow_tf32 = True

    def _facts(self, vla: Any) -> dict[str, Any]:
        """Its parameters, and the operations and the numbers that one image takes at least."""
        from vla_ros.bench.policy_models import CONFIGS

        numbers = 0
        for name, part in vla.named_children():
            if name != "language" or vla.reads_vision:  # else an image does without it
                numbers += _weights_read(part)
        module = copy.deepcopy(self.whole.module).to(self.device)
        with FlopCounterMode(display=False) as counter:
            module(*to_device(self.whole.examples[0], self.device))
        title, options = CONFIGS[self.spec["config"]]
        return {
            "title": f"{title} (random weights)" if options else title,
            "parameters": sum(map(Tensor.numel, vla.parameters())),
            "numbers": numbers,
            "operations": counter.get_total_flops(),
        }

    @property
    def _cpu(self) -> bool:
        return self.device == "cpu"

    def _clear(self) -> None:
        """Gives back what nobody holds."""
        if "torch._dynamo" in sys.modules:
            torch._dynamo.reset()  # it holds what it has compiled
        gc.collect()
        if not self._cpu:
            torch.cuda.empty_cache()

    def _used(self) -> float:
        """Bytes: of the device, by all libraries; on a CPU, the most that the process had."""
        if self._cpu:
            return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        free, total = torch.cuda.mem_get_info()
        return float(total - free)


def _weights_read(part: torch.nn.Module) -> int:
    """How many numbers a run of it reads at least."""
    numbers = 0
    for module in part.modules():
        if not isinstance(module, torch.nn.Embedding):  # of a table, few rows are read
            numbers += sum(map(Tensor.numel, module.parameters(recurse=False)))
    return numbers


def _from_camera(part: SubModel) -> tuple[Tensor, ...]:
    """The part's inputs with an image of the camera's size, which is its first."""
    return (torch.from_numpy(CAMERA_IMAGE), *part.examples[0][1:])


def _words(error: Exception) -> str:
    """In one line of a page: a compiler's may have hundreds."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


if __name__ == "__main__":
    main(sys.argv[1:])
