"""The action has a row for this moment: what was planned for then says nothing about now."""

from __future__ import annotations

from vla_ros.core.types import POLICY, to_seconds
from vla_ros.safety.rule import Finding, RuleInputs, held, rule


@rule(
    holds_when="the last row is over: it holds for its step, or 0.4 s where that is longer",
    goes_on_when="a fresh one",
    asked_of=POLICY,
)
def chunk_end(inputs: RuleInputs) -> Finding | None:
    if inputs.ended > 0:
        return held(
            "chunk_end", f"the action's last row was over {to_seconds(inputs.ended):.2f} s ago"
        )
    return None
