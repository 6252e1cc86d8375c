"""No NaN or infinity anywhere in the chunk: a policy that makes one makes more."""

from __future__ import annotations

import numpy as np

from vla_ros.safety.rule import Finding, RuleInputs, held, rule


@rule(
    holds_when="a NaN or an infinity anywhere in the chunk",
    goes_on_when="a good action",
    policy_fault=True,
)
def finite_values(inputs: RuleInputs) -> Finding | None:
    chunk = inputs.chunk
    if chunk is None:
        return held("finite_values", "no action yet")
    finite = np.isfinite(chunk.values)  # all rows, not only the one that is due
    if finite.all():
        return None
    row, column = np.argwhere(~finite)[0]
    return held(
        "finite_values",
        f"{chunk.channels[column]} is {chunk.values[row, column]} in row {row} of the action",
    )
