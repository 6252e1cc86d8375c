"""Where a chain of joints leads to: forward kinematics, for several places at once.

Frames as in URDF: a joint turns about its axis in its child's frame, which stands at the joint's
origin in its parent's. rad and m.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.rotation import turned as turned
from vla_ros.core.urdf import MOVING, UrdfJoint, Vector

Array = NDArray[np.float64]


class ForwardKinematics:
    """From the positions of a chain's N moving joints to where its end is, in the chain's base.

    What does not change is worked out once: fixed joints are part of the next one's origin, and a
    joint's rotation by q is A + B sin q + C (1 - cos q).

    Attributes:
        joints: the names of the N, from the base on; at least one.
    """

    def __init__(self, chain: Sequence[UrdfJoint]) -> None:
        moving = [joint for joint in chain if joint.kind in MOVING]
        count = len(moving)
        if not count:
            raise ValueError("the chain has no joint that moves")
        self.joints = tuple(joint.name for joint in moving)
        self._still = np.zeros((count, 3, 3))  # A: how the joint at zero is turned in its parent
        self._sine = np.zeros((count, 3, 3))  # B
        self._cosine = np.zeros((count, 3, 3))  # C
        self._offset = np.zeros((count, 3, 1))  # where it is in its parent
        self._slide = np.zeros((count, 3, 1))  # how far that moves for each m of a prismatic one
        rotation = np.eye(3)
        offset = np.zeros(3)
        index = 0
        for joint in chain:
            offset = offset + rotation @ joint.xyz
            rotation = rotation @ turned(joint.rpy)
            if joint.kind not in MOVING:
                continue
            self._still[index] = rotation
            self._offset[index, :, 0] = offset
            if joint.kind == "prismatic":
                self._slide[index, :, 0] = rotation @ joint.axis
            else:
                cross = _cross(joint.axis)
                self._sine[index] = rotation @ cross
                self._cosine[index] = rotation @ cross @ cross
            rotation = np.eye(3)
            offset = np.zeros(3)
            index += 1
        self._end = offset[:, None]  # of the chain, behind the last joint

    def points(self, positions: Array) -> Array:
        """Where the end is for each of K x N positions: K x 3, m."""
        angles = positions[:, :, None, None]
        turns = self._still + self._sine * np.sin(angles) + self._cosine * (1.0 - np.cos(angles))
        offsets = self._offset + self._slide * angles
        point = self._end  # the same for all K, until the last joint has moved it
        # From the end back to the base: a point needs no frames, and so no products of matrices.
        for index in range(len(self.joints) - 1, -1, -1):
            point = turns[:, index] @ point + offsets[:, index]
        return point[:, :, 0]


def tool_speed(before: Array, after: Array, elapsed: int) -> float:
    """m/s between two places (3 each, m) `elapsed` ns apart; infinite where no time has passed."""
    moved = float(np.linalg.norm(after - before))
    if elapsed <= 0:
        return math.inf if moved > 0.0 else 0.0
    return moved / (elapsed / 1e9)


def _cross(axis: Vector) -> Array:
    """The matrix whose product with a vector is the axis' cross product with it."""
    x, y, z = axis
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
