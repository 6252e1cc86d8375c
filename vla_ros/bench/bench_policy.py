"""`vla bench policy`: what a model takes on each engine here, beside the plain ways of today.

Every way runs in processes of its own, in turns, backwards every other round, on as many threads.
An image of 640 x 480 goes in and an action chunk comes out; the words are known, but in the plain
ways, which read them each time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from vla_ros.bench.policy_models import CONFIGS, model_of
from vla_ros.bench.policy_trial import AS_IT_IS, PLAIN

DEFAULT = ("builtin", "clip", "resnet50")
AIMS = {("clip", "fp32"): 0.4, ("clip", "int8"): 0.2}  # of eager's time, on a CPU


def arguments_of(argv: Sequence[str]) -> argparse.Namespace:
    """The command line. ValueError: a number below 1."""
    parser = argparse.ArgumentParser(
        prog="vla bench policy", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument(
        "--configs",
        nargs="+",
        choices=tuple(CONFIGS),
        default=DEFAULT,
        help="which models (default: %(default)s; clip_l_llama wants 20 GB and minutes: --runs 3)",
    )
    parser.add_argument(
        "--policy-file",
        nargs="+",
        metavar="FILE",
        help="the policies of these files instead, on a black observation of their sizes",
    )
    parser.add_argument(
        "--engines", nargs="+", help="which (default: all that this machine can run)"
    )
    parser.add_argument(
        "--runs", type=int, default=60, help="measured in each round (default %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="the ways take turns so often (default %(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="of each way (default %(default)s, as the policy's)"
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=1,
        metavar="N",
        help="also N images at once, on an engine for 1 to 2 N (default: not)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    parser.add_argument(
        "--out", metavar="PAGE", help="write the tables there, as Markdown, and an image beside it"
    )
    given = parser.parse_args(list(argv))
    for name in ("runs", "rounds", "threads", "batch"):
        if getattr(given, name) < 1:
            raise ValueError(f"--{name} is {getattr(given, name)}; give 1 or more")
    return given


def ways_of(config: str, engines: Sequence[str] | None) -> list[tuple[str, str]]:
    """(way, precision) of all that this machine can run for a config, or a policy file."""
    from vla_ros.core.policy_file import load_policy_file
    from vla_ros.core.registry import lookup
    from vla_ros.engines import ENGINES, PRECISIONS
    from vla_ros.engines.select import EngineRequest
    from vla_ros.policies import policy_class

    ways = [(way, "fp32") for way in PLAIN]
    if config not in CONFIGS:
        ways = []
        if not getattr(policy_class(load_policy_file(config).policy), "ON_ENGINES", False):
            return [AS_IT_IS]
    place = EngineRequest().place
    for name in engines or ENGINES:
        engine = lookup(ENGINES, name, "engine")
        for precision in PRECISIONS:
            if not engine.missing(place, precision):
                ways.append((name, precision))
    return ways


def run(argv: Sequence[str]) -> int:
    """0: every way ran; 1: not all."""
    given = arguments_of(argv)
    report: dict[str, Any] = {
        "bench": "policy",
        "cores": os.cpu_count(),
        "load_before": list(os.getloadavg()),
        "threads": given.threads,
        "runs": given.runs,
        "rounds": given.rounds,
        "configs": {},
        "problems": [],
    }
    with tempfile.TemporaryDirectory(prefix="vla_bench_engines_") as cache:
        for config in given.policy_file or given.configs:
            figures = {}
            for way, trials in _rounds(config, given, cache, report["problems"]).items():
                if len(trials) > 1:  # more than the first start
                    figures[" ".join(way)] = _together(trials)
            _compare(figures)
            report["configs"][config] = figures
    report["load_after"] = list(os.getloadavg())
    line = json.dumps(report)
    if given.json:  # first: no table is worth the numbers
        Path(given.json).write_text(line + "\n", encoding="utf-8")
    from vla_ros.bench.policy_table import show, write  # rich and matplotlib are only needed here

    show(report)
    if given.out:
        write(report, Path(given.out), ["vla", "bench", "policy", *argv])
    print(line, flush=True)
    return 1 if report["problems"] else 0


def _rounds(
    config: str, given: argparse.Namespace, cache: str, problems: list[str]
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(way, precision) -> what each of its trials printed; the first of them built."""
    ways = ways_of(config, given.engines)
    trials: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    # the first round builds, and gives only the time that this takes
    for number in range(given.rounds + 1):
        part = f"round {number}" if number else "first start"
        runs = given.runs if number else 1
        # every other round backwards, so that no way always comes first
        for way in ways[:: -1 if number % 2 else 1]:
            print(f"{config}: {' '.join(way)}, {part}", file=sys.stderr, flush=True)
            options = [str(runs), cache, str(given.threads), str(given.batch)]
            trial = _trial([config, *way, *options], problems)
            if trial:
                trials[way].append(trial)
    return trials


def _trial(arguments: Sequence[str], problems: list[str]) -> dict[str, Any] | None:
    """A way in a process of its own; None, and a line in `problems`, where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "vla_ros.bench.policy_trial", *arguments],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        problems.append(f"{' '.join(arguments[:3])}: {done.stderr.strip()[-300:] or 'it ended'}")
        return None
    trial: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return trial


def _together(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The median over the rounds of each figure.

    The first round's start is the cold one, the others' the warm one.
    """
    first, *others = rounds
    stages: dict[str, dict[str, float]] = {}
    for stage, shares in others[0]["stages"].items():
        stages[stage] = {}
        for share in shares:
            values = [trial["stages"][stage][share] for trial in others]
            stages[stage][share] = statistics.median(values)
    figures = {
        "stages": stages,
        "spread": [trial["stages"]["whole"]["p50"] for trial in others],
        "cold": first["start"],
        "warm": statistics.median(map(itemgetter("start"), others)),
        "peak": max(map(itemgetter("peak"), others)),
        "difference": others[0].get("difference"),
    }
    if "first" in first:  # the plain ways do not tell it
        figures["first"] = statistics.median(map(itemgetter("first"), others))
    return figures


def _compare(ways: dict[str, dict[str, Any]]) -> None:
    """Adds what each way takes beside others, and beside itself.

    Its whole over eager's and over torch.compile's, a warm start over a cold one, and the first
    image after it over the median.
    """
    eager = "plain fp32" if "plain fp32" in ways else "eager fp32"  # a file's policy
    for name, base in (("eager", eager), ("torch.compile", "torch.compile fp32")):
        if base in ways:
            base_ms = ways[base]["stages"]["whole"]["p50"]
            for figures in ways.values():
                figures[f"of {name}"] = figures["stages"]["whole"]["p50"] / base_ms
    for figures in ways.values():
        figures["warm of cold"] = figures["warm"] / figures["cold"]
        if "first" in figures:
            figures["first of median"] = figures["first"] / figures["stages"]["whole"]["p50"]


def title(config: str) -> str:
    """With the number of parameters, and a word about random weights; of a file, its path."""
    if config not in CONFIGS:
        return config
    words, options = CONFIGS[config]
    vla = model_of(config)[0]
    count = sum(parameter.numel() for parameter in vla.parameters()) / 1e6
    return f"{words} ({count:.1f} M parameters{', random weights' if options else ''})"
