"""`vla quantize`: a checkpoint in fewer bits, with what that saves and what it costs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vla_ros.cli import wide_console
from vla_ros.engines import ENGINES

# precision -> what it does; also what `--to` takes
PRECISIONS = {
    "int8": "weights of linear, convolution and embedding layers in 8 bits, a scale a row",
    "int4": "those weights in 4 bits, a scale for every 32",
    "static": "weights and activations in 8 bits, on an engine calibrated on observations",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", default="", metavar="FOLDER", help="the policy (default: the built-in one)"
    )
    parser.add_argument(
        "--to",
        required=True,
        choices=tuple(PRECISIONS),
        help="; ".join(map(": ".join, PRECISIONS.items())),
    )
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", help="where the new checkpoint goes"
    )
    parser.add_argument(
        "--recorded",
        metavar="FOLDER",
        help="calibrate on this recording (vla record), not on the checkpoint's own observations",
    )
    parser.add_argument(
        "--engine", default="auto", choices=("auto", *ENGINES), help="that both are measured on"
    )
    parser.add_argument(
        "--runs", type=int, default=100, metavar="N", help="of each (default %(default)s)"
    )
    parser.add_argument(
        "--episodes",
        type=int,
        default=104,
        metavar="N",
        help="in the simulator, before and after; 0: none (default %(default)s)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")


def run(given: argparse.Namespace) -> int:
    """The exit code. Raises ValueError for a checkpoint or a recording that does not fit."""
    import torch

    from vla_ros.policies.builtin import BUILTIN
    from vla_ros.training import quantization

    if given.runs < 1 or given.episodes < 0:
        raise ValueError(
            f"--runs is {given.runs} and --episodes {given.episodes}; give 1 and 0, or more"
        )
    for module in ("mujoco", "scipy") if given.episodes else ():  # now, not after the measurements
        if find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
    torch.set_num_threads(1)  # as the policy has, unless its option says otherwise
    folder = Path(given.checkpoint or BUILTIN)
    out = Path(given.out)
    if out.exists():  # never over a checkpoint that somebody uses
        raise ValueError(f"--out is {out}, which is there already; give a new folder")
    recorded = None
    if given.recorded:
        from vla_ros.datasets.lerobot.read import Dataset  # wants PyAV and pyarrow

        recorded = Dataset(given.recorded)
    names = quantization.quantize(folder, out, given.to, recorded)
    checkpoints = {"before": folder, given.to: out}
    figures = quantization.figures(list(checkpoints.values()), given.engine, given.runs)
    report: dict[str, Any] = {
        "layers packed": names,
        "figures": dict(zip(checkpoints, map(asdict, figures))),
        "success": {},
    }
    if given.episodes:
        for name, checkpoint in checkpoints.items():
            report["success"][name] = success(checkpoint, given.episodes)
    show(report, PRECISIONS[given.to])
    if given.json:
        Path(given.json).write_text(json.dumps(report) + "\n", encoding="utf-8")
    return 0


def success(folder: Path, episodes: int) -> Any:
    """The share of episodes done in the simulator, with its interval.

    A checkpoint that cannot drive there (another robot's) is no error here: then it is a text that
    says why.
    """
    from vla_ros.evaluation import metrics, plan, runner
    from vla_ros.tasks.phrases import SPLITS

    player = runner.PolicyChoice("builtin", {"checkpoint": str(folder)})
    try:
        runner.check(player)
    except ValueError as problem:
        return str(problem)
    records = runner.run(plan.success(episodes, SPLITS), player)
    return metrics.rate(record.done for record in records)


def show(report: dict[str, Any], what: str) -> None:
    """A table with a column for each checkpoint."""
    from rich.table import Table

    table = Table(title=what)
    # names left, figures right
    for column in ("", *report["figures"]):
        table.add_column(column, justify="right" if column else "left")
    for name, text in ROWS.items():
        table.add_row(name, *map(text, report["figures"].values()))
    if report["success"]:
        table.add_row("episodes done", *map(_rate, report["success"].values()))
    # A file or a pipe has no width of its own, and rich would take 80 and break the rows.
    console = wide_console()
    console.print(table)
    for name, rate in report["success"].items():
        if isinstance(rate, str):
            console.print(f"episodes of {name}: {rate}", highlight=False)


def _time(milliseconds: tuple[float, float] | None) -> str:
    """Of a mean and its deviation; None: it was not measured."""
    if milliseconds is None:
        return "–"
    mean, deviation = milliseconds
    return f"{mean:.2f} ± {deviation:.2f} ms, {1e3 / mean:.0f} Hz"


def _rate(rate: Any) -> str:
    if isinstance(rate, str):
        return "not run"
    return f"{rate['rate']:.3f} ({rate['low']:.2f} to {rate['high']:.2f}, n = {rate['trials']})"


# A row's name -> its text, from a checkpoint's figures (vla_ros.training.quantization.Figures).
ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "file of weights": lambda figures: f"{figures['file'] / 1e6:.2f} MB",
    "weights in memory, by torch": lambda figures: f"{figures['memory'] / 1e6:.2f} MB",
    "one image, by torch": lambda figures: _time(figures["eager"]),
    "engine": lambda figures: figures["engine"],
    "engine's files": lambda figures: f"{figures['engine_files'] / 1e6:.2f} MB",
    "one image, on the engine": lambda figures: _time(figures["on_engine"]),
}
