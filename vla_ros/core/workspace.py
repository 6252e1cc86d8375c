"""What a robot file says of an arm: its URDF's limits, and where its tool may be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_ros.core.robot_fields import check_keys, number
from vla_ros.core.shown import shown
from vla_ros.core.urdf import MOVING, Urdf, UrdfJoint, Vector, read_urdf

if TYPE_CHECKING:
    from vla_ros.core.robot_channels import Channel

MOST_BOXES = 32  # the gate looks at every one of them fifty times a second
# A policy that learned its gripper's ends overshoots them by a few percent. The bounds may lie so
# far beyond the joint's ends, as a part of its way: beyond the limits it is clamped to them.
OVERSHOOT = 0.1
AXES = "xyz"


@dataclass(frozen=True)
class WorkspaceBox:
    """A box along the base frame's axes, m.

    Attributes:
        min, max: its corners, each as [x, y, z].
        name: what a sentence about it calls it.
    """

    min: Vector
    max: Vector
    name: str = ""


@dataclass(frozen=True)
class Workspace:
    """Where the tool may be, in the base frame.

    Attributes:
        tool: the URDF's link whose origin is looked at.
        inside: the tool stays in at least one of them.
        outside: the tool stays out of all of them.
        max_tool_speed: m/s; all of its joints go as much slower as that takes.
        chain: the joints from the base frame to the tool, from the URDF.
    """

    tool: str
    inside: tuple[WorkspaceBox, ...] = ()
    outside: tuple[WorkspaceBox, ...] = ()
    max_tool_speed: float = math.inf
    chain: tuple[UrdfJoint, ...] = ()


def parse_urdf_key(value: Any, folder: Path) -> Urdf:
    """The URDF that a robot file names, relative to its own folder. Raises ValueError."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"urdf is {shown(value)}; give the path of a URDF file")
    return read_urdf(folder / value)


# -- limits ----------------------------------------------------------------------------
def with_urdf_limits(
    entries: Mapping[str, Any], urdf: Urdf, joints: Mapping[str, str]
) -> dict[str, Any]:
    """The channels' fields, with their joints' limits where the robot file gives none.

    Args:
        entries: channel -> its fields, as they stand in the file; what is wrong in them is left for
            the channel's parser.
        urdf: the robot's.
        joints: what the file calls a joint -> its own name; one that is not in it is called so.

    Raises:
        ValueError: the URDF has no such joint, or one that does not move.
    """
    filled: dict[str, Any] = {}
    for name, fields in entries.items():
        filled[name] = fields
        joint = fields.get("joint") if isinstance(fields, Mapping) else None
        if isinstance(joint, str) and fields.get("on_stop") != "zero":
            joint = _joint_of(joints.get(joint, joint), f"channel '{name}'", urdf)
            filled[name] = _filled(fields, joint)
    return filled


def _filled(fields: Mapping[str, Any], joint: UrdfJoint) -> Mapping[str, Any]:
    scale = fields.get("scale", 1.0)
    offset = fields.get("offset", 0.0)
    if not isinstance(scale, (int, float)) or not isinstance(offset, (int, float)) or scale == 0:
        return fields
    more = dict(fields)
    if math.isfinite(joint.lower) and math.isfinite(joint.upper):
        ends = sorted([(joint.lower - offset) / scale, (joint.upper - offset) / scale])
        if "bounds" not in more:
            more.setdefault("limits", ends)
            more["bounds"] = _farthest_bounds(ends, str(fields.get("on_stop")))
    # What is refused and what is clamped are then the same: a URDF knows one limit.
    if "bounds" in more:
        more.setdefault("limits", more["bounds"])
    # Exporters write 0 where they know none: then the robot file must say it.
    if 0.0 < joint.velocity < math.inf:
        more.setdefault("max_speed", joint.velocity / abs(scale))
    return more


def check_urdf_limits(channels: Sequence[Channel], urdf: Urdf) -> None:
    """A robot file narrows its URDF's limits, and never widens them. Raises ValueError."""
    for channel in channels:
        if not channel.joint or channel.is_velocity:
            continue
        where = f"channel '{channel.name}'"
        joint = _joint_of(channel.joint, where, urdf)
        ends = sorted((end - channel.offset) / channel.scale for end in (joint.lower, joint.upper))
        allowed = dict.fromkeys(("bounds", "limits", "soft_limits"), ends)
        allowed["bounds"] = _farthest_bounds(ends, channel.on_stop)
        for name, (low, high) in allowed.items():
            lowest, highest = getattr(channel, name)
            if _over(low, lowest) or _over(highest, high):
                raise ValueError(
                    f"{where}: {name} are {lowest:g} to {highest:g} {channel.unit}; {urdf.source} "
                    f"allows joint '{joint.name}' {low:g} to {high:g}: give no more than that"
                )
        fastest = joint.velocity / abs(channel.scale)
        if _over(channel.max_speed, fastest):
            raise ValueError(
                f"{where}: max_speed is {channel.max_speed:g} {channel.unit}/s; {urdf.source} "
                f"allows joint '{joint.name}' {fastest:g}: give no more than that"
            )


