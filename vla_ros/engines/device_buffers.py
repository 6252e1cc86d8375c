"""A GPU's work between buffers at fixed addresses: one copy in, one CUDA graph, one copy out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from vla_ros.engines.base import to_device

ALIGNMENT_BYTES = 256  # of each buffer's address: as those of cudaMalloc, which TensorRT expects
WARM_UP_RUNS = 3  # before a graph is recorded: what allocates and chooses kernels does so once
Shape = tuple[tuple[int, ...], torch.dtype]
Run = Callable[..., Sequence[Tensor]]


class DeviceBuffers:
    """Buffers for inputs like `inputs`, and for `outputs`: a shape and a type each.

    Inputs lie in one block of memory, with page-locked memory of the host beside it, and outputs
    in another: each way is one copy. Both are for `stream`, so whoever calls does so `on_stream`;
    `receive` waits once, for the last. On a CPU, where `stream` is None, they are plain copies.

    Args:
        inputs: What is on the device from the start, so that no run reads what nobody wrote: an id
            of a word out of nowhere ends all work of the process on a GPU.
        kept: Inputs, by index, that stay the same for many runs: they cross the bus only when their
            values have changed.

    Attributes:
        inputs: On the device, in the order of the inputs; their addresses never change.
        outputs: The same of the outputs.
        stream: Where the work between them is to be queued.
    """

    def __init__(
        self,
        inputs: Sequence[Tensor],
        outputs: Sequence[Shape],
        device: str,
        stream: torch.cuda.Stream | None,
        kept: Sequence[int] = (),
    ) -> None:
        self.stream = stream
        self._kept = list(kept)
        self._fresh = [index for index in range(len(inputs)) if index not in kept]
        order = self._fresh + self._kept  # so that one copy from the front takes what is fresh
        shapes = [(tuple(inputs[index].shape), inputs[index].dtype) for index in order]
        pinned = stream is not None  # a GPU copies to and from pinned memory without a wait
        self._sent = _Block(shapes, "cpu", pinned)
        with self.on_stream():  # torch gives memory back and out again in the order of a stream
            self._resident = _Block(shapes, device, False)
            self._computed = _Block(outputs, device, False)
        self._received = _Block(outputs, "cpu", pinned)
        self._fresh_bytes = self._sent.ends[len(self._fresh)]
        places = [order.index(index) for index in range(len(inputs))]
        self._host = [self._sent.tensors[place] for place in places]
        self.inputs = [self._resident.tensors[place] for place in places]
        self.outputs = self._computed.tensors
        for host, tensor in zip(self._host, inputs):
            host.copy_(tensor)
        with self.on_stream():
            self._resident.memory.copy_(self._sent.memory, non_blocking=True)

    def on_stream(self) -> Any:
        """A context in which torch queues on the stream."""
        return nullcontext() if self.stream is None else torch.cuda.stream(self.stream)

    def send(self, inputs: Sequence[Tensor]) -> None:
        """From the host's memory to the device; no pinned buffer is still being read, because
        `receive` has waited."""
        size = self._fresh_bytes
        for index in self._fresh:
            self._host[index].copy_(inputs[index])
        for index in self._kept:
            # Compared by value: who writes into a tensor that was sent is noticed as well.
            if not torch.equal(self._host[index], inputs[index]):
                self._host[index].copy_(inputs[index])
                size = self._sent.ends[-1]
        if size > 0:
            self._resident.memory[:size].copy_(self._sent.memory[:size], non_blocking=True)

    def void(self) -> None:
        """Fills the outputs with what is no number: what is not written anew shows."""
        self._computed.memory.fill_(0xFF)

    def receive(self) -> tuple[Tensor, ...]:
        """The outputs in the host's memory, fp32; the caller's own."""
        self._received.memory.copy_(self._computed.memory, non_blocking=True)
        if self.stream is not None:
            self.stream.synchronize()
        # Copies: the next run writes the pinned buffers again.
        return tuple(pinned.to(torch.float32, copy=True) for pinned in self._received.tensors)


class _Block:
    """Tensors one behind the other in one piece of memory.

    Attributes:
        memory: All of it, bytes.
        tensors: Views of it.
        ends: Where the first, the second … begin, and last where all end, bytes.
    """

    def __init__(self, shapes: Sequence[Shape], device: str, pinned: bool) -> None:
        self.ends = [0]
        for shape, kind in shapes:
            size = torch.Size(shape).numel() * kind.itemsize
            self.ends.append(self.ends[-1] + -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES)
        self.tensors: list[Tensor] = []
        # A tensor of the inference mode cannot be written outside of it.
        with torch.inference_mode(False):
            self.memory = torch.empty(
                self.ends[-1], dtype=torch.uint8, device=device, pin_memory=pinned
            )
            for (shape, kind), start in zip(shapes, self.ends):
                size = torch.Size(shape).numel() * kind.itemsize
                self.tensors.append(self.memory[start : start + size].view(kind).view(shape))


class BufferedRun:
    """Work between buffers: queued kernel by kernel, or launched at once as a CUDA graph.

    Args:
        work: Queues on the buffers' stream what makes their outputs of their inputs, at their
            addresses. It waits for nothing, and does the same whatever the inputs' values are.
    """

    def __init__(self, buffers: DeviceBuffers, work: Callable[[], None]) -> None:
        self._buffers = buffers
        self._work = work
        self._graph: torch.cuda.CUDAGraph | None = None

    def record(self) -> None:
        """From now on it is one launch.

        Raises:
            RuntimeError: torch's own, for work that no graph can record; it runs on as it did.
        """
        stream = self._buffers.stream
        assert stream is not None
        with self._buffers.on_stream():
            for _ in range(WARM_UP_RUNS):
                self._work()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # thread_local: what other threads do on the GPU meanwhile does not end the capture
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            self._work()
        self._graph = graph
        with self._buffers.on_stream():
            self._buffers.void()  # a graph that computes nothing would leave what the warm-up gave

    def forget(self) -> None:
        """From now on it is queued kernel by kernel."""
        self._graph = None

    def step(self) -> None:
        """The work alone, without copies; done when the stream says so."""
        with self._buffers.on_stream():
            self._queue()

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Tensors on the CPU in, and out, fp32."""
        with self._buffers.on_stream():  # once: to enter it takes as long as a launch
            self._buffers.send(inputs)
            self._queue()
            return self._buffers.receive()

    def _queue(self) -> None:
        if self._graph is None:
            self._work()
        else:
            self._graph.replay()


