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

from vla_ros.core.robot_obstacles import Footprint, Obstacles, Sensor

Array = NDArray[np.float64]
# Along the robot's way, between two places at which it is asked what the footprint would touch; and
# how many of them at most, whatever the speed: a step of the gate has no time for more.
STEP_M = 0.05
MOST_STEPS = 200
CONTACT_M = 0.02  # a scan's noise: what is no farther away than this may touch the robot
MIN_APPROACH_M = 1e-3  # less than this is no approach, it is noise
# The cone around a heading, in sectors: 20 degrees to either side.
SECTOR_RAD = math.radians(8.0)
SECTORS = 5


@dataclass(frozen=True)
class Reading:
    """One look of one sensor, in the base frame.

    Attributes:
        stamp: ROS time, ns.
        points: what it hit, N x 2, m.
        angles: the directions of its M beams, rad.
        valid: whether each of them measured, M.
        reach: how far it sees, m, from `origin`.
        origin: where it sits, x and y, m.
        fault: a sentence, where it is no look at all.
    """

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
    """The directions of a LaserScan's beams.

    One beam more or fewer than the angles say is rounding: drivers disagree on whether the last one
    counts.

    Args:
        count: how many ranges it holds.
        first, last, step: its `angle_min`, `angle_max` and `angle_increment`, rad.

    Returns:
        `count` angles in the sensor's frame, rad.

    Raises:
        ValueError: the numbers contradict each other.
    """
    if not all(map(math.isfinite, (first, last, step))):
        raise ValueError(
            f"its angles go from {first:g} to {last:g} rad by {step:g}; all must be finite"
        )
    if count > 1 and step == 0.0:
        raise ValueError(f"its {count} beams all point to {first:g} rad: angle_increment is 0")
    if count > 1:
        beams = (last - first) / step + 1.0
        if not abs(beams - count) <= 1.5:  # one more or fewer, and a float's rounding
            raise ValueError(
                f"its angles from {first:g} to {last:g} rad by {step:g} are {beams:.0f} beams, "
                f"but it holds {count} ranges"
            )
        if not abs(last - first) <= 2.0 * math.pi + 2.0 * abs(step):
            raise ValueError(f"its angles from {first:g} to {last:g} rad are more than a turn")
    angles: Array = first + step * np.arange(count, dtype=float)
    return angles


def cone_angles(field_of_view: float, count: int = 9) -> Array:
    """The directions (rad) of a Range as `count` beams: what it measured may be in any of them.

    Raises ValueError for a field of view (rad) that is none.
    """
    if not 0.0 < field_of_view <= 2.0 * math.pi:
        raise ValueError(
            f"its field_of_view is {field_of_view:g} rad; it must be more than 0 and at most a turn"
        )
    angles: Array = np.linspace(-0.5, 0.5, count) * float(field_of_view)
    return angles


