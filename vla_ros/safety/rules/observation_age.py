"""The image behind the action is recent, on the ROS clock and on the steady clock."""

from __future__ import annotations

from vla_ros.core.types import POLICY, to_seconds
from vla_ros.safety.rule import Finding, RuleInputs, held, rule
from vla_ros.safety.settings import MAX_FUTURE, Limit

MAX_AGE = Limit("max_age", 0.4, "an action whose image is older is held", "s", 0.02, 10.0)


@rule(
    holds_when="the image behind the action is too old, or in the future, by the ROS or by the "
    "steady clock",
    goes_on_when="a fresh one",
    parameters=(MAX_AGE, MAX_FUTURE),
    asked_of=POLICY,
)
def observation_age(inputs: RuleInputs) -> Finding | None:
    age = inputs.observation_age
    settings = inputs.settings
    if age > settings.ns(MAX_AGE):
        return held(
            "observation_age",
            f"the image behind the action is {to_seconds(age):.3f} s old; "
            f"at most {settings[MAX_AGE]:.3f} s (max_age)",
        )
    # A little ahead is two machines' clocks; more, and its age is not known.
    if age < -settings.ns(MAX_FUTURE):
        return held(
            "observation_age",
            f"the image behind the action is {to_seconds(-age):.3f} s in the future",
        )
    return None
