"""The gate's rules. Each is a small pure function: nothing, or a finding with a reason in words.

A rule names what it needs as keyword parameters; the gate passes them from `Situation`. RULES orders
them. To add one: a function here and a line in RULES. The first finding that holds or stops decides;
findings that limit pass their changed row on to the next rule.
"""
from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from vla_ros.core.robot import Channel, Robot
from vla_ros.core.types import ActionChunk, Command, to_seconds


class Verdict(IntEnum):
    """SafetyReport.verdict. HELD stops through the deceleration limit, STOPPED at once."""

    PASSED = 0
    LIMITED = 1
    HELD = 2
    STOPPED = 3


Row = tuple[float, ...]  # one value for each of the robot's channels, in their order, in their units


@dataclass(frozen=True)
class Finding:
    rule: str
    verdict: Verdict
    reason: str
    row: Row | None = None  # LIMITED: what the row becomes


@dataclass(frozen=True)
class Settings:
    """The gate's own limits; times in ns."""

    max_age: int = 400_000_000
    max_future: int = 50_000_000
    clock_jump: int = 500_000_000
    period: int = 20_000_000
    measured_age: int = 300_000_000  # a measured position older than this is unknown
    sources: Mapping[str, int] = field(default_factory=dict)  # name -> the longest silence


@dataclass
class Situation:
    """All that a rule may look at in one tick.

    `channels` are those that this action moves (and all velocities), in the order of `row` and of `last`
    (emitted before, or else measured). `row` is empty until `shape` has passed.
    """

    robot: Robot
    channels: Sequence[Channel]
    settings: Settings
    chunk: ActionChunk | None
    command: Command | None
    armed_generation: int
    age: int
    silence: Mapping[str, int | None]
    row: Row
    last: Sequence[float | None]
    elapsed: int


def _held(rule: str, reason: str) -> Finding:
    return Finding(rule, Verdict.HELD, reason)


def sources(*, silence: Mapping[str, int | None], settings: Settings) -> Finding | None:
    """Everything that the robot's motion rests on has been heard from lately."""
    for name, limit in settings.sources.items():
        quiet = silence.get(name)
        if quiet is None:
            return _held("sources", f"nothing was heard from {name} yet")
        if quiet > limit:
            return _held("sources", f"{name} has been silent for {to_seconds(quiet):.2f} s; "
                                    f"at most {to_seconds(limit):.2f} s")
    return None


def generation(*, chunk: ActionChunk | None, command: Command | None, armed_generation: int) -> Finding | None:
    """There is an instruction, newer than the arming, and the action answers that very one."""
    if command is None or not command.text:
        return _held("generation", "no instruction")
    if command.generation <= armed_generation:
        return _held("generation", f"instruction {command.generation} was given before the arming; give a new one")
    if chunk is None:
        return _held("generation", f"no action yet for instruction {command.generation}")
    if chunk.generation != command.generation:
        return _held("generation", f"the action answers instruction {chunk.generation}, "
                                   f"but {command.generation} holds now")
    return None


def shape(*, chunk: ActionChunk, robot: Robot) -> Finding | None:
    """Rows x channels, a positive step, only channels that this robot has, and all of an output's positions."""
    values = chunk.values
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] != len(chunk.channels):
        return _held("shape", f"the action's values have shape {values.shape} for {len(chunk.channels)} channels")
    if chunk.step <= 0 and values.shape[0] > 1:
        return _held("shape", f"the action's step is {to_seconds(chunk.step):g} s; it must be positive")
    known = {channel.name for channel in robot.channels}
    if len(set(chunk.channels)) != len(chunk.channels):
        return _held("shape", f"the action names a channel twice: {', '.join(chunk.channels)}")
    for name in chunk.channels:
        if name not in known:
            return _held("shape", f"the robot has no channel '{name}'; it has {', '.join(sorted(known))}")
    for output in robot.outputs:
        lacking = [name for name in output.channels if name not in chunk.channels]
        if 0 < len(lacking) < len(output.channels) and robot.channel(lacking[0]).stop != "zero":
            return _held("shape", f"the action lacks '{lacking[0]}'; {output.topic} takes all of its positions or none")
    return None


def finite(*, chunk: ActionChunk) -> Finding | None:
    """No NaN or infinity anywhere in the chunk: a policy that makes one makes more."""
    bad = np.argwhere(~np.isfinite(chunk.values))
    if len(bad):
        row, column = bad[0]
        return _held("finite", f"{chunk.channels[column]} is {chunk.values[row, column]} in row {row} of the action")
    return None


