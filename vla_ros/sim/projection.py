"""Where a point of the room lies in the front camera's image, and whether it is in it.

Works on arrays of any shape.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vla_ros.sim import scene as scenes

Array = NDArray[np.floating]
HALF_WIDTH = math.tan(scenes.CAMERA_HFOV / 2)  # of the image, at a depth of 1
MIDDLE_M = 0.035  # of an object above the floor


def project(
    ahead: Array, left: Array, height: float | Array = MIDDLE_M, aspect: float = 0.75
) -> tuple[Array, Array, Array]:
    """Points of the room, by the camera that the robot carries.

    Args:
        ahead: From base_link, m.
        left: From base_link, m.
        height: Above the floor, m.
        aspect: The image's height over its width.

    Returns:
        Column and row, -1 … 1 across the image, right and down; and the depth, m.
    """
    cos = math.cos(scenes.CAMERA_TILT)
    sin = math.sin(scenes.CAMERA_TILT)
    dx = ahead - scenes.CAMERA_FORWARD
    dz = height - scenes.CAMERA_HEIGHT
    depth = dx * cos - dz * sin
    safe = np.maximum(depth, 1e-3)  # what is behind the camera is out of the image, not infinite
    column = -left / (safe * HALF_WIDTH)
    row = -(dx * sin + dz * cos) / (safe * HALF_WIDTH * aspect)
    return column, row, depth


def in_view(ahead: Array, left: Array) -> NDArray[np.bool_]:
    """Whether most of an object there is in the image."""
    column, row, depth = project(ahead, left)
    return (np.abs(column) < 1.0) & (np.abs(row) < 1.0) & (depth > 0.1)
