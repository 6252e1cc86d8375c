"""Nothing nearer than `stop_distance` is approached.

Near things and a near collision slow down, and so does the edge of what the sensors see. Away is
always free.
"""

from __future__ import annotations

import math

from vla_ros.core.robot_obstacles import FLOOR_CHANNELS, Obstacles, floor_twist
from vla_ros.safety.obstacles import approach, seen_ahead
from vla_ros.safety.rule import Finding, RuleInputs, Verdict, held, rule


@rule(
    holds_when="the motion would touch something at `stop_distance`, or is in touch with it and "
    "does not leave; *limits* from `slow_distance` on, before a collision, past what is nearer "
    "than `side_clearance`, and to what the sensors see",
    set_by="robot file: `obstacles`, `footprint`",
    goes_on_when="it is farther than `stop_distance` + `hysteresis` for `hold_off`, or the motion "
    "leads away",
)
def obstacle(inputs: RuleInputs) -> Finding | None:
    robot = inputs.robot
    row = inputs.row
    channels = inputs.channels
    if robot.obstacles is None:
        return None
    vx, vy, wz = floor_twist({channel.name: value for channel, value in zip(channels, row)})
    if vx == vy == wz == 0.0:
        return None
    # What is in the way: `share` is how much of the speed is left, `cause` says why.
    limits = robot.obstacles
    gap, direction, touch, share = approach(inputs.points(), robot.footprint, (vx, vy, wz), limits)
    cause = f"an obstacle at {math.degrees(direction):.0f} deg is {gap:.2f} m away"
    stop = limits.stop_distance + (limits.hysteresis if inputs.was_blocked else 0.0)
    if gap <= stop + 1e-6:  # a rounding error is no free way
        return held("obstacle", f"{cause}; nothing nearer than {stop:.2f} m is approached")
    if share < min(1.0, _share(gap, touch, limits)):
        cause = "something is passed closely"
    share = min(share, _share(gap, touch, limits))
    # What nobody sees: something may stand just where the sensors' sight ends.
    speed = math.hypot(vx, vy)
    heading = math.atan2(vy, vx)
    if speed * min(share, 1.0) > limits.max_speed_unobserved:
        readings = [seen.reading for seen in inputs.readings.values()]
        reach = seen_ahead(readings, heading, robot.footprint)
        unseen = max(_share(reach, reach / speed, limits), limits.max_speed_unobserved / speed)
        if unseen < min(share, 1.0):
            share = unseen
            cause = f"the sensors see {reach:.2f} m ahead"
            if reach <= 0.0:
                cause = f"no sensor sees where the robot goes ({math.degrees(heading):.0f} deg)"
    if share >= 1.0:
        return None
    if share <= 0.0:
        return held("obstacle", cause)
    # All of the base's velocities by the same share: it stays on the arc that was asked for.
    slower = list(row)
    for i, channel in enumerate(channels):
        if channel.name in FLOOR_CHANNELS:
            slower[i] *= share
    return Finding("obstacle", Verdict.LIMITED, f"{cause}; speed is {share:.0%}", tuple(slower))


def _share(gap: float, touch: float, limits: Obstacles) -> float:
    """Of the speed asked for, what a distance (m) and the time (s) until it is covered leave."""
    slowing = limits.slow_distance - limits.stop_distance
    return min((gap - limits.stop_distance) / slowing, touch / limits.time_to_collision)
