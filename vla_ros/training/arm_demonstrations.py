"""Demonstrations at the simulated arm's table, by an expert that sees the truth."""

from __future__ import annotations

import numpy as np

from vla_ros.core.types import Observation, Size, to_nanoseconds
from vla_ros.policies.base import NotUnderstood, PolicySpec, Rows
from vla_ros.sim.arm import chain
from vla_ros.sim.arm.episode import (
    ARM_CHANNELS,
    ARM_RULES,
    ARM_STEP_S,
    EPISODE_LIMIT_S,
    draw_intent,
)
from vla_ros.sim.arm.expert import next_row
from vla_ros.sim.arm.world import CAMERAS, ArmWorld
from vla_ros.tasks.arm.intent import LEARNED_OBJECT_KINDS, ArmIntent, parse_arm
from vla_ros.tasks.arm.phrases import say_arm
from vla_ros.tasks.arm.success import judge_arm
from vla_ros.tasks.arm.table import TableState
from vla_ros.training.demonstrate import DemonstratedRobot, Expert

SIZE: Size = (128, 128)  # height, width, of both cameras
MOST_DRAWINGS = 100  # of a kind, for one table


class TruthfulExpert:
    """What to do next, from where things truly are: it never loses account of them."""

    name = "table_truth"

    def __init__(self, world: ArmWorld) -> None:
        self._world = world
        self._words = ""
        self._intent = ArmIntent("stop")
        self._start: TableState | None = None  # the table when the words were said

    def predict(self, observation: Observation) -> Rows:
        """1 x 7: six angles (rad) and the gripper, for the next step. Raises NotUnderstood."""
        now = self._world.state()
        if self._start is None or observation.instruction.text != self._words:
            self._words = observation.instruction.text
            self._intent = parse_arm(self._words)
            self._start = now
        try:
            row = next_row(self._intent, self._start, now, ARM_STEP_S)
        except ValueError as problem:
            raise NotUnderstood(str(problem)) from problem
        return row[None].astype(np.float32)

    def reset(self) -> None:
        self._start = None


def _world(seed: int, size: Size) -> ArmWorld:
    return ArmWorld(seed, (size[0], size[1]))


def _expert(world: ArmWorld, size: Size) -> Expert:
    spec = PolicySpec(
        channels=ARM_CHANNELS,
        steps=1,
        step=to_nanoseconds(ARM_STEP_S),
        images=dict.fromkeys(CAMERAS, size),
        state=(*chain.NAMES, chain.FINGER),
    )
    return TruthfulExpert(world), spec  # type: ignore[return-value]  # made, not asked for by name


def _draw(world: ArmWorld, seed: int) -> str:
    """A task with a thing of the table, in words that people use."""
    rng = np.random.default_rng((seed, 7))
    for _ in range(MOST_DRAWINGS):
        kind = LEARNED_OBJECT_KINDS[int(rng.integers(len(LEARNED_OBJECT_KINDS)))]
        intent = draw_intent(world, kind, rng)
        if intent is not None:
            return say_arm(rng, intent)
    raise ValueError(f"the table of seed {seed} allows no task; give another seed")


def _allows(words: str, world: ArmWorld) -> bool:
    """Whether the table has what they name, and it is not done already."""
    state = world.state()
    try:
        return not judge_arm(parse_arm(words), state, state).done
    except ValueError:
        return False


ARM = DemonstratedRobot(
    ARM_RULES, SIZE, _world, _draw, parse_arm, _allows, expert=_expert, seconds=EPISODE_LIMIT_S
)
