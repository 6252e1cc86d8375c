"""One run of one gate as a process of its own: start it, play its world, measure from outside."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import starmap
from operator import attrgetter
from pathlib import Path

from vla_ros.bench.gate_measure import (
    TimedCommand,
    Wait,
    late_on_grid,
    split,
    stop_times,
    undisturbed,
)
from vla_ros.bench.gate_robot import robot_file
from vla_ros.bench.variants import module
from vla_ros.operator.processes import ProcessGroup, node_command, suite_environment

PERIOD_NS = 20_000_000  # of both gates
WITNESS_PERIOD_NS = 2_000_000  # how often a core is looked at
STALL_NS = 500_000  # a core that comes later than this to a real-time process stood still
# isolated and without site: it starts in 20 ms
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
class GateVariant:
    """A gate that is measured."""

    title: str
    namespace: str
    command: Callable[[Path], list[str]]  # the robot file -> argv
    suite: bool  # it is ours, with a lifecycle, an arming and heartbeats


def _ours(robot: Path) -> list[str]:
    # one instruction lasts for the whole run
    parameters = {"robot_file": str(robot), "instruction_limit": 3600.0}
    return node_command("safety_validator", "/vla", parameters=parameters)


def _ours_at_once(robot: Path) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", AT_ONCE, *_ours(robot)]


def _plain(robot: Path) -> list[str]:
    return [*module("gate_naive"), "--ros-args", "-r", "__ns:=/plain"]


VARIANTS = {
    "ours": GateVariant("ours", "/vla", _ours, True),
    "plain": GateVariant("plain", "/plain", _plain, False),
    "fifo": GateVariant("ours, SCHED_FIFO", "/vla", _ours_at_once, True),
}


@dataclass
class GateTrial:
    """What was due and how long it took, in ns.

    A figure's name ends in `_calm` where it leaves out what was due while the machine stood still.
    """

    figures: dict[str, list[Wait]] = field(default_factory=dict)
    missed: int = 0  # stops that no zero followed
    problem: str = ""


def run_trial(
    variant: GateVariant, busy: int, seconds: float, stops: int, folder: Path
) -> GateTrial:
    """Runs a gate once; about half a second a stop comes on top of `seconds`.

    Args:
        variant: which gate.
        busy: processes beside it that never rest.
        seconds: of motion.
        stops: how often it is stopped after that.
        folder: for the logs, and what the processes write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    robot = folder / "robot.yaml"
    robot.write_text(json.dumps(robot_file()))  # JSON is YAML as well
    player = ["--namespace", variant.namespace, "--seconds", str(seconds)]
    player += ["--stops", str(stops), "--out", str(folder / "seen.json")]
    if variant.suite:
        player.append("--suite")
    commands = {
        "gate": variant.command(robot),
        "player": module("gate_player", *player),
        "floor": [*WITNESS, str(folder / "floor.json"), str(PERIOD_NS)],
    }
    for core in sorted(os.sched_getaffinity(0)):
        file = folder / f"witness_{core}.json"
        commands[f"witness_{core}"] = [*WITNESS, str(file), str(WITNESS_PERIOD_NS), str(core)]
    for number in range(busy):
        commands[f"busy_{number}"] = BUSY
    problem = ""
    # many times what it takes on a busy machine: only a bench that hangs gets there
    end = time.monotonic() + 90.0 + seconds + 5.0 * stops
    with ProcessGroup() as group:
        for name, argv in commands.items():
            group.start(name, argv, suite_environment(), folder / f"{name}.log", respawn=False)
        while not problem and group.returncode("player") is None:
            time.sleep(0.1)
            code = group.returncode("gate")
            if code is not None:
                problem = f"the gate ended by itself with {code}; its log says why"
            elif time.monotonic() > end:
                problem = "it took far too long"
    return judged(folder, problem)


def judged(folder: Path, problem: str = "") -> GateTrial:
    """What the player and the witnesses saw, as figures.

    Args:
        folder: of a trial that is over.
        problem: what is known already; it goes before what the player says.
    """
    try:
        seen = json.loads((folder / "seen.json").read_text())
    except OSError as error:
        return GateTrial(problem=problem or f"nothing was written: {error}")
    commands = list(starmap(TimedCommand, seen["commands"]))
    begin, end = seen["window"]
    timed, caused = split([command for command in commands if begin <= command.written <= end])
    figures = {}
    for key in ("written", "received"):
        times = list(map(attrgetter(key), timed))
        others = list(map(attrgetter(key), caused))
        figures[f"late_{key}"] = late_on_grid(times, others, PERIOD_NS)
    figures["stop"], missed = stop_times(commands, seen["presses"])
    figures["floor"] = [wait for wait in _waits(folder / "floor.json") if begin <= wait[0] <= end]
    witnesses = sorted(folder.glob("witness_*.json"))
    if witnesses:  # without the right to SCHED_FIFO there is none
        stalls: list[Wait] = []
        for file in witnesses:
            stalls += [wait for wait in _waits(file) if wait[1] > STALL_NS]
        for key in ("late_written", "stop", "floor"):
            figures[f"{key}_calm"] = undisturbed(figures[key], stalls)
    if seen["problem"]:
        problem = problem or f"after {len(seen['presses'])} stops: {seen['problem']}"
    return GateTrial(figures, missed, problem)


def _waits(file: Path) -> list[Wait]:
    """What gate_witness.py wrote; nothing where it was not allowed to run."""
    if not file.is_file():
        return []
    waits: list[Wait] = list(map(tuple, json.loads(file.read_text())))
    return waits
