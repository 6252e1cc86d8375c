"""Which of the things in sight an intent means: by colour, shape, and where they stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vla_ros.tasks.intent import Intent, Which

# Things nearer to each other than this, as the robot sees them, are neither left nor right of each
# other (rad), neither before nor behind each other (m).
SAME_BEARING_RAD = math.radians(4)
SAME_DISTANCE_M = 0.08
# "behind" and "in front of" ask that both stand in about one direction, as the robot sees them
IN_LINE_RAD = math.radians(25)
AHEAD_RAD = math.radians(45)  # to either side: "ahead" is there
NEXT_TO_M = 1.0  # farther apart, and two things are not next to each other
# of several beside a thing the nearest is meant only if it is nearer by this than the next one
CLEARANCE_M = 0.1


@dataclass(frozen=True)
class Sighting:
    """A thing as the robot sees it: metres ahead and to the left of base_link."""

    colour: str
    shape: str
    ahead: float
    left: float

    @property
    def distance(self) -> float:
        """From base_link, m."""
        return math.hypot(self.ahead, self.left)

    @property
    def bearing(self) -> float:
        """Left positive, rad."""
        return math.atan2(self.left, self.ahead)

    @property
    def name(self) -> str:
        """For people: "red block"."""
        return f"{self.colour} {self.shape}"


def fitting(intent: Intent, things: Sequence[Sighting]) -> list[Sighting]:
    """The things that colour, shape and "not" allow, wherever they stand."""
    fits = []
    for thing in things:
        named = intent.colour in (None, thing.colour) and intent.shape in (None, thing.shape)
        if named and not {thing.colour, thing.shape} & set(intent.excluded):
            fits.append(thing)
    return fits


def chosen(
    intent: Intent, things: Sequence[Sighting], last: Sighting | None = None
) -> list[Sighting]:
    """The things that the intent means: one where it is clear, several where it is not.

    Args:
        intent: What is meant.
        things: What the robot sees.
        last: The thing that was meant before, as it stands now; "the other one" is not that.

    Returns:
        Empty where none fits, or where the thing that a relation is about is not there. Several,
        too, where two stand about as near to it, or where there are two that it may be about.
    """
    fits = fitting(intent, things)
    if intent.which is None or not fits:
        return fits
    relation = intent.which.relation
    if relation == "other":
        return [thing for thing in fits if thing != last]
    if relation == "ahead":
        fits = [thing for thing in fits if abs(thing.bearing) < AHEAD_RAD]
    if relation in _MEASURES:
        return [min(fits, key=_MEASURES[relation])] if fits else []
    meant: list[Sighting] = []
    for landmark in fitting(_landmark(intent.which), things):
        beside = []
        for thing in fits:
            if thing != landmark and _stands(relation, thing, landmark):
                beside.append((_gap(relation, thing, landmark), thing))
        nearest = min((gap for gap, _ in beside), default=0.0)
        for gap, thing in beside:
            if gap <= nearest + _clearance(relation) and thing not in meant:
                meant.append(thing)
    return meant


_MEASURES = {
    "any": lambda thing: thing.distance,
    "nearest": lambda thing: thing.distance,
    "farthest": lambda thing: -thing.distance,
    "leftmost": lambda thing: -thing.bearing,
    "rightmost": lambda thing: thing.bearing,
    "ahead": lambda thing: abs(thing.bearing),
}


def _landmark(which: Which) -> Intent:
    return Intent("face", which.colour, which.shape)


def _gap(relation: str, thing: Sighting, landmark: Sighting) -> float:
    """Of several that stand there, the one with the least is meant."""
    if relation in ("behind", "in_front_of"):  # the one that is straightest behind it
        return abs(_aside(thing, landmark))
    return math.dist((thing.ahead, thing.left), (landmark.ahead, landmark.left))


def _clearance(relation: str) -> float:
    """In the unit of its `_gap`, rad or m."""
    return SAME_BEARING_RAD if relation in ("behind", "in_front_of") else CLEARANCE_M


def _aside(thing: Sighting, landmark: Sighting) -> float:
    """How far to the left of the landmark the robot sees the thing, rad."""
    return math.remainder(thing.bearing - landmark.bearing, 2 * math.pi)


def _stands(relation: str, thing: Sighting, landmark: Sighting) -> bool:
    aside = _aside(thing, landmark)
    farther = thing.distance - landmark.distance
    if relation == "left_of":
        return aside > SAME_BEARING_RAD
    if relation == "right_of":
        return aside < -SAME_BEARING_RAD
    if relation == "behind":
        return farther > SAME_DISTANCE_M and abs(aside) < IN_LINE_RAD
    if relation == "in_front_of":
        return farther < -SAME_DISTANCE_M and abs(aside) < IN_LINE_RAD
    return _gap(relation, thing, landmark) < NEXT_TO_M  # next_to
