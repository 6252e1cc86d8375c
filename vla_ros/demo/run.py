"""`vla demo`: a simulated robot follows instructions and is stopped; what came of it, on film."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from vla_ros.core.config_files import config_folder
from vla_ros.core.drawing import drawing
from vla_ros.core.policy_file import chosen_policy
from vla_ros.demo.arm import ArmDemo, arm_policy_file
from vla_ros.demo.film import Film
from vla_ros.demo.plots import draw_latency, draw_path, latency_summary, summary_lines
from vla_ros.demo.scenario import Demo
from vla_ros.demo.stack import CONSOLE, NAMESPACE, SIMULATOR, Failed, View
from vla_ros.demo.success_function import SuccessFunction, success_function
from vla_ros.demo.view import make_view
from vla_ros.nodes.node_parameters import ONLOOKER_NODES
from vla_ros.operator import session
from vla_ros.operator.client import spinning
from vla_ros.operator.console.server import free_port, missing_libraries
from vla_ros.operator.processes import ProcessGroup, node_command, suite_environment, suite_nodes
from vla_ros.policies import demo_policy, file_spec
from vla_ros.sim.scene import ROOM_M

# Name -> what simulates it, and its robot file.
ROBOTS = {"cart": ("simulator", "sim.yaml"), "arm": ("arm_simulator", "sim_arm.yaml")}
CONSOLE_PORT = 8080  # where it is free
# What the page then says.
FAREWELL = (
    "The demo has ended, and the robot with it. Start it again with: vla demo. "
    "With vla demo --stay both stay until Ctrl-C."
)
FAREWELL_STAY = "The demo was ended. Start it again with: vla demo --stay."
OUTPUT_FILES = ("demo.mp4", "path.png", "latency.png", "still.png", "summary.json")


def run(arguments: argparse.Namespace) -> int:
    """0: every instruction done and every stop obeyed; 1: not; 130: interrupted."""
    if arguments.robot == "arm" and arguments.policy is None and not arguments.policy_file:
        arguments.policy_file = arm_policy_file(Path(arguments.out), arguments.seed)
    elif arguments.policy is None and not arguments.policy_file:
        arguments.policy, note = demo_policy()
        if note:
            print(note, flush=True)
    chosen = chosen_policy(arguments.policy or "", arguments.policy_file)
    # An unknown one is a sentence now, not a log file later.
    file_spec(chosen)
    success = None
    if arguments.success:
        success = success_function(arguments.success)
        if not arguments.instructions:  # those that fit the room are of the task language
            raise ValueError(
                "--success judges instructions of your own; give at least one, in quotes"
            )
    # A module, too, that would be missed only later, by the simulator or at the end.
    for module in ("matplotlib", "mujoco"):
        if find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
    out = Path(arguments.out)
    try:
        (out / "logs").mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise ValueError(
            f"cannot write to {out}: {problem.strerror}; give another folder with --out"
        ) from None
    with session.Interrupt() as interrupt:
        try:
            return _run(arguments, out, interrupt, success)
        except KeyboardInterrupt as signal_name:
            print(f"interrupted ({signal_name})", flush=True)
            return 130


def _run(
    arguments: argparse.Namespace,
    out: Path,
    interrupt: session.Interrupt,
    success: SuccessFunction | None,
) -> int:
    print(session.own_domain(os.environ), flush=True)
    environment = suite_environment()
    # this process needs the transport's settings as much as the nodes do
    os.environ.update(environment)
    executable, robot_file = ROBOTS[arguments.robot]
    commands = {
        SIMULATOR: node_command(executable, parameters={"seed": arguments.seed}),
        **suite_nodes(
            arguments.policy or "",
            config_folder() / "robots" / robot_file,
            namespace=NAMESPACE,
            policy_file=arguments.policy_file,
            composed=arguments.composed,
            onlookers=ONLOOKER_NODES,
            overrides={"blackbox": {"blackbox_folder": str(out.resolve() / "blackbox")}},
        ),
    }
    page = console_page(arguments, config_folder() / "robots" / robot_file, commands)
    problem = ""
    with make_view(not arguments.no_view) as view, spinning("vla_demo") as node:
        group = ProcessGroup()
        stage = ArmDemo if arguments.robot == "arm" else Demo
        demo = stage(arguments, group, node, view, interrupt, success)
        if page:
            view.say(page)
        try:
            demo.start(commands, environment, out / "logs")
            demo.play(partial(_begin_film, out, demo))
        except Failed as failed:
            problem = str(failed)
        finally:
            rates = demo.watch.average_rates()
            _stop_all(group, view)
            if CONSOLE in commands and not arguments.stay:
                view.say("its page ends with it; vla demo --stay keeps both until Ctrl-C")
            if demo.watch.film is not None:
                demo.watch.film.close()
    # Up to here a signal waited until the processes were stopped; nothing is left to lose now.
    interrupt.at_once = True
    interrupt.check()
    _write(demo, out, problem, rates)
    return _report(demo, out, problem)


def console_page(
    arguments: argparse.Namespace, robot_file: Path, commands: dict[str, list[str]]
) -> str:
    """Add the operator's page to `commands`, where it can be served and is wanted; a sentence."""
    if arguments.no_console:
        return ""
    if sentence := missing_libraries():
        return f"without a page to drive from: {sentence}"
    port = free_port(CONSOLE_PORT)
    farewell = FAREWELL_STAY if arguments.stay else FAREWELL
    parameters = {"robot_file": str(robot_file), "console_port": port, "farewell": farewell}
    commands[CONSOLE] = node_command(CONSOLE, NAMESPACE, parameters=parameters)
    kept = "" if arguments.stay else " (it ends with the demo; --stay keeps both)"
    return f"a page to drive from: http://127.0.0.1:{port}{kept}"


