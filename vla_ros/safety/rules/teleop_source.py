"""One stick drives: of two, nobody knows which one is meant."""

from __future__ import annotations

from vla_ros.core.types import TELEOP
from vla_ros.safety.rule import Finding, RuleInputs, held, rule


@rule(
    holds_when="rows of sticks came from two processes within a second",
    goes_on_when="one is left, and its deadman is pressed again",
    asked_of=TELEOP,
)
def teleop_source(inputs: RuleInputs) -> Finding | None:
    processes = inputs.teleop_sources
    if len(processes) > 1:
        names = [name or "one without a name" for name in processes]
        return held(
            "teleop_source",
            f"{len(names)} sticks want the robot: {', '.join(names)}; end all but one",
        )
    return None
