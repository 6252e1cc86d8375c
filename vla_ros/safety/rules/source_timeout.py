"""Everything that the robot's motion rests on has been heard from lately."""

from __future__ import annotations

from vla_ros.core.types import TELEOP, to_seconds
from vla_ros.safety.rule import Finding, RuleInputs, held, rule
from vla_ros.safety.settings import Limit

HEARTBEAT_TIMEOUT = Limit(
    "heartbeat_timeout",
    0.25,
    "a node whose heartbeat is older than this holds the robot",
    "s",
    0.15,
    10.0,
)
TOPIC_TIMEOUT = Limit(
    "topic_timeout",
    0.3,
    "a topic silent for longer holds the robot, and a joint not measured for "
    "longer stands nobody knows where",
    "s",
    0.02,
    10.0,
)


@rule(
    holds_when="a node's heartbeat or a topic of the robot is silent; while a person has the "
    "robot, not those of the policy's nodes",
    set_by="`required_nodes`, the robot file's `state` and joints",
    goes_on_when="all are back",
    parameters=(HEARTBEAT_TIMEOUT, TOPIC_TIMEOUT),
    arming=True,
)
def source_timeout(inputs: RuleInputs) -> Finding | None:
    person = inputs.control_source == TELEOP
    for name, limit in inputs.settings.sources.items():
        # Whoever drives by hand does so because the policy errs, or its nodes are gone.
        if person and name in inputs.settings.policy_sources:
            continue
        silence = inputs.silence.get(name)  # ns
        if silence is None:
            return held("source_timeout", f"nothing was heard from {name} yet")
        if silence > limit:
            return held(
                "source_timeout",
                f"{name} has been silent for {to_seconds(silence):.2f} s; "
                f"at most {to_seconds(limit):.2f} s",
            )
    return None
