"""The robot listens where the gate speaks: else it would start in the middle of something."""

from __future__ import annotations

from vla_ros.safety.rule import Finding, RuleInputs, held, rule


@rule(
    holds_when="nobody takes one of the robot file's outputs, or only as another type",
    set_by="robot file: `outputs`",
    goes_on_when="it listens, and the instruction is given again",
    arming=True,
)
def listeners(inputs: RuleInputs) -> Finding | None:
    if not inputs.missing_listeners:
        return None
    return held("listeners", "; ".join(inputs.missing_listeners))
