"""A policy that is clamped without end does not drive by what it sees."""

from __future__ import annotations

from vla_ros.core.types import POLICY, to_seconds
from vla_ros.safety.rule import Finding, RuleInputs, held, rule
from vla_ros.safety.settings import Limit

CLAMPING_LIMIT = Limit(
    "clamping_limit",
    10.0,
    "actions over a limit for longer are held; 0: never",
    "s",
    0.0,
    3600.0,
    zero_is_off=True,
)


@rule(
    holds_when="values were clamped without end, a gripper's aside",
    goes_on_when="they are inside",
    parameters=(CLAMPING_LIMIT,),
    policy_fault=True,
    asked_of=POLICY,
)
def persistent_clamping(inputs: RuleInputs) -> Finding | None:
    limit = inputs.settings.ns(CLAMPING_LIMIT)
    if 0 < limit < inputs.clamped:  # 0 is off
        return held(
            "persistent_clamping",
            f"the action has been over a limit for {to_seconds(inputs.clamped):.1f} s; "
            f"at most {to_seconds(limit):g} s",
        )
    return None
