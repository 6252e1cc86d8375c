"""What a machine can at best: how fast it copies, starts kernels and multiplies; and what it is."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor

IMAGE_BYTES = 640 * 480 * 3
LARGE_BYTES = 64 * 2**20  # starting the copy takes next to none of its time
DEVICE_BYTES = 2**30  # far more than a GPU's cache
MATRIX_SIDE = 8192  # rows and columns: enough to keep a whole GPU busy
LIBRARIES = (
    "numpy",
    "transformers",
    "triton",
    "onnxruntime-gpu",
    "onnxruntime",
    "torch_tensorrt",
    "tensorrt",
    "tensorrt_rtx",
    "opencv-python-headless",
)
NVIDIA_SMI = (  # what torch does not know of a GPU
    "nvidia-smi",
    "--query-gpu=driver_version,clocks.max.sm,power.limit",
    "--format=csv,noheader",
)


def wait(device: str) -> None:
    """Until the device has done all that it was given."""
    if device != "cpu":
        torch.cuda.synchronize()


def timed(run: Callable[[], Any], runs: int, most_s: float, least: int = 10) -> dict[str, float]:
    """What a run takes.

    Args:
        runs: How many at most.
        most_s: No run begins after so long, but for the `least` first.

    Returns:
        p50, p95 and p99 in ms, and how many runs there were.
    """
    for _ in range(min(3, runs)):
        run()  # the first ones allocate and choose kernels
    took: list[float] = []
    began = time.perf_counter()
    while len(took) < runs and (len(took) < least or time.perf_counter() - began < most_s):
        start = time.perf_counter_ns()
        run()
        took.append((time.perf_counter_ns() - start) / 1e6)
    p50, p95, p99 = np.percentile(took, (50, 95, 99)).tolist()
    return {"p50": p50, "p95": p95, "p99": p99, "runs": len(took)}


def facts(device: str) -> dict[str, Any]:
    """What the machine is; what cannot be read is not there."""
    known: dict[str, Any] = {
        "device": device,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": len(os.sched_getaffinity(0)),
        "chip": platform.machine(),
        "libraries": {},
    }
    for name in LIBRARIES:
        try:
            known["libraries"][name] = version(name)
        except PackageNotFoundError:
            continue
    if device != "cpu":
        properties = torch.cuda.get_device_properties(device)
        known["chip"] = properties.name
        known["capability"] = f"{properties.major}.{properties.minor}"
        known["memory_gib"] = round(properties.total_memory / 2**30, 1)
        known["cuda"] = torch.version.cuda
        try:
            answer = subprocess.run(
                NVIDIA_SMI, capture_output=True, text=True, timeout=20.0, check=True
            )
            driver, clock, power = answer.stdout.split("\n")[0].split(", ")
            known |= {"driver": driver, "clock": clock, "power": power}
        except (OSError, ValueError, subprocess.SubprocessError):
            known["driver"] = "unknown (nvidia-smi did not say)"
    return known


def floors(device: str, quick: bool) -> Iterator[tuple[str, dict[str, float]]]:
    """Name and figures of each: `p50` … in ms, with `bytes` or `operations` of one run.

    Args:
        quick: A rehearsal: little is copied and multiplied, and the figures mean nothing.
    """
    for content, size in (("image", IMAGE_BYTES), ("large", LARGE_BYTES // (64 if quick else 1))):
        yield from _copies(device, content, size, 20 if quick else 100)
    yield from _launches(device)
    yield "memory", _memory(device, 2**20 if quick else DEVICE_BYTES)
    for precision in ("fp32", "tf32", "fp16", "bf16"):
        if device != "cpu" or precision != "tf32":
            yield f"product {precision}", _product(device, precision, 256 if quick else MATRIX_SIDE)


def _copies(
    device: str, content: str, size: int, runs: int
) -> Iterator[tuple[str, dict[str, float]]]:
    for kind in ("pageable", "pinned"):
        if kind == "pinned" and device == "cpu":
            continue
        host = torch.randint(0, 256, (size,), dtype=torch.uint8)
        host = host.pin_memory() if kind == "pinned" else host
        resident = torch.empty(size, dtype=torch.uint8, device=device)
        for way, source, target in (("to", host, resident), ("from", resident, host)):
            yield f"{content} {way} {kind}", _copy(source, target, device, runs) | {"bytes": size}


def _copy(source: Tensor, target: Tensor, device: str, runs: int) -> dict[str, float]:
    def once() -> None:
        target.copy_(source, non_blocking=True)
        wait(device)

    return timed(once, runs, 0.5)


def _memory(device: str, size: int) -> dict[str, float]:
    source = torch.empty(size, dtype=torch.uint8, device=device)
    read_and_written = 2.0 * size  # a copy on the device takes both from its bandwidth
    return _copy(source, torch.empty_like(source), device, 50) | {"bytes": read_and_written}


def _launches(device: str, many: int = 1000) -> Iterator[tuple[str, dict[str, float]]]:
    """Of the smallest kernel: awaited; one of many in a row; one of many in a CUDA graph."""
    number = torch.zeros(1, device=device)

    def once() -> None:
        number.add_(1)
        wait(device)

    yield "launch and wait", timed(once, 200, 0.5)
    began = time.perf_counter()
    for _ in range(many):
        number.add_(1)
    wait(device)
    mean_ms = 1e3 * (time.perf_counter() - began) / many
    # a mean, in the column of the medians: a single launch in a row cannot be timed
    yield "launch in a row", {"p50": mean_ms, "runs": many}
    if device == "cpu":
        return
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(many):
            number.add_(1)

    def again() -> None:
        graph.replay()
        wait(device)

    replay = timed(again, 20, 0.5)
    shares = np.array([replay["p50"], replay["p95"], replay["p99"]]) / many
    yield "kernel in a graph", dict(zip(("p50", "p95", "p99"), shares.tolist()))


def _product(device: str, precision: str, side: int) -> dict[str, float]:
    kind = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
    left = torch.randn(side, side, device=device, dtype=kind)
    right = torch.randn(side, side, device=device, dtype=kind)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"

    def once() -> None:
        torch.matmul(left, right)
        wait(device)

    try:
        # a multiplication and an addition for each of side³ products
        return timed(once, 30, 0.5, least=5) | {"operations": 2.0 * side**3}
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
