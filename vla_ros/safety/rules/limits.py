"""Inside the bounds but over an operating limit: clamped."""

from __future__ import annotations

from vla_ros.safety.rule import Finding, RuleInputs, Verdict, rule


@rule(
    holds_when="*limits*: a value is over its operating limit: clamped",
    set_by="robot file: `limits`",
)
def limits(inputs: RuleInputs) -> Finding | None:
    row = inputs.row
    channels = inputs.channels
    clamped = tuple(
        min(max(value, channel.limits[0]), channel.limits[1])
        for value, channel in zip(row, channels)
    )
    if clamped == row:
        return None
    i = next(i for i, (new, old) in enumerate(zip(clamped, row)) if new != old)
    unit = channels[i].unit
    return Finding(
        "limits",
        Verdict.LIMITED,
        f"{channels[i].name} {row[i]:.3g} {unit} was limited to {clamped[i]:.3g} {unit}",
        clamped,
    )
