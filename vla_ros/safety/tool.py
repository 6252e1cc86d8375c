"""Where an arm's tool is, and how far that is from where it may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vla_ros.core.robot import Robot
from vla_ros.core.workspace import AXES, Workspace, WorkspaceBox
from vla_ros.safety.kinematics import Array, ForwardKinematics


class Tool:
    """The tool of a robot that has a workspace.

    Attributes:
        workspace: the robot file's.
        channels: the N that move it, from the base on.
    """

    def __init__(self, robot: Robot) -> None:
        if robot.workspace is None:
            raise ValueError(f"robot '{robot.name}' has no workspace")
        self.workspace: Workspace = robot.workspace
        self._kinematics = ForwardKinematics(self.workspace.chain)
        by_joint = {channel.joint: channel for channel in robot.channels if channel.joint}
        moving = [by_joint[joint] for joint in self._kinematics.joints]
        self.channels = tuple(channel.name for channel in moving)
        self._scales = np.array([channel.scale for channel in moving])
        self._offsets = np.array([channel.offset for channel in moving])
        boxes = (*self.workspace.inside, *self.workspace.outside)
        self._low = np.array([box.min for box in boxes]).reshape(-1, 3)
        self._high = np.array([box.max for box in boxes]).reshape(-1, 3)
        self._inside = len(self.workspace.inside)

    def values(self, standing: Mapping[str, float | None]) -> Array | None:
        """The N values, each in its channel's unit; None where one is unknown."""
        values = [standing.get(name) for name in self.channels]
        return None if None in values else np.array(values, float)

    def points(self, values: Sequence[Array]) -> Array:
        """Where the tool is for each of K sets of N values: K x 3, base frame, m."""
        return self._kinematics.points(np.array(values) * self._scales + self._offsets)

    def beyond(self, points: Array) -> Array:
        """How far each of K points is from where it may be, m: K x C; negative: so far within.

        The first column, where there is one, is of all boxes that the tool stays inside of: it need
        be in one of them. The others are of the boxes that it stays out of.
        """
        # Along each axis, outside of the box: K x B x 3.
        away = np.maximum(self._low - points[:, None], points[:, None] - self._high)
        outside = np.sqrt(np.square(np.maximum(away, 0.0)).sum(axis=2))
        distances: Array = outside + np.minimum(away.max(axis=2), 0.0)
        # In any of the boxes is inside; out of each of the others is outside.
        if not self._inside:
            return -distances
        nearest = distances[:, : self._inside].min(axis=1, keepdims=True)
        return np.hstack([nearest, -distances[:, self._inside :]])

    def sentence(self, column: int, point: Array) -> str:
        """What is wrong with a point (3, m) by a column of `beyond`: box, coordinate and limit."""
        if self._inside and column == 0:
            away = np.maximum(self._low - point, point - self._high)[: self._inside]
            box = self.workspace.inside[int(np.argmin(np.maximum(away, 0.0).sum(axis=1)))]
            axis = int(np.argmax(_away(box, point)))
            return f"{_place(axis, point)}; it stays inside '{box.name}', {_side(box, axis)}"
        box = self.workspace.outside[column - (1 if self._inside else 0)]
        axis = int(np.argmax(_away(box, point)))  # where the way out is shortest
        return f"{_place(axis, point)}; it stays out of '{box.name}', {_side(box, axis)}"


def _away(box: WorkspaceBox, point: Array) -> Array:
    """Along each axis, how far a point is outside of a box, m; negative: inside."""
    away: Array = np.maximum(np.array(box.min) - point, point - np.array(box.max))
    return away


def _place(axis: int, point: Array) -> str:
    return f"{AXES[axis]} {point[axis]:.3f} m"


def _side(box: WorkspaceBox, axis: int) -> str:
    return f"{AXES[axis]} {box.min[axis]:g} to {box.max[axis]:g} m"
