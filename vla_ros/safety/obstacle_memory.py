"""What range sensors saw lately: a thin leg or an edge of glass is in every third scan, and is
there all the time."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from vla_ros.core.robot import FLOOR_CHANNELS, Robot
from vla_ros.safety.obstacles import Array, Reading, distances

CELL = 0.02  # m; points in one such square are one: a wall is not kept once for each scan
MOST_POINTS = 1000  # the nearest are kept: what a step of the gate has time for


class ObstacleMemory:
    """Points that count for `hold_off` s after they were seen, where they stand while the robot
    moves.

    Kept in a frame of its own, in which the robot moves by the velocities that it was sent.
    """

    def __init__(self) -> None:
        self._x = self._y = self._yaw = 0.0
        self._twist = (0.0, 0.0, 0.0)
        self._newest: dict[str, tuple[int, Array]] = {}  # topic -> when it arrived, and what it saw
        self._older = np.zeros((0, 2))
        self._seen = np.zeros(0, np.int64)  # steady ns, of each of them

    def move(self, twist: tuple[float, float, float], elapsed: int) -> None:
        """The robot went on with `twist` (m/s, m/s, rad/s) for `elapsed` ns."""
        self._twist = twist
        seconds = elapsed / 1e9
        middle = self._yaw + twist[2] * seconds / 2.0
        self._x += (twist[0] * math.cos(middle) - twist[1] * math.sin(middle)) * seconds
        self._y += (twist[0] * math.sin(middle) + twist[1] * math.cos(middle)) * seconds
        self._yaw += twist[2] * seconds

    def see(
        self, readings: Mapping[str, tuple[Reading, int]], robot: Robot, now: int, stamp: int
    ) -> None:
        """Takes each sensor's new reading, and forgets what is too old. `now`: steady, `stamp`: ROS
        time, ns."""
        assert robot.obstacles is not None
        keep = round(robot.obstacles.hold_off * 1e9)
        for topic, (reading, arrived) in readings.items():
            before = self._newest.get(topic)
            if before and before[0] == arrived:
                continue
            if before and len(before[1]):
                # What is farther away is forgotten before the robot comes near.
                within = robot.obstacles.slow_distance + robot.obstacles.hold_off * _fastest(robot)
                near = distances(self._inward(before[1]), robot.footprint) <= within
                self._keep(before[0], before[1][near])
            # It was seen from where the robot was then.
            late = min(max(stamp - reading.stamp, 0), round(robot.obstacles.max_age * 1e9))
            self.move(self._twist, -late)
            self._newest[topic] = arrived, self._outward(_thin(reading.points))
            self.move(self._twist, late)
        if len(self._seen) and now - int(self._seen.min()) > keep:
            young = now - self._seen <= keep
            self._older = self._older[young]
            self._seen = self._seen[young]
        if len(self._older) > MOST_POINTS:
            nearest = np.argsort(
                distances(self._inward(self._older), robot.footprint), kind="stable"
            )[:MOST_POINTS]
            self._older = self._older[nearest]
            self._seen = self._seen[nearest]

    def points(self) -> Array:
        """All of it, N x 2, in the base frame now."""
        return self._inward(
            np.concatenate([self._older, *(points for _, points in self._newest.values())])
        )

    def _keep(self, arrived: int, points: Array) -> None:
        """One point a cell: the one that was there first, which then counts as seen again. So a
        further point never takes the place of another."""
        points = np.concatenate([self._older, points])
        seen = np.concatenate([self._seen, np.full(len(points) - len(self._older), arrived)])
        cells = np.floor(points / CELL).astype(np.int64)
        _, first, cell = np.unique(
            cells[:, 0] * (1 << 32) + cells[:, 1], return_index=True, return_inverse=True
        )
        newest = np.zeros(len(first), np.int64)
        np.maximum.at(newest, cell, seen)
        self._older = points[first]
        self._seen = newest

    def _outward(self, points: Array) -> Array:
        cos, sin = math.cos(self._yaw), math.sin(self._yaw)
        turned: Array = points @ np.array([[cos, sin], [-sin, cos]]) + (self._x, self._y)
        return turned

    def _inward(self, points: Array) -> Array:
        cos, sin = math.cos(self._yaw), math.sin(self._yaw)
        turned: Array = (points - (self._x, self._y)) @ np.array([[cos, -sin], [sin, cos]])
        return turned


def _thin(points: Array) -> Array:
    """No more than one look is worth: of a very fine scan, one point a cell."""
    if len(points) <= MOST_POINTS:
        return points
    with np.errstate(invalid="ignore"):
        cells = np.floor(np.clip(points, -1e6, 1e6) / CELL).astype(np.int64)
    _, first = np.unique(cells[:, 0] * (1 << 32) + cells[:, 1], return_index=True)
    return points[np.sort(first)]


def _fastest(robot: Robot) -> float:
    """m/s, of any part of the footprint."""
    foot = robot.footprint
    arm = {"angular.z": math.hypot(max(foot.front, foot.back), max(foot.left, foot.right))}
    return sum(
        max(map(abs, channel.limits)) * arm.get(channel.name, 1.0)
        for channel in robot.channels
        if channel.name in FLOOR_CHANNELS
    )
