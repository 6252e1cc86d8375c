"""Rotations as matrices."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def turned(rpy: tuple[float, float, float]) -> NDArray[np.float64]:
    """The rotation by roll about x, then pitch about y, then yaw about z of the fixed frame."""
    roll, pitch, yaw = rpy
    cr = math.cos(roll)
    sr = math.sin(roll)
    cp = math.cos(pitch)
    sp = math.sin(pitch)
    cy = math.cos(yaw)
    sy = math.sin(yaw)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )
