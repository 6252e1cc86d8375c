"""`vla robot`: what a robot file means, before anything moves; a draft of it; is the robot so?"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vla_ros.cli import wide_console
from vla_ros.cli.argument_types import positive

if TYPE_CHECKING:
    from vla_ros.core.robot import Channel, Robot
    from vla_ros.core.robot_cameras import Camera
    from vla_ros.core.robot_clouds import Cloud
    from vla_ros.core.robot_state import StateSource
    from vla_ros.core.urdf import Urdf
    from vla_ros.core.workspace import WorkspaceBox
    from vla_ros.operator.robot_check import RobotFinding
    from vla_ros.operator.robot_graph import GraphSnapshot

# What is larger was most likely meant in degrees: an arm's joint turns a few times at most, and at
# some 3 rad/s.
TURN_RAD = math.tau
MANY_TURNS_RAD = 5.0 * TURN_RAD
FAST_RAD_S = 30.0
COLOURS = {"✓": "green", "!": "yellow", "✗": "red"}
COLUMNS = ("channel", "unit", "limits", "refused beyond", "changes by, in 1 s", "on a stop")
ON_STOP = {
    "zero": "goes to zero",
    "hold_measured": "stays where it is measured",
    "hold_commanded": "stays where it was sent",
}


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
    graph = parser.add_argument_group("check and init")
    graph.add_argument(
        "--seconds",
        type=positive,
        default=3.0,
        metavar="S",
        help="how long to listen (default %(default)g)",
    )
    graph.add_argument(
        "--wait",
        type=positive,
        default=5.0,
        metavar="S",
        help="how long to look for the robot (default %(default)g seconds)",
    )
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
    if options.file in ("check", "init") and options.enclaves:
        raise ValueError("--enclaves goes with a file: vla robot my_robot.yaml --enclaves POLICY")
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
    if options.json:
        raise ValueError("--json goes with check and init: vla robot check my_robot.yaml --json")
    return _explain(options)


def _explain(options: argparse.Namespace) -> int:
    from rich.table import Table

    from vla_ros.core.robot import load_robot

    robot = load_robot(options.file)
    if options.enclaves:
        write_policy(robot, options.enclaves)
    console = wide_console()
    table = Table(*COLUMNS)
    for channel in robot.channels:
        table.add_row(*row(channel))
    console.print(f"{robot.name}, base frame {robot.base_frame}", highlight=False)
    console.print(table)
    for sentence in (*connections(robot), *urdf_limits(robot), *tool_limits(robot)):
        console.print(sentence, highlight=False, soft_wrap=True)
    for sentence in doubts(robot):
        console.print(f"[yellow]look at this:[/yellow] {sentence}", highlight=False, soft_wrap=True)
    return 0


def write_policy(robot: Robot, path: str) -> None:
    """The robot's SROS 2 policy as a file. Raises ValueError where it cannot be written."""
    from vla_ros.core.config_files import config_folder
    from vla_ros.nodes.enclaves import policy_for

    shipped = config_folder() / "security" / "policy.xml"
    text = policy_for(shipped.read_text(encoding="utf-8"), robot)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}; give another file") from None


def row(channel: Channel) -> tuple[str, ...]:
    """What the gate makes of a channel, in the order of COLUMNS."""
    change = f"{channel.max_speed:g}"
    if channel.is_velocity:
        change = f"{channel.acceleration:g}, braking {channel.deceleration:g}"
    measured_nowhere = channel.on_stop == "hold_measured" and not channel.joint
    return (
        channel.name,
        channel.unit,
        f"{channel.limits[0]:g} to {channel.limits[1]:g}",
        f"{channel.bounds[0]:g} to {channel.bounds[1]:g}",
        change,
        # where nothing measures it, it is taken to stand where it was sent
        ON_STOP["hold_commanded" if measured_nowhere else channel.on_stop],
    )


