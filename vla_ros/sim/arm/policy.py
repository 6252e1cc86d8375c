"""A policy that does every task of the simulated arm, since it knows the table from its seed.

It needs no eyes: it keeps account of where things are by what the arm has done. It is for trying
the nodes, the gate and a robot file before anything has been learned, and for demonstrations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vla_ros.core.types import Observation, to_nanoseconds
from vla_ros.policies.base import NotUnderstood, PolicySpec, Rows
from vla_ros.policies.options import check_options
from vla_ros.sim.arm import chain
from vla_ros.sim.arm.episode import ARM_CHANNELS, ARM_STEP_S
from vla_ros.sim.arm.expert import closed_on_nothing, moved_table, rows_for
from vla_ros.sim.arm.scene import sample_table
from vla_ros.tasks.arm.intent import ArmIntent
from vla_ros.tasks.arm.judged_meaning import one_arm_step
from vla_ros.tasks.arm.table import OPENING_MAX, TableObject, TableState

ROWS = 10
IMAGE = (128, 128)  # height, width, of both cameras
DEFAULT_SEED = 3
LONGEST_GAP_S = 1.0  # between two observations; after a longer one nothing is taken to have moved


class TableExpert:
    """Options: `seed` (3), which table it stands at: the simulator's."""

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        """Six joints and the gripper. Raises ValueError for other options than a seed."""
        check_options("TableExpert", options, ("seed",))
        seed = options.get("seed", DEFAULT_SEED)
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ValueError(f"policy 'TableExpert': seed is {seed!r}; give 0 or more")
        return PolicySpec(
            channels=ARM_CHANNELS,
            steps=ROWS,
            step=to_nanoseconds(ARM_STEP_S),
            images={"scene": IMAGE, "wrist": IMAGE},
            state=(*chain.NAMES, chain.FINGER),
        )

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.spec(options)
        self._seed = options.get("seed", DEFAULT_SEED)
        self.name = f"table_expert@{self._seed}"
        self._table = _table_of(self._seed)
        self._start = self._table
        self._intent = ArmIntent("stop")
        self._instruction: tuple[int, str] = (0, "")
        self._gripper = 1.0
        self._seen = 0  # ns
        self._lying = self._table.objects[0]  # what was gripped last, where it lay

    def predict(self, observation: Observation) -> Rows:
        """10 x 7: six angles (rad) and the gripper.

        Raises:
            NotUnderstood: The words mean nothing to an arm, or name what is not on the table.
        """
        joints = np.array([observation.state[name] for name in chain.NAMES])
        self._follow(joints, observation.state[chain.FINGER], observation.stamp)
        instruction = observation.instruction
        told = (instruction.instruction_id, instruction.text)
        if told != self._instruction:
            self._instruction = told
            text = instruction.text
            self._intent = one_arm_step(text) if text else ArmIntent("stop")
            self._start = self._table
        if self._intent.kind == "stop":  # and with nothing to do: stay, and keep what is held
            rows = np.tile(np.append(joints, self._gripper), (ROWS, 1))
        else:
            try:
                rows = rows_for(self._intent, self._start, self._table, ROWS, ARM_STEP_S)
            except ValueError as problem:
                raise NotUnderstood(str(problem)) from problem
            self._gripper = float(rows[0, 6])
        return rows.astype(np.float32)

    def _follow(self, joints: chain.Array, finger: float, stamp: int) -> None:
        """Keep account of the table: what the hand holds has moved with it."""
        passed = (stamp - self._seen) * 1e-9
        self._seen = stamp
        opening = min(2.0 * finger, OPENING_MAX)
        before = replace(self._table, opening=opening)
        if 0.0 < passed <= LONGEST_GAP_S:
            # In no time: the fingers are as they are measured, not as they were told to be by now.
            row = np.append(joints, self._gripper)
            table = moved_table(self._intent, before, row, 0.0)
        else:
            table = _with_arm(before, joints)
        table = replace(table, opening=opening)
        if table.held is not None:
            if before.held is None:
                self._lying = before.object(table.held)
            if closed_on_nothing(table, table.object(table.held)):
                table = _with_object(replace(table, held=None), self._lying)
        self._table = table

    def reset(self) -> None:
        """Nothing is forgotten: the things are where the arm has put them."""


def _with_arm(table: TableState, joints: chain.Array) -> TableState:
    place, rotation = chain.tool_pose(joints)
    return replace(
        table,
        joints=tuple(joints.tolist()),
        tool=(float(place[0]), float(place[1]), float(place[2])),
        tool_yaw=float(np.arctan2(rotation[1, 1], rotation[0, 1])),
    )


def _with_object(table: TableState, thing: TableObject) -> TableState:
    objects = tuple(thing if other.name == thing.name else other for other in table.objects)
    return replace(table, objects=objects)


def _table_of(seed: int) -> TableState:
    """The table as the simulator builds it from this seed, the arm at home."""
    objects = []
    for thing in sample_table(seed).objects:
        objects.append(
            TableObject(
                thing.name,
                thing.colour,
                thing.shape,
                thing.x,
                thing.y,
                thing.height / 2,
                thing.yaw,
                thing.size,
                thing.height,
            )
        )
    home = tuple(chain.HOME.tolist())
    table = TableState(
        0.0, home, home, 0.0, (0.0, 0.0, 0.0), 0.0, OPENING_MAX, tuple(objects), None
    )
    return _with_arm(table, chain.HOME)
