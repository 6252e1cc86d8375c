"""`vla bench gate`: our gate beside a plain one: a step's time, the jitter, stop to zero.

The plain one is driven by its callbacks, as most projects have it (gate_naive.py).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Any

from vla_ros.bench.gate_step import measure
from vla_ros.bench.gate_table import show, write
from vla_ros.bench.gate_trial import VARIANTS, GateTrial, run_trial
from vla_ros.bench.pipeline_measure import milliseconds, ratio

LOADS = {"busy": 2, "quiet": 0}  # processes beside the gate that never rest
FIGURES = ("late_written", "late_written_calm", "late_received", "stop", "stop_calm")
FLOORS = {"late_written": "floor", "late_written_calm": "floor_calm"}
# (load, figure) -> p99 in ms; the gates' period is 20 ms
AIMS_MS = {
    ("", "step"): 0.5,
    ("", "step_calm"): 0.5,
    ("", "narrow"): 0.5,
    ("", "narrow_calm"): 0.5,
    ("busy", "late_written"): 3.0,
    ("busy", "late_written_calm"): 3.0,
    ("busy", "stop"): 25.0,
    ("busy", "stop_calm"): 25.0,
    ("quiet", "stop"): 25.0,
    ("quiet", "stop_calm"): 25.0,
}
QUICK = {"seconds": 1.5, "stops": 3, "steps": 500, "rounds": 1}


Trials = dict[str, dict[str, list[GateTrial]]]  # load -> gate -> its trials


def arguments_of(argv: Sequence[str]) -> argparse.Namespace:
    """The command line. ValueError: a number that is not above 0."""
    parser = argparse.ArgumentParser(prog="vla bench gate", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="of motion for each gate and load (default 30)"
    )
    parser.add_argument(
        "--stops", type=int, default=100, help="for each gate and load (default 100)"
    )
    parser.add_argument(
        "--steps", type=int, default=20_000, help="of the gate in this process (default 20000)"
    )
    parser.add_argument(
        "--rounds", type=int, default=2, help="the gates take turns so often (default 2)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few seconds of each: shows that it runs, not how well",
    )
    parser.add_argument(
        "--fifo", action="store_true", help="ours under SCHED_FIFO as well (needs the right to)"
    )
    parser.add_argument("--out", metavar="FILE", help="write the table there, as Markdown")
    parser.add_argument(
        "--note", default="", help="a sentence for that file: the date, what else ran"
    )
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    parser.add_argument("--logs", metavar="FOLDER", help="keep the processes' logs there")
    arguments = parser.parse_args(list(argv))
    if arguments.quick:
        vars(arguments).update(QUICK)
    for key in QUICK:
        # not "<= 0": NaN is no number above 0 either
        if not 0 < getattr(arguments, key) < 1e6:
            raise ValueError(f"--{key} is {getattr(arguments, key):g}; give a number above 0")
    arguments.names = [name for name in VARIANTS if name != "fifo" or arguments.fifo]
    arguments.loads = ["busy"] if arguments.quick else list(LOADS)
    return arguments


def run(argv: Sequence[str]) -> int:
    """0: all was measured; 1: not. Whether an aim is met is in the table."""
    arguments = arguments_of(argv)
    load = list(os.getloadavg())  # before the bench itself is a load
    stolen_before, ticks_before = stolen()
    print("the step", flush=True)
    steps = measure(arguments.steps)
    with tempfile.TemporaryDirectory(prefix="vla_bench_") as temporary:
        trials = _rounds(arguments, Path(arguments.logs or temporary))
    stolen_after, ticks_after = stolen()
    ticks = max(ticks_after - ticks_before, 1)  # 1: Linux does not say, and nothing was stolen
    report = report_of(arguments, steps, trials) | {
        "machine": machine(),
        "load_before": load,
        "load_after": list(os.getloadavg()),
        "stolen": round((stolen_after - stolen_before) / ticks, 4),
    }
    if arguments.json:  # first: no table is worth the numbers
        Path(arguments.json).write_text(json.dumps(report) + "\n")
    show(report)
    if arguments.out:
        write(report, Path(arguments.out))
    return 1 if report["problems"] else 0


def _rounds(arguments: argparse.Namespace, folder: Path) -> Trials:
    """In turns: a machine's speed drifts, and so all gates see the same of it."""
    trials: Trials = {}
    for load in arguments.loads:
        trials[load] = defaultdict(list)
    seconds = arguments.seconds / arguments.rounds
    for number in range(arguments.rounds):
        # whole numbers that add up to all stops, whatever the number of rounds
        stops_so_far = arguments.stops * number // arguments.rounds
        stops = arguments.stops * (number + 1) // arguments.rounds - stops_so_far
        for load in arguments.loads:
            # every other round backwards, so that no gate always comes first
            for name in arguments.names[:: -1 if number % 2 else 1]:
                variant = VARIANTS[name]
                print(
                    f"round {number + 1} of {arguments.rounds}, {load}: {variant.title}", flush=True
                )
                logs = folder / f"{number}_{load}_{name}"
                trials[load][name].append(run_trial(variant, LOADS[load], seconds, stops, logs))
    return trials