def connections(robot: Robot) -> Iterator[str]:
    """Where commands go, and what the gate listens to, a sentence each."""
    for output in robot.outputs:
        yield f"sends {output.topic} ({output.type}): {', '.join(output.channels)}"
    for topic, channels in robot.joint_topics.items():
        joints = ", ".join(channel.joint for channel in channels)
        yield f"hears {topic} (sensor_msgs/msg/JointState): {joints}"
    for camera in robot.cameras:
        yield _camera_sentence(robot, camera)
    for cloud in robot.clouds:
        yield _cloud_sentence(cloud)
    for source in robot.state:
        yield _state_sentence(source)
    if robot.obstacles is None:
        return
    from vla_ros.core.robot import CLOUD

    for sensor in robot.obstacles.sensors:
        yield (
            f"looks by {sensor.topic} ({sensor.type}), at x {sensor.x:g} m, y {sensor.y:g} m, "
            f"yaw {sensor.yaw:g} rad; holds when it is older than {robot.obstacles.max_age:g} s"
        )
        if sensor.type == CLOUD:
            low, high = sensor.height
            yield (
                f"obstacles of {sensor.topic} are its points {low:g} to {high:g} m above the base "
                f"frame's origin, up to {sensor.max_range:g} m from it"
            )


def urdf_limits(robot: Robot) -> Iterator[str]:
    """What the URDF allows each joint, and what was passed over in it, a sentence each."""
    if robot.urdf is None:
        return
    yield f"{robot.urdf.source} has {len(robot.urdf.joints)} joints; no limit is wider than there"
    for channel in robot.channels:
        if channel.joint and not channel.is_velocity:
            joint = robot.urdf.joint(channel.joint)
            unit = "m" if joint.kind == "prismatic" else "rad"
            limits = f"{joint.lower:g} to {joint.upper:g} {unit}"
            if joint.kind == "continuous":
                limits = "to turn for ever"
            yield f"{channel.name}: the URDF allows {limits}, at most {joint.velocity:g} {unit}/s"
    yield from robot.urdf.notes


def tool_limits(robot: Robot) -> Iterator[str]:
    """Where the gate keeps an arm's tool, and how fast it may be, a sentence each."""
    if robot.enable_time > 0.0:
        yield f"for {robot.enable_time:g} s after the first motion of an arming, rates grow from 0"
    space = robot.workspace
    if space is None:
        return
    joints = [joint.name for joint in space.chain if joint.kind != "fixed"]
    yield f"the tool is '{space.tool}', moved by {', '.join(joints)} from '{robot.base_frame}'"
    for box in space.inside:
        yield f"the tool stays inside '{box.name}': {_extent(box)}"
    for box in space.outside:
        yield f"the tool stays out of '{box.name}': {_extent(box)}"
    if math.isfinite(space.max_tool_speed):
        yield f"the tool moves at most at {space.max_tool_speed:g} m/s"


def _extent(box: WorkspaceBox) -> str:
    sides: list[str] = []
    for axis, low, high in zip("xyz", box.min, box.max):
        sides.append(f"{axis} {low:g} to {high:g} m")
    return ", ".join(sides)


def _camera_sentence(robot: Robot, camera: Camera) -> str:
    """Where a camera's images come from, and what becomes of them on their way to the policy."""
    steps: list[str] = []
    if camera.size:
        steps.append(f"of {camera.size[0]} x {camera.size[1]}")
    if camera.crop:
        x, y, width, height = camera.crop
        steps.append(f"cropped to {height} x {width} at x {x}, y {y}")
    if camera.rotate:
        steps.append(f"turned by {camera.rotate} degrees")
    if camera.depth:
        steps.append(f"depth on {camera.depth}")
    what = "".join(f", {step}" for step in steps)
    node = robot.camera_nodes[camera.name]
    return f"camera '{camera.name}' sees {camera.topic} ({camera.transport}{what}), node {node}"


def _cloud_sentence(cloud: Cloud) -> str:
    """Where a policy's point cloud comes from, and what is handed on of it."""
    colour = " with colours" if cloud.color else ""
    frame = "in the base frame" if cloud.frame == "base" else "in its sensor's frame"
    return (
        f"cloud '{cloud.name}' sees {cloud.topic}: at most {cloud.points} points{colour}, {frame}"
    )


def _state_sentence(source: StateSource) -> str:
    """Which numbers a topic gives, how they are converted, and whether the robot moves without."""
    names = ", ".join(source.names)
    sentence = f"state from {source.topic} ({source.type}): {names}"
    if source.unit:
        sentence += f"; in {source.unit}"
    if (source.scale, source.offset) != (1.0, 0.0):
        sentence += f", x {source.scale:g} + {source.offset:g}"
    return sentence + ("; holds when it is silent" if source.required else "; may be silent")


