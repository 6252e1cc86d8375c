"""What the recipe of DAgger asks of the simulated arm: model, images, batches, losses, a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.config_files import config_folder
from vla_ros.core.robot import load_robot
from vla_ros.models.config import VLAConfig
from vla_ros.models.table import SCENE_SIZE, TABLE_STATE, TASKS, WRIST_SIZE, TableVLA, said_of
from vla_ros.policies.builtin_arm import decide, rows_of
from vla_ros.policies.following_arm import OPEN_SHARE
from vla_ros.sim.arm import chain
from vla_ros.sim.arm.episode import (
    ARM_CHANNELS,
    ARM_STEP_S,
    draw_intent,
    prepare,
    run_arm_episode,
)
from vla_ros.sim.arm.world import ArmWorld
from vla_ros.tasks.arm.intent import ArmIntent
from vla_ros.tasks.arm.table import TableState
from vla_ros.training.arm_frames import ArmFrames, look, state_of
from vla_ros.training.arm_labels import ArmBatch, batch_of, texts
from vla_ros.training.arm_losses import ARM_WEIGHTS, arm_losses
from vla_ros.training.arm_rollout import drive
from vla_ros.training.augment import Augment
from vla_ros.training.recipes.album import AlbumBatches

if TYPE_CHECKING:
    from vla_ros.training.recipes.dagger import Recipe

ARMS = 4  # of a process that makes images: each has renderers of its own, which take long to make
DRIVEN_PLACED = 0.25  # of the episodes that the policy drives, that begin amid a task
TEXTS = 36  # of a batch, beside the recipe's nonsense


class ArmBatches(AlbumBatches[ArmFrames]):
    """Labelled batches from an album that grows."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self._augment = {
            "scene": Augment(SCENE_SIZE, recipe.seed),
            "wrist": Augment(WRIST_SIZE, recipe.seed),
        }

    def batch(self, index: int) -> ArmBatch:
        """The batch of this number, from the images that there are by now."""
        recipe = self.recipe
        rng, rows = self.rows(index)
        images = {camera: self.album.images(rows, camera) for camera in self._augment}
        said = texts(rng, TEXTS, recipe.nonsense)
        batch = batch_of(self.album.tables, rows, images, said)
        return batch._replace(
            scene=self._augment["scene"](batch.scene, rng),
            wrist=self._augment["wrist"](batch.wrist, rng),
        )


class ArmTraining:
    """The arm, as `RobotTraining` says."""

    frames = ArmFrames
    weights = ARM_WEIGHTS
    loss = staticmethod(arm_losses)

    def config(self, recipe: Recipe) -> VLAConfig:
        low = []
        high = []
        for channel in load_robot(config_folder() / "robots" / "sim_arm.yaml").channels:
            low.append(channel.limits[0])
            high.append(channel.limits[1])
        given: dict[str, Any] = {
            "model": "table",
            "language": "table",
            "channels": ARM_CHANNELS,
            "low": tuple(low),
            "high": tuple(high),
            "step": ARM_STEP_S,
            "state": TABLE_STATE,
        }
        return VLAConfig(**(given | dict(recipe.model)))

    def model(self, config: VLAConfig) -> TableVLA:
        return TableVLA(config)

    def batches(self, recipe: Recipe, model: TableVLA) -> ArmBatches:
        return ArmBatches(recipe)

    def placed(self, recipe: Recipe, count: int, seed: int) -> ArmFrames:
        return drive(None, count, recipe.config().steps, seed, arms=_arms(count))

    def driven(self, recipe: Recipe, count: int, seed: int, model: TableVLA) -> ArmFrames:
        choose = partial(chosen, model)
        return drive(
            choose, count, recipe.config().steps, seed, arms=_arms(count), placed=DRIVEN_PLACED
        )

    def success(self, model: TableVLA, episodes: int, seed: int) -> float:
        """Of all tasks in turn, on tables as they are built; by the meaning, not by words."""
        world = ArmWorld(0)
        done: list[bool] = []
        try:
            while len(done) < episodes:
                kind = TASKS[len(done) % len(TASKS)]
                seed += 1
                world.reset(seed)
                intent = draw_intent(world, kind, np.random.default_rng((seed, 6)))
                if intent is None:
                    continue
                prepare(world, kind, seed)
                done.append(
                    run_arm_episode(world, intent, Follower(model, world, intent)).verdict.done
                )
        finally:
            world.close()
        return float(np.mean(done))

    def finish(self, source: ArmBatches, policy: Path) -> None:
        """Nothing: no engine runs this model yet."""


def _arms(count: int) -> int:
    """Fewer where few moments are wanted."""
    return min(ARMS, max(1, count // 100))


def chosen(
    model: TableVLA,
    states: NDArray[np.float32],
    images: Sequence[Mapping[str, NDArray[np.uint8]]],
    said: NDArray[np.integer],
) -> NDArray[np.float32]:
    """The first row of each arm's chunk, B x 7."""
    rows: NDArray[np.float32] = rows_of(decide(model, images, said, states), states)[:, 0]
    return rows


class Follower:
    """The model as what drives an episode."""

    def __init__(self, model: TableVLA, world: ArmWorld, intent: ArmIntent) -> None:
        self.model = model
        self.world = world
        self.said = np.array([said_of(intent)])
        self.opening = world.joint_states()[chain.FINGER] / chain.FINGER_TRAVEL_M
        self.command = float(self.opening > OPEN_SHARE)

    def __call__(self, start: TableState, now: TableState) -> NDArray[np.float64]:
        state = state_of(self.world, self.command, self.opening)
        self.opening = float(state[6])
        row = chosen(self.model, state[None], [look(self.world)], self.said)[0]
        self.command = float(row[6])
        return row.astype(float)
