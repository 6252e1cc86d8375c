"""The very same velocity for every new image is a policy that no longer looks.

A position that is asked for again and again is one that is not reached yet; `tracking` sees to it
that it is.
"""

from __future__ import annotations

from vla_ros.core.types import POLICY, to_seconds
from vla_ros.safety.rule import Finding, RuleInputs, held, rule
from vla_ros.safety.settings import Limit

STUCK_POLICY_LIMIT = Limit(
    "stuck_policy_limit",
    20.0,  # longer than a search takes that turns once around
    "the same velocities for changing images for longer is held; 0: never",
    "s",
    0.0,
    3600.0,
    zero_is_off=True,
)


@rule(
    holds_when="the very same velocities for ever new images; a position that is not reached yet "
    "may be asked for as long as it takes",
    goes_on_when="it changes",
    parameters=(STUCK_POLICY_LIMIT,),
    policy_fault=True,
    asked_of=POLICY,
)
def stuck_policy(inputs: RuleInputs) -> Finding | None:
    limit = inputs.settings.ns(STUCK_POLICY_LIMIT)
    if inputs.asks_velocity() and 0 < limit < inputs.repeated:
        return held(
            "stuck_policy",
            f"the policy has given the same action for {to_seconds(inputs.repeated):.1f} s "
            f"of changing images; at most {to_seconds(limit):g} s",
        )
    return None
