"""One run of one gate as a process of its own: start it, play what is around it, measure from
outside, stop it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vla_ros.bench.gate_measure import Sent, Wait, late_on_grid, split, stop_times, undisturbed
from vla_ros.bench.gate_robot import robot_file
from vla_ros.bench.variants import module
from vla_ros.operator.processes import ProcessGroup, node_command, suite_environment

PERIOD = 20_000_000  # ns; of both gates
# ns: how often a core is looked at, and from when on it stood still
LOOK = 2_000_000
STALL = 500_000
WITNESS = [sys.executable, "-I", "-S", str(Path(__file__).with_name("gate_witness.py"))]
BUSY = [sys.executable, "-I", "-S", "-c", "while True: pass"]
# Runs first in the process and becomes the gate: all its threads go before everyone without a
# real-time priority.
AT_ONCE = """
import os, sys
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
os.execvp(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True)
class Variant:
    title: str
    namespace: str
    command: Callable[[Path], list[str]]  # of the robot file
    suite: bool


def _ours(robot: Path) -> list[str]:
    return node_command(
        "safety_validator",
        "/vla",
        parameters={"robot_file": str(robot), "instruction_limit": 3600.0},
    )


def _ours_at_once(robot: Path) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", AT_ONCE, *_ours(robot)]


def _plain(robot: Path) -> list[str]:
    return [*module("gate_naive"), "--ros-args", "-r", "__ns:=/plain"]


VARIANTS = {
    "ours": Variant("ours", "/vla", _ours, True),
    "plain": Variant("plain", "/plain", _plain, False),
    "fifo": Variant("ours, SCHED_FIFO", "/vla", _ours_at_once, True),
}


@dataclass
class Trial:
    """What was due and how long it took, in ns; `calm`: less those during which the machine itself
    stood still."""

    figures: dict[str, list[Wait]] = field(default_factory=dict)
    missed: int = 0  # stops that no zero followed
    problem: str = ""


def run_trial(variant: Variant, busy: int, seconds: float, stops: int, folder: Path) -> Trial:
    """Blocks for `seconds`, about half a second a stop, and what start and end take. `busy`:
    processes beside it that never rest."""
    folder.mkdir(parents=True, exist_ok=True)
    robot = folder / "robot.yaml"
    robot.write_text(json.dumps(robot_file()))  # JSON is YAML as well
    player = module(
        "gate_player",
        "--namespace",
        variant.namespace,
        "--seconds",
        str(seconds),
        "--stops",
        str(stops),
        "--out",
        str(folder / "seen.json"),
        *(["--suite"] if variant.suite else []),
    )
    others = {"floor": [*WITNESS, str(folder / "floor.json"), str(PERIOD)]}
    for core in sorted(os.sched_getaffinity(0)):
        others[f"witness_{core}"] = [
            *WITNESS,
            str(folder / f"witness_{core}.json"),
            str(LOOK),
            str(core),
        ]
    others |= {f"busy_{number}": BUSY for number in range(busy)}
    problem = ""
    end = time.monotonic() + 90.0 + seconds + 5.0 * stops
    with ProcessGroup() as group:
        for name, argv in {"gate": variant.command(robot), "player": player, **others}.items():
            group.start(name, argv, suite_environment(), folder / f"{name}.log", respawn=False)
        while not problem and group.returncode("player") is None:
            time.sleep(0.1)
            if group.returncode("gate") is not None:
                problem = (
                    f"the gate ended by itself with {group.returncode('gate')}; its log says why"
                )
            elif time.monotonic() > end:
                problem = "it took far too long"
    return judged(folder, problem)


def judged(folder: Path, problem: str = "") -> Trial:
    """What the player and the witnesses saw, as figures."""
    try:
        seen = json.loads((folder / "seen.json").read_text())
    except OSError as error:
        return Trial(problem=problem or f"nothing was written: {error}")
    commands = [Sent(*row) for row in seen["commands"]]
    begin, end = seen["window"]
    timed, caused = split([command for command in commands if begin <= command.written <= end])
    figures = {
        f"late_{key}": late_on_grid(
            [getattr(command, key) for command in timed],
            [getattr(command, key) for command in caused],
            PERIOD,
        )
        for key in ("written", "received")
    }
    figures["stop"], missed = stop_times(commands, seen["presses"])
    figures["floor"] = [wait for wait in _waits(folder / "floor.json") if begin <= wait[0] <= end]
    stalls = [_waits(file) for file in sorted(folder.glob("witness_*.json"))]
    if stalls:  # without the right to SCHED_FIFO there is no witness
        long = [wait for waits in stalls for wait in waits if wait[1] > STALL]
        figures |= {
            f"{key}_calm": undisturbed(figures[key], long)
            for key in ("late_written", "stop", "floor")
        }
    if seen["problem"]:
        problem = problem or f"after {len(seen['presses'])} stops: {seen['problem']}"
    return Trial(figures, missed, problem)


def _waits(file: Path) -> list[Wait]:
    if not file.is_file():
        return []
    return [(due, took) for due, took in json.loads(file.read_text())]
