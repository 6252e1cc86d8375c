"""The simulator's truth as it comes over the wire, judged: never what the policy claims."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from visualization_msgs.msg import Marker

from vla_ros.core.instructions import NotUnderstood
from vla_ros.tasks.judged_meaning import AS_READ, judged_meaning
from vla_ros.tasks.reading.reader import InstructionReader
from vla_ros.tasks.sequence import Judging, in_words
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


Verdict = Callable[[WorldState | None], Judgement]  # of the world now


def judging(
    words: str,
    start: WorldState | None,
    success: Callable[[str, WorldState, WorldState], Judgement],
    reader: InstructionReader,
) -> Verdict:
    """What judges the words from `start` on, moment by moment.

    Words of the task language are followed step after step, by `judged_meaning`; where only
    `reader` says what they mean, the sentence says that. What a person brought a success function
    for is asked of that.
    """
    if success is not judge or start is None:
        return lambda now: verdict(words, start, now, success)
    try:
        meant, as_read = judged_meaning(words, reader)
        following = Judging(meant, start)
    except NotUnderstood:
        return lambda now: _nobody_told(words)
    except ValueError as problem:
        # bound now: Python forgets `problem` at the end of this clause
        sentence = str(problem)
        return lambda now: Judgement(False, math.inf, sentence)

    def followed(now: WorldState | None) -> Judgement:
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
    success: Callable[[str, WorldState, WorldState], Judgement] = judge,
) -> Judgement:
    """What `success` says, where words without meaning and a silent simulator are not done."""
    if start is None or now is None:
        return _silent()
    try:
        return success(words, start, now)
    except NotUnderstood:
        return _nobody_told(words)
    except ValueError as problem:
        return Judgement(False, math.inf, str(problem))


def _silent() -> Judgement:
    return Judgement(False, math.inf, "the simulator publishes nothing on /sim/objects")


def _nobody_told(words: str) -> Judgement:
    sentence = (
        f"nobody told the demo when {words[:80]!r} is done: for a policy with words of its "
        "own, give --success"
    )
    return Judgement(False, math.inf, sentence)
