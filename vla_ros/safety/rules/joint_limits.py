"""A joint that moves is measured; beyond a soft limit it moves inward, beyond its bounds not."""

from __future__ import annotations

from vla_ros.safety.rule import Finding, RuleInputs, Verdict, held, rule


@rule(
    holds_when="a joint is not measured or outside its bounds; *limits*: beyond a soft limit it "
    "may only move inward",
    set_by="robot file: `soft_limits`, `joint`",
    goes_on_when="it is measured, inside",
)
def joint_limits(inputs: RuleInputs) -> Finding | None:
    inward = list(inputs.row)
    reason = ""
    columns = zip(inputs.row, inputs.measured, inputs.last, inputs.channels)
    for i, (value, stands, before, channel) in enumerate(columns):
        if channel.is_velocity:
            continue
        # Where no joint measures it, what was sent last says where it stands.
        if stands is None and (channel.joint or before is None):
            return held(
                "joint_limits",
                f"where {channel.name} stands is unknown; is "
                f"{channel.joint or 'its joint'} in {channel.joint_topic}?",
            )
        stands = before if stands is None else stands
        assert stands is not None
        low, high = channel.bounds
        if not low <= stands <= high:
            return held(
                "joint_limits",
                f"{channel.name} stands at {stands:.3g}{channel.unit_mark}, outside its bounds "
                f"{low:g} to {high:g}{channel.unit_mark}; move it inside by hand",
            )
        # What was sent, not what is measured: a drive's offset would carry the limit along.
        at = stands if before is None else before
        low = min(channel.soft_limits[0], at)
        high = max(channel.soft_limits[1], at)
        inward[i] = min(max(value, low), high)
        if inward[i] != value and not reason:
            reason = (
                f"{channel.name} stands at {stands:.3g}{channel.unit_mark}, its soft limits are "
                f"{channel.soft_limits[0]:g} to {channel.soft_limits[1]:g}: not to {value:.3g}"
            )
    return Finding("joint_limits", Verdict.LIMITED, reason, tuple(inward)) if reason else None
