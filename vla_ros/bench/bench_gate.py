"""`vla bench gate`: our gate beside a plain, callback-driven one: a step's time, the jitter, stop
to zero."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vla_ros.bench.gate_step import measure
from vla_ros.bench.gate_table import show, write
from vla_ros.bench.gate_trial import VARIANTS, Trial, run_trial
from vla_ros.bench.pipeline_measure import milliseconds, ratio

LOADS = {"busy": 2, "quiet": 0}  # processes beside the gate that never rest
FIGURES = ("late_written", "late_written_calm", "late_received", "stop", "stop_calm")
FLOORS = {"late_written": "floor", "late_written_calm": "floor_calm"}
# (load, figure) -> p99 in ms
AIMS = {
    **{("", figure): 0.5 for figure in ("step", "step_calm", "narrow", "narrow_calm")},
    ("busy", "late_written"): 3.0,
    ("busy", "late_written_calm"): 3.0,
    **{(load, figure): 25.0 for load in LOADS for figure in ("stop", "stop_calm")},
}
QUICK = {"seconds": 1.5, "stops": 3, "steps": 500, "rounds": 1}


def arguments_of(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vla bench gate", description=__doc__.split(": ", 1)[1])
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
        if not 0 < getattr(arguments, key) < 1e6:
            raise ValueError(f"--{key} is {getattr(arguments, key):g}; give a number above 0")
    arguments.names = [name for name in VARIANTS if name != "fifo" or arguments.fifo]
    arguments.loads = ["busy"] if arguments.quick else list(LOADS)
    return arguments


def run(argv: Sequence[str]) -> int:
    """0: all was measured; 1: not. Whether an aim is met is in the table."""
    arguments = arguments_of(argv)
    load = list(os.getloadavg())
    (kept, ticks) = stolen()
    print("the step", flush=True)
    steps = measure(arguments.steps)
    with tempfile.TemporaryDirectory(prefix="vla_bench_") as temporary:
        trials = _rounds(arguments, Path(arguments.logs or temporary))
    now_kept, now_ticks = stolen()
    share = (now_kept - kept) / (now_ticks - ticks) if now_ticks > ticks else 0.0
    report = report_of(arguments, steps, trials) | {
        "machine": machine(),
        "load_before": load,
        "load_after": list(os.getloadavg()),
        "stolen": round(share, 4),
    }
    if arguments.json:  # first: no table is worth the numbers
        Path(arguments.json).write_text(json.dumps(report) + "\n")
    show(report)
    if arguments.out:
        write(report, Path(arguments.out))
    return 1 if report["problems"] else 0


def _rounds(arguments: argparse.Namespace, folder: Path) -> dict[str, dict[str, list[Trial]]]:
    """load -> gate -> its trials."""
    trials: dict[str, dict[str, list[Trial]]] = {
        load: {name: [] for name in arguments.names} for load in arguments.loads
    }
    for number in range(arguments.rounds):
        stops = (
            arguments.stops * (number + 1) // arguments.rounds
            - arguments.stops * number // arguments.rounds
        )
        for load in arguments.loads:
            # every other round backwards, so that no gate always comes first
            for name in arguments.names[:: -1 if number % 2 else 1]:
                print(
                    f"round {number + 1} of {arguments.rounds}, {load}: {VARIANTS[name].title}",
                    flush=True,
                )
                trials[load][name].append(
                    run_trial(
                        VARIANTS[name],
                        LOADS[load],
                        arguments.seconds / arguments.rounds,
                        stops,
                        folder / f"{number}_{load}_{name}",
                    )
                )
    return trials


def report_of(
    arguments: argparse.Namespace,
    steps: dict[str, dict[str, dict[str, float]]],
    trials: dict[str, dict[str, list[Trial]]],
) -> dict[str, Any]:
    """`figures`: load -> figure -> gate -> percentiles in ms, and how many. What was not measured
    is not there."""
    figures: dict[str, Any] = {"": steps}
    for load, gates in trials.items():
        figures[load] = {
            figure: {name: _milliseconds(done, figure) for name, done in gates.items()}
            for figure in FIGURES
        }
        everyone = [trial for done in gates.values() for trial in done]
        for figure, floor in FLOORS.items():  # it ran beside each of them
            figures[load][figure]["floor"] = _milliseconds(everyone, floor)
    rows = {
        (load, figure): gates for load, table in figures.items() for figure, gates in table.items()
    }
    named = [
        (load, name, trial)
        for load, gates in trials.items()
        for name, done in gates.items()
        for trial in done
    ]
    problems = [f"{name}, {load}: {trial.problem}" for load, name, trial in named if trial.problem]
    problems += [
        f"{name}, {load}: {trial.missed} stops without a zero"
        for load, name, trial in named
        if trial.missed
    ]
    return {
        "bench": "gate",
        "figures": figures,
        "problems": problems,
        "ratios": {
            f"{load} {figure} {share}".strip(): ratio(
                gates["ours"].get(share), gates.get("plain", {}).get(share)
            )
            for (load, figure), gates in rows.items()
            for share in ("p50", "p99", "max")
        },
        "aims": [
            {
                "load": load,
                "figure": figure,
                "p99": aim,
                "met": rows[load, figure]["ours"]["p99"] < aim,
            }
            for (load, figure), aim in AIMS.items()
            if rows.get((load, figure), {}).get("ours")
        ],
        **{key: getattr(arguments, key) for key in (*QUICK, "note")},
    }


def _milliseconds(trials: Sequence[Trial], figure: str) -> dict[str, float]:
    times = milliseconds(took for trial in trials for _, took in trial.figures.get(figure, ()))
    return times | {"count": sum(len(trial.figures[figure]) for trial in trials)} if times else {}


def stolen() -> tuple[int, int]:
    """Ticks of all cores that a virtual machine's host kept, and all ticks; zeros where Linux does
    not say."""
    try:
        ticks = [
            int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        ]
    except (OSError, ValueError):
        return 0, 0
    return ticks[7], sum(ticks)


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), ""
        )
    except OSError:
        model = ""
    try:
        client = f"rclpy {version('rclpy')}"
    except PackageNotFoundError:
        client = "rclpy"
    import rclpy  # the table's last word, and slow to load

    return {
        "cpu": model or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "ros": " ".join(
            filter(
                None,
                (os.environ.get("ROS_DISTRO"), client, rclpy.get_rmw_implementation_identifier()),
            )
        ),
    }
