"""No channel changes faster than it may, from what was emitted last."""

from __future__ import annotations

import math

from vla_ros.core.robot import Channel
from vla_ros.safety.rule import Finding, RuleInputs, Verdict, held, rule


@rule(
    holds_when="*limits*: acceleration and braking of velocities, speed of positions, from what "
    "was "
    "emitted last",
    set_by="robot file: `acceleration`, `deceleration`, `max_speed`",
)
def rate_limit(inputs: RuleInputs) -> Finding | None:
    row = inputs.row
    last = inputs.last
    channels = inputs.channels
    for before, channel in zip(last, channels):
        if before is None:
            return held("rate_limit", f"where {channel.name} stands is unknown")
    slowed = tuple(
        towards(before or 0.0, value, channel, inputs.elapsed, inputs.pause)
        for value, before, channel in zip(row, last, channels)
    )
    if slowed == row:
        return None
    i = next(i for i, (new, old) in enumerate(zip(slowed, row)) if new != old)
    unit = channels[i].unit
    return Finding(
        "rate_limit",
        Verdict.LIMITED,
        f"{channels[i].name} rate-limited: {row[i]:.3g} {unit} requested, "
        f"{slowed[i]:.3g} {unit} sent",
        slowed,
    )


def towards(before: float, target: float, channel: Channel, elapsed: int, pause: int) -> float:
    """The value nearest to `target` that `channel` may have `elapsed` ns after `before`.

    A velocity brakes (towards zero) with `deceleration` and speeds up with `acceleration`; it turns
    round only through zero. `pause` is the same time, uncapped: however late the gate is, braking
    takes no longer for it.
    """
    if channel.on_stop != "zero":
        reach = channel.max_speed * elapsed / 1e9
        return min(max(target, before - reach), before + reach)
    braking = channel.deceleration * max(elapsed, pause) / 1e9
    if before == 0.0 or math.copysign(1.0, before) == math.copysign(1.0, target):
        reach = channel.acceleration * elapsed / 1e9 if abs(target) > abs(before) else braking
        return min(max(target, before - reach), before + reach)
    return before - math.copysign(min(braking, abs(before)), before)
