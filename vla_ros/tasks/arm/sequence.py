"""An arm's steps one after another, and when all of them are done."""

from __future__ import annotations

import math
from dataclasses import replace

from vla_ros.tasks.arm.intent import ArmIntent
from vla_ros.tasks.arm.success import judge_arm
from vla_ros.tasks.arm.table import TableState
from vla_ros.tasks.sequence import IntentSequence, steps_of
from vla_ros.tasks.success import Judgement


class ArmJudging:
    """Judges what was asked for, moment by moment.

    A step counts once it is done, and the arm stands; the next is judged from that moment on. Of
    the steps, the last is judged to the end.

    Args:
        meant: One step, or several.
        start: The table when the words were said.
    """

    def __init__(self, meant: ArmIntent | IntentSequence, start: TableState) -> None:
        self._steps: tuple[ArmIntent, ...] = steps_of(meant)
        self._number = 0
        self._start = start

    def __call__(self, now: TableState) -> Judgement:
        """The verdict on all of it.

        Raises:
            ValueError: The table has not what the step under way names.
        """
        verdict = judge_arm(self._steps[self._number], self._start, now)
        count = len(self._steps)
        if count == 1:
            return verdict
        sentence = f"step {self._number + 1} of {count}: {verdict.sentence}"
        if verdict.done and self._number < count - 1:
            self._number += 1
            self._start = now
            return Judgement(False, math.inf, f"{sentence}; that step is done")
        return replace(verdict, sentence=sentence)
