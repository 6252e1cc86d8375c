"""By what meaning words to an arm are judged that nobody brought a meaning for."""

from __future__ import annotations

from functools import lru_cache

from vla_ros.core.instructions import NotUnderstood
from vla_ros.core.shown import shown
from vla_ros.tasks.arm.intent import ArmIntent, parse_arm
from vla_ros.tasks.reading.arm import ARM
from vla_ros.tasks.reading.reader import reader_of
from vla_ros.tasks.sequence import IntentSequence, meant_by


@lru_cache(maxsize=64)
def judged_arm_meaning(text: str) -> tuple[ArmIntent | IntentSequence, bool]:
    """What the words mean for the judge, and whether the reader alone says so.

    The grammar's meaning counts, which no policy reads with; where it has none, as for several
    steps, the reader's.

    Raises:
        NotUnderstood: neither understands them.
    """
    try:
        return parse_arm(text), False
    except NotUnderstood:
        return meant_by(reader_of(ARM).read(text)), True


def one_arm_step(text: str) -> ArmIntent:
    """What words with a single step mean.

    Raises:
        NotUnderstood: they mean nothing, or several steps.
    """
    meant = judged_arm_meaning(text)[0]
    if isinstance(meant, IntentSequence):
        raise NotUnderstood(
            f"the words {shown(text)} have {len(meant.intents)} steps; give them one at a time"
        )
    return meant
