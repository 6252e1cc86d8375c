"""The pages of doc/reference/, from the tables, parsers, messages and classes that they are about;
no ROS, no torch."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import json
import math
from pathlib import Path
from typing import Any

from vla_ros.cli import bench
from vla_ros.cli.main import VERBS, add_arguments
from vla_ros.core import (
    robot,
    robot_cameras,
    robot_channels,
    robot_clouds,
    robot_obstacles,
    robot_outputs,
    robot_state,
    workspace,
)
from vla_ros.core.parameters import Parameter
from vla_ros.nodes.node_parameters import NODE_PARAMETERS

ROOT = Path(__file__).resolve().parents[1]
BY = "Written by `python3 doc/generate.py` from {}; change it there."
YAML_TYPES = {
    "str": "text",
    "float": "number",
    "bool": "true or false",
    "tuple[float, float]": "[lowest, highest]",
    "tuple[str, ...]": "list of names",
    "tuple[Channel, ...]": "mapping: name → channel",
    "tuple[Output, ...]": "list of outputs",
    "tuple[Sensor, ...]": "list of sensors",
    "tuple[Camera, ...]": "mapping: name → camera",
    "tuple[Cloud, ...]": "mapping: name → cloud",
    "tuple[StateSource, ...]": "list of topics with their numbers",
    "Mapping[str, str]": "list of names, or mapping: name → the message's",
    "Size": "[height, width]",
    "int": "whole number",
    "tuple[int, int, int, int]": "[x, y, width, height]",
    "tuple[tuple[float, float, float, float], ...]": "list of boxes",
    "tuple[WorkspaceBox, ...]": "list of boxes",
    "Vector": "[x, y, z]",
    "Urdf": "path",
}
# Fields that are worked out and stand in no file.
NO_KEYS = {(workspace.Workspace, "chain"), (robot_channels.Channel, "joint_topic")}
# Defaults that the classes cannot say: the file's reader makes them of other keys, or wants the
# key.
IN_WORDS = {
    (robot_channels.Channel, "name"): "**needed**: its key in `channels`",
    (robot_channels.Channel, "on_stop"): "**needed**",
    (robot_channels.Channel, "acceleration"): "**needed** of a velocity",
    (robot_channels.Channel, "deceleration"): "as `acceleration`",
    (robot_channels.Channel, "max_speed"): "**needed** of a position; with `urdf` the joint's",
    (
        robot_channels.Channel,
        "bounds",
    ): "**needed**; with `urdf` the joint's, a gripper's a tenth wider",
    (robot_channels.Channel, "limits"): "**needed**; with `urdf` the joint's, or as `bounds`",
    (robot_channels.Channel, "soft_limits"): "as `limits`",
    (
        robot_channels.Channel,
        "max_tracking_error",
    ): "half a second at full speed, or a twentieth of the bounds",
    (robot_outputs.Output, "time_from_start"): "two periods of the gate, two goals of an action",
    (robot_outputs.Output, "frame_id"): "as `base_frame`",
    (robot_outputs.Output, "step"): "a twentieth of the channel's bounds",
    (robot_cameras.Camera, "name"): "**needed**: its key in `cameras`",
    (robot_clouds.Cloud, "name"): "**needed**: its key in `clouds`",
    (robot_state.StateSource, "names"): "**needed**; all of an Odometry",
    (robot_state.StateSource, "unit"): "**needed** of joints and arrays",
    (robot.Robot, "base_frame"): '`"base_link"`',
    (robot.Robot, "footprint"): "none; with `obstacles` **needed**",
    (workspace.WorkspaceBox, "name"): "its list and number, as `inside 1`",
}


def pages() -> dict[Path, str]:
    """Each page as it ought to be."""
    folder = ROOT / "doc" / "reference"
    return {
        folder / "parameters.md": parameters(),
        folder / "cli.md": command_line(),
        folder / "messages.md": messages(),
        folder / "robot_file.md": robot_file(),
    }


def summary(path: Path) -> str:
    """The first paragraph of a module's docstring, in one line. Raises ValueError where it says
    nothing of itself."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not text:
        raise ValueError(f"{path.relative_to(ROOT)} has no docstring; say in a line what it is for")
    return " ".join(text.split("\n\n")[0].split())


def parameters() -> str:
    """Every parameter of every node."""
    lines = [
        "# Parameters",
        "",
        BY.format("`NODE_PARAMETERS`"),
        "",
        "`config/vla.yaml` has them all at their defaults: copy it, change what you need, and give "
        "it to the launch",
        "file as `params_file:=…`. A **live** one may change while the node is active",
        "(`ros2 param set /vla/safety_validator max_age 0.5`); the others need the node to be "
        "cleaned up and",
        "configured again. A bad value is refused with its name, the value and what is wanted.",
    ]
    for node, table in NODE_PARAMETERS.items():
        lines += [
            "",
            f"## {node}",
            "",
            "| parameter | default | | range | live |",
            "|---|---|---|---|---|",
        ]
        lines += [
            row(
                f"`{parameter.name}`",
                default_of(parameter),
                parameter.description,
                range_of(parameter),
                "live" if parameter.live else "",
            )
            for parameter in table
        ]
    return "\n".join(lines) + "\n"


