"""`vla bench`: measures. Each bench has arguments of its own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from vla_ros.core.registry import lookup

# bench -> its module, which has `arguments_of(argv)` and `run(argv)`
BENCHES = {
    "pipeline": "vla_ros.bench.bench_pipeline",
    "gate": "vla_ros.bench.bench_gate",
    "faults": "vla_ros.bench.bench_faults",
    "policy": "vla_ros.bench.bench_policy",
    "builds": "vla_ros.bench.bench_builds",
    "gpu": "vla_ros.bench.bench_gpu",
    "console": "vla_ros.bench.bench_console",
    "chunk-blending": "vla_ros.bench.bench_chunk_blending",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """None: `vla bench NAME --help` shows a bench's own."""


def run(argv: Sequence[str]) -> int:
    """The exit code of the bench that `argv` names; lists them where it names none."""
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: vla bench NAME [...]\n\nWhat can be measured: " + ", ".join(sorted(BENCHES)))
        return 0
    return int(_of_bench(argv[0], "run")(list(argv[1:])))


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of one bench; nothing is run."""
    options: argparse.Namespace = _of_bench(argv[0], "arguments_of")(list(argv[1:]))
    return options


def _of_bench(name: str, function: str) -> Any:
    places = {bench: f"{module}:{function}" for bench, module in BENCHES.items()}
    return lookup(places, name, "bench")