def _farthest_bounds(ends: list[float], on_stop: str) -> list[float]:
    """A joint's ends; of a gripper (`hold_commanded`) those that a policy may overshoot to."""
    low, high = ends
    slack = OVERSHOOT * (high - low) if on_stop == "hold_commanded" else 0.0
    return [low - slack, high + slack]


def _joint_of(name: str, where: str, urdf: Urdf) -> UrdfJoint:
    try:
        joint = urdf.joint(name)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if joint.kind not in MOVING:
        raise ValueError(
            f"{where}: joint '{name}' is {joint.kind} in {urdf.source}; one that is measured is "
            f"{', '.join(MOVING)}"
        )
    return joint


def _over(value: float, limit: float) -> bool:
    """Whether `value` is above `limit` by more than rounding to float32 explains."""
    return value > limit + 1e-6 * max(1.0, abs(limit))


# -- the tool --------------------------------------------------------------------------
def parse_workspace(
    fields: Any, urdf: Urdf | None, base_frame: str, channels: Sequence[Channel]
) -> Workspace:
    """Where the tool may be.

    Args:
        fields: what stands under `workspace`.
        urdf: the robot's; None: it has none.
        base_frame: the link that the boxes are measured from.
        channels: the robot's; they must measure every joint up to the tool.

    Raises:
        ValueError: a sentence with what is wrong, and its value.
    """
    check_keys(fields, "workspace", {"tool"}, {"inside", "outside", "max_tool_speed"})
    if urdf is None:
        raise ValueError("workspace needs a urdf: how the joints lead from the base to the tool")
    # Only `tool`: it would look like a protection, and be none.
    if len(fields) == 1:
        raise ValueError("workspace limits nothing; give inside, outside or max_tool_speed")
    chain = urdf.chain(base_frame, str(fields["tool"]))
    _check_measured(chain, urdf, channels)
    inside = _boxes(fields.get("inside", []), "inside")
    outside = _boxes(fields.get("outside", []), "outside")
    if len(inside) + len(outside) > MOST_BOXES:
        raise ValueError(
            f"workspace has {len(inside) + len(outside)} boxes; give at most {MOST_BOXES}"
        )
    speed = math.inf
    if "max_tool_speed" in fields:
        speed = number(fields["max_tool_speed"], "workspace: max_tool_speed", above=0.0)
    return Workspace(str(fields["tool"]), inside, outside, speed, chain)


def _check_measured(chain: Sequence[UrdfJoint], urdf: Urdf, channels: Sequence[Channel]) -> None:
    """Every joint on the way to the tool is a position that the gate knows."""
    # A joint that is commanded by its velocity is measured, and still has no position that is sent.
    positions = {channel.joint for channel in channels if not channel.is_velocity}
    moving = [joint.name for joint in chain if joint.kind in MOVING]
    if not moving:
        raise ValueError(f"workspace: in {urdf.source} no joint moves the tool")
    for name in moving:
        if name not in positions:
            raise ValueError(
                f"workspace: joint '{name}' moves the tool in {urdf.source}, and no channel with a "
                "position has it as its joint; where the tool is would be unknown"
            )


def _boxes(entries: Any, key: str) -> tuple[WorkspaceBox, ...]:
    if not isinstance(entries, list):
        raise ValueError(
            f"workspace: {key} is {shown(entries)}; give a list of boxes, each with min and max"
        )
    boxes: list[WorkspaceBox] = []
    for count, entry in enumerate(entries, 1):
        where = f"workspace: {key}, box {count}"
        check_keys(entry, where, {"min", "max"}, {"name"})
        low = _corner(entry["min"], f"{where}: min")
        high = _corner(entry["max"], f"{where}: max")
        for axis, lowest, highest in zip(AXES, low, high):
            if lowest >= highest:
                raise ValueError(
                    f"{where}: min {axis} is {lowest:g} m; it must be below max, {highest:g} m"
                )
        boxes.append(WorkspaceBox(low, high, str(entry.get("name", f"{key} {count}"))[:40]))
    return tuple(boxes)


def _corner(value: Any, where: str) -> Vector:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError(f"{where} is {shown(value)}; give [x, y, z] in m")
    x, y, z = value
    return number(x, where), number(y, where), number(z, where)
