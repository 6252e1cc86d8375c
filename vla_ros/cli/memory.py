"""`vla memory`: what a model takes before it is loaded, and which boards it fits."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vla_ros.models.config import VLAConfig
    from vla_ros.models.memory import Estimate, Use

BUILT_IN = "built-in"  # what the user writes for the shipped checkpoint


def arguments(parser: argparse.ArgumentParser) -> None:
    """No import of what is heavy: `vla --help` comes by here."""
    parser.add_argument(
        "model",
        nargs="*",
        default=[BUILT_IN],
        metavar="MODEL",
        help=f"a config.json, a checkpoint's folder, {BUILT_IN}, or parts: clip-b32 clip-l14 "
        f"llama-1b llama-7b llama-13b minilm static, also one of each (default {BUILT_IN})",
    )
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="images at once (default %(default)s)"
    )
    parser.add_argument(
        "--length",
        type=int,
        default=20,
        metavar="N",
        help="tokens of an instruction (default %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="JSON, all in bytes")


def run(options: argparse.Namespace) -> int:
    """The exit code. Raises ValueError for a model that is none."""
    from vla_ros.models import memory

    estimate = memory.estimate(read(options.model), options.batch, options.length)
    uses = {**estimate.inference, **estimate.training}
    fits: dict[str, dict[str, bool]] = {}  # board -> use -> whether it fits
    for board, gpu in memory.GPUS.items():  # bytes of it that a process may take
        usable = memory.usable(gpu)
        fits[board] = {name: use.total <= usable for name, use in uses.items()}
    if options.json:
        totals = {name: {**asdict(use), "total": use.total} for name, use in uses.items()}
        report = {"model": options.model, **asdict(estimate), "uses": totals, "fits": fits}
        print(json.dumps(report, indent=2))
    else:
        show(" ".join(options.model), estimate, uses, fits)
    return 0


def read(words: list[str]) -> VLAConfig:
    """The config that is meant. Raises ValueError with what is known."""
    from vla_ros.models.checkpoint import read_config
    from vla_ros.models.config import VLAConfig
    from vla_ros.models.memory import PRESETS
    from vla_ros.policies.builtin import BUILTIN

    known = f"{BUILT_IN}, {', '.join(PRESETS)}"
    # A single word may be a file; several are parts that make up a model.
    if len(words) == 1 and words[0] not in PRESETS:
        path = BUILTIN if words[0] == BUILT_IN else Path(words[0])
        if not path.exists():
            raise ValueError(
                f"model is '{words[0]}', and there is no such file or folder; "
                f"give one, or of {known}"
            )
        return _config(path) if path.suffix == ".json" else read_config(path)
    # A vision and a language part fit together; each fixes other fields of the config.
    values: dict[str, Any] = {}
    for word in words:
        if word not in PRESETS:
            raise ValueError(
                f"'{word}' cannot be put together with others; "
                f"give parts alone: {', '.join(PRESETS)}"
            )
        part = "vision" if "vision" in PRESETS[word] else "language"
        if part in values:
            raise ValueError(
                f"models are {' '.join(words)}, and two of them are {part}; give one of each kind"
            )
        values.update(PRESETS[word])
    return VLAConfig(**values)


def _config(path: Path) -> VLAConfig:
    from vla_ros.models.config import VLAConfig

    try:
        return VLAConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is no model's config: {error}") from error


def show(
    name: str, estimate: Estimate, uses: dict[str, Use], fits: dict[str, dict[str, bool]]
) -> None:
    """Two tables: bytes by use, and boards by use."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"{name}: {_counts(estimate)}")
    table = Table("", "weights", "gradients", "AdamW", "activations", "AdamW's step", "total")
    for name, use in uses.items():
        sizes = (use.weights, use.gradients, use.optimizer, use.activations, use.step, use.total)
        table.add_row(name, *[_short(size) if size else "" for size in sizes])
    console.print(table)
    boards = Table("fits", *uses)
    for board, row in fits.items():
        boards.add_row(board, *["yes" if row[name] else "-" for name in uses])
    console.print(boards)
    cache = ""
    if estimate.kv_cache:
        cache = f"; a KV cache would take {_short(estimate.kv_cache)}, were it to write words"
    console.print(
        "Activations or AdamW's step, whichever is more, is in the total. "
        f"Boards keep a tenth and 0.6 GiB free, Jetsons 2 GiB more: a rule of thumb{cache}."
    )


def _counts(estimate: Estimate) -> str:
    """How many parameters, of what, and what is asked of them."""
    count = estimate.parameters
    rest = count["all"] - count["vision"] - count["language"]
    return (
        f"{_short(count['all'], 1000)} parameters "
        f"(vision {_short(count['vision'], 1000)}, language {_short(count['language'], 1000)}, "
        f"rest {_short(rest, 1000)}), batch {estimate.batch}, {estimate.length} tokens"
    )


def _short(value: float, base: int = 1024) -> str:
    """1536 -> 1.5 KiB; with base 1000, without a unit's name: 1500 -> 1.5 k."""
    units = ("B", "KiB", "MiB", "GiB", "TiB") if base == 1024 else ("", "k", "M", "G", "T")
    power = 0
    while value >= base and power < len(units) - 1:
        value = value / base
        power = power + 1
    if value < 999.5:
        return f"{value:.3g} {units[power]}".strip()
    return f"{value:.0f} {units[power]}"  # 1000 to 1023 KiB: three digits would be 1e+03
