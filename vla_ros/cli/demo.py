"""`vla demo`: a simulated robot follows instructions and is stopped; what came of it, on film."""

from __future__ import annotations

import argparse

from vla_ros.cli.argument_types import positive, seed


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "instructions",
        nargs="*",
        metavar="INSTRUCTION",
        help="what to tell the robot, one after another (default: three that fit the scene)",
    )
    parser.add_argument(
        "--robot",
        choices=("cart", "arm"),
        default="cart",
        help="the cart in its room, or the arm at its table (default %(default)s)",
    )
    # room 16 has a thing to go to and another to grab, both with a free way
    parser.add_argument(
        "--seed", type=seed, default=16, help="which room or table (default %(default)s)"
    )
    parser.add_argument(
        "--policy",
        help="which policy drives, by name or module:Class "
        "(default: builtin; without torch, color_servo; for the arm, one that knows its table)",
    )
    parser.add_argument(
        "--policy-file",
        metavar="FILE",
        default="",
        help="which policy drives, with its options, like config/policies/*.yaml; "
        "not beside --policy",
    )
    parser.add_argument(
        "--success",
        metavar="MODULE:FUNCTION",
        help="who says that an instruction is done: a function (instruction, start, now) -> bool "
        "of the world when it was given and now, for a policy with words of its own "
        "(default: vla_ros.tasks.success:judge)",
    )
    parser.add_argument(
        "--out",
        default="demo",
        metavar="FOLDER",
        help="where the video, the images and the logs go (default ./%(default)s)",
    )
    parser.add_argument(
        "--seconds-per-instruction",
        type=positive,
        default=40.0,
        metavar="S",
        help="how long an instruction may take (default %(default)g)",
    )
    # Without it the suite ends with the last instruction: no process is left behind by a demo.
    parser.add_argument(
        "--stay",
        action="store_true",
        help="start everything, then leave the robot to you: vla arm, vla say, until Ctrl-C",
    )
    parser.add_argument(
        "--composed", action="store_true", help="what images go through is one process"
    )
    parser.add_argument("--no-console", action="store_true", help="without the page to drive from")
    parser.add_argument(
        "--no-view", action="store_true", help="plain lines instead of the live view"
    )


def run(options: argparse.Namespace) -> int:
    """0: every instruction done and every stop obeyed; 1: not; 130: interrupted."""
    from vla_ros.demo.run import run as run_demo  # needs ROS

    return run_demo(options)
