"""What range sensors saw lately: a thin leg is in every third scan, but there all the time."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.robot import Robot
from vla_ros.core.robot_obstacles import FLOOR_CHANNELS
from vla_ros.safety.obstacles import Array, Reading, distances, farthest_corner

CELL_M = 0.02  # points in one such square are one: a wall is not kept once for each scan
MOST_POINTS = 1000  # the nearest are kept: what a step of the gate has time for


class ObstacleMemory:
    """Points that count for `hold_off` s after they were seen, while the robot moves past them.

    Kept in a frame of its own, in which the robot moves by the velocities that it was sent.
    """

    def __init__(self) -> None:
        self._x = self._y = self._yaw = 0.0  # the robot in that frame, m and rad
        self._twist = (0.0, 0.0, 0.0)
        self._newest: dict[str, tuple[int, Array]] = {}  # topic -> when it arrived, and what it saw
        # What was seen before each sensor's newest reading: N x 2, and N times (steady ns). The
        # newest counts as long as it is the newest, so it is kept apart and whole.
        self._older = np.zeros((0, 2))
        self._seen = np.zeros(0, np.int64)

    def move(self, twist: tuple[float, float, float], elapsed: int) -> None:
        """The robot went on with `twist` (m/s, m/s, rad/s) for `elapsed` ns."""
        self._twist = twist
        seconds = elapsed / 1e9
        # The chord of an arc points where the robot heads in its middle.
        middle = self._yaw + twist[2] * seconds / 2.0
        self._x += (twist[0] * math.cos(middle) - twist[1] * math.sin(middle)) * seconds
        self._y += (twist[0] * math.sin(middle) + twist[1] * math.cos(middle)) * seconds
        self._yaw += twist[2] * seconds

    def see(
        self, readings: Mapping[str, tuple[Reading, int]], robot: Robot, now: int, stamp: int
    ) -> None:
        """Takes each sensor's new reading, and forgets what is too old.

        Args:
            readings: a sensor's topic -> its reading, and when it arrived (steady ns).
            robot: one that has obstacles.
            now: the steady clock, ns.
            stamp: the ROS clock, ns.
        """
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
            # It was seen from where the robot was then: back by its age, which is bounded, since a
            # reading that is older than `max_age` holds the robot anyhow.
            late = min(max(stamp - reading.stamp, 0), round(robot.obstacles.max_age * 1e9))
            self.move(self._twist, -late)
            self._newest[topic] = arrived, self._outward(_thin(reading.points))
            self.move(self._twist, late)
        # Only where the oldest is over: no new arrays at every tick.
        if len(self._seen) and now - int(self._seen.min()) > keep:
            young = now - self._seen <= keep
            self._older = self._older[young]
            self._seen = self._seen[young]
        if len(self._older) > MOST_POINTS:
            away = distances(self._inward(self._older), robot.footprint)
            nearest = np.argsort(away, kind="stable")[:MOST_POINTS]
            self._older = self._older[nearest]
            self._seen = self._seen[nearest]

    def points(self) -> Array:
        """All of it, N x 2, in the base frame now."""
        kept = [self._older]
        for _, points in self._newest.values():
            kept.append(points)
        return self._inward(np.concatenate(kept))

    def _keep(self, arrived: int, points: Array) -> None:
        """One point a cell: the one that was there first, which then counts as seen again.

        So a further point never takes the place of another.
        """
        seen = np.concatenate([self._seen, np.full(len(points), arrived)])
        points = np.concatenate([self._older, points])
        _, first, cell = np.unique(_cells(points), return_index=True, return_inverse=True)
        newest = np.zeros(len(first), np.int64)
        np.maximum.at(newest, cell, seen)
        self._older = points[first]
        self._seen = newest

    def _outward(self, points: Array) -> Array:
        """From the base frame into the frame of the memory; N x 2 both."""
        cos = math.cos(self._yaw)
        sin = math.sin(self._yaw)
        turned: Array = points @ np.array([[cos, sin], [-sin, cos]]) + (self._x, self._y)
        return turned

    def _inward(self, points: Array) -> Array:
        """From the frame of the memory into the base frame; N x 2 both."""
        cos = math.cos(self._yaw)
        sin = math.sin(self._yaw)
        turned: Array = (points - (self._x, self._y)) @ np.array([[cos, -sin], [sin, cos]])
        return turned


def _thin(points: Array) -> Array:
    """No more than one look is worth: of a very fine scan, one point a cell."""
    if len(points) <= MOST_POINTS:
        return points
    with np.errstate(invalid="ignore"):
        # Farther than any sensor sees: only that the cells' numbers stay whole ones of 64 bits.
        _, first = np.unique(_cells(np.clip(points, -1e6, 1e6)), return_index=True)
    return points[np.sort(first)]


def _cells(points: Array) -> NDArray[np.int64]:
    """The square of CELL_M that each of N x 2 points lies in: its column and row in one number."""
    cells = np.floor(points / CELL_M).astype(np.int64)
    numbers: NDArray[np.int64] = cells[:, 0] * (1 << 32) + cells[:, 1]
    return numbers


def _fastest(robot: Robot) -> float:
    """m/s, of any part of the footprint."""
    fastest = 0.0
    for channel in robot.channels:
        if channel.name in FLOOR_CHANNELS:
            speed = max(map(abs, channel.limits))
            if channel.name == "angular.z":  # rad/s, at the farthest corner
                speed *= farthest_corner(robot.footprint)
            fastest += speed
    return fastest
