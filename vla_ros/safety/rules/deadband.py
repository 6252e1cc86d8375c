"""A velocity too small to mean anything is zero, so that a motor does not hum."""

from __future__ import annotations

from vla_ros.safety.rule import Finding, RuleInputs, Verdict, rule


@rule(
    holds_when="*limits*: a velocity too small to mean anything is zero",
    set_by="robot file: `deadband`",
)
def deadband(inputs: RuleInputs) -> Finding | None:
    row = inputs.row
    channels = inputs.channels
    kept = tuple(
        0.0 if channel.on_stop == "zero" and 0.0 < abs(value) < channel.deadband else value
        for value, channel in zip(row, channels)
    )
    if kept == row:
        return None
    i = next(i for i, (new, old) in enumerate(zip(kept, row)) if new != old)
    return Finding(
        "deadband",
        Verdict.LIMITED,
        f"{channels[i].name} {row[i]:.3g} {channels[i].unit} is inside the deadband",
        kept,
    )
