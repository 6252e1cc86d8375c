"""Nobody else publishes where the gate does: unchecked, it would move the robot as well."""

from __future__ import annotations

from vla_ros.safety.rule import Finding, RuleInputs, held, rule


@rule(
    holds_when="another node publishes on a topic of the robot file, or a second gate's heart "
    "beats",
    goes_on_when="it is gone",
    arming=True,
)
def exclusive_publisher(inputs: RuleInputs) -> Finding | None:
    # Who they are, the ROS graph says: it does not show one that hides. SROS 2 keeps those out.
    if not inputs.other_publishers:
        return None
    publishers = "; ".join(inputs.other_publishers)
    return held(
        "exclusive_publisher",
        f"another node also publishes robot commands: {publishers}; stop it first",
    )
