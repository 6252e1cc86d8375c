"""The gate's rules. Each is a small pure function: nothing, or a finding with a reason in words.

A rule names what it needs as keyword parameters; the gate passes them from `Situation`. RULES orders
them. To add one: a function here and a line in RULES. The first finding that holds or stops decides;
findings that limit pass their changed row on to the next rule.
"""
from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vla_ros.core.robot import FLOOR_CHANNELS, Channel, Obstacles, Robot
from vla_ros.core.types import ActionChunk, Command, to_seconds
from vla_ros.safety.obstacles import Array, Reading, approach, seen_ahead
from vla_ros.safety.situation import Behind, Finding, Row, Settings, Verdict

SHORTEST_STEP, LONGEST_STEP = 1_000_000, 10_000_000_000  # ns between rows: 1 kHz, and longer than any age is allowed


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


def rivals(*, rivals: Sequence[str]) -> Finding | None:
    """Nobody else publishes where the gate does: a command that it did not check would move the robot as well."""
    if rivals:
        return _held("rivals", f"the robot hears somebody else, too: {'; '.join(rivals)}; stop that publisher")
    return None


def listeners(*, unheard: Sequence[str]) -> Finding | None:
    """The robot listens where the gate speaks: one that does not would start in the middle of something."""
    return _held("listeners", "; ".join(unheard)) if unheard else None


def clock(*, clock_still: int, settings: Settings) -> Finding | None:
    """The ROS clock runs: with a clock that stands, no stamp says how old anything is."""
    if clock_still > settings.clock_stall:
        return _held("clock", f"the ROS clock has stood still for {to_seconds(clock_still):.2f} s; "
                              "is /clock published?")
    return None


def sight(*, readings: Mapping[str, tuple[Reading | None, int, int]], robot: Robot,
          settings: Settings) -> Finding | None:
    """Every range sensor of the robot file has looked lately, and at least one of its beams measured something."""
    if robot.obstacles is None:
        return None
    for sensor in robot.obstacles.sensors:
        reading, arrived, age = readings.get(sensor.topic, (None, 0, 0))
        if reading is None:
            return _held("sight", f"nothing was seen by {sensor.topic} yet")
        oldest = max(arrived, age)
        if not oldest <= robot.obstacles.max_age * 1e9:
            return _held("sight", f"what {sensor.topic} saw is {to_seconds(oldest):.2f} s old; "
                                  f"at most {robot.obstacles.max_age:g} s")
        if age < -settings.max_future:
            return _held("sight", f"what {sensor.topic} saw is {to_seconds(-age):.2f} s in the future")
        if reading.fault:
            return _held("sight", f"{sensor.topic} is blind: {reading.fault}")
        if not reading.valid.any():
            return _held("sight", f"{sensor.topic} is blind: none of its {len(reading.valid)} beams measured anything")
    return None


def generation(*, chunk: ActionChunk | None, command: Command | None, armed: tuple[int, int],
               newest_generation: int, spent: tuple[int, str]) -> Finding | None:
    """There is an instruction, newer than the arming and than any other, and the action answers that very one.

    After what a person should look at (a node that was lost, a joint that was blocked) it is given again.
    """
    if command is None or not command.text:
        return _held("generation", "no instruction")
    if command.generation < newest_generation:
        return _held("generation", f"instruction {command.generation} came again after {newest_generation}; "
                                   "give a new one, or where that was no real one, disarm and arm again")
    if command.generation <= armed[0] or command.stamp < armed[1]:
        return _held("generation", f"instruction {command.generation} was given before the arming; give a new one")
    if command.generation <= spent[0]:
        return _held("generation", f"{spent[1]}; give the instruction again")
    if chunk is None:
        return _held("generation", f"no action yet for instruction {command.generation}")
    if chunk.generation != command.generation:
        return _held("generation", f"the action answers instruction {chunk.generation}, "
                                   f"but {command.generation} holds now")
    return None