def buffered(
    run: Run,
    inputs: Sequence[Tensor],
    device: str,
    stream: torch.cuda.Stream | None,
    kept: Sequence[int] = (),
) -> BufferedRun:
    """A function of tensors on the device, between buffers for inputs like these."""
    with nullcontext() if stream is None else torch.cuda.stream(stream):
        outputs = run(*to_device(inputs, device))
    shapes = [(tuple(output.shape), torch.float32) for output in outputs]
    buffers = DeviceBuffers(inputs, shapes, device, stream, kept)

    def work() -> None:
        for place, output in zip(buffers.outputs, run(*buffers.inputs)):
            place.copy_(output)

    return BufferedRun(buffers, work)


class RunsByShape:
    """A run for each set of the inputs' shapes, made when they first come; one caller at a time.

    Args:
        make: Gives the run for inputs like those that it is given.
    """

    def __init__(self, make: Callable[[Sequence[Tensor]], BufferedRun]) -> None:
        self._make = make
        self._lock = Lock()
        self._runs: dict[tuple[torch.Size, ...], BufferedRun] = {}

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        shapes = tuple(tensor.shape for tensor in inputs)
        with self._lock, torch.no_grad():
            if shapes not in self._runs:
                self._runs[shapes] = self._make(inputs)
            return self._runs[shapes](inputs)
