"""`vla`: the command line. A verb is a line in VERBS; its code is imported only when it is asked for."""
from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from vla_ros.core.registry import lookup
from vla_ros.tools import compile, doctor, evaluate, memory, quantize, train

NAME = "vla_ros"
# verb -> where its code is, and what it does. The code takes the parsed arguments and returns the exit code.
VERBS = {
    "demo": "vla_ros.tools.demo:run",
    "record": "vla_ros.tools.record:run",
    "bench": "vla_ros.tools.main:bench",
    "train": "vla_ros.tools.train:run",
    "evaluate": "vla_ros.tools.evaluate:run",
    "compile": "vla_ros.tools.compile:run",
    "quantize": "vla_ros.tools.quantize:run",
    "doctor": "vla_ros.tools.doctor:run",
    "memory": "vla_ros.tools.memory:run",
    "say": "vla_ros.tools.say:say",
    "stop": "vla_ros.tools.say:stop",
    "arm": "vla_ros.tools.say:arm",
    "disarm": "vla_ros.tools.say:disarm",
    "reset": "vla_ros.tools.say:reset",
}
BENCHES = {"pipeline": "vla_ros.tools.bench.pipeline", "gate": "vla_ros.tools.bench.gate",
           "faults": "vla_ros.tools.faults.bench", "policy": "vla_ros.tools.bench.policy",
           "seams": "vla_ros.tools.bench.seams"}
HELP = {
    "demo": "start a simulated robot and the suite, give it instructions, and film what it does",
    "record": "record demonstrations, from the simulator or from a robot that runs",
    "bench": "measure: `vla bench` lists what",
    "train": "train a policy: the one in the box, from demonstrations, or by reinforcement",
    "evaluate": "run a policy in hundreds of simulated episodes and write a report",
    "compile": "build a policy's engines ahead of time, so that it starts warm",
    "quantize": "write a checkpoint in fewer bits, and say what that saves and costs",
    "doctor": "what this machine has for the suite, and what to change",
    "memory": "say what a model takes in memory, to run and to train, and which boards it fits",
    "say": "tell the robot what to do, in words",
    "stop": "press the stop: the robot stands still, latched until `vla reset` (--release lets go)",
    "arm": "let the robot move, from the next instruction on",
    "disarm": "let the robot move no more",
    "reset": "clear a latched stop; the gate is disarmed afterwards",
}


def positive(text: str) -> float:
    """A number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds; give one above 0")
    return value


def seed(text: str) -> int:
    """A whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no seed; give a whole number from 0 on")
    return int(text)


def namespace(text: str) -> str:
    """Of ROS names, "/" or empty for the outermost one."""
    if not re.fullmatch(r"/?|(/?[A-Za-z_][A-Za-z0-9_]*)(/[A-Za-z_][A-Za-z0-9_]*)*/?", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no namespace; give names joined by /, as in /vla or /left/vla")
    return text


def demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instructions", nargs="*", metavar="INSTRUCTION",
                        help="what to tell the robot, one after another (default: three that fit the scene)")
    parser.add_argument("--seed", type=seed, default=16, help="which room (default %(default)s)")
    parser.add_argument("--policy", help="which policy drives (default: vla; without torch, color_servo)")
    parser.add_argument("--out", default="demo", metavar="FOLDER",
                        help="where the video, the pictures and the logs go (default ./%(default)s)")
    parser.add_argument("--seconds-per-instruction", type=positive, default=40.0, metavar="S",
                        help="how long an instruction may take (default %(default)g)")
    parser.add_argument("--stay", action="store_true",
                        help="start everything, then leave the robot to you: vla arm, vla say, until Ctrl-C")
    parser.add_argument("--no-view", action="store_true", help="plain lines instead of the live view")