def age(*, age: int, settings: Settings) -> Finding | None:
    """The picture behind the action is recent, on the ROS clock and on the steady clock."""
    if age > settings.max_age:
        return _held("age", f"the picture behind the action is {to_seconds(age):.3f} s old; "
                            f"at most {to_seconds(settings.max_age):.3f} s (max_age)")
    if age < -settings.max_future:
        return _held("age", f"the picture behind the action is {to_seconds(-age):.3f} s in the future")
    return None


def bounds(*, row: Row, channels: Sequence[Channel]) -> Finding | None:
    """Outside a hard bound the whole action is refused: one absurd value discredits the rest."""
    for value, channel in zip(row, channels):
        low, high = channel.bounds
        if not low <= value <= high:  # written so that NaN is outside
            return _held("bounds", f"{channel.name} is {value:.3g} {channel.unit}, "
                                   f"outside its bounds {low:g} to {high:g} {channel.unit}")
    return None


def limits(*, row: Row, channels: Sequence[Channel]) -> Finding | None:
    """Inside the bounds but over an operating limit: clamped."""
    clamped = tuple(min(max(value, channel.limits[0]), channel.limits[1])
                    for value, channel in zip(row, channels))
    if clamped == row:
        return None
    i = next(i for i, (new, old) in enumerate(zip(clamped, row)) if new != old)
    return Finding("limits", Verdict.LIMITED, f"{channels[i].name} {row[i]:.3g} {channels[i].unit} was limited "
                                              f"to {clamped[i]:.3g} {channels[i].unit}", clamped)


def deadband(*, row: Row, channels: Sequence[Channel]) -> Finding | None:
    """A velocity too small to mean anything is zero, so that a motor does not hum."""
    kept = tuple(0.0 if channel.stop == "zero" and 0.0 < abs(value) < channel.deadband else value
                 for value, channel in zip(row, channels))
    if kept == row:
        return None
    i = next(i for i, (new, old) in enumerate(zip(kept, row)) if new != old)
    return Finding("deadband", Verdict.LIMITED,
                   f"{channels[i].name} {row[i]:.3g} {channels[i].unit} is inside the deadband", kept)


def rate(*, row: Row, last: Sequence[float | None], channels: Sequence[Channel], elapsed: int) -> Finding | None:
    """No channel changes faster than it may, from what was emitted last."""
    for before, channel in zip(last, channels):
        if before is None:
            return _held("rate", f"where {channel.name} stands is unknown; is {channel.joint or 'its joint'} "
                                 "in /joint_states?")
        if not channel.limits[0] <= before <= channel.limits[1]:
            return _held("rate", f"{channel.name} stands at {before:.3g} {channel.unit}, outside its limits "
                                 f"{channel.limits[0]:g} to {channel.limits[1]:g}; move it inside by hand")
    slowed = tuple(approach(before or 0.0, value, channel, elapsed)
                   for value, before, channel in zip(row, last, channels))
    if slowed == row:
        return None
    i = next(i for i, (new, old) in enumerate(zip(slowed, row)) if new != old)
    return Finding("rate", Verdict.LIMITED, f"{channels[i].name} goes to {row[i]:.3g} {channels[i].unit} "
                                            f"by way of {slowed[i]:.3g} {channels[i].unit}", slowed)


def approach(before: float, target: float, channel: Channel, elapsed: int) -> float:
    """The value nearest to `target` that `channel` may have `elapsed` ns after `before`.

    A velocity brakes (towards zero) with `brake` and speeds up with `rate`; it turns round only through zero.
    """
    seconds = elapsed / 1e9
    if channel.stop != "zero":
        reach = channel.rate * seconds
        return min(max(target, before - reach), before + reach)
    if before == 0.0 or math.copysign(1.0, before) == math.copysign(1.0, target):
        away = abs(target) > abs(before)
        reach = (channel.rate if away else channel.brake) * seconds
        return min(max(target, before - reach), before + reach)
    reach = channel.brake * seconds
    return before - math.copysign(min(reach, abs(before)), before)


RULES: tuple[Callable[..., Finding | None], ...] = (
    sources, generation, shape, finite, age, bounds, limits, deadband, rate,
)
NEEDS = {rule: tuple(inspect.signature(rule).parameters) for rule in RULES}


def order(*, chunk: ActionChunk, previous: ActionChunk | None, command: Command | None) -> Finding | None:
    """Asked once, when a chunk arrives: a late one does not take the place of a newer one."""
    if command is not None and chunk.generation < command.generation:
        return _held("order", f"a late action for instruction {chunk.generation} was dropped; "
                              f"{command.generation} holds now")
    if previous is not None and chunk.generation == previous.generation and chunk.stamp < previous.stamp:
        return _held("order", f"an action for an older picture ({to_seconds(previous.stamp - chunk.stamp):.3f} s) "
                              "was dropped")
    return None
