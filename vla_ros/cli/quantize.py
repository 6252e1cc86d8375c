"""`vla quantize`: a checkpoint in fewer bits, with what that saves and what it costs."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vla_ros.engines import ENGINES

SAID = {
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
        choices=tuple(SAID),
        help="; ".join(f"{name}: {what}" for name, what in SAID.items()),
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
    if out.exists():
        raise ValueError(f"--out is {out}, which is there already; give a new folder")
    recorded = None
    if given.recorded:
        from vla_ros.datasets.lerobot.read import Dataset

        recorded = Dataset(given.recorded)
    names = quantization.quantize(folder, out, given.to, recorded)
    both = {"before": folder, given.to: out}
    figures = quantization.figures(list(both.values()), given.engine, given.runs)
    report: dict[str, Any] = {
        "layers packed": names,
        "figures": {name: asdict(one) for name, one in zip(both, figures)},
    }
    report["success"] = (
        {name: success(one, given.episodes) for name, one in both.items()} if given.episodes else {}
    )
    show(report, SAID[given.to])
    if given.json:
        Path(given.json).write_text(json.dumps(report) + "\n", encoding="utf-8")
    return 0


def success(folder: Path, episodes: int) -> Any:
    """The share of episodes done in the simulator, with its interval; or why the checkpoint cannot
    drive there."""
    from vla_ros.evaluation import metrics, plan
    from vla_ros.evaluation import runner as played

    player = played.Player("builtin", {"checkpoint": str(folder)})
    try:
        played.check(player)
    except ValueError as problem:
        return str(problem)
    return metrics.rate(one.done for one in played.run(plan.success(episodes), player))


def show(report: dict[str, Any], what: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=what)
    for column in ("", *report["figures"]):
        table.add_column(column, justify="right" if column else "left")
    for name, text in ROWS.items():
        table.add_row(name, *(text(one) for one in report["figures"].values()))
    if report["success"]:
        table.add_row("episodes done", *map(_rate, report["success"].values()))
    console = Console(width=None if Console().is_terminal else 120)
    console.print(table)
    for name, found in report["success"].items():
        if isinstance(found, str):
            console.print(f"episodes of {name}: {found}", highlight=False)


def _time(found: tuple[float, float] | None) -> str:
    return "–" if found is None else f"{found[0]:.2f} ± {found[1]:.2f} ms, {1e3 / found[0]:.0f} Hz"


def _rate(found: Any) -> str:
    return (
        "not run"
        if isinstance(found, str)
        else (
            f"{found['rate']:.3f} ({found['low']:.2f} to {found['high']:.2f}, n = "
            f"{found['trials']})"
        )
    )


ROWS = {
    "file of weights": lambda one: f"{one['file'] / 1e6:.2f} MB",
    "weights in memory, by torch": lambda one: f"{one['memory'] / 1e6:.2f} MB",
    "one image, by torch": lambda one: _time(one["eager"]),
    "engine": lambda one: one["engine"],
    "engine's files": lambda one: f"{one['engine_files'] / 1e6:.2f} MB",
    "one image, on the engine": lambda one: _time(one["on_engine"]),
}