def topics(robot: Robot) -> Iterator[str]:
    """All that the file names."""
    for output in robot.outputs:
        yield output.topic
    for sensor in robot.sensors:
        yield sensor.topic


def doubts(robot: Robot) -> Iterator[str]:
    """What is allowed, and still not what most robots want, a sentence each."""
    if robot.simulated:
        yield "simulated is true: the gate may arm itself (auto_arm); a real robot says false"
    if robot.obstacles is None:
        yield "there is no 'obstacles' part: the gate does not see what is in the way"
    if not robot.cameras:
        yield "there is no 'cameras' part: a policy looks through at least one"
    for camera in robot.cameras:
        if (camera.transport == "compressed") != camera.topic.endswith("/compressed"):
            yield (
                f"camera '{camera.name}' is {camera.transport} on '{camera.topic}'; compressed "
                "images are usually on one that ends in /compressed"
            )
    for topic in topics(robot):
        if not re.fullmatch(r"(/?[A-Za-z_]\w*)(/[A-Za-z_]\w*)*", topic, re.ASCII):
            yield f"'{topic}' is no name of a ROS topic: letters, digits, _ and / only"
    for sensor in robot.sensors:
        if abs(sensor.yaw) > TURN_RAD:
            yield f"'{sensor.topic}' has yaw {sensor.yaw:g} rad, over a turn; is it in degrees?"
    if robot.urdf is not None and robot.workspace is None:
        yield "there is a urdf and no 'workspace' part: the gate does not look where the tool goes"
    for channel in robot.channels:
        measured = channel.joint and not channel.is_velocity
        if robot.urdf is not None and measured and not channel.wraps:
            joint = robot.urdf.joint(channel.joint)
            if joint.kind == "continuous":
                yield (
                    f"'{channel.name}' turns for ever by the URDF; say wraps: true if what is "
                    "measured begins anew after a turn"
                )
        radians = channel.unit.startswith("rad")
        if channel.unit.startswith("deg"):
            yield f"'{channel.name}' is in {channel.unit}; a policy's and ROS' angles are in rad"
        elif radians and max(map(abs, channel.limits)) > MANY_TURNS_RAD:
            yield (
                f"'{channel.name}' reaches {channel.limits[1]:g} {channel.unit}, many turns; is it "
                "in degrees?"
            )
        if radians and math.isfinite(channel.max_speed) and channel.max_speed > FAST_RAD_S:
            yield (
                f"'{channel.name}' turns at {channel.max_speed:g} rad/s, ten times what most arms "
                "do; is it in degrees?"
            )
        if not channel.is_velocity and not channel.joint:
            if channel.start is None:
                yield (
                    f"'{channel.name}' has no start: until it was sent something, nobody knows "
                    "where it stands, and its first command may be a jump"
                )
            yield (
                f"no joint measures '{channel.name}': the gate believes that it stands where it "
                "was sent"
            )
        if channel.is_velocity and channel.deceleration < channel.acceleration:
            yield (
                f"'{channel.name}' brakes by {channel.deceleration:g} and speeds up by "
                f"{channel.acceleration:g} {channel.unit}²: it takes longer to stop than to start"
            )


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
    wrong = [finding for finding in findings if finding.mark == "✗"]
    if options.json:
        data = {"fits": not wrong, "findings": list(map(asdict, findings))}
        print(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        _show(findings)
    return 1 if wrong else 0


def _show(findings: Sequence[RobotFinding]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "what", "is so", "what to do")
    for finding in findings:
        colour = COLOURS[finding.mark]
        table.add_row(
            f"[{colour}]{finding.mark}[/{colour}]",
            escape(finding.subject),
            escape(finding.text),
            escape(finding.remedy),
        )
    console = wide_console()
    console.print(table)
    marks = [finding.mark for finding in findings]
    console.print(
        f"{marks.count('✓')} fit, {marks.count('!')} are doubtful, {marks.count('✗')} are wrong; "
        "nothing was moved",
        highlight=False,
    )


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
