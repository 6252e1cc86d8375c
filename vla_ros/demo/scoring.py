"""The simulator's truth as it comes over the wire, judged: never what the policy claims."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from visualization_msgs.msg import Marker

from vla_ros.core.instructions import NotUnderstood
from vla_ros.tasks.judged_meaning import AS_READ
from vla_ros.tasks.sequence import in_words
from vla_ros.tasks.success import Judgement
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


Verdict = Callable[[Any], Judgement]  # of the world now; None: it is not known


def judging(
    words: str,
    start: Any,
    meaning: Callable[[str], tuple[Any, bool]],
    following_from: Callable[[Any, Any], Callable[[Any], Judgement]],
) -> Verdict:
    """What judges words of the task language from `start` on, moment by moment, step after step.

    Args:
        words: What was said.
        start: The world then.
        meaning: Of words: what they mean, and whether the reader alone says so, which the sentence
            then says too. Raises NotUnderstood.
        following_from: Of a meaning and a start: what judges each moment.
    """
    if start is None:
        return lambda now: _silent()
    try:
        meant, as_read = meaning(words)
        following = following_from(meant, start)
    except NotUnderstood:
        return lambda now: _nobody_told(words)
    except ValueError as problem:
        # bound now: Python forgets `problem` at the end of this clause
        sentence = str(problem)
        return lambda now: Judgement(False, math.inf, sentence)

    def followed(now: Any) -> Judgement:
        if now is None:
            return _silent()
        try:
            judged = following(now)
        except ValueError as problem:  # the next step is about what the room has not
            judged = Judgement(False, math.inf, str(problem))
        if as_read:
            return replace(judged, sentence=f"{judged.sentence} ({AS_READ}: {in_words(meant)})")
        return judged

    return followed


def verdict(
    words: str,
    start: WorldState | None,
    now: WorldState | None,
    success: Callable[[str, WorldState, WorldState], Judgement],
) -> Judgement:
    """What `success` says; a silent simulator is not done."""
    if start is None or now is None:
        return _silent()
    return success(words, start, now)


def _silent() -> Judgement:
    return Judgement(False, math.inf, "the simulator publishes nothing on /sim/objects")


def _nobody_told(words: str) -> Judgement:
    sentence = (
        f"nobody told the demo when {words[:80]!r} is done: for a policy with words of its "
        "own, give --success"
    )
    return Judgement(False, math.inf, sentence)