def record_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instructions", nargs="*", metavar="INSTRUCTION",
                        help="with --sim: what to do, in turn (default: what each room allows)")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the dataset goes; a new folder")
    parser.add_argument("--sim", action="store_true", help="in the bare simulator, with a policy as the expert")
    parser.add_argument("--episodes", type=seed, default=0, metavar="N",
                        help="how many (default: 10 with --sim; from a robot, until Ctrl-C)")
    parser.add_argument("--fps", type=seed, default=10, help="frames a second (default %(default)s)")
    parser.add_argument("--seed", type=seed, default=0, help="with --sim: the first room (default %(default)s)")
    parser.add_argument("--policy", default="color_servo", help="with --sim: the expert (default %(default)s)")
    parser.add_argument("--failures", action="store_true", help="with --sim: keep the expert's failures, marked")
    parser.add_argument("--robot", default="unknown", metavar="NAME", help="what kind of robot it is, for the dataset")


def say_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="+", help='for example "go to the red block"; "stop" cancels')


def stop_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--release", action="store_true", help="let go of the stop; it stays latched until `vla reset`")


ARGUMENTS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "demo": demo_arguments, "record": record_arguments, "say": say_arguments, "stop": stop_arguments,
    "evaluate": evaluate.arguments, "train": train.arguments, "compile": compile.arguments,
    "quantize": quantize.arguments, "doctor": doctor.arguments, "memory": memory.arguments,
}


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Those of one verb, but bench."""
    if verb in ARGUMENTS:
        ARGUMENTS[verb](parser)
    if VERBS[verb].startswith("vla_ros.tools.say:") or verb == "record":
        parser.add_argument("--namespace", default="/vla", type=namespace,
                            help="where the suite's nodes are (default %(default)s)")
        parser.add_argument("--wait", type=positive, default=5.0, metavar="S",
                            help="how long to look for the suite (default %(default)g seconds)")


def make_parser() -> argparse.ArgumentParser:
    """The whole command line but `bench`, whose arguments belong to the bench."""
    parser = argparse.ArgumentParser(
        prog="vla", description="Runs a vision-language-action policy on a robot, behind a gate.",
        epilog="`vla VERB --help` says more. All but demo, bench, train, evaluate, compile, quantize, doctor, memory "
               "and record --sim talk to the suite that runs in this ROS domain.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for verb, what in HELP.items():
        add_arguments(verbs.add_parser(verb, help=what, description=what[0].upper() + what[1:] + "."), verb)
    return parser


def bench(argv: Sequence[str]) -> int:
    """`vla bench NAME ...`: the bench has its own arguments."""
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: vla bench NAME [...]\n\nWhat can be measured: " + ", ".join(sorted(BENCHES)))
        return 0
    return int(_of_bench(argv[0], "run")(list(argv[1:])))


def _of_bench(name: str, what: str) -> Any:
    return lookup({name: f"{path}:{what}" for name, path in BENCHES.items()}, name, "bench")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """What a command line says, after `vla`, by the parser of its verb; nothing is run. Raises SystemExit, as argparse
    does, or ValueError."""
    if words[0] == "bench" and len(words) > 1:
        given: argparse.Namespace = _of_bench(words[1], "arguments_of")(list(words[2:]))
        return given
    return make_parser().parse_args(words)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 not done, 2 bad arguments, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    if not words:
        parser.print_help()
        return 2
    if not words[0].startswith("-") and words[0] not in VERBS:
        print(f"vla: unknown verb '{words[0]}'; known are: {', '.join(VERBS)}", file=sys.stderr)
        return 2
    try:
        if words[0] == "bench":
            return bench(words[1:])
        arguments = parse(words)
        return int(lookup(VERBS, arguments.verb, "verb")(arguments))
    except ValueError as problem:
        print(f"vla: {problem}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as problem:
        name = (problem.name or "").partition(".")[0]
        if name == NAME:
            raise  # a fault of ours, not of the environment
        hint = "source the workspace's setup file" if name in ("rclpy", f"{NAME}_msgs") else "install it"
        print(f"vla: '{words[0]}' needs the Python module {name}, which is not here; {hint}", file=sys.stderr)
        return 2
    except OSError as problem:
        if problem.filename is None:
            raise  # a fault of ours, or of a pipe that was closed
        print(f"vla: {problem.filename}: {problem.strerror}; is the path right, and may you write there?",
              file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vla: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
