"""Which objects are where in the camera's image.

Drawn by the simulator, so what is hidden is hidden.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_ros.core.images import resize
from vla_ros.sim.render import load_mujoco, make_renderer
from vla_ros.sim.world import World

MIN_CELL_SHARE = 0.05  # of a cell's pixels that must be an object's for the cell to be its
Masks = dict[str, NDArray[np.bool_]]  # an object's name -> which pixels, or cells, are its


class Truth:
    """Draws the masks of the objects of one world. Belongs to the thread that made it."""

    def __init__(self, world: World) -> None:
        self._world = world
        mujoco: Any = load_mujoco()
        self._renderer = make_renderer(mujoco, world.model, world.width, world.height)
        self._renderer.enable_segmentation_rendering()
        self._geom_type = int(mujoco.mjtObj.mjOBJ_GEOM)

    def masks(self) -> Masks:
        """Each object's of the camera's pixels (height x width); none for one that is not seen."""
        self._renderer.update_scene(self._world.data, "front")
        # height x width x 2: MuJoCo gives each pixel an id, and the kind of thing whose id it is
        segmentation = np.asarray(self._renderer.render())
        ids = segmentation[..., 0]
        is_geom = segmentation[..., 1] == self._geom_type
        masks: Masks = {}
        for placed in self._world.scene.objects:
            geom = self._world.model.geom(f"object{placed.slot}")
            mask = is_geom & (ids == int(geom.id))
            if mask.any():
                masks[placed.name] = mask
        return masks

    def close(self) -> None:
        """Free the renderer, in the thread that made it."""
        self._renderer.close()


def cut_off(mask: NDArray[np.bool_]) -> bool:
    """Does the image's edge cut the object off?"""
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def cells(masks: Masks, grid: tuple[int, int], size: tuple[int, int], mode: str) -> Masks:
    """Each object's cells: those of which it has at least MIN_CELL_SHARE, and more than any other.

    Args:
        masks: each object's pixels of the camera's image.
        grid: rows and columns of the policy's cells.
        size: height and width of the policy's image.
        mode: how the camera's image is brought to that size (`core.images.resize`).

    Returns:
        Each object's cells, rows x columns.
    """
    rows, columns = grid
    shares = np.zeros((len(masks), rows, columns), np.float32)
    for index, mask in enumerate(masks.values()):
        # by the policy's own resizing, which letterboxes or crops; it takes images of three colours
        image = np.repeat(mask.astype(np.uint8)[..., None] * 255, 3, axis=2)
        small = resize(image, size, mode)[..., 0].astype(np.float32) / 255
        # INTER_AREA: the mean over a cell's pixels, which is the object's share of it
        shares[index] = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_AREA)
    if not masks:
        return {}
    best = shares.argmax(0)  # rows x columns: which object has most of the cell
    owned = {}
    for index, name in enumerate(masks):
        owned[name] = (best == index) & (shares[index] >= MIN_CELL_SHARE)
    return owned
