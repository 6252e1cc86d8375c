"""`vla bench pipeline`: the suite beside a plain pipeline and beside the floor, in alternating
rounds.

Latency is from the camera's stamp (taken right before its publish) to when DDS hands the command to
the robot's process, for every variant. Ours carries no stamp in its Twist: the gate's report,
written right after the command, names the chunk, and the chunk holds the image's stamp.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla_ros.bench.pipeline_measure import growth, lateness, milliseconds, ratio
from vla_ros.bench.pipeline_trial import Trial, Usage, run_trial
from vla_ros.bench.variants import VARIANTS

GATE_PERIOD = 20_000_000  # ns; the gate's default of 50 Hz
# Which status in the diagnostics counts what: our key -> "node: task"
COUNTS = {
    "received": "camera_ingest: image",
    "handed on": "camera_ingest: frame",
    "paired": "synchronizer: observation",
}
COUNTER = "Events since startup"


def summary(name: str, trials: Sequence[Trial]) -> dict[str, Any]:
    """One variant's rounds together. A figure that was not measured is not there."""
    samples = [sample for trial in trials for sample in trial.samples]
    out: dict[str, Any] = {
        "sent": sum(trial.sent for trial in trials),
        "sent_in_window": sum(trial.sent_in_window for trial in trials),
        "commanded_in_window": len(samples),
        "latency_ms": milliseconds(sample.total for sample in samples),
        "rounds_p50_ms": [
            milliseconds(s.total for s in trial.samples).get("p50") for trial in trials
        ],
        "processes": _worst([trial.usage for trial in trials]),
        "problems": [trial.problem for trial in trials if trial.problem],
    }
    if VARIANTS[name].suite:
        late = [gap for trial in trials for gap in lateness(trial.commands, GATE_PERIOD)]
        out |= {
            "latency_less_policy_ms": milliseconds(
                sample.total - sample.policy for sample in samples
            ),
            "policy_ms": milliseconds(sample.policy for sample in samples),
            "gate_late_ms": milliseconds(late),
            "inferred": sum(trial.inferred for trial in trials),
            "unmatched": sum(trial.unmatched for trial in trials),
            "drops": _drops(trials),
            "stops": [reason for trial in trials for reason in trial.stops],
            "stages_ms": _stages(trials[-1]) if trials else {},
        }
        for key, status in COUNTS.items():
            values = [trial.diagnostics.get(status, {}).get(COUNTER) for trial in trials]
            if all(value is not None for value in values):
                out[key.replace(" ", "_")] = sum(
                    int(value) for value in values if value is not None
                )
    return out


def _worst(usages: Sequence[dict[str, Usage]]) -> dict[str, dict[str, float]]:
    """Per process, the largest of the rounds."""
    names = dict.fromkeys(name for usage in usages for name in usage)
    return {
        name: {
            key: max(getattr(usage[name], key) for usage in usages if name in usage)
            for key in ("rss", "pss", "uss", "cpu")
        }
        for name in names
    }


def _drops(trials: Sequence[Trial]) -> dict[str, int]:
    out: dict[str, int] = {}
    for trial in trials:
        for status, values in trial.diagnostics.items():
            for key, value in values.items():
                if key.startswith("dropped: ") and value not in ("", "0"):
                    name = f"{_node(status)}: {key.removeprefix('dropped: ')}"
                    out[name] = out.get(name, 0) + int(value)
    return out


def _stages(trial: Trial) -> dict[str, dict[str, float]]:
    """Each node's own time in its callback, as its /diagnostics tells it; of the last round."""
    shares = {"p50": "p50 (ms)", "p99": "p99 (ms)"}
    return {
        _node(status): {share: float(values[key]) for share, key in shares.items()}
        for status, values in trial.diagnostics.items()
        if all(key in values for key in shares.values())
    }


def _node(status: str) -> str:
    """Of a status' name, "node: task"."""
    return status.partition(": ")[0]


