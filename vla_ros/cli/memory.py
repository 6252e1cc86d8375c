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

BUILT_IN = "built-in"


def arguments(parser: argparse.ArgumentParser) -> None:
    """No import of what is heavy: `vla --help` comes by here."""
    parser.add_argument(
        "model",
        nargs="*",
        default=[BUILT_IN],
        metavar="MODEL",
        help=f"a config.json, a checkpoint's folder, {BUILT_IN}, or parts: clip-b32 clip-l14 "
        "llama-1b "
        f"llama-7b llama-13b, also one of each (default {BUILT_IN})",
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

    found = memory.estimate(read(options.model), options.batch, options.length)
    uses = {**found.inference, **found.training}
    fits = {
        name: {use: one.total <= memory.usable(gpu) for use, one in uses.items()}
        for name, gpu in memory.GPUS.items()
    }
    if options.json:
        totals = {name: {**asdict(use), "total": use.total} for name, use in uses.items()}
        print(
            json.dumps(
                {"model": options.model, **asdict(found), "uses": totals, "fits": fits}, indent=2
            )
        )
    else:
        show(" ".join(options.model), found, uses, fits)
    return 0


def read(words: list[str]) -> VLAConfig:
    """The config that is meant. Raises ValueError with what is known."""
    from vla_ros.models.checkpoint import read_config
    from vla_ros.models.config import VLAConfig
    from vla_ros.models.memory import PRESETS
    from vla_ros.policies.builtin import BUILTIN

    known = f"{BUILT_IN}, {', '.join(PRESETS)}"
    if len(words) == 1 and words[0] not in PRESETS:
        path = BUILTIN if words[0] == BUILT_IN else Path(words[0])
        if not path.exists():
            raise ValueError(
                f"model is '{words[0]}', and there is no such file or folder; give one, or of "
                f"{known}"
            )
        return read_config(path) if path.suffix != ".json" else _config(path)
    values: dict[str, Any] = {}
    for word in words:
        if word not in PRESETS:
            raise ValueError(
                f"'{word}' cannot be put together with others; give parts alone: "
                f"{', '.join(PRESETS)}"
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
    name: str, found: Estimate, uses: dict[str, Use], fits: dict[str, dict[str, bool]]
) -> None:
    """Two tables: bytes by use, and boards by use."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    count = found.parameters
    rest = count["all"] - count["vision"] - count["language"]
    console.print(
        f"{name}: {_short(count['all'], 1000)} parameters (vision {_short(count['vision'], 1000)}, "
        "language "
        f"{_short(count['language'], 1000)}, rest {_short(rest, 1000)}), batch {found.batch}, "
        f"{found.length} tokens"
    )
    table = Table(
        "",
        *(
            column
            for column in ("weights", "gradients", "AdamW", "activations", "AdamW's step", "total")
        ),
    )
    for use, one in uses.items():
        table.add_row(
            use,
            *(
                _short(value) if value else ""
                for value in (
                    one.weights,
                    one.gradients,
                    one.optimizer,
                    one.activations,
                    one.step,
                    one.total,
                )
            ),
        )
    console.print(table)
    boards = Table("fits", *uses)
    for gpu, row in fits.items():
        boards.add_row(gpu, *("yes" if row[use] else "-" for use in uses))
    console.print(boards)
    cache = (
        f"; a KV cache would take {_short(found.kv_cache)}, were it to write words"
        if found.kv_cache
        else ""
    )
    console.print(
        "Activations or AdamW's step, whichever is more, is in the total. Boards keep a tenth and "
        "0.6 GiB "
        f"free, Jetsons 2 GiB more: a rule of thumb{cache}."
    )


def _short(value: float, base: int = 1024) -> str:
    """1536 -> 1.5 KiB; with base 1000, without a unit's name: 1500 -> 1.5 k."""
    units = ("B", "KiB", "MiB", "GiB", "TiB") if base == 1024 else ("", "k", "M", "G", "T")
    power = 0
    while value >= base and power < len(units) - 1:
        value = value / base
        power = power + 1
    return f"{value:.3g} {units[power]}".strip() if value < 999.5 else f"{value:.0f} {units[power]}"