def row(*cells: str) -> str:
    """A table's row: one line, and a bar in a cell is no border."""
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def default_of(parameter: Parameter) -> str:
    text = json.dumps(parameter.default)
    return f"`{text}` {parameter.unit if parameter.unit not in ('', 'characters') else ''}".strip()


def range_of(parameter: Parameter) -> str:
    if parameter.choices:
        return ", ".join(f"`{choice}`" for choice in parameter.choices)
    if math.isinf(parameter.low) and math.isinf(parameter.high):
        return ""
    ends = " to ".join(
        f"{end:,.0f}" if end >= 1e6 else f"{end:g}" for end in (parameter.low, parameter.high)
    )
    return f"{ends} {parameter.unit}".strip()


def command_line() -> str:
    """Every verb of `vla` with its arguments. Tables, not argparse's text: that differs from one
    Python to the next."""
    lines = [
        "# Command line",
        "",
        BY.format("the parsers in `vla_ros/cli/`"),
        "",
        "Each verb's `--help` prints the same. Exit codes: 0 done, 1 not done, 2 bad arguments, "
        "130 interrupted.",
        "",
        "| verb | |",
        "|---|---|",
        *(row(f"[`{verb}`](#vla-{verb})", what) for verb, what in VERBS.items()),
    ]
    for verb, what in VERBS.items():
        lines += ["", f"## vla {verb}", "", f"{what[0].upper()}{what[1:]}."]
        if verb == "bench":
            lines += [
                "",
                "Each bench has arguments of its own, which its `--help` prints.",
                "",
                "| bench | |",
                "|---|---|",
            ]
            lines += [
                row(f"`{name}`", summary(ROOT / f"{module.replace('.', '/')}.py"))
                for name, module in bench.BENCHES.items()
            ]
            continue
        parser = argparse.ArgumentParser(prog=f"vla {verb}", add_help=False)
        add_arguments(parser, verb)
        positional, options, *groups = parser._action_groups
        for title, actions in [
            ("", positional._group_actions + options._group_actions),
            *((f"With `{group.title}`:", group._group_actions) for group in groups),
        ]:
            listed = [action for action in actions if action.help != argparse.SUPPRESS]
            if listed:
                lines += ["", *([title, ""] if title else []), "| argument | |", "|---|---|"]
                lines += [row(argument(action), help_of(action, parser.prog)) for action in listed]
    return "\n".join(lines) + "\n"


def argument(action: argparse.Action) -> str:
    """How it is given: `--out FOLDER`, `[INSTRUCTION ...]`."""
    value = str(action.metavar or "") or (
        "{" + ",".join(map(str, action.choices)) + "}"
        if action.choices
        else action.dest.upper()
        if action.option_strings
        else action.dest
    )
    value = {
        None: value,
        "+": f"{value} [{value} ...]",
        "*": f"[{value} ...]",
        "?": f"[{value}]",
        0: "",
    }.get(action.nargs, value)
    text = " ".join([*action.option_strings[:1], value]).strip()
    return f"`{text}`{', required' if is_required(action) else ''}"


def is_required(action: argparse.Action) -> bool:
    return action.required and bool(action.option_strings)


def help_of(action: argparse.Action, prog: str) -> str:
    """Its help with the default in it; a default that is this machine's is said in words."""
    values = {**vars(action), "prog": prog}
    if action.dest == "jobs":
        values["default"] = "one a core"
    return (action.help or "") % values


# Of a service and an action, what stands between the lines of three dashes.
PARTS = {".msg": ("",), ".srv": ("request", "response"), ".action": ("goal", "result", "feedback")}


def messages() -> str:
    """Every message, service and action with its comments."""
    lines = [
        "# Messages",
        "",
        BY.format("`msg/*.msg`, `msg/srv/` and `msg/action/`"),
        "",
        "Which topic carries which: [topics.md](../topics.md). How a package of yours uses them:",
        "[messages.md](../messages.md).",
    ]
    for pattern in ("*.msg", "srv/*.srv", "action/*.action"):
        for path in sorted((ROOT / "msg").glob(pattern)):
            lines += ["", f"## {path.stem}", ""]
            texts = path.read_text(encoding="utf-8").split("\n---\n")
            for part, text in zip(PARTS[path.suffix], texts, strict=True):
                comment, fields = message(text)
                if comment:
                    lines += [comment, ""]
                lines += [f"| {f'{part}: field' if part else 'field'} | type | |", "|---|---|---|"]
                lines += [row(f"`{name}`", f"`{kind}`", meaning) for kind, name, meaning in fields]
                lines.append("")
            lines.pop()
    return "\n".join(lines) + "\n"


