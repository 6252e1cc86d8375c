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
    """

    def __init__(
        self,
        inputs: Sequence[Tensor],
        outputs: Sequence[tuple[tuple[int, ...], torch.dtype]],
        device: str,
        stream: torch.cuda.Stream | None,
    ) -> None:
        self._stream = stream
        pinned = stream is not None

        def make(shape: Sequence[int], kind: torch.dtype, place: str, pin: bool) -> Tensor:
            return torch.empty(tuple(shape), dtype=kind, device=place, pin_memory=pin)

        given = [(tensor.shape, tensor.dtype) for tensor in inputs]
        # A tensor of the inference mode cannot be written outside of it.
        with torch.inference_mode(False):
            self.inputs = [make(shape, kind, device, False) for shape, kind in given]
            self.outputs = [make(shape, kind, device, False) for shape, kind in outputs]
            self._sent = [make(shape, kind, "cpu", pinned) for shape, kind in given]
            self._received = [make(shape, kind, "cpu", pinned) for shape, kind in outputs]

    def on_stream(self) -> Any:
        """A context in which torch queues on the stream."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def send(self, inputs: Sequence[Tensor]) -> None:
        """From the host's memory to the device; no pinned buffer is still being read, because
        `receive` has waited."""
        with self.on_stream():
            for given, pinned, place in zip(inputs, self._sent, self.inputs):
                pinned.copy_(given)
                place.copy_(pinned, non_blocking=True)

    def receive(self) -> tuple[Tensor, ...]:
        """The outputs in the host's memory, fp32; the caller's own."""
        with self.on_stream():
            for place, pinned in zip(self.outputs, self._received):
                pinned.copy_(place, non_blocking=True)
        if self._stream is not None:
            self._stream.synchronize()
        return tuple(pinned.to(torch.float32, copy=True) for pinned in self._received)
