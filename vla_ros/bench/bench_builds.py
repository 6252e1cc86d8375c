"""`vla bench builds`: every configuration's graph in full size, built by TensorRT for RTX, no GPU.

Each configuration and precision has a process of its own, so that one that runs out of memory costs
itself, and the peak is its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vla_ros.bench.markdown import table
from vla_ros.bench.policy_models import CONFIGS, model_of, random_model
from vla_ros.core.machine import free_memory, room

# Beside those of `vla bench policy`: with them every part of a model is in one.
MORE_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet18": (
        "ResNet-18, transformer, planner",
        {
            "vision": "resnet18",
            "fusion": "transformer",
            "head": "planner",
            "image_size": (224, 224),
            "width": 512,
        },
    ),
    "clip_early": (
        "CLIP ViT-B/32 pooled, early fusion",
        {
            "vision": "clip",
            "fusion": "early",
            "vision_options": {"pooled": True},
            "image_size": (224, 224),
            "width": 512,
        },
    ),
    "modular": (
        "ResNet-50, modular, grounded",
        {"vision": "resnet50", "model": "modular", "image_size": (224, 224), "width": 512},
    ),
    "static": ("small, table of words, late fusion", {"language": "static", "fusion": "late"}),
    "minilm": (
        "small, MiniLM, cross-attention",
        {"language": "minilm", "language_options": {"weights": ""}, "fusion": "cross_attention"},
    ),
}
BUILDABLE = (*CONFIGS, *MORE_CONFIGS)
PRECISIONS = ("fp16", "fp8")
COLUMNS = (
    "configuration",
    "part",
    "precision",
    "model, M parameters",
    "graph, CPU s",
    "build, CPU s",
    "engine, MB",
    "peak, GB",
    "warnings",
)


@dataclass(frozen=True)
class PartBuilt:
    """One part's figures; `warned` are TensorRT's sentences, `explained` how many more are known.

    `peak_bytes` is the process' until then, the model included.
    """

    part: str
    parameters: int
    export_s: float
    build_s: float
    size_bytes: int
    peak_bytes: int
    warned: list[str]
    explained: int


def arguments_of(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="vla bench builds", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument(
        "--configs", nargs="+", choices=BUILDABLE, default=BUILDABLE, help="which (default: all)"
    )
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=("fp32", "bf16", "int8", *PRECISIONS),
        default=PRECISIONS,
        help="default: %(default)s",
    )
    parser.add_argument(
        "--for", default="rtx40", dest="gpu", metavar="GPU", help="default %(default)s"
    )
    parser.add_argument("--out", metavar="PAGE", help="write the table there, as Markdown")
    return parser.parse_args(list(argv))


def run(argv: Sequence[str]) -> int:
    """0: every engine was built, and no warning is left unexplained; 1: not so."""
    from vla_ros.engines.ahead import targets_of

    given = arguments_of(argv)
    (target,) = targets_of([given.gpu], "tensorrt_rtx").values()
    load = os.getloadavg()[0]
    command = ["vla", "bench", "builds", *argv]
    rows: list[list[str]] = []
    problems: list[str] = []
    text = ""
    for config, precision in itertools.product(given.configs, given.precisions):
        name = title(config)
        print(f"{name} at {precision}", file=sys.stderr, flush=True)
        try:
            built = _in_a_process(config, precision, target)
        except ValueError as error:
            problems.append(f"{name} at {precision}: {error}")
            built = []
        for part in built:
            rows.append(row_of(name, precision, part))
            for warning in part.warned:
                problems.append(f"{name}, {part.part} at {precision}: {warning}")
        text = page(command, target, load, rows, problems)
        if given.out:  # after each: what is there is kept when somebody loses patience
            Path(given.out).write_text(text, encoding="utf-8")
    print(text)
    return 1 if problems else 0


def title(config: str) -> str:
    """What a user would call it."""
    return {**CONFIGS, **MORE_CONFIGS}[config][0]


def row_of(name: str, precision: str, built: PartBuilt) -> list[str]:
    """A cell for each of COLUMNS."""
    warnings = f"{len(built.warned)} not explained" if built.warned else str(built.explained)
    return [
        name,
        built.part,
        precision,
        f"{built.parameters / 1e6:.1f}",
        f"{built.export_s:.1f}",
        f"{built.build_s:.1f}",
        f"{built.size_bytes / 1e6:.1f}",
        f"{built.peak_bytes / 1e9:.1f}",
        warnings,
    ]


def page(
    command: Sequence[str],
    target: str,
    load: float,
    rows: Sequence[Sequence[str]],
    problems: Sequence[str],
) -> str:
    """The table in Markdown, how it was made, and what was not built."""
    from vla_ros.engines.tensorrt_rtx import EXPLAINED_WARNINGS, library

    lines = [
        "# Engines in full size, built without a GPU",
        "",
        f"`{' '.join(command)}` wrote this page with TensorRT for RTX {library().__version__}, for "
        f"{target}, on {os.cpu_count()} cores; load average {load:.1f} before. Random weights, but "
        "for the built-in policy. *graph*: export to ONNX, and calibration; *build*: TensorRT's "
        "parser and builder, both in seconds of processor time; *peak*: of "
        "the process' memory, the model included (GB: 10^9 bytes).",
        "",
        table(COLUMNS, rows, texts=3),
        "",
        "None of these engines has run on a GPU. Warnings that are counted, and why they are of no "
        "concern:",
        "",
    ]
    lines += [f"* “{words}”: {why}." for words, why in EXPLAINED_WARNINGS.items()]
    if problems:
        lines += ["", "Not built, or with a warning:", "", *map("* {}".format, problems)]
    return "\n".join(lines) + "\n"


def _in_a_process(config: str, precision: str, target: str) -> list[PartBuilt]:
    """Raises ValueError, with its last words, where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "vla_ros.bench.bench_builds", config, precision, target],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise ValueError(words[-1] if words else f"its process ended with {done.returncode}")
    parts = json.loads(done.stdout.splitlines()[-1])
    return [PartBuilt(**part) for part in parts]


def build(config: str, precision: str, target: str) -> list[PartBuilt]:
    """Builds both parts of a configuration in this process.

    Raises:
        ValueError: Where this machine's memory is too small, with both numbers; where TensorRT
            refuses.
    """
    from vla_ros.engines.compiled_vla import sub_models_of
    from vla_ros.engines.tensorrt_rtx import TensorRTRTX, serialize
    from vla_ros.models.config import VLAConfig
    from vla_ros.models.memory import weights

    values = {**CONFIGS, **MORE_CONFIGS}[config][1]
    if values is not None:
        needed = (1 + TensorRTRTX.COPIES) * weights(VLAConfig(**values), "fp32")
        room(f"building {config}", needed, free_memory())
    parts = sub_models_of(*(model_of(config) if config in CONFIGS else random_model(values or {})))
    built = []
    for part in filter(None, parts):  # the language stage may be None
        engine = serialize(part, [target], precision)
        parameters = sum(tensor.numel() for tensor in part.module.parameters())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts KiB
        built.append(
            PartBuilt(
                part.name,
                parameters,
                engine.export_s,
                engine.build_s,
                len(engine.data),
                peak,
                engine.warned,
                len(engine.explained),
            )
        )
    return built


def main(argv: Sequence[str]) -> None:
    """One line of JSON; on an error one sentence on stderr."""
    try:
        built = build(*argv)
    except (ValueError, MemoryError) as error:
        sys.exit(f"{error or 'out of memory'}")
    print(json.dumps([asdict(part) for part in built]))


if __name__ == "__main__":
    main(sys.argv[1:])