def message(text: str) -> tuple[str, list[tuple[str, str, str]]]:
    """The comment above the fields, and each field's type, name and comment. A comment on lines of
    its own belongs to the field before it."""
    comment: list[str] = []
    fields: list[tuple[str, str, str]] = []
    for line in text.splitlines():
        declared, _, said = (part.strip() for part in line.partition("#"))
        if declared:
            kind, _, name = declared.partition(" ")
            fields.append((kind, name.strip(), said))
        elif fields and said:
            fields[-1] = (*fields[-1][:2], f"{fields[-1][2]} {said}".strip())
        elif said:
            comment.append(said)
    return " ".join(comment), fields


def robot_file() -> str:
    """The robot file's keys from the classes that hold them, and the files that come with the
    package."""
    lines = [
        "# Robot file",
        "",
        BY.format("`vla_ros/core/robot.py`, the modules beside it and `config/robots/`"),
        "",
        "Through which cameras a policy sees, what it may know of the robot, which channels the "
        "robot obeys, within which",
        "limits, and where the commands go. Launch, synchronizer, gate, supervisor and enclaves "
        "follow from it, and what is not in",
        "it is not required. An unknown key, a value that contradicts another and a number that is "
        "not finite are refused with the",
        "key and the value. SI units inside; what is sent is value × `scale` + `offset`, in "
        "`sent_unit`.",
        "",
        "Types of `outputs`: "
        f"{', '.join(f'`{kind}`' for kind in sorted(robot_outputs.OUTPUT_TYPES))}. Of "
        "`sensors`: "
        f"{', '.join(f'`{kind}`' for kind in sorted(robot_obstacles.SENSOR_TYPES))}. A channel's "
        f"`on_stop`: {', '.join(f'`{stop}`' for stop in robot_channels.STOPS)}. A camera's "
        f"`transport`: {', '.join(f'`{transport}`' for transport in robot_cameras.TRANSPORTS)}.",
        "",
        "Types of `state`, and what they hold:",
        "",
        *(f"* `{kind}`: {_numbers_of(names)}" for kind, names in robot_state.STATE_TYPES.items()),
        "",
        f"Units of `unit` and `sent_unit`: {', '.join(f'`{unit}`' for unit in robot_state.UNITS)}.",
    ]
    for title, kind in (
        ("The file", robot.Robot),
        ("cameras", robot_cameras.Camera),
        ("clouds", robot_clouds.Cloud),
        ("state", robot_state.StateSource),
        ("channels", robot_channels.Channel),
        ("outputs", robot_outputs.Output),
        ("footprint", robot_obstacles.Footprint),
        ("obstacles", robot_obstacles.Obstacles),
        ("obstacles: sensors", robot_obstacles.Sensor),
        ("workspace", workspace.Workspace),
        ("workspace: inside, outside", workspace.WorkspaceBox),
    ):
        text, meanings = described(kind)
        lines += ["", f"## {title}", "", text, ""]
        head = ["key", "type", "default", *(["meaning"] if meanings else [])]
        lines += [row(*head), "|" + "---|" * len(head)]
        for field in dataclasses.fields(kind):
            if (kind, field.name) in NO_KEYS:
                continue
            cells = [f"`{field.name}`", type_of(field), default_value(kind, field)]
            if meanings:
                cells.append(meanings.get(field.name, "").rstrip("."))
            lines.append(row(*cells))
    for path in sorted((ROOT / "config" / "robots").glob("*.yaml")):
        lines += [
            "",
            f"## config/robots/{path.name}",
            "",
            "```yaml",
            path.read_text(encoding="utf-8").rstrip(),
            "```",
        ]
    return "\n".join(lines) + "\n"


def _numbers_of(names: tuple[str, ...]) -> str:
    """Of a message of the state."""
    if not names:
        return "numbers that the file names, with their unit"
    return ", ".join(f"`{name}`" for name in names)


def described(kind: type) -> tuple[str, dict[str, str]]:
    """A class' docstring without its Attributes, and those: name -> what it says of it."""
    text, _, section = (inspect.getdoc(kind) or "").partition("\n\nAttributes:\n")
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if line.startswith("        "):  # the line before goes on
            meaning = f" {line.strip()}"
        else:
            listed, _, meaning = line.strip().partition(": ")
            names = listed.split(", ")
        for name in names:
            meanings[name] = meanings.get(name, "") + meaning
    return text, meanings


def type_of(field: dataclasses.Field[Any]) -> str:
    """As YAML has it."""
    return YAML_TYPES.get(str(field.type).replace(" | None", ""), field.name)


def default_value(kind: type, field: dataclasses.Field[Any]) -> str:
    """What holds where the file leaves the key out; those that follow from another key are said in
    words."""
    if (kind, field.name) in IN_WORDS:
        return IN_WORDS[kind, field.name]
    if field.default is dataclasses.MISSING:
        return "**needed**"
    if field.default in (None, (), math.inf, ""):
        return "none"
    return f"`{json.dumps(field.default)}`"
