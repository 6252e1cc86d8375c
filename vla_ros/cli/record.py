"""`vla record`: demonstrations as a LeRobotDataset v3.0, from the simulator or from a robot."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vla_ros.cli.argument_types import image_size, of_running_nodes, seed

if TYPE_CHECKING:
    from vla_ros.operator.session import Interrupt


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "instructions",
        nargs="*",
        metavar="INSTRUCTION",
        help="with --sim: what to do, in turn (default: what each room allows)",
    )
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", help="where the dataset goes; a new folder"
    )
    parser.add_argument(
        "--sim", action="store_true", help="in the bare simulator, with a policy as the expert"
    )
    parser.add_argument(
        "--episodes",
        type=seed,
        default=0,
        metavar="N",
        help="how many (default: 10 with --sim; from a robot, until Ctrl-C)",
    )
    parser.add_argument(
        "--fps", type=seed, default=10, help="frames a second (default %(default)s)"
    )
    parser.add_argument(
        "--seed", type=seed, default=0, help="with --sim: the first room (default %(default)s)"
    )
    parser.add_argument(
        "--policy",
        default="",
        help="with --sim: the expert (default: color_servo, and one that sees the arm's table as "
        "it is)",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        help="with --sim: its checkpoint, of a policy that has one (default: of builtin)",
    )
    parser.add_argument(
        "--person",
        choices=("scripted",),
        help="with --sim: takes over where the policy errs, and gives back; without --policy and "
        "--checkpoint, drives alone",
    )
    parser.add_argument(
        "--by-hand",
        action="store_true",
        help="from a robot: an episode begins and ends as record/start, record/success and the "
        "others say, or keys of the terminal, and goes on while the gate holds",
    )
    parser.add_argument(
        "--append",
        action="store_true",
        help="go on with the dataset that is in the folder; of one whose recording was killed, the "
        "episode under way is lost, and said",
    )
    parser.add_argument(
        "--camera",
        metavar="WxH",
        help="with --sim: the cameras' pixels (default: the cart's 320x240, the arm's 128x128; "
        "with --person, those that are recorded: 160x120)",
    )
    parser.add_argument(
        "--failures", action="store_true", help="with --sim: keep the expert's failures, marked"
    )
    parser.add_argument(
        "--robot",
        metavar="NAME",
        help="with --sim: cart or arm (default cart); else what kind of robot it is, for the "
        "dataset",
    )
    of_running_nodes(parser)


def run(options: argparse.Namespace) -> int:
    """0: recorded what was asked for; 1: less, or nothing; 130: the simulator was interrupted."""
    # now, not after the first episode
    for module in ("av", "pyarrow", *(("mujoco",) if options.sim else ())):
        if find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
    # on a robot a person gives them, one after another, and each begins an episode
    if not options.sim and options.instructions:
        raise ValueError(
            "a robot takes its instructions from `vla say`; leave them out here, or give --sim"
        )
    from vla_ros.operator.session import Interrupt  # psutil is only wanted now

    with Interrupt() as interrupt:
        if options.sim:
            return simulated(options, interrupt)
        from vla_ros.operator.record_live import live  # needs ROS

        return live(options, interrupt)


def simulated(options: argparse.Namespace, interrupt: Interrupt) -> int:
    """A policy as the expert, in the bare simulator: the exit code of `run`."""
    from vla_ros.training.demonstrate import Demonstrator

    size = None
    if options.camera:
        width, height = image_size(options.camera)
        size = height, width
    wanted = options.episodes or 10
    code = 130  # unless it comes to its end
    demonstrator = Demonstrator(
        options.out,
        episodes=wanted,
        seed=options.seed,
        instructions=options.instructions,
        robot=options.robot or "cart",
        policy=options.policy or ("builtin" if options.checkpoint else ""),
        options={"checkpoint": options.checkpoint} if options.checkpoint else {},
        person=options.person or "",
        append=options.append,
        size=size,
        fps=options.fps,
        failures=options.failures,
        watch=interrupt.check,
        say=lambda line: print(line, flush=True),
    )
    try:
        code = 0 if demonstrator.run().episodes >= wanted else 1
    except KeyboardInterrupt as name:
        print(f"interrupted ({name})")
    except RuntimeError as problem:  # nothing to draw with
        print(f"vla: {problem}", file=sys.stderr)
        return 1
    counts = demonstrator.counts
    watched = f"; the person took over {counts.takeovers} times" if options.person else ""
    print(
        f"{counts.episodes} episodes, {counts.frames} frames in {options.out}; "
        f"the expert failed {counts.failed} times{watched}"
    )
    return code
