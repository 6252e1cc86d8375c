"""The deadman of the stick is held, and what the stick says is recent."""

from __future__ import annotations

from vla_ros.core.types import TELEOP
from vla_ros.safety.rule import Finding, RuleInputs, held, rule
from vla_ros.safety.settings import MAX_FUTURE, Limit

# Asked by takeover.Takeover at each tick: what it finds ends the press, and so it latches.
TELEOP_TIMEOUT = Limit(
    "teleop_timeout",
    0.3,
    "a stick whose newest message is older than this holds the robot, until its deadman is "
    "pressed again",
    "s",
    0.02,
    2.0,
)


@rule(
    holds_when="a person has the robot, and the deadman is let go or held from before; or the "
    "stick's newest message is too old or in the future",
    goes_on_when="the deadman is pressed again, or the robot is given back",
    parameters=(TELEOP_TIMEOUT, MAX_FUTURE),
    asked_of=TELEOP,
)
def teleop_stick(inputs: RuleInputs) -> Finding | None:
    return held("teleop_stick", inputs.stick_doubt) if inputs.stick_doubt else None
