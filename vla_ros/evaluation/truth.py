"""Which objects are where in the camera's image: drawn by the simulator, so what is hidden is
hidden."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_ros.core.images import resize
from vla_ros.sim.render import load_mujoco, make_renderer
from vla_ros.sim.world import World

CELL_LEAST = 0.05  # of a cell's pixels that must be an object's for the cell to be the object's
Masks = dict[str, NDArray[np.bool_]]


class Truth:
    """Draws the masks of the objects of one world. Belongs to the thread that made it."""

    def __init__(self, world: World) -> None:
        self._world = world
        mujoco: Any = load_mujoco()
        self._renderer = make_renderer(mujoco, world.model, world.width, world.height)
        self._renderer.enable_segmentation_rendering()
        self._geom_type = int(mujoco.mjtObj.mjOBJ_GEOM)

    def masks(self) -> Masks:
        """Name -> which of the camera's pixels (height x width) are the object's; no entry for one
        that is not seen."""
        self._renderer.update_scene(self._world.data, "front")
        ids, kinds = np.moveaxis(np.asarray(self._renderer.render()), -1, 0)
        found: Masks = {}
        for placed in self._world.scene.objects:
            mask = (ids == int(self._world.model.geom(f"object{placed.slot}").id)) & (
                kinds == self._geom_type
            )
            if mask.any():
                found[placed.name] = mask
        return found

    def close(self) -> None:
        self._renderer.close()


def cut_off(mask: NDArray[np.bool_]) -> bool:
    """Does the image's edge cut the object off?"""
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def cells(masks: Masks, grid: tuple[int, int], size: tuple[int, int], mode: str) -> Masks:
    """Name -> which cells (rows x columns of the policy's image, `size` pixels, brought there by
    `mode`) are the object's: those of which it has at least CELL_LEAST, and more than any other
    object."""
    rows, columns = grid
    names = list(masks)
    shares = np.zeros((len(names), rows, columns), np.float32)
    for index, name in enumerate(names):
        image = np.repeat(masks[name].astype(np.uint8)[..., None] * 255, 3, axis=2)
        small = resize(image, size, mode)[..., 0].astype(np.float32) / 255
        shares[index] = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_AREA)
    best = shares.argmax(0) if names else np.zeros(grid, np.int64)
    return {
        name: (best == index) & (shares[index] >= CELL_LEAST) for index, name in enumerate(names)
    }
