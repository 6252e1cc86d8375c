"""`vla`: the command line.

A verb is a file here, with `arguments(parser)` and `run(options)`, and a line in VERBS.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from vla_ros.cli import bench
from vla_ros.core.registry import lookup

NAME = "vla_ros"  # of the package
# verb -> what it does. Its module imports what is heavy only when it runs.
VERBS = {
    "demo": "start a simulated robot and the suite, give it instructions, and film what it does",
    "sim": "run any gymnasium environment as a robot, behind a robot file's topics",
    "record": "record demonstrations, from the simulator or from a robot that runs",
    "dataset": "what a dataset holds; convert it for openpi and GR00T, or a bag to it",
    "bench": "measure: `vla bench` lists what",
    "train": "train a policy: the built-in one, from demonstrations, or by reinforcement",
    "evaluate": "run a policy in hundreds of simulated episodes and write a report",
    "compile": "build a policy's engines ahead of time, so that it starts warm",
    "quantize": "write a checkpoint in fewer bits, and say what that saves and costs",
    "robot": "what a robot file means and what is doubtful in it; init drafts one, check tries it",
    "serve": "offer a policy to others, by openpi's websocket protocol",
    "policy": "check a policy file against a robot file, a dataset and the robot; nothing moves",
    "doctor": "what this machine has for the suite, and what to change",
    "memory": "say what a model takes in memory, to run and to train, and which boards it fits",
    "markers": "show in RViz and Foxglove what the gate sees and what the policy plans",
    "trace": "where the time goes from an image to a command, of a suite that runs",
    "blackbox": "tell what the flight recorder kept: said, seen, wanted, limited, refused and done",
    "replay": "play a recording through the present gate, and say what it would do otherwise",
    "report": "a day's recordings and datasets as a page: who drove, and what stopped the robot",
    "parameters": "print every parameter of every node, as a parameter file",
    "say": "tell the robot what to do, in words",
    "stop": "press the stop: the robot stands still, latched until `vla reset` (--release lets go)",
    "console": "serve the operator's page: cameras, words, the gate's reasons, and a stop in reach",
    "arm": "let the robot move, from the next instruction on",
    "disarm": "let the robot move no more",
    "reset": "clear a latched stop; the gate is disarmed afterwards",
}


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Give `parser` the arguments of one verb."""
    import_module(f"{NAME}.cli.{verb}").arguments(parser)


def make_parser() -> argparse.ArgumentParser:
    """The whole command line but `bench`, whose arguments belong to the bench."""
    parser = argparse.ArgumentParser(
        prog="vla",
        description="Runs a vision-language-action policy on a robot, behind a gate.",
        epilog="`vla VERB --help` says more. say, stop, arm, disarm, reset and record without "
        "--sim talk to the suite that runs in this ROS domain.",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for verb, purpose in VERBS.items():
        description = f"{purpose[0].upper()}{purpose[1:]}."
        add_arguments(verbs.add_parser(verb, help=purpose, description=description), verb)
    return parser


def parse(words: Sequence[str]) -> argparse.Namespace:
    """What a command line says, after `vla`, by the parser of its verb; nothing is run.

    Raises:
        SystemExit: The words do not fit, or ask for help; argparse has printed it.
        ValueError: There is no such bench.
    """
    if words[0] == "bench" and len(words) > 1:
        return bench.parse(words[1:])
    return make_parser().parse_args(words)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 not done, 2 bad arguments, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    if not words:
        parser.print_help()
        return 2
    # before argparse, whose sentence would list the verbs as a set of choices
    if not words[0].startswith("-") and words[0] not in VERBS:
        print(f"vla: unknown verb '{words[0]}'; known are: {', '.join(VERBS)}", file=sys.stderr)
        return 2
    # What a user can mend is a sentence; what is a fault of ours keeps its traceback.
    try:
        if words[0] == "bench":  # its arguments belong to the bench
            return bench.run(words[1:])
        options = parse(words)
        path = f"{NAME}.cli.{options.verb}:run"
        return int(lookup({options.verb: path}, options.verb, "verb")(options))
    except ValueError as problem:
        print(f"vla: {problem}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as problem:
        name = (problem.name or "").partition(".")[0]  # what is installed is a package
        if name == NAME:
            raise  # a fault of ours, not of the environment
        of_ros = name in ("rclpy", f"{NAME}_msgs")
        hint = "source the workspace's setup file" if of_ros else "install it"
        print(
            f"vla: '{words[0]}' needs the Python module {name}, which is not here; {hint}",
            file=sys.stderr,
        )
        return 2
    except OSError as problem:
        if problem.filename is None:
            raise  # a fault of ours, or of a pipe that was closed
        print(
            f"vla: {problem.filename}: {problem.strerror}; "
            "is the path right, and may you write there?",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("vla: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