def instruction(*, instruction_age: int, settings: Settings) -> Finding | None:
    """The instruction is not one that everybody has forgotten."""
    if instruction_age > settings.instruction_limit:
        return _held("instruction", f"the instruction is {to_seconds(instruction_age):.0f} s old; "
                                    f"at most {to_seconds(settings.instruction_limit):.0f} s; give it again")
    return None


def chunk_source(*, chunk_sources: Sequence[str]) -> Finding | None:
    """One process says what the robot is to do: two contradict each other sooner or later."""
    if len(chunk_sources) > 1:
        names = ", ".join(name or "one without a name" for name in chunk_sources)
        return _held("chunk_source", f"actions come from {len(chunk_sources)} processes: {names}; end all but one")
    return None


def shape(*, chunk: ActionChunk, robot: Robot) -> Finding | None:
    """Rows x channels, a step that can be one, only channels that this robot has, and all of an output's or none."""
    values = chunk.values
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] != len(chunk.channels):
        return _held("shape", f"the action's values have shape {values.shape} for {len(chunk.channels)} channels")
    if not SHORTEST_STEP <= chunk.step <= LONGEST_STEP:
        return _held("shape", f"the action's step is {to_seconds(chunk.step):g} s; it must be from "
                              f"{to_seconds(SHORTEST_STEP):g} to {to_seconds(LONGEST_STEP):g} s")
    known = {channel.name for channel in robot.channels}
    if len(set(chunk.channels)) != len(chunk.channels):
        return _held("shape", f"the action names a channel twice: {', '.join(chunk.channels)}")
    for name in chunk.channels:
        if name not in known:
            return _held("shape", f"the robot has no channel '{name}'; it has {', '.join(sorted(known))}")
    for output in robot.outputs:
        lacking = [name for name in output.channels if name not in chunk.channels]
        if 0 < len(lacking) < len(output.channels):
            return _held("shape", f"the action lacks '{lacking[0]}'; {output.topic} takes all of its channels or none")
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


def chunk_end(*, ended: int) -> Finding | None:
    """The action has a row for this moment: what was planned for then says nothing about now."""
    if ended > 0:
        return _held("chunk_end", f"the action's last row was over {to_seconds(ended):.2f} s ago")
    return None


def seam(*, seam: str) -> Finding | None:
    """The newest chunk goes on from the one before: what one picture calls left is not right in the next."""
    return _held("seam", seam) if seam else None


def repeat(*, repeated: int, row: Row, channels: Sequence[Channel], settings: Settings) -> Finding | None:
    """The very same velocity for every new picture is a policy that no longer looks.

    A position that is asked for again and again is one that is not reached yet; `tracking` sees to it that it is.
    """
    moves = any(value != 0.0 for value, channel in zip(row, channels) if channel.is_velocity)
    if moves and 0 < settings.repeat_limit < repeated:
        return _held("repeat", f"the policy has given the same action for {to_seconds(repeated):.1f} s of changing "
                               f"pictures; at most {to_seconds(settings.repeat_limit):g} s")
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


def saturation(*, over_limit: int, settings: Settings) -> Finding | None:
    """A policy that is clamped without end does not drive by what it sees."""
    if 0 < settings.saturation_limit < over_limit:
        return _held("saturation", f"the action has been over a limit for {to_seconds(over_limit):.1f} s; "
                                   f"at most {to_seconds(settings.saturation_limit):g} s")
    return None


