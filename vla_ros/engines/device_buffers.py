"""Inputs and outputs at fixed addresses of a GPU, each with pinned memory of the host beside it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor


class DeviceBuffers:
    """Buffers for inputs like `inputs`, and for `outputs`: a shape and a type each.

    All copies are queued on `stream` in order; `receive` waits once, for the last. On a CPU, where
    `stream` is None, they are plain copies.

    Attributes:
        inputs: On the device, in the order of the inputs; their addresses never change.
        outputs: The same of the outputs.
    """

    def __init__(
        self,
        inputs: Sequence[Tensor],
        outputs: Sequence[tuple[tuple[int, ...], torch.dtype]],
        device: str,
        stream: torch.cuda.Stream | None,
    ) -> None:
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self._sent: list[Tensor] = []  # the host's side of the inputs
        self._received: list[Tensor] = []
        self._stream = stream
        pinned = stream is not None  # a GPU copies to and from pinned memory without a wait
        # A tensor of the inference mode cannot be written outside of it.
        with torch.inference_mode(False):
            for tensor in inputs:
                kind = tensor.dtype
                self.inputs.append(torch.empty(tensor.shape, dtype=kind, device=device))
                self._sent.append(torch.empty(tensor.shape, dtype=kind, pin_memory=pinned))
            for shape, kind in outputs:
                self.outputs.append(torch.empty(shape, dtype=kind, device=device))
                self._received.append(torch.empty(shape, dtype=kind, pin_memory=pinned))

    def on_stream(self) -> Any:
        """A context in which torch queues on the stream."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def send(self, inputs: Sequence[Tensor]) -> None:
        """From the host's memory to the device; no pinned buffer is still being read, because
        `receive` has waited."""
        with self.on_stream():
            for given, pinned, resident in zip(inputs, self._sent, self.inputs):
                pinned.copy_(given)
                resident.copy_(pinned, non_blocking=True)

    def receive(self) -> tuple[Tensor, ...]:
        """The outputs in the host's memory, fp32; the caller's own."""
        with self.on_stream():
            for resident, pinned in zip(self.outputs, self._received):
                pinned.copy_(resident, non_blocking=True)
        if self._stream is not None:
            self._stream.synchronize()
        # Copies: the next run writes the pinned buffers again.
        return tuple(pinned.to(torch.float32, copy=True) for pinned in self._received)
