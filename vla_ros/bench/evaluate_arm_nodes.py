"""`vla evaluate --robot arm --nodes`: episodes of the arm through the nodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from vla_ros.bench.evaluate_nodes import NodesWitness, Trials
from vla_ros.core.robot import Robot
from vla_ros.core.types import ActionChunk
from vla_ros.demo.arm import SCENE_TOPIC, ArmMonitor
from vla_ros.evaluation.arm import named_done, simulated_arm
from vla_ros.sim.arm.scene import TableScene, sample_table
from vla_ros.tasks.arm.sequence import ArmJudging
from vla_ros.tasks.arm.success import MAX_CLOSED_M
from vla_ros.tasks.arm.table import OPENING_MAX, TableState
from vla_ros.tasks.success import Judgement

MOVING_RAD_S = 0.15  # of a joint: from here on the arm is on the move


class ArmWitness(NodesWitness, ArmMonitor):
    """What the trials see of the arm."""

    TOPIC = SCENE_TOPIC
    ROBOT: Callable[[], Robot] = staticmethod(simulated_arm)

    def wants_nothing(self, chunk: ActionChunk) -> bool:
        """Its verdicts ask that it stands still, themselves."""
        return True


class ArmTrials(Trials):
    """The arm's episodes, one after another."""

    WITNESS = ArmWitness
    EXECUTABLE = "arm_simulator"
    ROBOT_FILE = "sim_arm.yaml"
    # Only the gate may speak to the arm: what comes before the words is said, too.
    BEFORE = {"stop": ("hand me the {graspable}",), "open": ("close the gripper",)}

    def judging(self, meant: Any, start: TableState) -> Callable[[TableState], Judgement]:
        return ArmJudging(meant, start)

    def pose(self, state: TableState) -> tuple[float, float, float]:
        return state.tool[0], state.tool[1], state.tool_yaw

    def reached(self, meant: Any, start: TableState, end: TableState) -> list[str]:
        return named_done(meant, start, end)

    def plan(self, seed: int) -> TableScene:
        return sample_table(seed)

    def at_start(self, now: TableState, wanted: TableScene) -> bool:
        opened = now.opening > 0.9 * OPENING_MAX
        return opened and math.dist(now.tool, wanted.tool[:3]) < 0.01  # m

    def give(self, words: str) -> str:
        """As `DemoSuite`; {graspable} is a block that is there."""
        blocks = sorted(name for name in self.watch.things() if name.endswith("block"))
        return super().give(words.format(graspable=blocks[0] if blocks else "block"))

    def moves(self) -> bool:
        speeds = self.watch.speeds()
        return bool(speeds) and speeds[-1][2] > MOVING_RAD_S

    def closed(self) -> bool:
        now: TableState | None = self.watch.world()
        return now is not None and now.opening < MAX_CLOSED_M
