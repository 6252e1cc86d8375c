"""Scenes in which words are clear: what is meant is one thing, in sight, and the way is free.

Seen from where the robot starts, as `tasks/choice.py` chooses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from vla_ros.sim.projection import in_view
from vla_ros.sim.scene import ROOM_M, Placement, Scene
from vla_ros.tasks.choice import Sighting, chosen, fitting
from vla_ros.tasks.intent import THING_RELATIONS, Intent
from vla_ros.tasks.objects import PASSING_CLEARANCE
from vla_ros.tasks.phrases import OBJECT_KINDS
from vla_ros.tasks.success import FACE_BEARING_RAD

# How far each thing may stand elsewhere without another one being meant: what a robot makes of
# its image is as good as that.
CLEAR_BEARING_RAD = math.radians(5)
CLEAR_DISTANCE_M = 0.12
# between two bearings, so that facing one is not facing the other: twice what counts as faced, and
# 9 degrees between them
MIN_APART_RAD = 2 * FACE_BEARING_RAD + math.radians(9)
# m from base_link to the walls where a drive ends: the footprint, and what the gate keeps free
FREE_AHEAD_M = 0.31 + 0.33
FREE_BEHIND_M = 0.14 + 0.33
# from base_link to what it stands before, once it has gone there
STAND_OFF_M = 0.36
PUSHED_M = 0.35  # that a push drives on, and takes the thing with it
Pose = tuple[float, float, float]  # m, m, rad


def sightings(scene: Scene, pose: Pose | None = None) -> list[Sighting]:
    """The scene's things as the robot sees them from `pose`, or from where it starts."""
    x, y, yaw = pose or scene.robot
    things = []
    for thing in scene.objects:
        dx = thing.x - x
        dy = thing.y - y
        ahead = dx * math.cos(yaw) + dy * math.sin(yaw)
        left = dy * math.cos(yaw) - dx * math.sin(yaw)
        things.append(Sighting(thing.colour, thing.shape, ahead, left))
    return things


def seen(thing: Sighting) -> bool:
    """Whether most of it is in the camera's image."""
    return bool(in_view(thing.ahead, thing.left))  # type: ignore[arg-type]


def meant_thing(intent: Intent, scene: Scene) -> Placement | None:
    """The one thing that the intent clearly means; None where it is not clear.

    Of "any" it is the nearest. Where the words say where it stands, it is in sight, as is what it
    stands beside, and another thing is there that they would fit without the relation.
    """
    things = sightings(scene)
    meant = chosen(intent, things)
    if len(meant) != 1:
        return None
    thing = meant[0]
    told_by_place = intent.which is not None and intent.which.relation != "any"
    if told_by_place and not _clear(intent, things, thing):
        return None
    return scene.objects[things.index(thing)]


def _clear(intent: Intent, things: list[Sighting], thing: Sighting) -> bool:
    """Whether the relation tells the thing, and goes on telling it from a little elsewhere."""
    in_sight = list(filter(seen, things))
    needed = [thing]
    if intent.which is not None and intent.which.colour is not None:
        marks = fitting(Intent("face", intent.which.colour, intent.which.shape), things)
        if len(marks) != 1 or thing in marks:
            return False
        needed += marks
    # also false where it, or what it stands beside, is out of sight
    if chosen(intent, in_sight) != [thing]:
        return False
    others = [other for other in fitting(intent, things) if other not in needed]
    if not others and (intent.colour is None or intent.shape is None):
        return False  # the relation would tell nothing
    place = things.index(thing)
    for nudged in _nudges(things):
        if chosen(intent, nudged) != [nudged[place]]:
            return False
    return _alone(intent, things, thing)


def _alone(intent: Intent, things: list[Sighting], thing: Sighting) -> bool:
    """Whether no second one stands there, too: left of the block there may be two balls."""
    assert intent.which is not None
    if intent.which.relation not in THING_RELATIONS or intent.which.relation == "next_to":
        return True
    for nudged in _nudges([other for other in things if other != thing]):
        if chosen(intent, nudged):
            return False
    return True


def _nudges(things: list[Sighting]) -> list[list[Sighting]]:
    """The things as they are, and with each of them a little to either side, nearer and farther."""
    rooms = [things]
    for index, thing in enumerate(things):
        for turn, step in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            bearing = thing.bearing + turn * CLEAR_BEARING_RAD
            distance = thing.distance + step * CLEAR_DISTANCE_M
            moved = replace(
                thing, ahead=distance * math.cos(bearing), left=distance * math.sin(bearing)
            )
            rooms.append([*things[:index], moved, *things[index + 1 :]])
    return rooms


