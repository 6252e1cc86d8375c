"""Outside a hard bound the whole action is refused: one absurd value discredits the rest."""

from __future__ import annotations

from vla_ros.safety.rule import Finding, RuleInputs, held, rule


@rule(
    holds_when="a value is outside its hard bounds: the whole action is refused",
    set_by="robot file: `bounds`",
    goes_on_when="a good action",
    policy_fault=True,
)
def hard_bounds(inputs: RuleInputs) -> Finding | None:
    for value, channel in zip(inputs.row, inputs.channels):
        low, high = channel.bounds
        if not low <= value <= high:  # written so that NaN is outside
            return held(
                "hard_bounds",
                f"{channel.name} is {value:.3g}{channel.unit_mark}, "
                f"outside its bounds {low:g} to {high:g}{channel.unit_mark}",
            )
    return None
