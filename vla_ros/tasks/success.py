"""What an instruction means as a thing that did or did not happen in the room.

Every criterion compares the world now with the world when the instruction was given, has its
tolerance written down here, and asks that the robot stands still: an instruction is done when the
robot is done.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from vla_ros.tasks.choice import Sighting, chosen
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
# An amount is met exactly where the miss is within this share of it, and a turn also within these
# degrees. That is reported beside "done", whose tolerances above are older and wider.
EXACT_SHARE = 0.1
EXACT_ANGLE_RAD = math.radians(5)
# the least that is "a bit"
BIT_ANGLE_RAD = math.radians(10)
BIT_M = 0.05


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
    return _standing(_CRITERIA[intent.kind](resolved(intent, start), start, now), now)


def _standing(verdict: Judgement, now: WorldState) -> Judgement:
    """The verdict, which is not done yet where the robot still moves."""
    moving = abs(now.linear) > STILL_LINEAR or abs(now.angular) > STILL_ANGULAR
    if verdict.done and moving:
        return Judgement(
            False,
            0.0,
            f"{verdict.sentence}, but the robot still moves "
            f"({now.linear:.2f} m/s, {now.angular:.2f} rad/s)",
        )
    return verdict


def sighting(state: WorldState, thing: ObjectState) -> Sighting:
    """The object as the robot sees it in that state."""
    distance, bearing = polar(state, thing)
    ahead = distance * math.cos(bearing)
    return Sighting(thing.colour, thing.shape, ahead, distance * math.sin(bearing))


def targets(intent: Intent, state: WorldState, last: str | None = None) -> list[ObjectState]:
    """The objects that the words could mean, seen from where the robot stands in `state`.

    Args:
        intent: What was asked for.
        state: The world as the words are said: "left of" is judged from here.
        last: The name of what was meant before; "the other one" is not that.

    Raises:
        ValueError: the room has none.
    """
    if intent.which is None or intent.which.relation == "any":
        # chosen() gives the nearest of "any", as a policy would; but the person does not mind which
        things = [thing for thing in state.objects if _fits(intent, thing)]
    else:
        sightings = [sighting(state, thing) for thing in state.objects]
        names = _names(state.objects)
        before = sightings[names.index(last)] if last in names else None
        meant = chosen(intent, sightings, before)
        things = [thing for thing, seen in zip(state.objects, sightings) if seen in meant]
    if not things:
        there = ", ".join(_names(state.objects))
        raise ValueError(f"the room has no {intent.target}; it has {there}")
    return things


def _fits(intent: Intent, thing: ObjectState) -> bool:
    named = intent.colour in (None, thing.colour) and intent.shape in (None, thing.shape)
    return named and thing.colour not in intent.excluded and thing.shape not in intent.excluded


def resolved(intent: Intent, start: WorldState, last: str | None = None) -> Intent:
    """The intent by colour and shape alone, where its words say more than that.

    What stands left of something at the start is meant to the end, wherever the robot drives.

    Raises:
        ValueError: the room has no such object.
    """
    if intent.which is None and not intent.excluded:
        return intent
    things = targets(intent, start, last)
    if len(things) > 1:  # any of them will do
        return replace(intent, which=None)
    return replace(intent, colour=things[0].colour, shape=things[0].shape, which=None, excluded=())


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
    wanted = _signed(intent)
    turned = math.remainder(now.yaw - start.yaw, 2 * math.pi)
    # by the remainder, half a turn to the left is half a turn to the right
    miss = abs(math.remainder(turned - wanted, 2 * math.pi))
    return _turn_verdict(turned, wanted, miss, _drift(start, now))


def judge_turned(intent: Intent, turned: float, start: WorldState, now: WorldState) -> Judgement:
    """As `judge`, of a turn that was followed: `turned`, rad, left positive, may be over a circle.

    Args:
        intent: The turn.
        turned: Since `start`, summed up from moment to moment.
        start: The world when it was asked for.
        now: The world now.
    """
    wanted = _signed(intent)
    return _standing(_turn_verdict(turned, wanted, abs(turned - wanted), _drift(start, now)), now)


def _turn_verdict(turned: float, wanted: float, miss: float, drift: float) -> Judgement:
    return _verdict(
        f"the robot turned {math.degrees(turned):.0f} of {math.degrees(wanted):.0f} degrees",
        # of a small turn half, or it would be done before it began
        miss - min(TURN_TOLERANCE_RAD, abs(wanted) / 2),
        drift - MAX_DRIFT_M,
    )


def _signed(intent: Intent) -> float:
    """The amount, m or rad; to the right and back it is negative."""
    return -intent.amount if intent.kind in ("turn_right", "back") else intent.amount


def exact(intent: Intent, start: WorldState, now: WorldState) -> bool:
    """Whether a turn or a drive met its amount within EXACT_SHARE of it or EXACT_ANGLE_RAD."""
    miss = abs(_amount_done(intent, start, now) - intent.amount)
    if intent.kind.startswith("turn"):
        miss = abs(math.remainder(miss, 2 * math.pi))  # by the headings
        return miss <= max(EXACT_ANGLE_RAD, EXACT_SHARE * intent.amount)
    return miss <= EXACT_SHARE * intent.amount


def judge_bit(intent: Intent, start: WorldState, now: WorldState) -> Judgement:
    """As `judge`, of "a bit": any amount will do, from BIT_ANGLE_RAD or BIT_M to the usual one."""
    least = BIT_ANGLE_RAD if intent.kind.startswith("turn") else BIT_M
    done = min(max(least, _amount_done(intent, start, now)), intent.amount)
    return judge(replace(intent, amount=done), start, now)


def _amount_done(intent: Intent, start: WorldState, now: WorldState) -> float:
    """What was turned (rad) or driven (m) to the side, or the way, that the intent says."""
    sign = -1.0 if intent.kind in ("turn_right", "back") else 1.0
    if intent.kind.startswith("turn"):
        return sign * math.remainder(now.yaw - start.yaw, 2 * math.pi)
    dx = now.x - start.x
    dy = now.y - start.y
    return sign * (dx * math.cos(start.yaw) + dy * math.sin(start.yaw))


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
