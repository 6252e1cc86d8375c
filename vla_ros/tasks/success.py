"""What an instruction means as a thing that did or did not happen in the room.

Every criterion compares the world now with the world when the instruction was given, has its
tolerance written down here, and asks that the robot stands still: an instruction is done when the
robot is done.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vla_ros.tasks.intent import Intent, parse
from vla_ros.tasks.world_state import ObjectState, WorldState

# m/s, rad/s: below both, the robot stands still
STILL_LINEAR = 0.03
STILL_ANGULAR = 0.05
GO_TO_REACH = 0.45  # m from base_link to the object's middle; the fingers' tips are at 0.30
GO_TO_BEARING = math.radians(20)
GO_TO_MOVED = 0.10  # m: the object must not have been pushed away
FACE_BEARING = math.radians(8)
TURN_TOLERANCE = math.radians(15)
# of the distance asked for
DRIVE_LEAST = 0.6
DRIVE_MOST = 1.4
DRIVE_SIDEWAYS = 0.15  # m
PUSHED = 0.10  # m that a pushed object must have moved
# m between the fingers
OPEN_LEAST = 0.085
CLOSED_MOST = 0.01
IN_PLACE = 0.25  # m that a robot may drift while it only turns or moves its gripper


@dataclass(frozen=True)
class Verdict:
    """Whether it is done, how far from done (m or rad, 0 when done), and why in a sentence.
    `distance` is what the worst condition lacks, `lacking` what all of them lack together."""

    done: bool
    distance: float
    sentence: str
    lacking: float = 0.0


def polar(state: WorldState, thing: ObjectState) -> tuple[float, float]:
    """Distance (m) and bearing (rad, left positive) of an object from base_link."""
    dx, dy = thing.x - state.x, thing.y - state.y
    return math.hypot(dx, dy), math.remainder(math.atan2(dy, dx) - state.yaw, 2 * math.pi)


def judge(instruction: str | Intent, start: WorldState, now: WorldState) -> Verdict:
    """Has the instruction, given at `start`, been done `now`? Raises ValueError for words without
    meaning.

    Turns are told from the headings alone: judge often enough that no full turn lies in between.
    """
    intent = parse(instruction) if isinstance(instruction, str) else instruction
    verdict = _CRITERIA[intent.kind](intent, start, now)
    moving = abs(now.linear) > STILL_LINEAR or abs(now.angular) > STILL_ANGULAR
    if verdict.done and moving:
        return Verdict(
            False,
            0.0,
            f"{verdict.sentence}, but the robot still moves "
            f"({now.linear:.2f} m/s, {now.angular:.2f} rad/s)",
        )
    return verdict


def targets(intent: Intent, state: WorldState) -> list[ObjectState]:
    """The objects that the words could mean. Raises ValueError when the room has none."""
    found = [
        thing
        for thing in state.objects
        if intent.colour in (None, thing.colour) and intent.shape in (None, thing.shape)
    ]
    if not found:
        names = ", ".join(thing.name for thing in state.objects)
        raise ValueError(f"the room has no {intent.target}; it has {names}")
    return found


def _at_start(start: WorldState, thing: ObjectState) -> ObjectState:
    return next(one for one in start.objects if one.name == thing.name)


def _nearest(intent: Intent, now: WorldState) -> tuple[ObjectState, float, float]:
    thing = min(targets(intent, now), key=lambda one: polar(now, one)[0])
    return (thing, *polar(now, thing))


def _drift(start: WorldState, now: WorldState) -> float:
    return math.dist((start.x, start.y), (now.x, now.y))


def _verdict(sentence: str, *excesses: float) -> Verdict:
    """Done when no excess over its tolerance is positive; the distance is the largest."""
    over = [max(0.0, excess) for excess in excesses]
    return Verdict(max(over) == 0.0, max(over), sentence, sum(over))


def _go_to(intent: Intent, start: WorldState, now: WorldState) -> Verdict:
    thing, distance, bearing = _nearest(intent, now)
    before = _at_start(start, thing)
    pushed = math.dist((before.x, before.y), (thing.x, thing.y))
    return _verdict(
        f"the {thing.name} is {distance:.2f} m away at {math.degrees(bearing):.0f} degrees "
        f"and was moved {pushed:.2f} m",
        distance - GO_TO_REACH,
        abs(bearing) - GO_TO_BEARING,
        pushed - GO_TO_MOVED,
    )


def _face(intent: Intent, start: WorldState, now: WorldState) -> Verdict:
    thing = min(targets(intent, now), key=lambda one: abs(polar(now, one)[1]))
    bearing = polar(now, thing)[1]
    return _verdict(
        f"the {thing.name} is at {math.degrees(bearing):.0f} degrees",
        abs(bearing) - FACE_BEARING,
        _drift(start, now) - IN_PLACE,
    )


def _grab(intent: Intent, start: WorldState, now: WorldState) -> Verdict:
    thing, distance, _ = _nearest(intent, now)
    if now.held in [one.name for one in targets(intent, now)]:
        return Verdict(True, 0.0, f"the gripper holds the {now.held}")
    held = f"the {now.held}" if now.held else "nothing"
    return Verdict(
        False,
        distance,
        f"the gripper holds {held}; the {thing.name} is {distance:.2f} m away",
        distance,
    )


def _push(intent: Intent, start: WorldState, now: WorldState) -> Verdict:
    moved = {
        thing.name: math.dist(
            (thing.x, thing.y), (_at_start(start, thing).x, _at_start(start, thing).y)
        )
        for thing in targets(intent, now)
    }
    name = max(moved, key=lambda key: moved[key])
    return _verdict(f"the {name} was moved {moved[name]:.2f} m", PUSHED - moved[name])


def _turn(intent: Intent, start: WorldState, now: WorldState) -> Verdict:
    wanted = -intent.amount if intent.kind == "turn_right" else intent.amount
    turned = math.remainder(now.yaw - start.yaw, 2 * math.pi)
    miss = abs(math.remainder(turned - wanted, 2 * math.pi))
    return _verdict(
        f"the robot turned {math.degrees(turned):.0f} of {math.degrees(wanted):.0f} degrees",
        miss - TURN_TOLERANCE,
        _drift(start, now) - IN_PLACE,
    )


def _drive(intent: Intent, start: WorldState, now: WorldState) -> Verdict:
    sign = -1.0 if intent.kind == "back" else 1.0
    dx, dy = now.x - start.x, now.y - start.y
    along = sign * (dx * math.cos(start.yaw) + dy * math.sin(start.yaw))
    sideways = abs(dy * math.cos(start.yaw) - dx * math.sin(start.yaw))
    way = "back" if sign < 0 else "forward"
    return _verdict(
        f"the robot drove {along:.2f} of {intent.amount:.2f} m {way}, {sideways:.2f} m sideways",
        DRIVE_LEAST * intent.amount - along,
        along - DRIVE_MOST * intent.amount,
        sideways - DRIVE_SIDEWAYS,
    )


def _open(intent: Intent, start: WorldState, now: WorldState) -> Verdict:
    return _verdict(
        f"the gripper is open {100 * now.opening:.1f} cm",
        OPEN_LEAST - now.opening,
        _drift(start, now) - IN_PLACE,
    )


def _close(intent: Intent, start: WorldState, now: WorldState) -> Verdict:
    if now.held:
        return _verdict(f"the gripper closed on the {now.held}", _drift(start, now) - IN_PLACE)
    return _verdict(
        f"the gripper is open {100 * now.opening:.1f} cm",
        now.opening - CLOSED_MOST,
        _drift(start, now) - IN_PLACE,
    )


def _stop(intent: Intent, start: WorldState, now: WorldState) -> Verdict:
    """The braking distance is allowed for; standing still is what `judge` asks of every
    instruction."""
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
