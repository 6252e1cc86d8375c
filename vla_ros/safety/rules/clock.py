"""The ROS clock runs: with a clock that stands, no stamp says how old anything is."""

from __future__ import annotations

from vla_ros.core.types import to_seconds
from vla_ros.safety.rule import Finding, RuleInputs, held, rule
from vla_ros.safety.settings import Limit

CLOCK_STALL = Limit(
    "clock_stall", 0.3, "a ROS clock that stands still for longer is held", "s", 0.02, 60.0
)
# history.ClockMonitor asks it: a jump stops, whatever the rules say.
CLOCK_JUMP = Limit(
    "clock_jump",
    0.5,
    "a step of the ROS clock against the steady clock that stops",
    "s",
    0.05,
    60.0,
)


@rule(
    holds_when="the ROS clock stands still; a jump of it stops an armed gate",
    goes_on_when="it runs",
    parameters=(CLOCK_STALL, CLOCK_JUMP),
    arming=True,
)
def clock(inputs: RuleInputs) -> Finding | None:
    if inputs.clock_still > inputs.settings.ns(CLOCK_STALL):
        return held(
            "clock",
            f"the ROS clock has stood still for {to_seconds(inputs.clock_still):.2f} s; is /clock "
            "published?",
        )
    return None
