"""One process says what the robot is to do: two contradict each other sooner or later."""

from __future__ import annotations

from vla_ros.core.types import POLICY
from vla_ros.safety.rule import Finding, RuleInputs, held, rule


@rule(
    holds_when="actions came from two processes within a second",
    goes_on_when="one is left",
    asked_of=POLICY,
)
def chunk_source(inputs: RuleInputs) -> Finding | None:
    processes = inputs.chunk_sources
    if len(processes) > 1:
        names = [name or "one without a name" for name in processes]
        return held(
            "chunk_source",
            f"actions come from {len(names)} processes: {', '.join(names)}; end all but one",
        )
    return None
