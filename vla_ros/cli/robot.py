"""`vla robot`: what a robot file means, before anything moves; a draft of it; is the robot so?"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vla_ros.cli import show_findings, wide_console
from vla_ros.cli.argument_types import of_listening

if TYPE_CHECKING:
    from vla_ros.core.robot import Robot
    from vla_ros.core.urdf import Urdf
    from vla_ros.operator.robot_graph import GraphSnapshot


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a robot file, as config/robots/sim.yaml; or one of two words: check FILE holds it "
        "against the robot that runs, init writes a draft of it (a file of that name: ./init)",
    )
    parser.add_argument("checked", metavar="FILE", nargs="?", help="after check: the robot file")
    parser.add_argument(
        "--enclaves",
        metavar="POLICY",
        help="write who may say and hear what of this robot, for SROS 2, and go on",
    )
    parser.add_argument(
        "--composed-enclave",
        metavar="FILE",
        help="write the same for the one process of composed:=true, and go on",
    )
    graph = parser.add_argument_group("check and init")
    of_listening(graph)
    graph.add_argument("--json", action="store_true", help="the same as one JSON object")
    draft = parser.add_argument_group("init")
    draft.add_argument(
        "--out", metavar="FILE", default="robot.yaml", help="the draft (default %(default)s)"
    )
    draft.add_argument(
        "--urdf", metavar="FILE", help="the robot's URDF (default: what /robot_description says)"
    )
    draft.add_argument("--name", help="the robot's (default: as the file's)")
    draft.add_argument("--force", action="store_true", help="replace files that are there")


def run(options: argparse.Namespace) -> int:
    """The exit code. Raises ValueError for a file that contradicts itself, or words that do."""
    if options.file in ("check", "init") and (options.enclaves or options.composed_enclave):
        raise ValueError(
            "--enclaves and --composed-enclave go with a file: "
            "vla robot my_robot.yaml --enclaves POLICY"
        )
    if options.file == "check":
        if options.checked is None:
            raise ValueError("check lacks a file; give one: vla robot check my_robot.yaml")
        return _check(options)
    if options.checked is not None:
        raise ValueError(
            f"'{options.file} {options.checked}' is not understood; give FILE, check FILE or init"
        )
    if options.file == "init":
        return _init(options)
    # Here rather than in the parser: one positional is a file or one of two words.
    if options.json:
        raise ValueError("--json goes with check and init: vla robot check my_robot.yaml --json")
    return _explain(options)


def _explain(options: argparse.Namespace) -> int:
    from rich.table import Table

    from vla_ros.core import robot_summary
    from vla_ros.core.robot import load_robot

    robot = load_robot(options.file)
    if options.enclaves or options.composed_enclave:
        _write_policies(robot, options.enclaves, options.composed_enclave)
    console = wide_console()
    table = Table(*robot_summary.COLUMNS)
    for channel in robot.channels:
        table.add_row(*robot_summary.row(channel))
    console.print(f"{robot.name}, base frame {robot.base_frame}", highlight=False)
    console.print(table)
    for sentence in robot_summary.meaning(robot):
        console.print(sentence, highlight=False, soft_wrap=True)
    for sentence in robot_summary.doubts(robot):
        console.print(f"[yellow]look at this:[/yellow] {sentence}", highlight=False, soft_wrap=True)
    return 0


def _write_policies(robot: Robot, nodes: str | None, composed: str | None) -> None:
    """The robot's SROS 2 policies as files. Raises ValueError where one cannot be written."""
    from vla_ros.core.config_files import config_folder
    from vla_ros.nodes.enclaves import composed_policy_for, policy_for

    shipped = config_folder() / "security" / "policy.xml"
    policy = policy_for(shipped.read_text(encoding="utf-8"), robot)
    texts = {nodes: policy, composed: composed_policy_for(policy, robot)}
    for path, text in texts.items():
        if path is None:
            continue
        try:
            Path(path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise ValueError(f"cannot write {path}: {error.strerror}; give another file") from None


# -- check and init: the robot that runs ---------------------------------------------------------
def _check(options: argparse.Namespace) -> int:
    """0: nothing is wrong. Raises ValueError for a file that contradicts itself."""
    from vla_ros.core.robot import load_robot
    from vla_ros.operator.robot_check import check_robot, heard_topics

    robot = load_robot(options.checked)
    topics = heard_topics(robot)
    graph = _snapshot(options, set(topics.values()), topics)
    if graph is None:
        return 1
    findings = check_robot(robot, graph)
    return show_findings(findings, options.json)


def _init(options: argparse.Namespace) -> int:
    """0: a draft is written. Raises ValueError for a file that is there, or a URDF that is none."""
    from vla_ros.core.robot import load_robot
    from vla_ros.core.urdf import read_urdf
    from vla_ros.core.whole_file import write_whole
    from vla_ros.operator.robot_draft import DRAFT_TYPES, draft_robot

    out = Path(options.out)
    # Of --urdf first: to find it out after five seconds would be late.
    urdf: Urdf | None = read_urdf(options.urdf) if options.urdf else None
    urdf_file = ""
    if urdf is not None:
        urdf_file = os.path.relpath(options.urdf, out.parent)
    _refuse_to_overwrite(out, options.force)  # before the seconds that it takes to look
    graph = _snapshot(options, set(DRAFT_TYPES), {})
    if graph is None:
        return 1
    # The description is gone with the driver: the robot file names a copy that stays.
    saved = out.with_suffix(".urdf")
    todo: list[str] = []
    problems: list[str] = []
    if urdf is None and graph.description:
        urdf, problem = _described(graph.description)
        todo += [problem] if problem else []
        if urdf is not None:
            _refuse_to_overwrite(saved, options.force)
            urdf_file = saved.name
    name = options.name or re.sub(r"\W", "_", out.stem)
    draft = draft_robot(graph, name, urdf, urdf_file)
    todo += draft.todo
    files: list[Path] = [out]
    try:
        if urdf_file == saved.name and not options.urdf:
            write_whole(saved, graph.description)
            files.append(saved)
        write_whole(out, draft.text)
    except OSError as error:
        raise ValueError(f"cannot write {out}: {error.strerror}; give another --out") from None
    # It is read as the nodes will read it: what it still lacks is said by the same sentence.
    try:
        load_robot(out)
    except ValueError as error:
        problems.append(str(error))
    if options.json:
        data = {"files": list(map(str, files)), "todo": todo, "problems": problems}
        print(json.dumps(data, indent=2))
    else:
        _tell(files, todo, problems)
    return 0


def _tell(files: Sequence[Path], todo: Sequence[str], problems: Sequence[str]) -> None:
    print(f"wrote {' and '.join(map(str, files))}")
    for sentence in todo:
        print(f"  TODO: {sentence}")
    for problem in problems:
        print(f"  fill this in first: {problem}")
    print(f"read it, then: vla robot check {files[0]}")


def _described(text: str) -> tuple[Urdf | None, str]:
    """The URDF of /robot_description, or the sentence that says why it is none."""
    from vla_ros.core.urdf import parse_urdf

    try:
        return parse_urdf(text, "/robot_description"), ""
    except ValueError as problem:
        return None, str(problem)


def _refuse_to_overwrite(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise ValueError(f"{path} is there already; give another --out, or --force to replace it")


def _snapshot(
    options: argparse.Namespace, types: set[str], topics: dict[str, str]
) -> GraphSnapshot | None:
    """What is there, or None, with a sentence, where nothing of a robot is."""
    from vla_ros.operator.client import spinning
    from vla_ros.operator.graph_snapshot import take_snapshot
    from vla_ros.operator.robot_draft import has_robot

    with spinning("vla_robot") as node:
        graph = take_snapshot(node, types, options.seconds, options.wait, topics)
    if has_robot(graph):
        return graph
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    print(
        f"no camera, joint states or controller is seen in ROS domain {domain} within "
        f"{options.wait:g} s; do the robot's drivers run, with the same ROS_DOMAIN_ID?",
        file=sys.stderr,
    )
    return None
