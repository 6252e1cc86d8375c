"""The newest chunk goes on from the one before; else neither is trusted for a moment."""

from __future__ import annotations

from vla_ros.core.types import POLICY
from vla_ros.safety.rule import Finding, RuleInputs, held, rule
from vla_ros.safety.settings import Limit

# Asked by history.ChunkBuffer, when a chunk arrives.
DISCONTINUITY_HOLD = Limit(
    "discontinuity_hold",
    0.3,
    "the hold after two chunks that do not fit together",
    "s",
    0.0,
    10.0,
    stricter="more",
)


@rule(
    holds_when="two chunks for one instruction disagree about this moment",
    set_by="robot file: `max_step`",
    goes_on_when="after the hold",
    parameters=(DISCONTINUITY_HOLD,),
    policy_fault=True,
    asked_of=POLICY,
)
def chunk_continuity(inputs: RuleInputs) -> Finding | None:
    return held("chunk_continuity", inputs.discontinuity) if inputs.discontinuity else None