def obstacle(*, row: Row, channels: Sequence[Channel], robot: Robot, was_blocked: bool, points: Callable[[], Array],
             readings: Mapping[str, tuple[Reading, int, int]]) -> Finding | None:
    """Nothing nearer than `stop` is approached; near things and a near collision slow down, and so does the edge of
    what the sensors see. Away is always free."""
    if robot.obstacles is None:
        return None
    by_name = {channel.name: value for channel, value in zip(channels, row)}
    vx, vy, wz = (by_name.get(name, 0.0) for name in FLOOR_CHANNELS)
    if vx == vy == wz == 0.0:
        return None
    limits = robot.obstacles
    gap, direction, touch, share = approach(points(), robot.footprint, (vx, vy, wz), limits)
    what = f"an obstacle at {math.degrees(direction):.0f} deg is {gap:.2f} m away"
    stop = limits.stop + (limits.hysteresis if was_blocked else 0.0)
    if gap <= stop + 1e-6:  # a rounding error is no free way
        return _held("obstacle", f"{what}; nothing nearer than {stop:.2f} m is approached")
    if share < min(1.0, _share(gap, touch, limits)):
        what = "something is passed closely"
    share = min(share, _share(gap, touch, limits))
    speed, heading = math.hypot(vx, vy), math.atan2(vy, vx)
    if speed * min(share, 1.0) > limits.blind_speed:
        seen = seen_ahead([reading for reading, _, _ in readings.values()], heading, robot.footprint)
        unseen = max(_share(seen, seen / speed, limits), limits.blind_speed / speed)
        if unseen < min(share, 1.0):
            share = unseen
            what = (f"the sensors see {seen:.2f} m ahead" if seen > 0.0 else
                    f"no sensor sees where the robot goes ({math.degrees(heading):.0f} deg)")
    if share >= 1.0:
        return None
    if share <= 0.0:
        return _held("obstacle", what)
    slower = tuple(value * share if channel.name in FLOOR_CHANNELS else value for value, channel in zip(row, channels))
    return Finding("obstacle", Verdict.LIMITED, f"{what}; speed is {share:.0%}", slower)


def _share(gap: float, touch: float, limits: Obstacles) -> float:
    """Of the speed that is asked for, what a distance (m) and the time (s) until it is covered leave."""
    return min((gap - limits.stop) / (limits.slow - limits.stop), touch / limits.time_to_collision)


def joints(*, row: Row, measured: Sequence[float | None], last: Sequence[float | None],
           channels: Sequence[Channel]) -> Finding | None:
    """A joint is measured while it moves; beyond a soft limit it moves inward only; beyond its bounds not at all."""
    inward = list(row)
    reason = ""
    for i, (value, stands, before, channel) in enumerate(zip(row, measured, last, channels)):
        if channel.stop == "zero":
            continue
        if stands is None and (channel.joint or before is None):
            return _held("joints", f"where {channel.name} stands is unknown; is {channel.joint or 'its joint'} "
                                   "in /joint_states?")
        stands = before if stands is None else stands
        assert stands is not None
        low, high = channel.bounds
        if not low <= stands <= high:
            return _held("joints", f"{channel.name} stands at {stands:.3g} {channel.unit}, outside its bounds "
                                   f"{low:g} to {high:g} {channel.unit}; move it inside by hand")
        # What was sent, not what is measured: a drive's offset would carry the limit along.
        at = stands if before is None else before
        low, high = min(channel.soft[0], at), max(channel.soft[1], at)
        inward[i] = min(max(value, low), high)
        if inward[i] != value:
            reason = reason or (f"{channel.name} stands at {stands:.3g} {channel.unit}, its soft limits are "
                                f"{channel.soft[0]:g} to {channel.soft[1]:g}: not to {value:.3g}")
    return Finding("joints", Verdict.LIMITED, reason, tuple(inward)) if reason else None


def tracking(*, behind: Mapping[str, Behind], robot: Robot) -> Finding | None:
    """A joint follows what it is sent: one that does not has met something, or its drive has failed."""
    for channel in robot.channels:
        late = behind.get(channel.name)
        if late and late.time > channel.tracking_time * 1e9:
            return _held("tracking", f"{channel.name} stands at {late.stands:.3g} {channel.unit} and was sent "
                                     f"{late.sent:.3g}: more than {channel.max_tracking_error:.3g} apart for "
                                     f"{to_seconds(late.time):.2f} s; see what is in its way")
    return None


