"""The simulator's truth as it comes over the wire, judged: never what the policy claims."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from visualization_msgs.msg import Marker

from vla_ros.core.instructions import NotUnderstood
from vla_ros.tasks.success import Judgement, judge
from vla_ros.tasks.world_state import ObjectState, WorldState


def yaw(marker: Marker) -> float:
    """Heading in radians."""
    q = marker.pose.orientation
    return math.atan2(2 * (q.w * q.z + q.x * q.y), 1 - 2 * (q.y * q.y + q.z * q.z))


def world_state(
    markers: Mapping[str, Marker], speeds: tuple[float, float], opening: float, seconds: float = 0.0
) -> WorldState | None:
    """The truth, put together from three topics; None while the robot has not been seen.

    Args:
        markers: Of /sim/objects, by name. What the gripper holds is the text of the robot's.
        speeds: Of /odom, m/s and rad/s.
        opening: Of the gripper, m.
        seconds: The time it is true at.
    """
    robot = markers.get("robot")
    if robot is None:
        return None
    things = [marker for name, marker in markers.items() if name != "robot"]
    place = robot.pose.position
    return WorldState(
        time=seconds,
        x=place.x,
        y=place.y,
        yaw=yaw(robot),
        linear=speeds[0],
        angular=speeds[1],
        opening=opening,
        objects=tuple(map(_object, things)),
        held=robot.text or None,
    )


def _object(marker: Marker) -> ObjectState:
    colour, _, shape = marker.ns.partition(" ")  # "red block"
    place = marker.pose.position
    return ObjectState(
        name=marker.ns,
        colour=colour,
        shape=shape,
        x=place.x,
        y=place.y,
        z=place.z,
        yaw=yaw(marker),
        size=marker.scale.x,
        height=marker.scale.z,
    )


def verdict(
    words: str,
    start: WorldState | None,
    now: WorldState | None,
    success: Callable[[str, WorldState, WorldState], Judgement] = judge,
) -> Judgement:
    """What `success` says, where words without meaning and a silent simulator are not done."""
    if start is None or now is None:
        return Judgement(False, math.inf, "the simulator publishes nothing on /sim/objects")
    try:
        return success(words, start, now)
    except NotUnderstood as problem:
        sentence = f"{problem}; a policy with words of its own needs --success"
        return Judgement(False, math.inf, sentence)
    except ValueError as problem:
        return Judgement(False, math.inf, str(problem))
