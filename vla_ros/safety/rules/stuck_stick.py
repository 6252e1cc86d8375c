"""The very same velocity for long may be a stick that hangs: its driver repeats what came last.

A position that is asked for again and again is one that is not reached yet.
"""

from __future__ import annotations

from vla_ros.core.types import TELEOP, to_seconds
from vla_ros.safety.rule import Finding, RuleInputs, held, rule
from vla_ros.safety.settings import Limit

STUCK_STICK_LIMIT = Limit(
    "stuck_stick_limit",
    10.0,
    "the same velocities from a stick for longer are held, until its deadman is pressed again; "
    "0: never",
    "s",
    0.0,
    3600.0,
    zero_is_off=True,
)


@rule(
    holds_when="a stick says the very same velocities for too long",
    goes_on_when="the deadman is pressed again",
    parameters=(STUCK_STICK_LIMIT,),
    asked_of=TELEOP,
)
def stuck_stick(inputs: RuleInputs) -> Finding | None:
    limit = inputs.settings.ns(STUCK_STICK_LIMIT)
    if inputs.asks_velocity() and 0 < limit < inputs.repeated:
        return held(
            "stuck_stick",
            f"the stick has said the same for {to_seconds(inputs.repeated):.1f} s; at most "
            f"{to_seconds(limit):g} s: does it hang?",
        )
    return None
