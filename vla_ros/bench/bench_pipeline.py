"""`vla bench pipeline`: the suite beside a plain pipeline and the floor, in alternating rounds.

Latency is from the camera's stamp (taken right before its publish) to when DDS hands the command to
the robot's process, for every variant. Ours carries no stamp in its Twist: the gate's report,
written right after the command, names the chunk, and the chunk holds the image's stamp.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain, permutations
from operator import attrgetter
from pathlib import Path
from typing import Any

from vla_ros.bench.pipeline_measure import growth, lateness, milliseconds, ratio
from vla_ros.bench.pipeline_trial import PipelineTrial, run_trial
from vla_ros.bench.variants import BY_NAME, TRACE, VARIANTS

GATE_PERIOD_NS = 20_000_000  # the gate's default of 50 Hz
# Which status in the diagnostics counts what: our key -> "node: task"
COUNTS = {
    "received": "camera_ingest: image",
    "handed_on": "camera_ingest: frame",
    "paired": "synchronizer: observation",
}
COUNTER = "Events since startup"
COMPARED = ("ours", "ours_composed", *BY_NAME)


def summary(name: str, trials: Sequence[PipelineTrial]) -> dict[str, Any]:
    """One variant's rounds together. A figure that was not measured is not there."""
    samples = list(chain.from_iterable(map(attrgetter("samples"), trials)))
    # by round, so that a reader sees how far the machine's speed drifted
    medians = [milliseconds(trial.latencies()).get("p50") for trial in trials]
    out: dict[str, Any] = {
        "sent": _total(trials, "sent"),
        "sent_in_window": _total(trials, "sent_in_window"),
        "commanded_in_window": len(samples),
        "latency_ms": milliseconds(map(attrgetter("total"), samples)),
        "rounds_p50_ms": medians,
        "processes": _worst(trials),
        "cpu_percent": _cpu(trials),
        "problems": [trial.problem for trial in trials if trial.problem],
    }
    if VARIANTS[name].suite:
        out |= _suite_figures(trials)
    return out


def _suite_figures(trials: Sequence[PipelineTrial]) -> dict[str, Any]:
    """What only ours can tell: the gate reports, and each node has its diagnostics."""
    less_policy: list[int] = []
    policy: list[int] = []
    late: list[int] = []
    stops: list[str] = []
    for trial in trials:
        for sample in trial.samples:
            less_policy.append(sample.total - sample.policy)
            policy.append(sample.policy)
        # trial by trial: the time from one run to the next is no gap between commands
        late += lateness(trial.commands, GATE_PERIOD_NS)
        stops += trial.stops
    return {
        "latency_less_policy_ms": milliseconds(less_policy),
        "policy_ms": milliseconds(policy),
        "gate_late_ms": milliseconds(late),
        "inferred": _total(trials, "inferred"),
        "unmatched": _total(trials, "unmatched"),
        "drops": _drops(trials),
        "stops": stops,
        "stages_ms": _stages(trials[-1]) if trials else {},
        **_counts(trials),
    }


def _counts(trials: Sequence[PipelineTrial]) -> dict[str, int]:
    """COUNTS over all rounds; what a node did not count in one of them is left out."""
    out = {}
    for key, status in COUNTS.items():
        values = [trial.diagnostics.get(status, {}).get(COUNTER) for trial in trials]
        if None not in values:
            out[key] = sum(map(int, filter(None, values)))
    return out


def _total(trials: Sequence[PipelineTrial], field: str) -> int:
    return sum(map(attrgetter(field), trials))


def _worst(trials: Sequence[PipelineTrial]) -> dict[str, dict[str, float]]:
    """Per process, the largest of the rounds."""
    worst: dict[str, dict[str, float]] = {}
    for trial in trials:
        for name, figures in trial.usage.items():
            largest = worst.setdefault(name, asdict(figures))
            for key, value in asdict(figures).items():
                largest[key] = max(largest[key], value)
    return worst


def _cpu(trials: Sequence[PipelineTrial]) -> float:
    """Of all its processes but the one that only listens, in % of a core: the rounds' mean."""
    sums = []
    for trial in trials:
        if trial.usage:  # it came up, and lived until the end
            sums.append(sum(used.cpu for name, used in trial.usage.items() if name != TRACE))
    return round(sum(sums) / max(1, len(sums)), 2)


def _drops(trials: Sequence[PipelineTrial]) -> dict[str, int]:
    """How much each node dropped, over all rounds: "node: reason" -> count."""
    out: dict[str, int] = {}
    for trial in trials:
        for status, values in trial.diagnostics.items():
            for key, value in values.items():
                if key.startswith("dropped: ") and value not in ("", "0"):
                    name = f"{_node(status)}: {key.removeprefix('dropped: ')}"
                    out[name] = out.get(name, 0) + int(value)
    return out


def _stages(trial: PipelineTrial) -> dict[str, dict[str, float]]:
    """Each node's own time in its callback (ms), as its /diagnostics tells it."""
    out = {}
    for status, values in trial.diagnostics.items():
        # a node that measured no latency tells none
        if "p50 (ms)" in values and "p99 (ms)" in values:
            out[_node(status)] = {
                "p50": float(values["p50 (ms)"]),
                "p99": float(values["p99 (ms)"]),
            }
    return out


def _node(status: str) -> str:
    """Of a status' name, "node: task"."""
    return status.partition(": ")[0]


