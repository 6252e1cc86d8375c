"""A velocity too small to mean anything is zero, so that a motor does not hum."""

from __future__ import annotations

from vla_ros.safety.rule import Finding, RuleInputs, Verdict, rule


@rule(
    holds_when="*limits*: a velocity too small to mean anything is zero",
    set_by="robot file: `deadband`",
)
def deadband(inputs: RuleInputs) -> Finding | None:
    kept: list[float] = []
    reason = ""
    for value, channel in zip(inputs.row, inputs.channels):
        # A position has no deadband: a small one is a place like any other.
        small = channel.is_velocity and 0.0 < abs(value) < channel.deadband
        if small and not reason:
            reason = f"{channel.name} {value:.3g}{channel.unit_mark} is inside the deadband"
        kept.append(0.0 if small else value)
    return Finding("deadband", Verdict.LIMITED, reason, tuple(kept)) if reason else None
