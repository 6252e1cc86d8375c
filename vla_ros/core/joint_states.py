"""What a joint state says of some joints; one that cannot be true is refused whole."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

MOST_JOINTS = 256  # in a message
LONGEST_NAME = 100  # characters


def joint_positions(
    names: Sequence[str], positions: Sequence[float], joints: Collection[str]
) -> dict[str, float]:
    """The positions of some joints in one message, which may come from any of several publishers.

    NaN, which ros2_control publishes for a joint that has no position, is passed over for a joint
    that nobody asked for.

    Args:
        names: of N joints.
        positions: N, as they were published.
        joints: those of interest.

    Returns:
        Joint -> position, of those that the message names; none says nothing about the robot.

    Raises:
        ValueError: the message is refused whole.
    """
    _check(names, positions)
    brought: dict[str, float] = {}
    for name, position in zip(names, positions):
        if math.isinf(position) or (math.isnan(position) and name in joints):
            raise ValueError(
                f"a joint state says {position} for the position of '{name}'; refused whole, a "
                "position is a number"
            )
        if name in joints:
            brought[name] = float(position)
    return brought


def _check(names: Sequence[str], positions: Sequence[float]) -> None:
    """Raises ValueError for what no joint state can be, whichever joints are asked for."""
    if not len(positions):
        raise ValueError(
            f"a joint state has {len(names)} names and no positions; refused whole, velocities or "
            "efforts alone say not where a joint is"
        )
    if len(names) != len(positions):
        raise ValueError(
            f"a joint state has {len(names)} names and {len(positions)} positions; refused whole, "
            "nobody knows which belong together"
        )
    if len(names) > MOST_JOINTS:
        raise ValueError(
            f"a joint state has {len(names)} joints; refused whole, at most {MOST_JOINTS}"
        )
    longest = max(names, key=len)
    if len(longest) > LONGEST_NAME:
        raise ValueError(
            f"a joint state names '{longest[:40]}…', {len(longest)} characters; refused whole, at "
            f"most {LONGEST_NAME}"
        )
    if len(set(names)) < len(names):
        # The first that stands there again.
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(
            f"a joint state has joint '{twice}' twice; refused whole, which position is true is "
            "not known"
        )