def look(
    sensor: Sensor, stamp: int, ranges: Array, angles: Array, range_min: float, range_max: float
) -> Reading:
    """A LaserScan's or a Range's beams as a Reading.

    Zero is no measurement: many drivers give it for a beam that did not come back. `range_max` and
    more is nothing within reach: short sensors say so. Something nearer than the sensor can tell
    (-inf) is anywhere from the sensor to `range_min`: at both ends. Where all of that is nearer
    than `min_range`, it is the robot. A sensor that does not know its own reach is blind.

    Args:
        sensor: where it sits, and what of its view is the robot itself.
        stamp: ROS time, ns.
        ranges: of M beams, m.
        angles: of the same beams in the sensor's frame, rad.
        range_min, range_max: what the sensor says that it can measure, m.
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
    within = (ranges < range_max) & (ranges >= sensor.min_range)
    hit = valid & np.isfinite(ranges) & np.where(too_near, range_min > sensor.min_range, within)
    # Upside down, its beams turn the other way round.
    sense = -1.0 if sensor.inverted else 1.0
    directions = sensor.yaw + sense * np.where(np.isfinite(angles), angles, 0.0)
    x = sensor.x + ranges[hit] * np.cos(directions[hit])
    y = sensor.y + ranges[hit] * np.sin(directions[hit])
    points = np.stack([x, y], axis=1)  # N x 2
    points = points[outside_masks(sensor, points)]
    return Reading(stamp, points, directions, valid, float(range_max), (sensor.x, sensor.y))


def outside_masks(sensor: Sensor, points: Array) -> NDArray[np.bool_]:
    """Which of N x 2 points in the base frame, m, are no part of the robot."""
    outside = np.full(len(points), True)
    x, y = points.T
    for front, back, left, right in sensor.mask:
        outside &= ~((-back <= x) & (x <= front) & (-right <= y) & (y <= left))
    return outside


def seen_ahead(readings: Sequence[Reading], heading: float, footprint: Footprint) -> float:
    """How far the sensors together see beyond the footprint's edge, m; 0: not at all.

    They must have measured in most sectors of a cone around `heading` (rad): one beam sees no way
    that is as wide as a robot.
    """
    reach = np.zeros(SECTORS)
    for reading in readings:
        beyond = reading.reach - _way_out(reading.origin, heading, footprint)
        if not beyond > 0.0:
            continue
        off = (reading.angles - heading + math.pi) % (2.0 * math.pi) - math.pi  # -pi to pi
        sector = np.rint(off / SECTOR_RAD).astype(int) + SECTORS // 2  # the middle one is ahead
        inside = (sector >= 0) & (sector < SECTORS)
        beams = np.bincount(sector[inside], minlength=SECTORS)
        measured = np.bincount(sector[inside & reading.valid], minlength=SECTORS)
        # A sector counts where half of its beams measured; the sensor that sees farthest decides.
        reach = np.where((measured > 0) & (2 * measured >= beams), np.maximum(reach, beyond), reach)
    return float(np.sort(reach)[SECTORS // 2])  # the median: most sectors are seen at least so far


def _way_out(origin: tuple[float, float], heading: float, footprint: Footprint) -> float:
    """From `origin` along `heading` to the footprint's edge, m; 0 where it lies outside."""
    # Where the ray leaves the footprint's span in x, and in y: the nearer of them is the edge.
    ends = [math.inf]
    for place, direction, low, high in (
        (origin[0], math.cos(heading), -footprint.back, footprint.front),
        (origin[1], math.sin(heading), -footprint.right, footprint.left),
    ):
        if abs(direction) > 1e-9:  # else the ray runs along the edge, and never leaves there
            edge = high if direction > 0.0 else low
            ends.append((edge - place) / direction)
    return max(0.0, min(ends))


class Approach(NamedTuple):
    """What a motion comes to.

    Attributes:
        gap: how far the nearest is now that it would touch, m; inf: nothing.
        direction: where that is, rad.
        touch: until it does, s; inf: not within `time_to_collision`.
        share: of its speed, which what it passes closely leaves; 1: all.
    """

    gap: float
    direction: float
    touch: float
    share: float


NOTHING = Approach(math.inf, 0.0, math.inf, 1.0)


def distances(points: Array, footprint: Footprint) -> Array:
    """From the footprint's edge to each of N x 2 points, m; negative inside."""
    return _beyond(points[:, 0], points[:, 1], footprint)


def farthest_corner(footprint: Footprint) -> float:
    """How far the footprint reaches from the base frame's origin, m: where a turn is fastest."""
    along = max(footprint.front, footprint.back)
    return math.hypot(along, max(footprint.left, footprint.right))


def _beyond(x: Array, y: Array, footprint: Footprint) -> Array:
    """The same for x and y of any one shape: the signed distance from a box."""
    along = (
        np.abs(x - (footprint.front - footprint.back) / 2.0)
        - (footprint.front + footprint.back) / 2.0
    )
    across = (
        np.abs(y - (footprint.left - footprint.right) / 2.0)
        - (footprint.left + footprint.right) / 2.0
    )
    inside = np.minimum(np.maximum(along, across), 0.0)
    # What is so far away is infinitely far; np.hypot takes three times as long.
    with np.errstate(over="ignore"):
        squares = np.square(np.maximum(along, 0.0)) + np.square(np.maximum(across, 0.0))
        outside: Array = np.sqrt(squares)
    return outside + inside