def _begin_film(out: Path, demo: Demo) -> Film:
    _clear(out)
    return Film(out / "demo.mp4", demo.decode)


def _clear(out: Path) -> None:
    """Nothing of an earlier run passes for one of this; until this has its own, it is kept."""
    for name in OUTPUT_FILES:
        (out / name).unlink(missing_ok=True)


def _stop_all(group: ProcessGroup, view: View) -> None:
    """Stop every process, and see that none is left."""
    before = session.children()
    view.say(f"stopping {len(before)} processes")
    group.stop()
    left = session.alive(before)
    if not left:
        view.say("no process is left")
        return
    names = ", ".join(f"{process.pid} ({process.name()})" for process in left)
    view.say(f"STILL RUNNING: {names}", "red")


def _write(demo: Demo, out: Path, problem: str, rates: dict[str, float]) -> None:
    """The summary, then the images: what happened is kept whether or not they can be drawn."""
    film = demo.watch.film
    film_summary = None
    if film is None:
        _clear(out)
    else:
        film_summary = {"frames": film.frames, "dropped": film.dropped, "problem": film.problem}
    summary = {
        "ok": demo.ok() and not problem,
        "problem": problem,
        "seed": demo.arguments.seed,
        "policy": demo.arguments.policy or demo.arguments.policy_file,
        "engine": demo.inference().get("engine"),
        "domain": int(os.environ.get("ROS_DOMAIN_ID", "0")),
        "instructions": demo.results,
        "stops": list(map(asdict, demo.track.stops)),
        "rates_hz": {name: round(rate, 2) for name, rate in rates.items()},
        "latency_camera_to_command": latency_summary(demo.track.latencies),
        "deaths": demo.deaths,
        "film": film_summary,
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    done = [bool(result["done"]) for result in demo.results]
    if demo.arguments.robot == "cart":  # an arm has no way over the floor
        with drawing(out / "path.png"):
            draw_path(demo.track, demo.instructions, done, ROOM_M, out / "path.png")
    with drawing(out / "latency.png"):
        draw_latency(demo.track.latencies, out / "latency.png")
    if film is not None:
        with drawing(out / "still.png"):
            film.save_still(out / "still.png")


def _report(demo: Demo, out: Path, problem: str) -> int:
    """Say what was done and what not, and where to look; the exit code."""
    for line in summary_lines(demo.results):
        print(line)
    for stop in demo.track.stops:
        mark = "stopped " if stop.still else "NOT STOPPED" if stop.seen else "NOT SEEN"
        print(f"{mark}  {stop.kind}, in instruction {stop.instruction}: {stop.sentence}")
    refused = all(result["refused"] for result in demo.results)
    if not demo.track.stops and not problem and not refused:
        print(
            "NOT DONE  the unexpected stop was never given: "
            "the robot was not on the move long enough"
        )
    if problem:
        print(f"the demo ended early: {problem}")
    paths = [out / name for name in OUTPUT_FILES]
    print("see " + ", ".join(str(path) for path in paths if path.exists()))
    return 0 if demo.ok() and not problem else 1