def ratios(results: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    """Ours over each other, at p50, p95 and p99."""
    ours = results.get("ours", {}).get("latency_ms", {})
    return {
        f"ours/{name} {share}": ratio(ours.get(share), result["latency_ms"].get(share))
        for name, result in results.items()
        if name != "ours"
        for share in ("p50", "p95", "p99")
    }


def soak_growth(memory: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Per process: MB (PSS) after warm-up and at the end, and the growth in %."""
    if len(memory) < 2:
        return {}
    first, last = memory[0], memory[-1]
    return {
        name: {"begin": first[name], "end": last[name], "percent": growth(first[name], last[name])}
        for name in first
        if name in last
    }


def arguments_of(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="vla bench pipeline", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="measured for each variant (default 20)"
    )
    parser.add_argument(
        "--rounds", type=int, default=2, help="the variants take turns so often (default 2)"
    )
    parser.add_argument("--rate", type=float, default=30.0, help="images a second (default 30)")
    parser.add_argument(
        "--soak", type=float, metavar="MINUTES", help="run ours alone, and watch its memory"
    )
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    parser.add_argument("--only", help=f"some of {','.join(VARIANTS)}")
    parser.add_argument("--logs", metavar="FOLDER", help="keep the processes' logs there")
    arguments = parser.parse_args(list(argv))
    names = arguments.only.split(",") if arguments.only else list(VARIANTS)
    for name in names:
        if name not in VARIANTS:
            raise ValueError(f"unknown variant '{name}'; known are: {', '.join(VARIANTS)}")
    arguments.names = ["ours"] if arguments.soak else names
    for key, value in (
        ("seconds", arguments.seconds),
        ("rounds", arguments.rounds),
        ("rate", arguments.rate),
        ("soak", 1.0 if arguments.soak is None else arguments.soak),
    ):
        if not 0 < value < 1e5:
            raise ValueError(f"--{key} is {value:g}; give a number above 0")
    return arguments


def run(argv: Sequence[str]) -> int:
    """0: every variant gave samples; 1: not."""
    arguments = arguments_of(argv)
    with tempfile.TemporaryDirectory(prefix="vla_bench_") as temporary:
        folder = Path(arguments.logs or temporary)
        trials = _soak(arguments, folder) if arguments.soak else _rounds(arguments, folder)
    results = {name: summary(name, done) for name, done in trials.items()}
    report: dict[str, Any] = {
        "bench": "pipeline",
        "rate": arguments.rate,
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        "cores": os.cpu_count(),
        "load_before": LOAD,
        "load_after": list(os.getloadavg()),
        "variants": results,
        "ratios": ratios(results),
    }
    if arguments.soak:
        report["soak"] = {
            "minutes": arguments.soak,
            "growth": soak_growth(trials["ours"][0].memory),
        }
    line = json.dumps(report)
    if arguments.json:  # first: no table is worth the numbers
        Path(arguments.json).write_text(line + "\n")
    from vla_ros.bench.pipeline_table import show  # rich is only needed here

    show(report)
    print(line, flush=True)
    return (
        0
        if all(result["latency_ms"] and not result["problems"] for result in results.values())
        else 1
    )


LOAD = list(os.getloadavg())


def _rounds(arguments: argparse.Namespace, folder: Path) -> dict[str, list[Trial]]:
    trials: dict[str, list[Trial]] = {name: [] for name in arguments.names}
    for number in range(arguments.rounds):
        # every other round backwards, so that no variant always comes first
        for name in arguments.names[:: -1 if number % 2 else 1]:
            print(f"round {number + 1} of {arguments.rounds}: {VARIANTS[name].title}", flush=True)
            trials[name].append(
                run_trial(
                    VARIANTS[name],
                    arguments.seconds / arguments.rounds,
                    arguments.rate,
                    folder / f"{number}_{name}",
                )
            )
    return trials


def _soak(arguments: argparse.Namespace, folder: Path) -> dict[str, list[Trial]]:
    print(f"ours for {arguments.soak:g} minutes", flush=True)
    seconds = 60.0 * arguments.soak
    return {
        "ours": [
            run_trial(
                VARIANTS["ours"],
                seconds,
                arguments.rate,
                folder / "soak",
                memory_every=min(30.0, seconds / 4),
            )
        ]
    }
