"""What the recipe of DAgger asks of the cart: model, images, batches, losses, a check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from vla_ros.models import build, examples
from vla_ros.models.config import VLAConfig
from vla_ros.models.vla import VLA
from vla_ros.training.augment import Augment
from vla_ros.training.image_dataset import Frames, make_world, place_at_random
from vla_ros.training.labels import STATE, Batch, label, nonsense, padded
from vla_ros.training.losses import WEIGHTS, losses, unclear
from vla_ros.training.recipes.album import AlbumBatches
from vla_ros.training.vector_env import success

if TYPE_CHECKING:
    from vla_ros.training.recipes.dagger import Recipe

UNCLEAR_WEIGHT = 0.03  # of words that are no instruction, in the loss


class LabelledBatches(AlbumBatches[Frames]):
    """Labelled batches from an album that grows: (Batch, (ids, mask) of nonsense)."""

    def __init__(self, recipe: Recipe, grid: tuple[int, int], config: VLAConfig) -> None:
        super().__init__(recipe)
        self.grid = grid
        self.config = config
        self._augment = Augment(config.image_size, recipe.seed)

    def batch(self, index: int) -> tuple[Batch, tuple[Tensor, Tensor]]:
        """The batch of this number, from the images that there are by now."""
        recipe = self.recipe
        config = self.config
        rng, rows = self.rows(index)
        batch, _ = label(
            rng,
            self.album.tables,
            rows,
            recipe.instructions,
            self.grid,
            config.steps,
            config.step,
            self.album.images(rows),
        )
        batch = batch._replace(pixels=self._augment(batch.pixels, rng))
        return batch, padded([nonsense(rng) for _ in range(recipe.nonsense)])


def loss(model: VLA, batch: tuple[Batch, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """The losses of the built-in model by name."""
    labelled, (ids, mask) = batch
    return {**losses(model, labelled), "unclear": unclear(model, ids, mask)}


class CartTraining:
    """The cart, as `RobotTraining` says."""

    frames = Frames
    weights = WEIGHTS | {"unclear": UNCLEAR_WEIGHT}
    loss = staticmethod(loss)

    def config(self, recipe: Recipe) -> VLAConfig:
        given: dict[str, Any] = {
            "state": STATE,
            "auxiliary": True,
            # m/s, rad/s, and a gripper's 0 to 1 with a little room beyond its ends
            "low": (-0.5, -0.5, -0.02),
            "high": (0.5, 0.5, 1.02),
        }
        return VLAConfig(**(given | dict(recipe.model)))

    def model(self, config: VLAConfig) -> VLA:
        return build(config)

    def batches(self, recipe: Recipe, model: VLA) -> LabelledBatches:
        return LabelledBatches(recipe, model.vision.grid, model.config)

    def placed(self, recipe: Recipe, count: int, seed: int) -> Frames:
        size = recipe.config().image_size
        world = make_world(size)
        try:
            return place_at_random(world, size, count, seed)
        finally:
            world.close()

    def driven(self, recipe: Recipe, count: int, seed: int, model: VLA) -> Frames:
        from vla_ros.training.rollout import drive

        return drive(model, recipe.config().image_size, count, seed)

    def success(self, model: VLA, episodes: int, seed: int) -> float:
        return success(model, episodes, seed)

    def finish(self, source: LabelledBatches, policy: Path) -> None:
        """A few of the images that the policy met, with words: engines are compared on them."""
        album = source.album
        config = source.config
        rows = np.linspace(0, len(album) - 1, examples.KEPT).astype(np.int64)
        batch, _ = label(
            np.random.default_rng(0),
            album.tables,
            rows,
            1,
            source.grid,
            config.steps,
            config.step,
            album.images(rows),
        )
        images = (batch.pixels * 255).round().byte().permute(0, 2, 3, 1)  # B x H x W x 3
        examples.save(policy, images, batch.ids, batch.state)