def report_of(
    arguments: argparse.Namespace, steps: dict[str, dict[str, dict[str, float]]], trials: Trials
) -> dict[str, Any]:
    """All that was measured, as it goes into the JSON file and the tables.

    Args:
        arguments: of the command line.
        steps: figure -> gate -> percentiles in ms, of the step in this process.
        trials: of the gates as processes.

    Returns:
        `figures`: load ("" for the step) -> figure -> gate -> percentiles in ms, and how many.
        What was not measured is not there.
    """
    figures: dict[str, Any] = {"": steps}
    for load, gates in trials.items():
        figures[load] = _figures(gates)
    ratios = {}
    aims = []
    for load, table in figures.items():
        for figure, gates in table.items():
            ours = gates["ours"]
            plain = gates.get("plain", {})
            for share in ("p50", "p99", "max"):
                name = f"{load} {figure} {share}".strip()
                ratios[name] = ratio(ours.get(share), plain.get(share))
            aim = AIMS_MS.get((load, figure))
            if ours and aim is not None:
                met = ours["p99"] < aim
                aims.append({"load": load, "figure": figure, "p99": aim, "met": met})
    report = {
        "bench": "gate",
        "figures": figures,
        "problems": list(_problems(trials)),
        "ratios": ratios,
        "aims": aims,
        "note": arguments.note,
    }
    for key in QUICK:
        report[key] = getattr(arguments, key)
    return report


def _figures(gates: dict[str, list[GateTrial]]) -> dict[str, dict[str, Any]]:
    """Figure -> gate, or "floor" -> percentiles in ms, of one load."""
    figures: dict[str, dict[str, Any]] = {}
    for figure in FIGURES:
        figures[figure] = {}
        for name, trials in gates.items():
            figures[figure][name] = _milliseconds(trials, figure)
    everyone = list(chain.from_iterable(gates.values()))
    for figure, floor in FLOORS.items():  # the bare loop ran beside each of them
        figures[figure]["floor"] = _milliseconds(everyone, floor)
    return figures


def _problems(trials: Trials) -> Iterator[str]:
    """What cut a trial short, then the stops that were in vain."""
    missed = []
    for load, gates in trials.items():
        for name, trial in _named(gates):
            if trial.problem:
                yield f"{name}, {load}: {trial.problem}"
            if trial.missed:
                missed.append(f"{name}, {load}: {trial.missed} stops without a zero")
    yield from missed


def _named(gates: dict[str, list[GateTrial]]) -> Iterator[tuple[str, GateTrial]]:
    for name, trials in gates.items():
        for trial in trials:
            yield name, trial


def _milliseconds(trials: Sequence[GateTrial], figure: str) -> dict[str, float]:
    """Percentiles of all trials together, and how many; empty where nothing was measured."""
    waits: list[int] = []
    for trial in trials:
        waits += [took for _, took in trial.figures.get(figure, ())]
    return milliseconds(waits) | {"count": len(waits)} if waits else {}


def stolen() -> tuple[int, int]:
    """What a virtual machine's host kept from it: ticks of all cores, and all ticks.

    Zeros where Linux does not say.
    """
    try:
        first_line = Path("/proc/stat").read_text().split("\n", 1)[0]
        # user nice system idle iowait irq softirq steal; guests' time is in user's already
        ticks = list(map(int, first_line.split()[1:9]))
    except (OSError, ValueError):
        return 0, 0
    return ticks[7], sum(ticks)


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    import rclpy  # the table's last word, and slow to load

    try:
        client = f"rclpy {version('rclpy')}"
    except PackageNotFoundError:
        client = "rclpy"
    ros = [os.environ.get("ROS_DISTRO", ""), client, rclpy.get_rmw_implementation_identifier()]
    return {
        "cpu": _cpu() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "ros": " ".join(filter(None, ros)),
    }


def _cpu() -> str:
    """The processor's name for itself; "" where it has none (ARM) or Linux does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return ""
