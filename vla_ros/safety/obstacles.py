"""What range sensors see, as points around the robot, and how near a motion would come to them.

Frames and units: base frame, x forward, y left, m and rad (REP 103). Ranges mean what REP 117 says:
NaN is no measurement, +inf nothing within reach, -inf something nearer than the sensor can tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.robot import Footprint, Obstacles, Sensor

Array = NDArray[np.float64]
# m along the way between two looks, and how many at most
STEP = 0.05
MOST_STEPS = 200
CONTACT = 0.02  # m; a scan's noise: what is no farther away than this may touch the robot
APPROACH = 1e-3  # m; less than this is no approach, it is noise
# the cone around a heading, in parts: 20 degrees to either side
PART = math.radians(8.0)
AHEAD = 5


@dataclass(frozen=True)
class Reading:
    """One look of one sensor. `points`: N x 2. `angles`, `valid`: M, each beam's direction and
    whether it measured. `reach`: how far it sees, m, from `origin` (x, y). `fault`: a sentence
    where it is no look at all."""

    stamp: int
    points: Array
    angles: Array
    valid: NDArray[np.bool_]
    reach: float = math.inf
    origin: tuple[float, float] = (0.0, 0.0)
    fault: str = ""


def blind(stamp: int, fault: str) -> Reading:
    """A look that says nothing, and why."""
    return Reading(stamp, np.zeros((0, 2)), np.zeros(0), np.zeros(0, bool), 0.0, fault=fault)


def scan_angles(count: int, first: float, last: float, step: float) -> Array:
    """The directions (rad) of a LaserScan's `count` beams. Raises ValueError where its numbers
    contradict each other.

    One beam more or fewer than the angles say is rounding: drivers disagree on whether the last one
    counts.
    """
    if not all(map(math.isfinite, (first, last, step))):
        raise ValueError(
            f"its angles go from {first:g} to {last:g} rad by {step:g}; all must be finite"
        )
    if count > 1 and step == 0.0:
        raise ValueError(f"its {count} beams all point to {first:g} rad: angle_increment is 0")
    if count > 1:
        said = (last - first) / step + 1.0
        if not abs(said - count) <= 1.5:
            raise ValueError(
                f"its angles from {first:g} to {last:g} rad by {step:g} are {said:.0f} beams, "
                f"but it holds {count} ranges"
            )
        if not abs(last - first) <= 2.0 * math.pi + 2.0 * abs(step):
            raise ValueError(f"its angles from {first:g} to {last:g} rad are more than a turn")
    angles: Array = first + step * np.arange(count, dtype=float)
    return angles


def cone_angles(field_of_view: float, count: int = 9) -> Array:
    """The directions of a Range as `count` beams: what it measured may be anywhere in it. Raises
    ValueError."""
    if not 0.0 < field_of_view <= 2.0 * math.pi:
        raise ValueError(
            f"its field_of_view is {field_of_view:g} rad; it must be more than 0 and at most a turn"
        )
    angles: Array = np.linspace(-0.5, 0.5, count) * float(field_of_view)
    return angles


def look(
    sensor: Sensor, stamp: int, ranges: Array, angles: Array, range_min: float, range_max: float
) -> Reading:
    """A LaserScan's or a Range's beams as a Reading; `ranges` and `angles` (in the sensor's frame)
    are M.

    Zero is no measurement: many drivers give it for a beam that did not come back. `range_max` and
    more is nothing within reach: short sensors say so. Something nearer than the sensor can tell
    (-inf) is anywhere from the sensor to `range_min`: at both ends. Where all of that is nearer
    than `min_range`, it is the robot. A sensor that does not know its own reach is blind.
    """
    if not (0.0 <= range_min <= range_max and range_max > 0.0):
        return blind(stamp, f"it says that it sees from {range_min:g} to {range_max:g} m")
    too_near = np.isneginf(ranges)
    if too_near.any():
        far_ends = np.full(int(too_near.sum()), max(range_min, 1e-3))
        ranges = np.append(np.where(too_near, 1e-3, ranges), far_ends)
        angles = np.append(angles, angles[too_near])
        too_near = np.append(too_near, np.full(len(far_ends), True))
    valid = np.isfinite(angles) & (ranges > 0.0)  # NaN is not above zero
    counts = np.where(
        too_near, range_min > sensor.min_range, (ranges < range_max) & (ranges >= sensor.min_range)
    )
    hit = valid & np.isfinite(ranges) & counts
    directions = sensor.yaw + (-1.0 if sensor.inverted else 1.0) * np.where(
        np.isfinite(angles), angles, 0.0
    )
    points = np.stack(
        [
            sensor.x + ranges[hit] * np.cos(directions[hit]),
            sensor.y + ranges[hit] * np.sin(directions[hit]),
        ],
        axis=1,
    )
    for front, back, left, right in sensor.mask:
        x, y = points.T
        points = points[~((-back <= x) & (x <= front) & (-right <= y) & (y <= left))]
    return Reading(stamp, points, directions, valid, float(range_max), (sensor.x, sensor.y))


def seen_ahead(readings: Sequence[Reading], heading: float, footprint: Footprint) -> float:
    """How far beyond the footprint's edge, in m, the sensors together see into `heading`; 0: not at
    all.

    They must have measured in most parts of a cone around it: one beam sees no way that is as wide
    as a robot.
    """
    reach = np.zeros(AHEAD)
    for reading in readings:
        beyond = reading.reach - _way_out(reading.origin, heading, footprint)
        if not beyond > 0.0:
            continue
        off = (reading.angles - heading + math.pi) % (2.0 * math.pi) - math.pi
        part = np.rint(off / PART).astype(int) + AHEAD // 2
        inside = (part >= 0) & (part < AHEAD)
        beams = np.bincount(part[inside], minlength=AHEAD)
        measured = np.bincount(part[inside & reading.valid], minlength=AHEAD)
        reach = np.where((measured > 0) & (2 * measured >= beams), np.maximum(reach, beyond), reach)
    return float(np.sort(reach)[AHEAD // 2])  # the median: most parts are seen at least so far


def _way_out(origin: tuple[float, float], heading: float, footprint: Footprint) -> float:
    """From `origin` along `heading` to the footprint's edge, m; 0 where it lies outside."""
    ends = [math.inf]
    for place, direction, low, high in (
        (origin[0], math.cos(heading), -footprint.back, footprint.front),
        (origin[1], math.sin(heading), -footprint.right, footprint.left),
    ):
        if abs(direction) > 1e-9:
            ends.append(((high if direction > 0.0 else low) - place) / direction)
    return max(0.0, min(ends))


class Approach(NamedTuple):
    """What a motion comes to. `gap`, `direction`: how far (m) and where (rad) the nearest is that
    it would touch. `touch`: s until it does. `share`: of its speed, which what it passes closely
    leaves. inf, 0, inf, 1: nothing."""

    gap: float
    direction: float
    touch: float
    share: float


NOTHING = Approach(math.inf, 0.0, math.inf, 1.0)


def distances(points: Array, footprint: Footprint) -> Array:
    """From the footprint's edge to each of N x 2 points, m; negative inside."""
    return _beyond(points[:, 0], points[:, 1], footprint)


def _beyond(x: Array, y: Array, footprint: Footprint) -> Array:
    """The same for x and y of any one shape."""
    along = (
        np.abs(x - (footprint.front - footprint.back) / 2.0)
        - (footprint.front + footprint.back) / 2.0
    )
    across = (
        np.abs(y - (footprint.left - footprint.right) / 2.0)
        - (footprint.left + footprint.right) / 2.0
    )
    inside = np.minimum(np.maximum(along, across), 0.0)
    # what is so far away is infinitely far; np.hypot takes three times as long
    with np.errstate(over="ignore"):
        outside: Array = np.sqrt(
            np.square(np.maximum(along, 0.0)) + np.square(np.maximum(across, 0.0))
        )
    return outside + inside


def approach(
    points: Array, footprint: Footprint, twist: tuple[float, float, float], limits: Obstacles
) -> Approach:
    """How a motion (m/s, m/s, rad/s) along the next `slow_distance` metres of its way, or more,
    comes to N x 2 points.

    Each point is judged by itself, so that another one never makes it milder. What the footprint
    would touch, or is in touch with (`CONTACT`) and does not leave, is approached. What it passes
    nearer than `side_clearance`, and nearer than it is now, leaves a share of the speed: none at a
    touch, all at `side_clearance` or where it is as far as `slow_distance`. So a robot that stands
    too near to a wall can leave it slowly, along it or away.
    """
    radius = math.hypot(max(footprint.front, footprint.back), max(footprint.left, footprint.right))
    # no part of the footprint is faster
    speed = math.hypot(twist[0], twist[1]) + abs(twist[2]) * radius
    if speed == 0.0:
        return NOTHING
    now = distances(points, footprint)
    way = max(limits.slow_distance, speed * limits.time_to_collision)
    # m; the way, however slow the motion
    s = np.linspace(0.0, way, 1 + min(math.ceil(way / STEP), MOST_STEPS))[1:]
    vx, vy, wz = (part / speed for part in twist)
    matters = now <= way
    points = points[matters]
    now = now[matters]
    matters = _along(points, (vx, vy, wz), s, radius + max(limits.side_clearance, CONTACT))
    points = points[matters]
    now = now[matters]
    if not len(points):
        return NOTHING
    then = _beyond(*_seen_later(points, (vx, vy, wz), s[:, None]), footprint)  # T x N
    nearest = then.min(axis=0)
    near = now <= CONTACT
    # What is inside is left only backwards: out on the other side of the robot is no way out.
    inside = (now < 0.0) & (points[:, 0] * vx + points[:, 1] * vy > -CONTACT * math.hypot(vx, vy))
    touches = np.where(
        near, (then[0] < now + APPROACH) | (nearest < now) | inside, nearest <= CONTACT
    )
    share = 1.0
    passed = ~touches & ~near & (nearest < np.minimum(now, limits.side_clearance) - APPROACH)
    if passed.any():
        room = (nearest[passed] - CONTACT) / max(limits.side_clearance - CONTACT, 1e-9)
        far = (now[passed] - limits.stop_distance) / (limits.slow_distance - limits.stop_distance)
        share = float(np.clip(np.maximum(room, far), 0.0, 1.0).min())
    if not touches.any():
        return Approach(math.inf, 0.0, math.inf, share)
    first = int(np.argmin(np.where(touches, now, np.inf)))
    met = np.flatnonzero((then[:, touches] <= CONTACT).any(axis=1))
    time = math.inf
    if len(met):  # the moment before it touches: rather too early
        time = float(s[met[0] - 1]) / speed if met[0] else 0.0
    return Approach(
        max(float(now[first]), 0.0),
        math.atan2(points[first, 1], points[first, 0]),
        time if time < limits.time_to_collision else math.inf,
        share,
    )


def _seen_later(points: Array, twist: tuple[float, float, float], t: Array) -> tuple[Array, Array]:
    """x and y of the points, T x N, as the robot will see them after `t` (T x 1) of this motion."""
    cos, sin, x, y = _poses(twist, t)
    return (
        np.hstack([cos, sin]) @ points.T - (cos * x + sin * y),
        np.hstack([-sin, cos]) @ points.T - (cos * y - sin * x),
    )


def _poses(twist: tuple[float, float, float], t: Array) -> tuple[Array, Array, Array, Array]:
    """The robot after `t` of this motion: cosine and sine of its yaw, and its x and y."""
    vx, vy, wz = twist
    cos, sin = np.cos(wz * t), np.sin(wz * t)
    if abs(wz) < 1e-6:
        return cos, sin, vx * t, vy * t
    # along the arc
    return cos, sin, (vx * sin - vy * (1.0 - cos)) / wz, (vx * (1.0 - cos) + vy * sin) / wz


def _along(
    points: Array, twist: tuple[float, float, float], t: Array, within: float
) -> NDArray[np.bool_]:
    """Which points are so near to a box around the robot's ways (m) that it may pass them: a cheap
    look before a close one."""
    _, _, x, y = _poses(twist, t)
    low = min(0.0, float(x.min())) - within, min(0.0, float(y.min())) - within
    high = max(0.0, float(x.max())) + within, max(0.0, float(y.max())) + within
    along: NDArray[np.bool_] = np.all((points >= low) & (points <= high), axis=1)
    return along
