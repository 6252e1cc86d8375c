"""`vla bench faults`: every fault of the table at full speed, and how soon the simulated robot
stands."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from vla_ros.bench.faults import network
from vla_ros.bench.faults.arm_table import arms
from vla_ros.bench.faults.fault_page import page
from vla_ros.bench.faults.fault_table import WORK, Fault, bases
from vla_ros.bench.faults.fault_trial import Result
from vla_ros.bench.faults.fault_trial import run as run_fault
from vla_ros.bench.faults.worlds import WORLDS, suite_in

MINUTE = 60.0


def all_faults(good: float = WORK) -> list[Fault]:
    """`good`: s of good work before a driving robot's policy gives NaN."""
    return [*bases(good), *arms()]


def in_world(world: str, faults: Sequence[Fault], repeat: int = 1) -> list[Result]:
    """All of one world's faults, `repeat` times, on one running suite (another, where it does not
    get up again)."""
    todo = [fault for _ in range(repeat) for fault in faults if fault.world == world]
    results: list[Result] = []
    while todo:
        with suite_in(world) as suite:
            while todo:
                fault = todo.pop(0)
                try:
                    results.append(run_fault(suite, fault))
                except TimeoutError as error:
                    results.append(Result(fault.name, problems=[str(error)]))
                    break
                finally:
                    _say(results[-1:])
    return results


def _say(results: Sequence[Result]) -> None:
    for result in results:
        print(result.sentence(), flush=True)


def behind_a_cable(names: Sequence[str], repeat: int = 1) -> list[Result]:
    """The world `network`, in a process and a network namespace of its own."""
    if why := network.why_not():
        return [Result(name, not_run=why) for name in names]
    with tempfile.TemporaryDirectory(prefix="vla_faults_") as folder:
        out = Path(folder) / "results.json"
        subprocess.run(
            [
                "unshare",
                "--net",
                sys.executable,
                "-m",
                "vla_ros.cli.main",
                "bench",
                "faults",
                "--inside",
                "--json",
                str(out),
                "--repeat",
                str(repeat),
                *names,
            ],
            check=True,
            timeout=600.0 * repeat,
        )
        return [Result(**found) for found in json.loads(out.read_text(encoding="utf-8"))]


def chosen(words: Sequence[str], faults: Sequence[Fault]) -> list[Fault]:
    """Those whose name holds one of `words`; all where there are none. ValueError: a word that fits
    none."""
    for word in words:
        if not any(word in fault.name for fault in faults):
            raise ValueError(f"no fault is called '{word}'; `vla bench faults --list` names them")
    return [fault for fault in faults if not words or any(word in fault.name for word in words)]


def arguments_of(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="vla bench faults",
        description=(
            "Makes each fault at full speed of the robot's stand-in and measures the time to "
            "standstill."
        ),
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="only faults whose name holds one of these"
    )
    parser.add_argument("--world", choices=WORLDS, help="only the faults that happen there")
    parser.add_argument("--list", action="store_true", help="name the faults, and end")
    parser.add_argument(
        "--repeat", type=int, default=3, metavar="N", help="how often each (default %(default)s)"
    )
    parser.add_argument(
        "--long", action="store_true", help="a whole minute of good work before the NaN"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help=(
            "the table as a page in Markdown; where only a driving robot's or only an arm's faults "
            "were tried, what the "
            "page says of the other stays"
        ),
    )
    parser.add_argument("--json", metavar="FILE", help="every single result")
    # in the namespace already
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(list(argv))
    if given.repeat < 1:
        raise ValueError(f"--repeat is {given.repeat}; give 1 or more")
    return given


def run(argv: Sequence[str]) -> int:
    """0: all held; 1: something did not, or did not run."""
    given = arguments_of(argv)
    faults = chosen(
        given.names,
        [
            fault
            for fault in all_faults(MINUTE if given.long else WORK)
            if given.world in (None, fault.world)
        ],
    )
    if given.list:
        print("\n".join(f"{fault.name} ({fault.world})" for fault in faults))
        return 0
    began = time.monotonic()
    load = os.getloadavg()[0]
    results: list[Result] = []
    for world in WORLDS:
        there = [fault for fault in faults if fault.world == world]
        if there and world == "network" and not given.inside:
            results += behind_a_cable([fault.name for fault in there], given.repeat)
        elif there:
            results += in_world(world, there, given.repeat)
    if given.json:
        Path(given.json).write_text(
            json.dumps([dataclasses.asdict(result) for result in results]), encoding="utf-8"
        )
    if given.out:
        Path(given.out).parent.mkdir(parents=True, exist_ok=True)
        before = Path(given.out).read_text(encoding="utf-8") if Path(given.out).exists() else ""
        Path(given.out).write_text(
            page(faults, results, given.repeat, load, before), encoding="utf-8"
        )
    bad = [result for result in results if result.problems]
    print(
        f"{len(results)} runs in {time.monotonic() - began:.0f} s on {os.cpu_count()} cores: "
        f"{len(bad)} with problems, {sum(bool(result.not_run) for result in results)} not run"
    )
    return 1 if bad and not given.inside else 0
