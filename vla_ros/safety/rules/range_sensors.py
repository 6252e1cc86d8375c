"""Every range sensor of the robot file has looked lately, and at least one beam measured."""

from __future__ import annotations

from vla_ros.core.types import to_seconds
from vla_ros.safety.rule import Finding, RuleInputs, held, rule
from vla_ros.safety.settings import MAX_FUTURE


@rule(
    holds_when="a range sensor never looked, or is stale, in the future, empty, all NaN, or its "
    "angles and ranges contradict each other",
    set_by="robot file: `max_age` 0.3 s",
    goes_on_when="it looks again",
    arming=True,
)
def range_sensors(inputs: RuleInputs) -> Finding | None:
    obstacles = inputs.robot.obstacles
    if obstacles is None:
        return None
    for sensor in obstacles.sensors:
        seen = inputs.readings.get(sensor.topic)
        if seen is None:
            return held("range_sensors", f"nothing was seen by {sensor.topic} yet")
        oldest = max(seen.arrival_age, seen.stamp_age)
        # Written so that what is no number holds, too.
        if not oldest <= obstacles.max_age * 1e9:
            return held(
                "range_sensors",
                f"what {sensor.topic} saw is {to_seconds(oldest):.2f} s old; "
                f"at most {obstacles.max_age:g} s",
            )
        if seen.stamp_age < -inputs.settings.ns(MAX_FUTURE):
            return held(
                "range_sensors",
                f"what {sensor.topic} saw is {to_seconds(-seen.stamp_age):.2f} s in the future",
            )
        reading = seen.reading
        if reading.fault:
            return held("range_sensors", f"{sensor.topic} is blind: {reading.fault}")
        # Every beam NaN or zero. A free way gives +inf, which counts as measured.
        if not reading.valid.any():
            return held(
                "range_sensors",
                f"{sensor.topic} is blind: none of its "
                f"{len(reading.valid)} beams measured anything",
            )
    return None
