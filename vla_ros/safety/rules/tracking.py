"""A joint follows what it is sent: one that does not has met something, or its drive has failed."""

from __future__ import annotations

from vla_ros.core.types import to_seconds
from vla_ros.safety.rule import Finding, RuleInputs, held, rule


@rule(
    holds_when="a joint is farther from where it was sent than `max_tracking_error` for longer "
    "than `tracking_time`",
    set_by="robot file; half a second at full speed or a twentieth of its bounds, 0.5 s",
    goes_on_when="the instruction is given again",
)
def tracking(inputs: RuleInputs) -> Finding | None:
    for channel in inputs.robot.channels:
        # A drive always lags a little: too far behind counts only where it lasts.
        late = inputs.behind.get(channel.name)
        if late and late.time > channel.tracking_time * 1e9:
            return held(
                "tracking",
                f"{channel.name} stands at {late.stands:.3g}{channel.unit_mark} and was sent "
                f"{late.sent:.3g}: more than {channel.max_tracking_error:.3g} apart for "
                f"{to_seconds(late.time):.2f} s; see what is in its way",
            )
    return None
