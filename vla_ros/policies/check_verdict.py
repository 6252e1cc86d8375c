"""What a check of a policy says on the whole, and what it could not judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vla_ros.core.check_finding import DOUBTFUL, UNKNOWN, WRONG, CheckFinding
from vla_ros.policies.check import TrainingRanges


def not_looked_at(seen: TrainingRanges, data: bool, live: bool) -> Iterator[CheckFinding]:
    """How far the check went.

    Args:
        seen: what the policy itself knows of its training.
        data: whether a dataset was given.
        live: whether the robot was listened to.
    """
    if not data:
        known = "only the ranges of its numbers are known" if seen.actions else "nothing is known"
        yield CheckFinding(
            UNKNOWN,
            "training",
            f"of what it learned from {known}: not whether joints are exchanged, the gripper is "
            "upside down, or the rate is another",
            "give --data DATASET",
        )
    if not live:
        yield CheckFinding(
            UNKNOWN,
            "robot now",
            "its images and state of now were not looked at, and the latency here not measured",
            "start its drivers, and give --live",
        )


def verdict(findings: Sequence[CheckFinding]) -> str:
    """A sentence on all of it."""
    marks = [finding.mark for finding in findings]
    if WRONG in marks:
        return "verdict: do not run it like this; mend each ✗ first"
    if DOUBTFUL in marks:
        return "verdict: look at each ! before it moves"
    if UNKNOWN in marks:
        return "verdict: nothing speaks against it; each ? could not be judged"
    return "verdict: it fits"
