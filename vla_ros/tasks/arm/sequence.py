"""An arm's steps one after another, and when all of them are done."""

from __future__ import annotations

from vla_ros.tasks.arm.intent import ArmIntent
from vla_ros.tasks.arm.success import judge_arm
from vla_ros.tasks.arm.table import TableState
from vla_ros.tasks.sequence import IntentSequence, StepByStep
from vla_ros.tasks.success import Judgement


class ArmJudging(StepByStep):
    """Judges what was asked for of an arm, which stands still when a step is done."""

    def __init__(self, meant: ArmIntent | IntentSequence, start: TableState) -> None:
        """`start`: the table when the words were said."""
        super().__init__(meant)
        self._begin(start)

    def _begin(self, start: TableState) -> None:
        self._start = start

    def _judge(self, now: TableState) -> Judgement:
        return judge_arm(self._steps[self._number], self._start, now)
