"""By what meaning words to an arm are judged that nobody brought a meaning for."""

from __future__ import annotations

from functools import lru_cache

from vla_ros.core.instructions import NotUnderstood
from vla_ros.core.shown import shown
from vla_ros.tasks.arm.intent import ArmIntent, parse_arm
from vla_ros.tasks.reading.arm import ARM
from vla_ros.tasks.reading.reader import reader_of


@lru_cache(maxsize=64)
def judged_arm_meaning(text: str) -> tuple[ArmIntent, bool]:
    """What the words mean for the judge, and whether the reader alone says so.

    The grammar's meaning counts, which no policy reads with; where it has none, the reader's.

    Raises:
        NotUnderstood: neither understands them, or they have several steps.
    """
    try:
        return parse_arm(text), False
    except NotUnderstood:
        steps = reader_of(ARM).read(text)
    if len(steps) > 1:
        raise NotUnderstood(
            f"the words {shown(text)} have {len(steps)} steps; give them one at a time"
        )
    return steps[0], True
