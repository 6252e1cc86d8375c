"""What range sensors see, as points around the robot, and how near a motion would come to them.

Frames and units: base frame, x forward, y left, m and rad (REP 103). Ranges mean what REP 117 says: NaN is
no measurement, +inf nothing within reach, -inf something nearer than the sensor can tell.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.robot import Footprint, Obstacles, Sensor

Array = NDArray[np.float64]
STEP, MOST_STEPS = 0.05, 200  # m along the way between two looks, and how many at most
CONE = math.radians(20.0)  # to either side of the way ahead: a sensor that looks there sees where the robot goes
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

    Zero is no measurement either: many drivers give it for a beam that did not come back. Something nearer than the
    sensor can tell is at the sensor. A sensor that does not know its own reach measures nothing.
    """
    if not (0.0 <= range_min <= range_max and range_max > 0.0):
        ranges = np.full_like(ranges, np.nan)
    too_near = np.isneginf(ranges)
    ranges = np.where(too_near, 1e-3, ranges)
    valid = np.isfinite(angles) & (ranges > 0.0)  # NaN is not above zero
    hit = valid & (ranges <= range_max) & np.isfinite(ranges) & (too_near | (ranges >= sensor.near))
    directions = sensor.yaw + (-1.0 if sensor.flipped else 1.0) * np.where(np.isfinite(angles), angles, 0.0)
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


def approach(points: Array, footprint: Footprint, twist: tuple[float, float, float],
             limits: Obstacles) -> tuple[float, float, float]:
    """The nearest of the points that a motion (m/s, m/s, rad/s) leads to: its distance now (m), its direction (rad),
    and the time until the footprint would touch any (s, inf beyond `time_to_collision`). inf, 0, inf: there is none.

    A motion leads to what the footprint, along the next `slow` metres of its way or more, comes within `beside` of, and
    nearer than anything is now: so a robot that stands too near to a wall may drive along it, and away.
    """
    now = distances(points, footprint)
    radius = math.hypot(max(footprint.front, footprint.back), max(footprint.left, footprint.right))
    speed = math.hypot(twist[0], twist[1]) + abs(twist[2]) * radius  # no part of the footprint is faster
    way = max(limits.slow, speed * limits.time_to_collision)
    matters = now <= way
    points, now = points[matters], now[matters]
    if not len(points) or speed == 0.0:
        return math.inf, 0.0, math.inf
    t = np.linspace(0.0, way / speed, 1 + min(math.ceil(way / STEP), MOST_STEPS))[1:]
    then = _beyond(*_seen_later(points, twist, t[:, None]), footprint)  # T x N, squared
    clear = min(limits.beside, float(np.min(now, where=now > 0.0, initial=math.inf)))
    led_to = then.min(axis=0) < np.square(np.maximum(np.minimum(now, clear) - APPROACH, 0.0))
    led_to |= (now == 0.0) & (then[0] == 0.0)  # inside the footprint, where nothing can be said
    if not led_to.any():
        return math.inf, 0.0, math.inf
    nearest = int(np.argmin(np.where(led_to, now, np.inf)))
    touched = np.flatnonzero((then[:, led_to] <= 0.0).any(axis=1))
    time = math.inf
    if len(touched):  # the moment before it touches: rather too early
        time = float(t[touched[0] - 1]) if touched[0] else 0.0
    return (float(now[nearest]), math.atan2(points[nearest, 1], points[nearest, 0]),
            time if time < limits.time_to_collision else math.inf)


def _seen_later(points: Array, twist: tuple[float, float, float], t: Array) -> tuple[Array, Array]:
    """x and y of the points, T x N, as the robot will see them after `t` (s, T x 1) of this motion."""
    vx, vy, wz = twist
    cos, sin = np.cos(wz * t), np.sin(wz * t)
    if abs(wz) < 1e-6:
        x, y = vx * t, vy * t
    else:  # along the arc
        x, y = (vx * sin - vy * (1.0 - cos)) / wz, (vx * (1.0 - cos) + vy * sin) / wz
    return (np.hstack([cos, sin]) @ points.T - (cos * x + sin * y),
            np.hstack([-sin, cos]) @ points.T - (cos * y - sin * x))