def apart(scene: Scene, thing: Placement, other: Placement) -> float:
    """rad, between the two bearings, from where the robot starts."""
    return abs(math.remainder(bearing(scene, thing) - bearing(scene, other), 2 * math.pi))


def bearing(scene: Scene, thing: Placement, pose: Pose | None = None) -> float:
    """rad, left positive, from where the robot starts, or from `pose`."""
    x, y, yaw = pose or scene.robot
    return math.remainder(math.atan2(thing.y - y, thing.x - x) - yaw, 2 * math.pi)


def can_be_done(intents: Sequence[Intent], scene: Scene) -> bool:
    """Whether each step is clear and its way is free, as far as a plan can say.

    The robot is thought to do each step exactly; a first "face" is not done before it begins.
    """
    pose = scene.robot
    last: str | None = None
    held: str | None = None
    for number, intent in enumerate(intents):
        if intent.kind in OBJECT_KINDS:
            thing = _thing_of_step(intent, scene, last)
            if thing is None:
                return False
            faced = abs(bearing(scene, thing, pose)) < MIN_APART_RAD
            if intent.kind == "face" and number == 0 and _any_faced(intent, scene, faced):
                return False
            pose = _before(scene, thing, pose, intent.kind)
            last = thing.name
            held = thing.name if intent.kind == "grab" else held
        elif intent.kind.startswith("turn"):
            sign = -1.0 if intent.kind == "turn_right" else 1.0
            pose = (pose[0], pose[1], pose[2] + sign * intent.amount)
        elif intent.kind in ("forward", "back"):
            way = intent.amount if intent.kind == "forward" else -intent.amount
            if not free_way(scene, pose, way, held):
                return False
            pose = _moved(pose, way)
    return True


def _thing_of_step(intent: Intent, scene: Scene, last: str | None) -> Placement | None:
    if intent.which is None or intent.which.relation != "other":
        return meant_thing(intent, scene)
    # "the other ball" is clear where there are two, and one of them was meant before
    others = []
    for thing, sighted in zip(scene.objects, sightings(scene)):
        if thing.name != last and sighted in fitting(intent, sightings(scene)):
            others.append(thing)
    return others[0] if last is not None and len(others) == 1 else None


def _any_faced(intent: Intent, scene: Scene, faced: bool) -> bool:
    """Whether the robot faces it already; of "any", whether it faces any."""
    if intent.which is None or intent.which.relation != "any":
        return faced
    things = fitting(intent, sightings(scene))
    return any(abs(thing.bearing) < MIN_APART_RAD for thing in things)


def _before(scene: Scene, thing: Placement, pose: Pose, kind: str) -> Pose:
    """Where the robot is once it has done that with the thing."""
    x, y, yaw = pose
    heading = yaw + bearing(scene, thing, pose)
    if kind == "face":
        return x, y, heading
    ahead = math.dist((x, y), (thing.x, thing.y)) - STAND_OFF_M
    if kind == "push":
        ahead += PUSHED_M
    return x + ahead * math.cos(heading), y + ahead * math.sin(heading), heading


def _moved(pose: Pose, way: float) -> Pose:
    x, y, yaw = pose
    return x + way * math.cos(yaw), y + way * math.sin(yaw), yaw


def free_way(scene: Scene, pose: Pose, way: float, held: str | None = None) -> bool:
    """Whether the robot can drive `way` m straight on, back where it is negative.

    Args:
        scene: The room.
        pose: From where it drives.
        way: m.
        held: The name of what it has grabbed, which is not where it was.
    """
    margin = FREE_AHEAD_M if way > 0 else FREE_BEHIND_M
    x, y, _ = _moved(pose, way + math.copysign(margin, way))
    if max(abs(x), abs(y)) > ROOM_M / 2:
        return False
    for thing, sighted in zip(scene.objects, sightings(scene, pose)):
        along = math.copysign(1.0, way) * sighted.ahead
        reached = 0.0 < along < abs(way) + margin
        if thing.name != held and reached and abs(sighted.left) < PASSING_CLEARANCE:
            return False
    return True
