"""An arm's tool stays where it may be, and is no faster than it may be.

By the joints' steps as they would be sent, after all other limits.
"""

from __future__ import annotations

import math

import numpy as np

from vla_ros.safety.kinematics import Array, tool_speed
from vla_ros.safety.rule import Finding, RuleInputs, Verdict, held, rule
from vla_ros.safety.tool import Tool

SAMPLE_M = 0.005  # between two places on the tool's way that are looked at
MOST_SAMPLES = 40  # on the way of one step: what a step of the gate has time for
ROUNDING_M = 1e-6
# After a hold, a step must leave room beyond its end, for the way of another period and so much
# more: a tick that a chunk asks for is a short one, and by ever shorter steps the tool would creep
# to the edge, the gate holding and going on by turns.
HYSTERESIS_M = 0.005
# Where joints move and the tool hardly does, 5 mm would be turns ahead: no more steps than these.
MOST_STEPS_AHEAD = 15.0
ATTEMPTS = 8  # at a share of the step that is slow enough; two are mostly enough


@rule(
    holds_when="an arm's tool would leave its boxes or enter one that it stays out of, or nobody "
    "knows where it is; outside it may only move inward; *limits*: over `max_tool_speed` all of "
    "its joints go slower",
    set_by="robot file: `workspace`, `urdf`",
    goes_on_when="the motion leads inward",
)
def workspace(inputs: RuleInputs) -> Finding | None:
    tool = inputs.tool
    if tool is None:
        return None
    asked: dict[str, float | None] = {}
    for value, channel in zip(inputs.row, inputs.channels):
        asked[channel.name] = value
    if not any(name in asked for name in tool.channels):
        return None  # it stays where it was sent
    stands = tool.values(inputs.stands)
    if stands is None:
        unknown = [name for name in tool.channels if inputs.stands.get(name) is None]
        return held("workspace", f"where {unknown[0]} stands is unknown, and so where the tool is")
    # Where nothing was sent yet, a motion starts from where the arm is.
    before = tool.values({**inputs.stands, **inputs.sent})
    assert before is not None
    after = tool.values({**inputs.stands, **inputs.sent, **asked})
    assert after is not None
    points = tool.points([stands, before, after])
    speed = tool_speed(points[1], points[2], inputs.elapsed)
    limit = tool.workspace.max_tool_speed
    if math.isfinite(limit):
        limit *= inputs.enabled
    share = 1.0
    if not speed <= limit:
        share, points[2] = _share(tool, points[1:], before, after, inputs.elapsed, limit)
    if not share >= 0.0:  # no number is that, either
        return held("workspace", f"the tool would move at {speed:.3g} m/s, however small the step")
    if share < 1.0:
        after = before + share * (after - before)
    looked_at = after
    if inputs.was_at_edge:
        moved = max(float(np.linalg.norm(points[2] - points[1])), ROUNDING_M)
        ahead = HYSTERESIS_M / moved + inputs.settings.period / max(inputs.elapsed, 1)
        ahead = min(ahead, MOST_STEPS_AHEAD)
        looked_at = after + ahead * (after - before)
        points[2] = tool.points([looked_at])[0]
    if outside := _outside(tool, points, before, looked_at):
        return held("workspace", outside)
    if share == 1.0:
        return None
    slower = list(inputs.row)
    for i, channel in enumerate(inputs.channels):
        if channel.name in tool.channels:
            slower[i] = float(after[tool.channels.index(channel.name)])
    reason = (
        f"the tool would move at {speed:.3g} m/s; at most {limit:.3g} m/s: its joints' step is "
        f"{share:.0%}"
    )
    return Finding("workspace", Verdict.LIMITED, reason, tuple(slower))


def _share(
    tool: Tool, points: Array, before: Array, after: Array, elapsed: int, limit: float
) -> tuple[float, Array]:
    """How much of a step leaves the tool slow enough (NaN: no share that was tried), and its end.

    Args:
        tool: the robot's.
        points: where it is before and after the whole step (2 x 3, m).
        before, after: the N values of its channels.
        elapsed: ns that the step takes.
        limit: m/s.
    """
    share = 1.0
    start, end = points
    for _ in range(ATTEMPTS):
        # The tool's way is an arc, so a share of the step is not quite that share of the way.
        share *= 0.999 * limit / tool_speed(start, end, elapsed)
        end = tool.points([before + share * (after - before)])[0]
        if tool_speed(start, end, elapsed) <= limit:
            return share, end
    return math.nan, end


def _outside(tool: Tool, points: Array, before: Array, after: Array) -> str:
    """Why the tool may not make this step, as a sentence; empty: it may.

    Args:
        tool: the robot's.
        points: where it is measured, where it was sent last, and where it would be sent now (3 x 3,
            m).
        before, after: the N values of its channels for the last two.
    """
    if not tool.workspace.inside and not tool.workspace.outside:
        return ""
    moved = float(np.linalg.norm(points[2] - points[1]))
    # Written so that what is no number is looked at, too.
    if not moved <= SAMPLE_M:
        count = MOST_SAMPLES
        if moved < MOST_SAMPLES * SAMPLE_M:
            count = math.ceil(moved / SAMPLE_M)
        shares = np.linspace(0.0, 1.0, count + 1)[1:, None]
        way = before + shares * (after - before)
        points = np.vstack([points[:2], tool.points(list(way))])
    beyond = tool.beyond(points)
    measured = beyond[0]
    sent = beyond[1:]
    # What is beyond a limit must come nearer to it with each sample: one by one, so that the way
    # out of one box does not lead through another.
    inward = (sent[1:] <= ROUNDING_M) | (sent[1:] < sent[:-1])
    if not inward.all():
        sample, column = np.argwhere(~inward)[0]
        return f"the tool would come to {tool.sentence(int(column), points[2 + sample])}"
    # Measured outside (it sags, or was pushed), it may not be sent farther out, also within.
    back = (measured <= ROUNDING_M) | (sent[-1] <= sent[0] + ROUNDING_M)
    if not back.all():
        column = int(np.argwhere(~back)[0, 0])
        return f"the tool stands at {tool.sentence(column, points[0])}; it may only move inward"
    return ""
