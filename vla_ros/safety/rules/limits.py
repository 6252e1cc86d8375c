"""Inside the bounds but over an operating limit: clamped."""

from __future__ import annotations

from vla_ros.safety.rule import Finding, RuleInputs, Verdict, rule


def asks_too_much(inputs: RuleInputs) -> bool:
    """Whether what is asked for is over a limit, a gripper's ends aside.

    One that is asked for a little more than open is open: that may last.
    """
    for value, channel in zip(inputs.row, inputs.channels):
        low, high = channel.limits
        if not channel.is_gripper and not low <= value <= high:
            return True
    return False


@rule(
    holds_when="*limits*: a value is over its operating limit: clamped",
    set_by="robot file: `limits`",
)
def limits(inputs: RuleInputs) -> Finding | None:
    clamped: list[float] = []
    reason = ""
    for value, channel in zip(inputs.row, inputs.channels):
        inside = min(max(value, channel.limits[0]), channel.limits[1])
        if inside != value and not reason:  # the first is said: the others are often the same
            unit = channel.unit_mark
            reason = f"{channel.name} {value:.3g}{unit} was limited to {inside:.3g}{unit}"
        clamped.append(inside)
    return Finding("limits", Verdict.LIMITED, reason, tuple(clamped)) if reason else None
