"""Where a point of the room lies in the front camera's image, and whether it is in it. Arrays of
any shape."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vla_ros.sim import scene as scenes

Array = NDArray[np.floating]
HALF_WIDTH = math.tan(scenes.CAMERA_HFOV / 2)
MIDDLE = 0.035  # m, of an object above the floor


def project(
    ahead: Array, left: Array, height: float | Array = MIDDLE, aspect: float = 0.75
) -> tuple[Array, Array, Array]:
    """Points in metres from base_link -> column, row (-1 … 1 across the image, right and down) and
    depth (m).

    `aspect` is the image's height over its width.
    """
    cos, sin = math.cos(scenes.CAMERA_TILT), math.sin(scenes.CAMERA_TILT)
    dx = ahead - scenes.CAMERA_FORWARD
    dz = height - scenes.CAMERA_HEIGHT
    depth = dx * cos - dz * sin
    safe = np.maximum(depth, 1e-3)
    return -left / (safe * HALF_WIDTH), -(dx * sin + dz * cos) / (safe * HALF_WIDTH * aspect), depth


def in_view(ahead: Array, left: Array) -> NDArray[np.bool_]:
    """Whether most of an object there is in the image."""
    column, row, depth = project(ahead, left)
    return (np.abs(column) < 1.0) & (np.abs(row) < 1.0) & (depth > 0.1)