def ratios(results: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    """Ours over each other and over the rest: latency at p50, p95 and p99, and processor time."""
    out = {}
    for ours, name in permutations(results, 2):
        if ours not in COMPARED or name in COMPARED[COMPARED.index(ours) :]:
            continue
        for share in ("p50", "p95", "p99"):
            figures = (results[each]["latency_ms"].get(share) for each in (ours, name))
            out[f"{ours}/{name} {share}"] = ratio(*figures)
        cpu = (results[each]["cpu_percent"] for each in (ours, name))
        out[f"{ours}/{name} cpu"] = ratio(*cpu)
    return out


def soak_growth(memory: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Per process: MB (PSS) after warm-up and at the end, and the growth in %."""
    if len(memory) < 2:
        return {}
    out = {}
    for name, begin in memory[0].items():
        end = memory[-1].get(name)
        if end is not None:
            out[name] = {"begin": begin, "end": end, "percent": growth(begin, end)}
    return out


def arguments_of(argv: Sequence[str]) -> argparse.Namespace:
    """The command line. ValueError: an unknown variant, or a number that is not above 0."""
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
        "--size", default="640x480", help="the camera's images, WIDTHxHEIGHT (default %(default)s)"
    )
    parser.add_argument(
        "--cameras", type=int, default=1, choices=(1, 2), help="1 or 2 (default %(default)s)"
    )
    parser.add_argument(
        "--soak", type=float, metavar="MINUTES", help="run ours alone, and watch its memory"
    )
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    parser.add_argument("--only", help=f"some of {','.join(VARIANTS)}")
    parser.add_argument("--logs", metavar="FOLDER", help="keep the processes' logs there")
    arguments = parser.parse_args(list(argv))
    left_out = BY_NAME if arguments.cameras == 1 else (*BY_NAME, "floor")
    all_names = [name for name in VARIANTS if name not in left_out]
    names = arguments.only.split(",") if arguments.only else all_names
    for name in names:
        if name not in VARIANTS:
            raise ValueError(f"unknown variant '{name}'; known are: {', '.join(VARIANTS)}")
        VARIANTS[name].commands(arguments.cameras)  # what it cannot do is said now
    arguments.size = size_of(arguments.size)
    arguments.names = ["ours"] if arguments.soak else names
    for key, value in (
        ("seconds", arguments.seconds),
        ("rounds", arguments.rounds),
        ("rate", arguments.rate),
        ("soak", 1.0 if arguments.soak is None else arguments.soak),
    ):
        # not "value <= 0": NaN is no number above 0 either
        if not 0 < value < 1e5:
            raise ValueError(f"--{key} is {value:g}; give a number above 0")
    return arguments


def size_of(text: str) -> tuple[int, int]:
    """Width and height of `text`, WIDTHxHEIGHT. Raises ValueError where it is not that."""
    words = text.split("x")
    if len(words) != 2 or not all(word.isdecimal() and 8 <= int(word) <= 8192 for word in words):
        raise ValueError(f"--size is '{text}'; give WIDTHxHEIGHT from 8 to 8192, like 1280x720")
    return int(words[0]), int(words[1])


def run(argv: Sequence[str]) -> int:
    """0: every variant gave samples; 1: not."""
    arguments = arguments_of(argv)
    load = list(os.getloadavg())  # before the bench itself is a load
    with tempfile.TemporaryDirectory(prefix="vla_bench_") as temporary:
        folder = Path(arguments.logs or temporary)
        trials = _soak(arguments, folder) if arguments.soak else _rounds(arguments, folder)
    results = {name: summary(name, done) for name, done in trials.items()}
    report: dict[str, Any] = {
        "bench": "pipeline",
        "rate": arguments.rate,
        "size": arguments.size,
        "cameras": arguments.cameras,
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        "cores": os.cpu_count(),
        "load_before": load,
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
    for result in results.values():
        if result["problems"] or not result["latency_ms"]:
            return 1
    return 0


def _rounds(arguments: argparse.Namespace, folder: Path) -> dict[str, list[PipelineTrial]]:
    """Variant -> its trials. In turns: a machine's speed drifts, and so all see the same of it."""
    trials: dict[str, list[PipelineTrial]] = defaultdict(list)
    for number in range(arguments.rounds):
        # every other round backwards, so that no variant always comes first
        for name in arguments.names[:: -1 if number % 2 else 1]:
            variant = VARIANTS[name]
            print(f"round {number + 1} of {arguments.rounds}: {variant.title}", flush=True)
            seconds = arguments.seconds / arguments.rounds
            logs = folder / f"{number}_{name}"
            trial = run_trial(
                variant, seconds, arguments.rate, logs, arguments.size, arguments.cameras
            )
            trials[name].append(trial)
    return trials


def _soak(arguments: argparse.Namespace, folder: Path) -> dict[str, list[PipelineTrial]]:
    """Ours alone, in one long run whose memory is noted at least four times."""
    print(f"ours for {arguments.soak:g} minutes", flush=True)
    seconds = 60.0 * arguments.soak
    every = min(30.0, seconds / 4)
    logs = folder / "soak"
    trial = run_trial(
        VARIANTS["ours"],
        seconds,
        arguments.rate,
        logs,
        arguments.size,
        arguments.cameras,
        memory_every=every,
    )
    return {"ours": [trial]}
