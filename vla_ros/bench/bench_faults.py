"""`vla bench faults`: every fault of the table at full speed, and how soon the robot stands.

The robot is a simulated one, or an arm without physics.
"""

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
from vla_ros.bench.faults.fault_table import GOOD_WORK_S, Fault, bases
from vla_ros.bench.faults.fault_trial import Result
from vla_ros.bench.faults.fault_trial import run as run_fault
from vla_ros.bench.faults.worlds import WORLDS, suite_in

MINUTE_S = 60.0


def all_faults(good: float = GOOD_WORK_S) -> list[Fault]:
    """`good`: s of good work before a driving robot's policy gives NaN."""
    return [*bases(good), *arms()]


def in_world(world: str, faults: Sequence[Fault], repeat: int = 1) -> list[Result]:
    """All of one world's faults, `repeat` times, one after another.

    They share a running suite, and get another where it does not get up again.
    """
    todo = _of_world(world, faults) * repeat
    results: list[Result] = []
    while todo:
        with suite_in(world) as suite:
            suite_is_up = True
            while todo and suite_is_up:
                fault = todo.pop(0)
                try:
                    result = run_fault(suite, fault)
                except TimeoutError as error:
                    result = Result(fault.name, problems=[str(error)])
                    suite_is_up = False
                print(result.sentence(), flush=True)
                results.append(result)
    return results


def _of_world(world: str, faults: Sequence[Fault]) -> list[Fault]:
    return [fault for fault in faults if fault.world == world]


def behind_a_cable(names: Sequence[str], repeat: int = 1) -> list[Result]:
    """The world `network`, in a process and a network namespace of its own."""
    if why := network.why_not():
        return [Result(name, not_run=why) for name in names]
    with tempfile.TemporaryDirectory(prefix="vla_faults_") as folder:
        out = Path(folder) / "results.json"
        command = ["unshare", "--net", sys.executable, "-m", "vla_ros.cli.main", "bench", "faults"]
        command += ["--inside", "--json", str(out), "--repeat", str(repeat), *names]
        subprocess.run(command, check=True, timeout=600.0 * repeat)
        return [Result(**fields) for fields in json.loads(out.read_text(encoding="utf-8"))]


def chosen(words: Sequence[str], faults: Sequence[Fault]) -> list[Fault]:
    """Those whose name holds one of `words`; all where there are none.

    Raises:
        ValueError: a word that is in no fault's name.
    """
    wanted: set[str] = set()
    for word in words:
        names = [fault.name for fault in faults if word in fault.name]
        if not names:
            raise ValueError(f"no fault is called '{word}'; `vla bench faults --list` names them")
        wanted.update(names)
    return [fault for fault in faults if not words or fault.name in wanted]


def arguments_of(argv: Sequence[str]) -> argparse.Namespace:
    """The command line. ValueError: a number of repetitions below 1."""
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
            "were tried, what the page says of the other stays"
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
    faults = all_faults(MINUTE_S if given.long else GOOD_WORK_S)
    if given.world:
        faults = _of_world(given.world, faults)
    faults = chosen(given.names, faults)
    if given.list:
        for fault in faults:
            print(f"{fault.name} ({fault.world})")
        return 0
    began = time.monotonic()
    load = os.getloadavg()[0]  # before the faults themselves are a load
    results: list[Result] = []
    for world in WORLDS:
        of_world = _of_world(world, faults)
        if of_world and world == "network" and not given.inside:
            results += behind_a_cable([fault.name for fault in of_world], given.repeat)
        elif of_world:
            results += in_world(world, of_world, given.repeat)
    if given.json:
        Path(given.json).write_text(
            json.dumps(list(map(dataclasses.asdict, results))), encoding="utf-8"
        )
    if given.out:
        out = Path(given.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        before = out.read_text(encoding="utf-8") if out.exists() else ""
        out.write_text(page(faults, results, given.repeat, load, before), encoding="utf-8")
    bad = sum(bool(result.problems) for result in results)
    not_run = sum(bool(result.not_run) for result in results)
    print(
        f"{len(results)} runs in {time.monotonic() - began:.0f} s on {os.cpu_count()} cores: "
        f"{bad} with problems, {not_run} not run"
    )
    # the process inside the namespace tells by its file; its code says only that it ran
    return 1 if bad and not given.inside else 0
