"""What an instruction means as a thing that did or did not happen in the room.

Every criterion compares the world now with the world when the instruction was given, has its
tolerance written down here, and asks that the robot stands still: an instruction is done when the
robot is done.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from vla_ros.tasks.intent import Intent, parse
from vla_ros.tasks.world_state import ObjectState, WorldState

# m/s, rad/s: below both, the robot stands still
STILL_LINEAR = 0.03
STILL_ANGULAR = 0.05
GO_TO_REACH_M = 0.45  # from base_link to the object's middle; the fingers' tips are at 0.30
GO_TO_BEARING_RAD = math.radians(20)
MAX_MOVED_M = 0.10  # of an object that is driven to: it must not have been pushed away
FACE_BEARING_RAD = math.radians(8)
TURN_TOLERANCE_RAD = math.radians(15)
# of the distance asked for
MIN_DRIVE_SHARE = 0.6
MAX_DRIVE_SHARE = 1.4
MAX_SIDEWAYS_M = 0.15
MIN_PUSH_M = 0.10  # that a pushed object must have moved
# between the fingers
MIN_OPEN_M = 0.085
MAX_CLOSED_M = 0.01
MAX_DRIFT_M = 0.25  # of a robot that only turns or moves its gripper


@dataclass(frozen=True)
class Judgement:
    """Whether it is done, how far from done, and why in a sentence."""

    done: bool
    distance: float  # what the worst condition lacks, m or rad; 0 when done
    sentence: str
    lacking: float = 0.0  # what all conditions lack together, m and rad


def polar(state: WorldState, thing: ObjectState) -> tuple[float, float]:
    """Distance (m) and bearing (rad, left positive) of an object from base_link."""
    dx = thing.x - state.x
    dy = thing.y - state.y
    return math.hypot(dx, dy), math.remainder(math.atan2(dy, dx) - state.yaw, 2 * math.pi)


def judge(instruction: str | Intent, start: WorldState, now: WorldState) -> Judgement:
    """Has the instruction, given at `start`, been done `now`?

    Turns are judged by the headings alone: ask often enough that no full turn lies in between.

    Raises:
        ValueError: the words have no meaning, or the room has no such object.
    """
    intent = parse(instruction) if isinstance(instruction, str) else instruction
    verdict = _CRITERIA[intent.kind](intent, start, now)
    moving = abs(now.linear) > STILL_LINEAR or abs(now.angular) > STILL_ANGULAR
    if verdict.done and moving:
        return Judgement(
            False,
            0.0,
            f"{verdict.sentence}, but the robot still moves "
            f"({now.linear:.2f} m/s, {now.angular:.2f} rad/s)",
        )
    return verdict


def targets(intent: Intent, state: WorldState) -> list[ObjectState]:
    """The objects that the words could mean.

    Raises:
        ValueError: the room has none.
    """
    meant = []
    for thing in state.objects:
        if intent.colour in (None, thing.colour) and intent.shape in (None, thing.shape):
            meant.append(thing)
    if not meant:
        names = ", ".join(_names(state.objects))
        raise ValueError(f"the room has no {intent.target}; it has {names}")
    return meant


def _names(things: Iterable[ObjectState]) -> list[str]:
    return [thing.name for thing in things]


def _moved(start: WorldState, thing: ObjectState) -> float:
    """How far (m) the object is from where it was at `start`."""
    before = start.objects[_names(start.objects).index(thing.name)]
    return math.dist((before.x, before.y), (thing.x, thing.y))


def _nearest(intent: Intent, now: WorldState) -> tuple[ObjectState, float, float]:
    """Of the objects that the words could mean, with its distance and bearing."""
    thing = min(targets(intent, now), key=lambda thing: polar(now, thing)[0])
    return (thing, *polar(now, thing))


def _drift(start: WorldState, now: WorldState) -> float:
    """How far (m) the robot is from where it was at `start`."""
    return math.dist((start.x, start.y), (now.x, now.y))


def _verdict(sentence: str, *excesses: float) -> Judgement:
    """Done when no excess over its tolerance is positive; the distance is the largest."""
    over = [max(0.0, excess) for excess in excesses]
    return Judgement(max(over) == 0.0, max(over), sentence, sum(over))


def _go_to(intent: Intent, start: WorldState, now: WorldState) -> Judgement:
    thing, distance, bearing = _nearest(intent, now)
    pushed = _moved(start, thing)
    return _verdict(
        f"the {thing.name} is {distance:.2f} m away at {math.degrees(bearing):.0f} degrees "
        f"and was moved {pushed:.2f} m",
        distance - GO_TO_REACH_M,
        abs(bearing) - GO_TO_BEARING_RAD,
        pushed - MAX_MOVED_M,
    )


def _face(intent: Intent, start: WorldState, now: WorldState) -> Judgement:
    # any that is faced will do, not the nearest alone
    thing = min(targets(intent, now), key=lambda thing: abs(polar(now, thing)[1]))
    _, bearing = polar(now, thing)
    return _verdict(
        f"the {thing.name} is at {math.degrees(bearing):.0f} degrees",
        abs(bearing) - FACE_BEARING_RAD,
        _drift(start, now) - MAX_DRIFT_M,
    )


def _grab(intent: Intent, start: WorldState, now: WorldState) -> Judgement:
    thing, distance, _ = _nearest(intent, now)
    if now.held in _names(targets(intent, now)):
        return Judgement(True, 0.0, f"the gripper holds the {now.held}")
    held = f"the {now.held}" if now.held else "nothing"
    sentence = f"the gripper holds {held}; the {thing.name} is {distance:.2f} m away"
    return Judgement(False, distance, sentence, distance)


def _push(intent: Intent, start: WorldState, now: WorldState) -> Judgement:
    # of those that the words could mean, the one that was pushed if any was
    thing = max(targets(intent, now), key=lambda thing: _moved(start, thing))
    moved = _moved(start, thing)
    return _verdict(f"the {thing.name} was moved {moved:.2f} m", MIN_PUSH_M - moved)


def _turn(intent: Intent, start: WorldState, now: WorldState) -> Judgement:
    wanted = -intent.amount if intent.kind == "turn_right" else intent.amount
    turned = math.remainder(now.yaw - start.yaw, 2 * math.pi)
    # by the remainder, half a turn to the left is half a turn to the right
    miss = abs(math.remainder(turned - wanted, 2 * math.pi))
    return _verdict(
        f"the robot turned {math.degrees(turned):.0f} of {math.degrees(wanted):.0f} degrees",
        miss - TURN_TOLERANCE_RAD,
        _drift(start, now) - MAX_DRIFT_M,
    )


def _drive(intent: Intent, start: WorldState, now: WorldState) -> Judgement:
    sign = -1.0 if intent.kind == "back" else 1.0
    dx = now.x - start.x
    dy = now.y - start.y
    along = sign * (dx * math.cos(start.yaw) + dy * math.sin(start.yaw))
    sideways = abs(dy * math.cos(start.yaw) - dx * math.sin(start.yaw))
    way = "back" if sign < 0 else "forward"
    return _verdict(
        f"the robot drove {along:.2f} of {intent.amount:.2f} m {way}, {sideways:.2f} m sideways",
        MIN_DRIVE_SHARE * intent.amount - along,
        along - MAX_DRIVE_SHARE * intent.amount,
        sideways - MAX_SIDEWAYS_M,
    )


def _open(intent: Intent, start: WorldState, now: WorldState) -> Judgement:
    return _verdict(
        f"the gripper is open {100 * now.opening:.1f} cm",
        MIN_OPEN_M - now.opening,
        _drift(start, now) - MAX_DRIFT_M,
    )


def _close(intent: Intent, start: WorldState, now: WorldState) -> Judgement:
    if now.held:  # the fingers cannot close further
        return _verdict(f"the gripper closed on the {now.held}", _drift(start, now) - MAX_DRIFT_M)
    return _verdict(
        f"the gripper is open {100 * now.opening:.1f} cm",
        now.opening - MAX_CLOSED_M,
        _drift(start, now) - MAX_DRIFT_M,
    )


def _stop(intent: Intent, start: WorldState, now: WorldState) -> Judgement:
    """The braking distance is allowed for; standing still is asked of every instruction."""
    moving = max(abs(now.linear) - STILL_LINEAR, abs(now.angular) - STILL_ANGULAR)
    return _verdict(f"the robot moves at {now.linear:.2f} m/s, {now.angular:.2f} rad/s", moving)


_CRITERIA = {
    "go_to": _go_to,
    "face": _face,
    "grab": _grab,
    "push": _push,
    "turn_left": _turn,
    "turn_right": _turn,
    "turn_around": _turn,
    "forward": _drive,
    "back": _drive,
    "open": _open,
    "close": _close,
    "stop": _stop,
}
