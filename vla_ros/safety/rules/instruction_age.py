"""The instruction is not one that everybody has forgotten."""

from __future__ import annotations

from vla_ros.core.types import POLICY, to_seconds
from vla_ros.safety.rule import Finding, RuleInputs, held, rule
from vla_ros.safety.settings import Limit

INSTRUCTION_LIMIT = Limit(
    "instruction_limit", 120.0, "an older instruction is held", "s", 0.1, 86400.0
)


@rule(
    holds_when="the instruction is too old",
    goes_on_when="it is given again",
    parameters=(INSTRUCTION_LIMIT,),
    asked_of=POLICY,
)
def instruction_age(inputs: RuleInputs) -> Finding | None:
    if inputs.instruction_age > inputs.settings.ns(INSTRUCTION_LIMIT):
        return held(
            "instruction_age",
            f"the instruction is {to_seconds(inputs.instruction_age):.0f} s old; "
            f"at most {inputs.settings[INSTRUCTION_LIMIT]:.0f} s; give it again",
        )
    return None
