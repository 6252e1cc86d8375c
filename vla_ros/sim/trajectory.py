"""A joint trajectory controller, as simulated robots have it: no ROS, no clock."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# s: a command is followed for so long after it came; then the robot holds where it is, or stands
DRIVER_TIMEOUT_S = 0.5


class TrajectoryFollower:
    """Where joints are told to be: on their way along the newest trajectory, then held.

    A trajectory begins where the joints are told to be when it comes; between two points they move
    evenly. What comes later than DRIVER_TIMEOUT_S is not followed: whoever drives has to say again
    what is wanted.

    Args:
        joints: Where they are told to be at first.
        limits: A row of the lowest and highest position of each; points beyond are taken there.
    """

    def __init__(self, joints: Array, limits: Array | None = None) -> None:
        self._limits = limits
        self.place(joints)

    def place(self, joints: Array) -> None:
        """Tell them to be there at once, and to hold."""
        self.told = np.array(joints, float)
        self.halt()

    def halt(self) -> None:
        """Forget the trajectory; hold where they are told to be."""
        self._began = -math.inf
        self._when = np.zeros(1)
        self._points = self.told[None]

    def follow(self, now: float, times: Sequence[float], points: Array) -> None:
        """Follow a trajectory from now on; it replaces the one before.

        Args:
            now: s.
            times: When each point is due, s from now, growing.
            points: A row of all joints each.

        Raises:
            ValueError: It is no such trajectory; the joints hold.
        """
        when = np.asarray(times, float)
        rows = np.asarray(points, float)
        good = (
            when.ndim == 1
            and rows.shape == (len(when), len(self.told))
            and len(when) > 0
            and bool(np.isfinite(rows).all() and np.isfinite(when).all())
            and when[0] >= 0.0
            and bool((np.diff(when) > 0.0).all())
        )
        if not good:
            self.halt()
            raise ValueError(
                f"it was told {_short(points)} at {_short(times)} s; send rows of "
                f"{len(self.told)} finite positions at growing times"
            )
        if self._limits is not None:
            rows = np.clip(rows, self._limits[:, 0], self._limits[:, 1])
        self._began = now
        self._when = np.concatenate(([0.0], when + 1e-9))
        self._points = np.vstack((self.told, rows))

    def move(self, now: float, most: Array | float = math.inf) -> Array:
        """Where the joints are told to be now, s; none goes farther than `most` at once."""
        since = now - self._began
        if since <= DRIVER_TIMEOUT_S:
            later = min(int(np.searchsorted(self._when, since)), len(self._when) - 1)
            before = max(later - 1, 0)
            span = self._when[later] - self._when[before]
            share = min((since - self._when[before]) / span, 1.0) if span > 0.0 else 1.0
            wanted = self._points[before] + share * (self._points[later] - self._points[before])
            self.told = self.told + np.clip(wanted - self.told, -most, most)
        return self.told


def _short(values: object) -> str:
    return repr(values)[:80]
