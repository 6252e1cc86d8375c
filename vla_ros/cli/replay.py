"""`vla replay`: what the present gate, and the present policy, make of a recorded drive."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vla_ros.core.robot import Robot
    from vla_ros.datasets.bag_stream import BagStream
    from vla_ros.operator.replay.policy_replay import ComparedActions

MOST_LINES = 200  # of differences; the rest is counted
MOST_KINDS = 12


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", help="what the flight recorder wrote, or another bag of the suite"
    )
    parser.add_argument(
        "--robot-file",
        default="",
        metavar="FILE",
        help="the robot as it is now (default: as the recording has it)",
    )
    parser.add_argument(
        "--params-file",
        default="",
        metavar="FILE",
        help="the gate's parameters as they are now, like config/vla.yaml (default: as the "
        "recording has them, else the defaults)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one of the gate's parameters; again for another",
    )
    parser.add_argument(
        "--policy",
        default="",
        metavar="NAME",
        help="ask this policy, too, what it makes of what was seen, and compare its actions",
    )
    parser.add_argument(
        "--policy-file", default="", metavar="FILE", help="the same of a policy file"
    )
    parser.add_argument(
        "--json", default="", metavar="OUT", help="write what came of it, every difference too"
    )


def run(options: argparse.Namespace) -> int:
    """0: nothing differs; 1: something does, or there was nothing to compare."""
    from vla_ros.datasets.bag_stream import BagStream, bag_head
    from vla_ros.nodes.common.camera_nodes import expanded
    from vla_ros.nodes.gate.gate_settings import gate_settings
    from vla_ros.operator.replay.gate_replay import GateReplay

    path = Path(options.file).expanduser()
    head, _ = bag_head(path)
    robot = robot_of(options.robot_file, head)
    parameters = parameters_of(options, head)
    nodes = expanded(parameters["required_nodes"], robot, parameters["cameras"])
    replay = GateReplay(robot, gate_settings(parameters, robot), nodes)
    stream = BagStream(path, replay.wanted)
    listed: list[dict[str, Any]] = []
    count = 0
    for difference in replay.differences(stream):
        count += 1
        if count <= MOST_LINES:
            print(difference)
            listed.append(vars(difference))
    result = replay.result
    if count > MOST_LINES:
        print(f"and {count - MOST_LINES} more differences")
    for note in result.notes:
        print(note)
    for kind, reports in result.kinds.most_common(MOST_KINDS):
        print(f"{reports:6d} reports: {kind}")
    differing = result.compared - result.same - result.unknowable
    print(
        f"{result.compared} reports of the gate compared: {result.same} are the same, {differing} "
        f"differ, {result.unknowable} rest on what no recording holds"
    )
    for sentence, refused in stream.refused.most_common():
        print(f"vla: {refused} messages passed over: {sentence}", file=sys.stderr)
    if stream.problem:
        print(f"vla: {stream.problem}", file=sys.stderr)
    actions = None
    if options.policy or options.policy_file:
        actions = _ask_policy(options, path, robot)
    if options.json:
        whole = {**vars(result), "differences": listed}
        if actions:
            whole["actions"] = vars(actions)
        Path(options.json).write_text(json.dumps(whole, indent=1), encoding="utf-8")
    same = not differing and (actions is None or actions.same == actions.compared > 0)
    return 0 if result.compared and same and not stream.problem else 1


def _ask_policy(options: argparse.Namespace, path: Path, robot: Robot) -> ComparedActions:
    """The present policy's actions beside the recorded ones; prints what came of it."""
    from vla_ros.core.policy_file import chosen_policy
    from vla_ros.datasets.bag_stream import BagStream
    from vla_ros.operator.replay.policy_replay import PolicyReplay

    replay = PolicyReplay(robot, chosen_policy(options.policy, options.policy_file))
    actions = replay.play(BagStream(path, replay.wanted))
    for line in actions.told:
        print(line)
    for problem, count in actions.problems.most_common():
        print(f"{count} times the policy gives no action: {problem}")
    print(
        f"{actions.compared} actions compared: {actions.same} are the same; {actions.skipped} were "
        "passed over, whose image was not kept"
    )
    for name, apart in actions.largest.items():
        print(f"{name}: at most {apart:.3g}{robot.channel(name).unit_mark} apart")
    return actions


def robot_of(given: str, head: BagStream) -> Robot:
    """The robot file that was given, or the one in the recording. Raises ValueError."""
    from vla_ros.core.robot import load_robot
    from vla_ros.operator.blackbox.bag_file import ROBOT_FILE

    if given:
        return load_robot(given)
    text = head.attachments.get(ROBOT_FILE)
    if text is None:
        raise ValueError(f"{head.path} holds no robot file; give the robot's with --robot-file")
    with tempfile.TemporaryDirectory(prefix="vla_replay_") as folder:
        path = Path(folder) / ROBOT_FILE
        for name, content in head.attachments.items():
            file = (Path(folder) / name).resolve()
            if Path(folder).resolve() in file.parents:  # a stranger's recording writes nowhere else
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        try:
            return load_robot(path)
        except ValueError as problem:
            # a URDF with an absolute path, say, lies on the robot
            raise ValueError(
                f"the robot file in {head.path} cannot be read: {problem}; give the robot's own "
                "with --robot-file"
            ) from None


def parameters_of(options: argparse.Namespace, head: BagStream) -> dict[str, Any]:
    """The gate's parameters, the later ones first: --set, a file, the recording, the defaults."""
    from vla_ros.operator.replay.gate_parameters import checked, read_gate_parameters

    given: dict[str, Any] = dict(head.parameters())
    if options.params_file:
        given.update(read_gate_parameters(options.params_file))
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set is '{text}'; write NAME=VALUE, as --set max_age=0.3")
        try:
            given[name.strip()] = json.loads(value)
        except ValueError:
            given[name.strip()] = value  # a text
    given.pop("robot_file", None)
    return checked(given)
