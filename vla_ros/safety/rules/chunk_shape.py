"""Rows x channels, a step that can be one, only the robot's channels, an output's all or none."""

from __future__ import annotations

from vla_ros.core.types import to_seconds
from vla_ros.safety.rule import Finding, RuleInputs, held, rule

SHORTEST_STEP_NS = 1_000_000  # between rows: 1 kHz
LONGEST_STEP_NS = 10_000_000_000  # longer than any age is allowed


@rule(
    holds_when="not rows × channels, a step below 1 ms or above 10 s, an unknown or repeated "
    "channel, half of an output's channels",
    goes_on_when="a good action",
    policy_fault=True,
)
def chunk_shape(inputs: RuleInputs) -> Finding | None:
    chunk = inputs.chunk
    robot = inputs.robot
    if chunk is None:
        return held("chunk_shape", "no action yet")
    shape = chunk.values.shape
    if len(shape) != 2 or shape[0] < 1 or shape[1] != len(chunk.channels):
        return held(
            "chunk_shape",
            f"the action's values have shape {shape} for {len(chunk.channels)} channels",
        )
    if not SHORTEST_STEP_NS <= chunk.step <= LONGEST_STEP_NS:
        return held(
            "chunk_shape",
            f"the action's step is {to_seconds(chunk.step):g} s; it must be from "
            f"{to_seconds(SHORTEST_STEP_NS):g} to {to_seconds(LONGEST_STEP_NS):g} s",
        )
    known = {channel.name for channel in robot.channels}
    # A channel that is named twice is asked for two values: none of them is the right one.
    if len(set(chunk.channels)) != len(chunk.channels):
        return held("chunk_shape", f"the action names a channel twice: {', '.join(chunk.channels)}")
    for name in chunk.channels:
        if name not in known:
            return held(
                "chunk_shape",
                f"the robot has no channel '{name}'; it has {', '.join(sorted(known))}",
            )
    # An output is one message: what the action does not say of it would have to be made up.
    if halved := robot.halved(chunk.channels):
        return held(
            "chunk_shape",
            f"the action lacks '{halved[1]}'; {halved[0].topic} takes all of its channels or none",
        )
    return None
