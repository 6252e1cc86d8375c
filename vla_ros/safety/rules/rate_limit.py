"""No channel changes faster than it may, from what was emitted last."""

from __future__ import annotations

import math

from vla_ros.core.robot_channels import Channel
from vla_ros.safety.rule import Finding, RuleInputs, Verdict, held, rule


@rule(
    holds_when="*limits*: acceleration and braking of velocities, speed of positions, from what "
    "was emitted last; all but braking grow from zero after the first motion of an arming",
    set_by="robot file: `acceleration`, `deceleration`, `max_speed`, `enable_time`",
)
def rate_limit(inputs: RuleInputs) -> Finding | None:
    slowed: list[float] = []
    reason = ""
    elapsed = round(inputs.elapsed * inputs.enabled)
    for value, before, channel in zip(inputs.row, inputs.last, inputs.channels):
        if before is None:
            return held("rate_limit", f"where {channel.name} stands is unknown")
        sent = towards(before, value, channel, elapsed, inputs.pause)
        if sent != value and not reason:
            unit = channel.unit_mark
            reason = (
                f"{channel.name} rate-limited: {value:.3g}{unit} requested, {sent:.3g}{unit} sent"
            )
        slowed.append(sent)
    return Finding("rate_limit", Verdict.LIMITED, reason, tuple(slowed)) if reason else None


def towards(before: float, target: float, channel: Channel, elapsed: int, pause: int) -> float:
    """The value nearest to `target` that a channel may have after `before`, in its unit.

    A velocity brakes (towards zero) with `deceleration` and speeds up with `acceleration`; it turns
    round only through zero.

    Args:
        before: what was emitted last.
        target: what is asked.
        channel: whose rates count.
        elapsed: ns between them, at most two periods.
        pause: the same time, uncapped: however late the gate is, braking takes no longer for it.
    """
    if not channel.is_velocity:
        reach = channel.max_speed * elapsed / 1e9
        return min(max(target, before - reach), before + reach)
    braking = channel.deceleration * max(elapsed, pause) / 1e9
    if before == 0.0 or math.copysign(1.0, before) == math.copysign(1.0, target):
        reach = channel.acceleration * elapsed / 1e9 if abs(target) > abs(before) else braking
        return min(max(target, before - reach), before + reach)
    # The other way: to zero first, and from there at the next tick.
    return before - math.copysign(min(braking, abs(before)), before)
