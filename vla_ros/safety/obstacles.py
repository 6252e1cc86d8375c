"""What range sensors see, as points around the robot, and how near a motion would come to them.

Frames and units: base frame, x forward, y left, m and rad (REP 103). Ranges mean what REP 117 says: NaN is
no measurement, +inf nothing within reach, -inf something nearer than the sensor can tell.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.robot import Footprint, Sensor

Array = NDArray[np.float64]
STEPS = 10  # moments along the motion at which distances are taken
CONE = math.radians(20.0)  # to either side of the way ahead: a sensor that looks there sees where the robot goes
REACH = 4.0  # m; what is farther away than this concerns no motion
APPROACH = 1e-3  # m; less than this is no approach, it is noise


@dataclass(frozen=True)
class Reading:
    """One look of one sensor. `points`: N x 2. `angles`, `valid`: M, each beam's direction and whether it measured."""

    stamp: int
    points: Array
    angles: Array
    valid: NDArray[np.bool_]


def look(sensor: Sensor, stamp: int, ranges: Array, angles: Array, range_min: float, range_max: float) -> Reading:
    """A LaserScan's or a Range's beams as a Reading; `ranges` and `angles` (in the sensor's frame) are M.

    Zero is no measurement either: many drivers give it for a beam that did not come back. A value below
    `range_min` is something very near. A sensor that does not know its own reach measures nothing.
    """
    if not 0.0 <= range_min <= range_max:
        ranges = np.full_like(ranges, np.nan)
    ranges = np.where(np.isneginf(ranges), max(range_min, 1e-3), ranges)
    valid = np.isfinite(angles) & (ranges > 0.0)  # NaN is not above zero
    hit = valid & (ranges <= min(range_max, REACH)) & (ranges >= sensor.near)
    directions = np.where(np.isfinite(angles), angles, 0.0) + sensor.yaw
    points = np.stack([sensor.x + ranges[hit] * np.cos(directions[hit]),
                       sensor.y + ranges[hit] * np.sin(directions[hit])], axis=1)
    return Reading(stamp, points, directions, valid)


def sees(reading: Reading, heading: float) -> bool:
    """Whether most of the beams around `heading` measured something; False where there are none."""
    ahead = np.cos(reading.angles - heading) >= math.cos(CONE)
    return bool(ahead.any()) and bool(reading.valid[ahead].mean() >= 0.5)


def distances(points: Array, footprint: Footprint) -> Array:
    """From the footprint's edge to each of N x 2 points, m; zero inside."""
    return np.sqrt(_beyond(points[:, 0], points[:, 1], footprint))


def _beyond(x: Array, y: Array, footprint: Footprint) -> Array:
    """The same distance, squared, for x and y of any one shape."""
    along = np.abs(x - (footprint.front - footprint.back) / 2.0) - (footprint.front + footprint.back) / 2.0
    across = np.abs(y - (footprint.left - footprint.right) / 2.0) - (footprint.left + footprint.right) / 2.0
    squared: Array = np.square(np.maximum(along, 0.0)) + np.square(np.maximum(across, 0.0))
    return squared


def approach(points: Array, footprint: Footprint, twist: tuple[float, float, float], horizon: float,
             within: float) -> tuple[float, float, float]:
    """The nearest point that a motion (m/s, m/s, rad/s) comes nearer to, of those nearer than `within` (m) or touched
    before `horizon` (s): its distance now (m), its direction (rad), and the time until the footprint would touch any
    (s, inf beyond `horizon`). inf, 0, inf where there is none."""
    now = distances(points, footprint)
    radius = math.hypot(max(footprint.front, footprint.back), max(footprint.left, footprint.right))
    travel = (math.hypot(twist[0], twist[1]) + abs(twist[2]) * radius) * horizon
    matters = now <= max(within, travel)
    points, now = points[matters], now[matters]
    if not len(points):
        return math.inf, 0.0, math.inf
    then = _beyond(*_seen_later(points, twist, horizon), footprint)  # STEPS x N, squared
    nearer = then.min(axis=0) < np.square(np.maximum(now - APPROACH, 0.0))
    nearer |= (now == 0.0) & (then[0] == 0.0)  # inside the footprint, where nothing can be said
    if not nearer.any():
        return math.inf, 0.0, math.inf
    nearest = int(np.argmin(np.where(nearer, now, np.inf)))
    touch = (then[:, nearer] <= 0.0).any(axis=1)
    # the moment before it touches: rather too early
    time = horizon * float(np.argmax(touch)) / STEPS if touch.any() else math.inf
    return float(now[nearest]), math.atan2(points[nearest, 1], points[nearest, 0]), time


def _seen_later(points: Array, twist: tuple[float, float, float], horizon: float) -> tuple[Array, Array]:
    """x and y of the points, STEPS x N, as the robot will see them while it keeps this motion."""
    vx, vy, wz = twist
    t = np.linspace(horizon / STEPS, horizon, STEPS)[:, None]
    cos, sin = np.cos(wz * t), np.sin(wz * t)
    if abs(wz) < 1e-6:
        x, y = vx * t, vy * t
    else:  # along the arc
        x, y = (vx * sin - vy * (1.0 - cos)) / wz, (vx * (1.0 - cos) + vy * sin) / wz
    return (np.hstack([cos, sin]) @ points.T - (cos * x + sin * y),
            np.hstack([-sin, cos]) @ points.T - (cos * y - sin * x))