def approach(
    points: Array, footprint: Footprint, twist: tuple[float, float, float], limits: Obstacles
) -> Approach:
    """What a motion comes to along the next `slow_distance` metres of its way, or more.

    Each point is judged by itself, so that another one never makes it milder. What the footprint
    would touch, or is in touch with (`CONTACT_M`) and does not leave, is approached. What it passes
    nearer than `side_clearance`, and nearer than it is now, leaves a share of the speed: none at a
    touch, all at `side_clearance` or where it is as far as `slow_distance`. So a robot that stands
    too near to a wall can leave it slowly, along it or away.

    Args:
        points: what may be in the way, N x 2, base frame, m.
        footprint: the robot's.
        twist: forward and left, m/s, and turning, rad/s.
        limits: the robot's distances and times.
    """
    radius = farthest_corner(footprint)
    # No part of the footprint is faster.
    speed = math.hypot(twist[0], twist[1]) + abs(twist[2]) * radius
    if speed == 0.0:
        return NOTHING
    now = distances(points, footprint)
    way = max(limits.slow_distance, speed * limits.time_to_collision)
    # The way in steps, T of them, m: by length, so that a slow motion is looked at as far ahead.
    s = np.linspace(0.0, way, 1 + min(math.ceil(way / STEP_M), MOST_STEPS))[1:]
    vx = twist[0] / speed
    vy = twist[1] / speed
    wz = twist[2] / speed
    # Two cheap looks first: what is farther away than the way is long, or beside it, cannot matter.
    matters = now <= way
    points = points[matters]
    now = now[matters]
    matters = _along(points, (vx, vy, wz), s, radius + max(limits.side_clearance, CONTACT_M))
    points = points[matters]
    now = now[matters]
    if not len(points):
        return NOTHING
    later = _beyond(*_seen_later(points, (vx, vy, wz), s[:, None]), footprint)  # T x N
    nearest = later.min(axis=0)
    near = now <= CONTACT_M
    # What is inside is left only backwards: out on the other side of the robot is no way out.
    inside = (now < 0.0) & (points[:, 0] * vx + points[:, 1] * vy > -CONTACT_M * math.hypot(vx, vy))
    # What is near already must be farther away after the first step, and never nearer than now.
    stays = (later[0] < now + MIN_APPROACH_M) | (nearest < now) | inside
    touches = np.where(near, stays, nearest <= CONTACT_M)
    share = 1.0
    passed = ~touches & ~near & (nearest < np.minimum(now, limits.side_clearance) - MIN_APPROACH_M)
    if passed.any():
        room = (nearest[passed] - CONTACT_M) / max(limits.side_clearance - CONTACT_M, 1e-9)
        far = (now[passed] - limits.stop_distance) / (limits.slow_distance - limits.stop_distance)
        share = float(np.clip(np.maximum(room, far), 0.0, 1.0).min())
    if not touches.any():
        return Approach(math.inf, 0.0, math.inf, share)
    first = int(np.argmin(np.where(touches, now, np.inf)))  # the nearest of what it would touch
    met = np.flatnonzero((later[:, touches] <= CONTACT_M).any(axis=1))
    time = math.inf
    if len(met):  # the step before it touches: rather too early
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
    # The rotation back by the robot's yaw: one product of matrices for all points and steps.
    seen_x = np.hstack([cos, sin]) @ points.T - (cos * x + sin * y)
    seen_y = np.hstack([-sin, cos]) @ points.T - (cos * y - sin * x)
    return seen_x, seen_y


def _poses(twist: tuple[float, float, float], t: Array) -> tuple[Array, Array, Array, Array]:
    """The robot after `t` of this motion: cosine and sine of its yaw, and its x and y."""
    vx, vy, wz = twist
    cos = np.cos(wz * t)
    sin = np.sin(wz * t)
    if abs(wz) < 1e-6:  # the arc is a line, and its radius would be a division by zero
        return cos, sin, vx * t, vy * t
    return cos, sin, (vx * sin - vy * (1.0 - cos)) / wz, (vx * (1.0 - cos) + vy * sin) / wz


def _along(
    points: Array, twist: tuple[float, float, float], t: Array, within: float
) -> NDArray[np.bool_]:
    """Which of N x 2 points are within so many m of a box around the robot's way."""
    _, _, x, y = _poses(twist, t)
    # From where it stands now, too: x and y begin a step later. One axis at a time: of a row of two
    # numpy asks "both?" in longer than all of this takes.
    along = np.full(len(points), True)
    for place, way in ((points[:, 0], x), (points[:, 1], y)):
        along &= place >= min(0.0, float(way.min())) - within
        along &= place <= max(0.0, float(way.max())) + within
    return along
