"""An arm's steps one after another, and when all of them are done."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vla_ros.tasks.arm.intent import ArmIntent
from vla_ros.tasks.arm.success import STILL_RAD_S, judge_arm
from vla_ros.tasks.arm.table import TableState
from vla_ros.tasks.sequence import IntentSequence, StepByStep
from vla_ros.tasks.success import Judgement

# That tool, fingers and things may have moved where the arm was to refuse, m: it sags a little.
UNTOUCHED_M = 0.01


class ArmJudging(StepByStep):
    """Judges what was asked for of an arm, which stands still when a step is done."""

    def __init__(self, meant: ArmIntent | IntentSequence, start: TableState) -> None:
        """`start`: the table when the words were said."""
        super().__init__(meant)
        self._begin(start)

    def _begin(self, start: TableState) -> None:
        self._start = start

    def _judge(self, now: TableState) -> Judgement:
        if not self._steps:
            moved = math.dist(self._start.tool, now.tool)
            sentence = f"the words were to be refused; the tool moved {100 * moved:.1f} cm"
            return Judgement(False, moved, sentence)
        return judge_arm(self._steps[self._number], self._start, now)


def arm_untouched(start: TableState, path: Sequence[TableState]) -> bool:
    """Whether the arm did nothing that one could see, at no moment of `path`, and stands."""
    return path[-1].speed <= STILL_RAD_S and all(_as_it_was(start, now) for now in path)


def _as_it_was(start: TableState, now: TableState) -> bool:
    ways = [math.dist(start.tool, now.tool), abs(start.opening - now.opening)]
    for thing in now.objects:
        before = start.object(thing.name)
        ways.append(math.dist((before.x, before.y, before.z), (thing.x, thing.y, thing.z)))
    return now.held == start.held and max(ways) <= UNTOUCHED_M
