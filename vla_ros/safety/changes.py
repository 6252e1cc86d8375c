"""Limits that change while the robot may move: tighter ones at once, looser ones not."""

from __future__ import annotations

import math
from collections.abc import Iterator

from vla_ros.core.robot import Robot
from vla_ros.core.robot_channels import Channel
from vla_ros.core.workspace import AXES, Workspace
from vla_ros.safety.rules import PARAMETERS
from vla_ros.safety.settings import Settings


def loosened(robot: Robot, settings: Settings, new_robot: Robot, new_settings: Settings) -> str:
    """The first limit that would allow more than before, with both values, or nothing.

    Raises:
        ValueError: something else than limits differs: that takes a cleanup and a new configure.
    """
    if _fixed(robot) != _fixed(new_robot) or settings.period != new_settings.period:
        raise ValueError(
            f"robot '{new_robot.name}' differs from '{robot.name}' in more than its limits; "
            "clean the gate up and configure it"
        )
    after = dict(_allowed(new_robot, new_settings))
    # A limit that is gone allows everything: it counts as infinite.
    for name, before in _allowed(robot, settings):
        if after.get(name, math.inf) > before:
            return f"{name} {abs(after.get(name, math.inf)):g} (now {abs(before):g})"
    return ""


def _fixed(robot: Robot) -> tuple:
    """What is no limit: the robot itself. Subscriptions and publishers were made from it."""
    return (
        robot.name,
        robot.base_frame,
        robot.outputs,
        robot.simulated,
        robot.sensors,
        robot.workspace.tool if robot.workspace else "",
        robot.workspace.chain if robot.workspace else (),
        robot.state,
        robot.cameras,
        *map(_fixed_of_channel, robot.channels),
    )


def _allowed_to_tool(workspace: Workspace) -> Iterator[tuple[str, float]]:
    """A tool that stays in no box may be everywhere; each box that it stays out of allows less."""
    yield "workspace max_tool_speed", workspace.max_tool_speed
    yield "workspace inside (boxes)", float(len(workspace.inside) or math.inf)
    yield "workspace outside (boxes)", -float(len(workspace.outside))
    for key, sense in (("inside", 1.0), ("outside", -1.0)):
        for count, box in enumerate(getattr(workspace, key), 1):
            for axis, low, high in zip(AXES, box.min, box.max):
                yield f"workspace {key}, box {count}, min {axis},", -sense * low
                yield f"workspace {key}, box {count}, max {axis},", sense * high


def _fixed_of_channel(channel: Channel) -> tuple:
    """What its numbers mean; `deadband` is neither this nor a limit."""
    return (
        channel.name,
        channel.unit,
        channel.on_stop,
        channel.joint,
        channel.joint_topic,
        channel.scale,
        channel.offset,
        channel.sent_unit,
        channel.wraps,
        channel.start,
    )


def _allowed(robot: Robot, settings: Settings) -> Iterator[tuple[str, float]]:
    """Every limit by name, as a number that is larger when it allows more.

    So what allows less where it is larger (a distance to keep, a brake) is negated.
    """
    for channel in robot.channels:
        for name in ("bounds", "limits", "soft_limits"):
            low, high = getattr(channel, name)
            yield from (
                (f"{channel.name} {name}, low,", -low),
                (f"{channel.name} {name}, high,", high),
            )
        yield from (
            (f"{channel.name} acceleration", channel.acceleration),
            (f"{channel.name} deceleration", -channel.deceleration),
            (f"{channel.name} max_speed", channel.max_speed),
            (f"{channel.name} max_step", channel.max_step),
            (f"{channel.name} max_tracking_error", channel.max_tracking_error),
            (f"{channel.name} tracking_time", channel.tracking_time),
        )
    for side in ("front", "back", "left", "right"):
        # A smaller footprint passes nearer to things.
        yield f"footprint {side}", -getattr(robot.footprint, side)
    if robot.obstacles is not None:
        for name in (
            "stop_distance",
            "slow_distance",
            "side_clearance",
            "hysteresis",
            "time_to_collision",
            "hold_off",
        ):
            yield f"obstacles {name}", -getattr(robot.obstacles, name)
        # These two allow more where they are larger.
        for name in ("max_speed_unobserved", "max_age"):
            yield f"obstacles {name}", getattr(robot.obstacles, name)
    yield "enable_time", -robot.enable_time
    if robot.workspace is not None:
        yield from _allowed_to_tool(robot.workspace)
    for parameter in PARAMETERS:
        yield f"{parameter.name} ({parameter.unit})", parameter.looseness(settings[parameter])
    for name, limit in settings.sources.items():
        yield f"the silence of {name} (ns)", limit
    for name, limit in settings.lost.items():
        yield f"the silence after which {name} is lost (ns)", limit