def deadband(*, row: Row, channels: Sequence[Channel]) -> Finding | None:
    """A velocity too small to mean anything is zero, so that a motor does not hum."""
    kept = tuple(0.0 if channel.stop == "zero" and 0.0 < abs(value) < channel.deadband else value
                 for value, channel in zip(row, channels))
    if kept == row:
        return None
    i = next(i for i, (new, old) in enumerate(zip(kept, row)) if new != old)
    return Finding("deadband", Verdict.LIMITED,
                   f"{channels[i].name} {row[i]:.3g} {channels[i].unit} is inside the deadband", kept)


def rate(*, row: Row, last: Sequence[float | None], channels: Sequence[Channel], elapsed: int,
         pause: int) -> Finding | None:
    """No channel changes faster than it may, from what was emitted last."""
    for before, channel in zip(last, channels):
        if before is None:
            return _held("rate", f"where {channel.name} stands is unknown")
    slowed = tuple(towards(before or 0.0, value, channel, elapsed, pause)
                   for value, before, channel in zip(row, last, channels))
    if slowed == row:
        return None
    i = next(i for i, (new, old) in enumerate(zip(slowed, row)) if new != old)
    return Finding("rate", Verdict.LIMITED, f"{channels[i].name} goes to {row[i]:.3g} {channels[i].unit} "
                                            f"by way of {slowed[i]:.3g} {channels[i].unit}", slowed)


def towards(before: float, target: float, channel: Channel, elapsed: int, pause: int) -> float:
    """The value nearest to `target` that `channel` may have `elapsed` ns after `before`.

    A velocity brakes (towards zero) with `brake` and speeds up with `rate`; it turns round only through zero. `pause`
    is the same time, uncapped: however late the gate is, braking takes no longer for it.
    """
    if channel.stop != "zero":
        reach = channel.rate * elapsed / 1e9
        return min(max(target, before - reach), before + reach)
    braking = channel.brake * max(elapsed, pause) / 1e9
    if before == 0.0 or math.copysign(1.0, before) == math.copysign(1.0, target):
        reach = channel.rate * elapsed / 1e9 if abs(target) > abs(before) else braking
        return min(max(target, before - reach), before + reach)
    return before - math.copysign(min(braking, abs(before)), before)


def unwound(value: float, near: float, turn: float) -> float:
    """`value` as many whole turns on as brings it nearest to `near`."""
    return value + turn * round((near - value) / turn) if math.isfinite(value) else value


RULES: tuple[Callable[..., Finding | None], ...] = (
    sources, rivals, listeners, clock, sight, generation, instruction, chunk_source, shape, finite, age, chunk_end,
    seam, bounds, repeat, limits, saturation, obstacle, joints, tracking, deadband, rate,
)
TO_ARM = (sources, rivals, listeners, clock, sight)
NEEDS = {rule: tuple(inspect.signature(rule).parameters) for rule in RULES}


def order(*, chunk: ActionChunk, previous: ActionChunk | None, command: Command | None,
          numbered: bool) -> Finding | None:
    """Asked once, when a chunk arrives: a late one does not take the place of a newer one.

    `numbered`: the one before came just now, so that its number counts where the process says who it is.
    """
    if (numbered and previous is not None and chunk.process and chunk.process == previous.process
            and 0 < chunk.sequence <= previous.sequence):
        return _held("order", f"action {chunk.sequence} came after {previous.sequence} of the same process; dropped")
    if command is not None and chunk.generation < command.generation:
        return _held("order", f"a late action for instruction {chunk.generation} was dropped; "
                              f"{command.generation} holds now")
    if previous is not None and chunk.generation == previous.generation and chunk.stamp < previous.stamp:
        return _held("order", f"an action for an older picture ({to_seconds(previous.stamp - chunk.stamp):.3f} s) "
                              "was dropped")
    return None
