"""The model as it is, by torch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vla_ros.engines.accuracy_check import Differs, check
from vla_ros.engines.base import IMAGE, SubModel, to_cpu_fp32, to_device, versions_of
from vla_ros.engines.device_buffers import BufferedRun, Run, RunsByShape, buffered
from vla_ros.engines.export import Cast
from vla_ros.engines.letterbox import halves_evenly, letterbox

TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
ROUNDING = "2"  # another number where it rounds otherwise than before: it is compared anew


class Eager:
    """Runs the module itself.

    On a CPU lower precisions are torch's autocast, with weights in fp32. On a GPU weights have the
    precision, and all that a call does between its two copies is one CUDA graph, recorded at the
    first call with inputs of its shapes; it takes an image of a camera's size too, which it fits
    in there.

    Attributes:
        notes: Why it runs kernel by kernel, where no graph could be recorded.
    """

    COPIES = 0  # on a CPU it is the model's own module

    @staticmethod
    def missing(device: str, precision: str) -> str:
        if precision not in TYPES:
            return f"eager runs {', '.join(TYPES)}, not {precision}"
        if (device, precision) == ("cpu", "fp16"):
            return "fp16 is for a GPU; on a CPU take fp32 or bf16"
        return ""

    @staticmethod
    def versions() -> Mapping[str, str]:
        return dict(versions_of()) | {"eager": ROUNDING}

    @staticmethod
    def build(part: SubModel, device: str, precision: str, folder: Path) -> None:
        """Nothing is compiled."""

    def __init__(self, part: SubModel, device: str, precision: str, folder: Path) -> None:
        self.notes: list[str] = []
        self._part = part
        self._device = device
        self._precision = precision
        self._runs: RunsByShape | None = None
        if device == "cpu":
            self._module = part.module
            return
        # A copy: `to` moves a module in place, and the model's other users want it where it is.
        moved = copy.deepcopy(part.module).to(device)
        self._module = Cast(moved, TYPES[precision]).eval()
        self._runs = RunsByShape(self._buffered)
        self._stream: torch.cuda.Stream | None = None  # stays so in tests, on a CPU
        if torch.device(device).type == "cuda":
            self._stream = torch.cuda.Stream(device)
            # The weights are still on their way, on another stream.
            self._stream.wait_stream(torch.cuda.current_stream(device))

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if self._runs is not None:
            return self._runs(inputs)
        kind = TYPES[self._precision]
        with torch.inference_mode(), torch.autocast("cpu", kind, enabled=kind != torch.float32):
            outputs = self._module(*to_device(inputs, self._device))
        return to_cpu_fp32(outputs)

    def _buffered(self, inputs: Sequence[Tensor]) -> BufferedRun:
        """For inputs like these; a graph, where one can be recorded that computes the same.

        Raises ValueError for an image that the GPU would fit in otherwise than a CPU does.
        """
        part = self._part
        run = buffered(self._run_for(inputs), inputs, self._device, self._stream, part.kept)
        # What runs once an instruction is not worth a graph.
        if self._stream is None or len(part.kept) == len(part.inputs):
            return run
        wanted = run(inputs)
        try:
            run.record()
            check(part.outputs, wanted, run(inputs), self._precision)
        except (RuntimeError, Differs) as error:
            run.forget()
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            note = f"{part.name} runs kernel by kernel, not as a CUDA graph: {why}"
            if note not in self.notes:  # once, whatever sizes of batches there are
                self.notes.append(note)
        return run

    def _run_for(self, inputs: Sequence[Tensor]) -> Run:
        if IMAGE not in self._part.inputs:
            return self._module
        index = self._part.inputs.index(IMAGE)
        size = _size(self._part.examples[0][index])
        camera = _size(inputs[index])
        if camera == size:
            return self._module
        if not halves_evenly(camera, size):
            raise ValueError(
                f"a GPU cannot halve an image of {camera[1]} × {camera[0]} as a CPU does; resize "
                f"it to {size[1]} × {size[0]} with core.images.resize"
            )

        def fitted(*tensors: Tensor) -> tuple[Tensor, ...]:
            given = list(tensors)
            given[index] = letterbox(given[index], size)
            return tuple(self._module(*given))

        return fitted


def _size(image: Tensor) -> tuple[int, int]:
    """Height and width of B x H x W x 3."""
    return image.shape[1], image.shape[2]
