"""The expert that demonstrates: what the arm does next, from the truth.

It looks for the next waypoint of the tool, goes a step towards it and has the joints for that from
`chain.joints_for`. What it does depends on the moment and on the table when the instruction was
given, not on what it did before: any moment, a policy's too, can be labelled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vla_ros.sim.arm import chain
from vla_ros.tasks.arm.intent import PUT_KINDS, ArmIntent
from vla_ros.tasks.arm.success import judge_arm, places_meant, things_meant
from vla_ros.tasks.arm.table import HAND_OVER, OPENING_MAX, TableObject, TableState

Array = NDArray[np.float64]
# The fastest that it moves: within the robot file's limits, which would clamp a demonstration.
TOOL_SPEED_M_S = 0.25  # m/s, of the tool
YAW_SPEED_RAD_S = 1.0  # rad/s, of the hand
JOINT_SPEED_RAD_S = 0.9  # rad/s
SLOW_WITHIN_M = 0.05  # m from a waypoint, where it begins to slow down
CREEP_M_S = 0.03  # m/s, the slowest that it approaches a waypoint
TRAVEL_HEIGHT_M = 0.15  # m, the height at which it passes over what stands on the table
STEEPNESS = 3.0  # m of height for each m that it is beside where it goes down
GENTLE = 1.5  # the same where it may go down anywhere beside something
# m beside where something is put, within which the funnel is flatter. Who sees that place to a
# centimetre only, and not whether it is above it, hovers where the funnel is on average: over a
# steep one so high that nothing is let go.
FLAT_M = 0.025
FLATNESS = 0.8  # m of height for each m beside
FINGER_LENGTH_M = 0.010  # m from the tool to the fingertips
# How far the tool may be beside where it goes down, m, and turned, rad: nobody who has to see it is
# surer than that, and one who waits to be surer waits above it.
ALIGNED_M = 0.008
ALIGNED_RAD = 0.12
# Kind -> the same for a thing that is brought somewhere, and from how far above it is let go, m.
PLACING = {"put_into": (0.022, 0.012), "put_onto": (0.013, 0.010), "put_beside": (0.020, 0.010)}
RELEASE_ROOM_M = 0.014  # m that the fingers open beyond a thing before they leave it
PUSH_WAY_M = 0.075  # m that a thing is pushed
BEHIND_M = 0.040  # m from a thing's side, where a push begins
OFF_M = 0.022  # m from a thing's side, where the tool does not touch it
ENOUGH_ROOM_M = 0.025  # m around what is put beside another thing: more is no better
NEARER_M_PER_RAD = 0.012  # m of room that a rad nearer is worth
PUT_BESIDE_GAP_M = 0.028  # m between a thing and the one that it is put beside
# where the tool can point down: m from the arm's axis, rad, m
NEAREST_REACH_M = 0.17
FARTHEST_REACH_M = 0.465
WIDEST_REACH_RAD = 2.4
LOWEST_REACH_M = 0.012
HIGHEST_REACH_M = 0.25
MOST_ROLL_RAD = 2.5  # rad, of joint_6: half a turn less is the same hand
SPOTS = np.linspace(-math.pi, math.pi, 24, endpoint=False)  # rad: directions to choose from


@dataclass(frozen=True)
class Waypoint:
    """Where the tool goes next, pointing down.

    Attributes:
        place: m in `base_link`.
        yaw: Along which the fingers move, rad; the same half a turn further.
        gripper: 0 closed to 1 open.
        down: It goes straight down there: not before it is above, turned, and `ready`.
        ready: The fingers are as they have to be for that.
        aligned: m, so far beside the place it counts as above it.
        steepness: m of height for each m that it is farther beside.
        flat: m from there on, within which it is FLATNESS instead.
    """

    place: tuple[float, float, float]
    yaw: float
    gripper: float
    down: bool = True
    ready: bool = True
    aligned: float = ALIGNED_M
    steepness: float = STEEPNESS
    flat: float = 0.0


def rows_for(
    intent: ArmIntent, start: TableState, now: TableState, count: int, step: float
) -> Array:
    """What the expert would do in the coming steps, if the table moved as planned.

    Args:
        intent: Is to be done.
        start: The table when the instruction was given.
        now: The table now.
        count: How many rows.
        step: Between two of them, s; the first is for so long after `now`.

    Returns:
        count x 7: six angles (rad) and the gripper, 0 closed to 1 open.

    Raises:
        ValueError: The table has no such thing.
    """
    rows = np.zeros((count, 7))
    for index in range(count):
        rows[index] = next_row(intent, start, now, step)
        if index + 1 < count:
            now = moved_table(intent, now, rows[index], step)
    return rows


def next_row(intent: ArmIntent, start: TableState, now: TableState, step: float) -> Array:
    """Six angles (rad) and the gripper (0 … 1) for `step` s from now."""
    joints = np.array(now.joints)
    if intent.kind == "home":
        gap = np.array(now.home) - joints
        fast = np.clip(2.0 * np.abs(gap).max(), 0.1, JOINT_SPEED_RAD_S) * step
        return np.append(_towards(joints, joints + gap, fast), _kept(now))
    if intent.kind in ("open", "close", "stop"):
        gripper = {"open": 1.0, "close": 0.0}.get(intent.kind, _kept(now))
        return np.append(joints, gripper)
    goal = waypoint(intent, start, now)
    place, yaw = _step_to(goal, now, step)
    place = _within_reach(place)
    square = _bearing(place) + math.pi / 2  # the fingers' direction where joint_6 is zero
    wanted = chain.joints_for(place, chain.pointing_down(square))
    # The last axis is the tool's: joint_6 turns the fingers and moves nothing else.
    roll = joints[5] + math.remainder(square - yaw - joints[5], 2.0 * math.pi)
    wanted[5] = min(max(roll, chain.LIMITS[5, 0]), chain.LIMITS[5, 1])
    return np.append(_towards(joints, wanted, JOINT_SPEED_RAD_S * step), goal.gripper)


def _kept(now: TableState) -> float:
    """The gripper as it is, in the two ways that it is used."""
    return 1.0 if now.held is None and now.opening > OPENING_MAX / 2 else 0.0


def _towards(joints: Array, wanted: Array, most: float) -> Array:
    """`joints`, moved on a straight line towards `wanted`, none by more than `most`."""
    gap = wanted - joints
    farthest = float(np.abs(gap).max())
    return joints + gap * min(1.0, most / farthest) if farthest > 0.0 else joints


def _within_reach(place: Array) -> Array:
    radius = min(max(math.hypot(place[0], place[1]), NEAREST_REACH_M), FARTHEST_REACH_M)
    bearing = min(max(_bearing(place), -WIDEST_REACH_RAD), WIDEST_REACH_RAD)
    height = min(max(place[2], LOWEST_REACH_M), HIGHEST_REACH_M)
    return np.array([radius * math.cos(bearing), radius * math.sin(bearing), height])


def _step_to(goal: Waypoint, now: TableState, step: float) -> tuple[Array, float]:
    """The tool's place (m) and the fingers' direction (rad), `step` s on the way to `goal`."""
    tool = np.array(now.tool)
    place = np.array(goal.place)
    turn = _turn_to(goal, now)
    aside = math.dist(now.tool[:2], goal.place[:2])
    if goal.down:
        lack = funnel(goal, aside) + 0.2 * max(0.0, abs(turn) - ALIGNED_RAD)
        floor = place[2] + lack + (0.0 if goal.ready else 0.05)
        place[2] = max(place[2], min(floor, max(TRAVEL_HEIGHT_M, place[2])))
        # what is below the funnel first goes up
        share = min(max(1.0 - (place[2] - now.tool[2]) / 0.04, 0.0), 1.0)
        place[:2] = tool[:2] + share * (place[:2] - tool[:2])
    way = place - tool
    length = float(np.linalg.norm(way))
    fast = min(max(TOOL_SPEED_M_S * length / SLOW_WITHIN_M, CREEP_M_S), TOOL_SPEED_M_S) * step
    if length > fast:
        way = way * fast / length
    most = YAW_SPEED_RAD_S * step
    return tool + way, now.tool_yaw + min(max(turn, -most), most)


def funnel(goal: Waypoint, aside: float) -> float:
    """How far above its goal a tool stays that is `aside` of it: m, both."""
    beyond = max(0.0, aside - goal.aligned)
    near = min(beyond, goal.flat)
    return FLATNESS * near + goal.steepness * (beyond - near)


def _bearing(place: Array) -> float:
    return math.atan2(place[1], place[0])


def _turn_to(goal: Waypoint, now: TableState) -> float:
    """How far the fingers turn until they are as `goal` has them there, rad, left positive.

    A hand turned by half a turn is the same hand: it is the nearer of the two, unless joint_6 would
    come near its limit.
    """
    turned = _bearing(np.array(goal.place)) - _bearing(np.array(now.tool))  # by joint_1
    roll = now.joints[5]
    wanted = _square(_bearing(np.array(goal.place)) + math.pi / 2 - goal.yaw, roll, math.pi)
    if abs(wanted) > MOST_ROLL_RAD:
        wanted -= math.copysign(math.pi, wanted)
    return turned - (wanted - roll)


def waypoint(intent: ArmIntent, start: TableState, now: TableState) -> Waypoint:
    """Where the tool has to go now, for a kind that is about a thing.

    Raises:
        ValueError: The table has no such thing.
    """
    thing = _chosen(things_meant(intent, now), now)
    if intent.kind == "reach":
        height = thing.z + thing.height / 2 + 0.04
        return Waypoint((thing.x, thing.y, height), now.tool_yaw, _kept(now))
    if intent.kind == "push":
        return _push(start, now, thing)
    if intent.kind in PUT_KINDS:
        if judge_arm(intent, start, now).lacking == 0.0:  # it lies where it belongs
            return _leave(now, thing)
        place = _chosen(places_meant(intent, now, thing), start)
        if gripped(now, thing):
            return _bring(intent, start, now, thing, place)
        return _grasp(now, thing)
    if not gripped(now, thing):
        return _grasp(now, thing)
    if intent.kind == "hand_over":
        return Waypoint(HAND_OVER, _square(math.pi / 2, now.tool_yaw, math.pi), 0.0)
    return Waypoint(
        (now.tool[0], now.tool[1], TRAVEL_HEIGHT_M + 0.01), now.tool_yaw, 0.0, down=False
    )


def _chosen(meant: list[TableObject], now: TableState) -> TableObject:
    """Of the things that words could mean: the one that is held, or the nearest to the tool."""
    for thing in meant:
        if gripped(now, thing):
            return thing
    return min(meant, key=lambda thing: math.dist((thing.x, thing.y), now.tool[:2]))


def _between_fingers(now: TableState, thing: TableObject) -> bool:
    """Is the thing where the fingers would close on it?"""
    beside = math.dist((thing.x, thing.y), now.tool[:2])
    return beside < 0.018 and abs(now.tool[2] - _grip_height(thing)) < 0.022


def gripped(now: TableState, thing: TableObject) -> bool:
    """Does the thing move with the hand?

    A grip that is felt on both fingers; in the air a thing between them is enough, as a force is
    not there at every moment.
    """
    if now.held == thing.name:
        return True
    closed = now.opening < thing.size * 1.5 and now.opening < thing.size + 0.024
    return thing.bottom > 0.012 and closed and _between_fingers(now, thing) and now.held is None


def closed_on_nothing(now: TableState, thing: TableObject) -> bool:
    """Are the fingers closer together than the thing is wide? Then they open again."""
    return now.opening < thing.size - 0.006


def _grip_height(thing: TableObject) -> float:
    """Where the tool is (m) when it grips the thing: its middle, of a cup the upper part."""
    return thing.z if thing.shape == "block" else thing.z + thing.height / 2 - 0.028


def _square(yaw: float, near: float, period: float) -> float:
    """`yaw`, or one that is whole periods away from it: the nearest to `near`, rad."""
    return near + math.remainder(yaw - near, period)


def _grasp(now: TableState, thing: TableObject) -> Waypoint:
    """Above the thing with open fingers, down, and close."""
    yaw = now.tool_yaw
    if thing.shape == "block":  # two of its sides are in line with the fingers
        yaw = _square(thing.yaw, now.tool_yaw, math.pi / 2)
    height = _grip_height(thing)
    turned = abs(math.remainder(yaw - now.tool_yaw, math.pi)) < 1.5 * ALIGNED_RAD
    beside = math.dist((thing.x, thing.y), now.tool[:2])
    there = beside < 1.4 * ALIGNED_M and abs(now.tool[2] - height) < 0.009 and turned
    if there and not closed_on_nothing(now, thing):
        return Waypoint((thing.x, thing.y, height), yaw, 0.0)
    wide = now.opening > thing.size + 0.012
    return Waypoint((thing.x, thing.y, height), yaw, 1.0, ready=wide)


def _bring(
    intent: ArmIntent, start: TableState, now: TableState, thing: TableObject, place: TableObject
) -> Waypoint:
    """To its place with what is held, and let go there: the hand turned as it is.

    A block stands on another one askew as well, and open fingers fit between it and what is beside
    it; but who had to turn would have to see by how much.
    """
    if intent.kind == "put_into":
        spot = (place.x, place.y)
        bottom = place.height + 0.002  # over the rim: the fingers open above it
    elif intent.kind == "put_onto":
        spot = (place.x, place.y)
        bottom = place.z + place.height / 2 + 0.002
    else:
        angle = beside_angle(start, thing, place)
        apart = (thing.size + place.size) / 2 + PUT_BESIDE_GAP_M
        spot = (place.x + apart * math.cos(angle), place.y + apart * math.sin(angle))
        bottom = 0.002
    height = now.tool[2] + bottom - thing.bottom
    goal = (now.tool[0] + spot[0] - thing.x, now.tool[1] + spot[1] - thing.y, height)
    aside = math.dist(spot, (thing.x, thing.y))
    aligned, drop = PLACING[intent.kind]
    if aside < aligned + 0.003 and thing.bottom - bottom < drop:
        return Waypoint(now.tool, now.tool_yaw, 1.0, down=False)
    steepness = GENTLE if intent.kind == "put_beside" else STEEPNESS
    return Waypoint(goal, now.tool_yaw, 0.0, aligned=aligned, steepness=steepness, flat=FLAT_M)


def _leave(now: TableState, thing: TableObject) -> Waypoint:
    """Up from what was put down, once the fingers are off it."""
    near = math.dist((thing.x, thing.y), now.tool[:2]) < 0.06
    if near and now.opening < thing.size + RELEASE_ROOM_M and now.opening < OPENING_MAX - 0.004:
        return Waypoint(now.tool, now.tool_yaw, 1.0, down=False)
    height = max(now.tool[2], TRAVEL_HEIGHT_M if near else 0.0)
    return Waypoint((now.tool[0], now.tool[1], height), now.tool_yaw, 1.0, down=False)


def _room(start: TableState, spots: Array, besides: tuple[TableObject, ...]) -> Array:
    """How far each spot (N x 2, m) is from the nearest side of any thing but `besides`, m."""
    room = np.full(len(spots), np.inf)
    names = [thing.name for thing in besides]
    for thing in start.objects:
        if thing.name not in names:
            away = np.hypot(spots[:, 0] - thing.x, spots[:, 1] - thing.y) - thing.size / 2
            room = np.minimum(room, away)
    return room


def _out_of_reach(spots: Array) -> Array:
    """How far each spot (N x 2) is outside where the tool can point down, m."""
    radius = np.hypot(spots[:, 0], spots[:, 1])
    aside = np.abs(np.arctan2(spots[:, 1], spots[:, 0])) - 1.4
    return (
        np.maximum(0.0, 0.19 - radius)
        + np.maximum(0.0, radius - 0.455)
        + np.maximum(0.0, aside * radius)
    )


def beside_angle(start: TableState, thing: TableObject, place: TableObject) -> float:
    """In which direction (rad) from `place` there is room for `thing` and the fingers.

    The nearest to where the thing is: so it stays what it was while the thing is brought there.
    """
    there = start.object(place.name)
    bearing = math.atan2(thing.y - there.y, thing.x - there.x)
    angles = np.append(SPOTS, bearing)
    towards = np.stack((np.cos(angles), np.sin(angles)), 1)
    across = towards[:, ::-1] * (-1.0, 1.0)
    spots = np.array((there.x, there.y)) + towards * (
        (thing.size + place.size) / 2 + PUT_BESIDE_GAP_M
    )
    room = _room(start, spots, (thing, place)) - thing.size / 2
    for side in (-1.0, 1.0):  # both fingers, wide open
        room = np.minimum(room, _room(start, spots + side * 0.045 * across, (thing, place)) - 0.015)
    turned = np.abs(np.arctan2(np.sin(angles - bearing), np.cos(angles - bearing)))
    score = (
        np.minimum(room, ENOUGH_ROOM_M) - 10.0 * _out_of_reach(spots) - NEARER_M_PER_RAD * turned
    )
    return float(angles[int(score.argmax())])


def push_angle(start: TableState, thing: TableObject) -> float:
    """In which direction (rad) there is most room to push the thing, and to begin behind it."""
    before = start.object(thing.name)
    here = np.array((before.x, before.y))
    towards = np.stack((np.cos(SPOTS), np.sin(SPOTS)), 1)
    behind = here - towards * (thing.size / 2 + BEHIND_M)
    ahead = here + towards * (PUSH_WAY_M + 0.02)
    halfway = here + towards * (PUSH_WAY_M / 2)
    room = _room(start, behind, (thing,)) - 0.02
    for spots in (ahead, halfway):
        room = np.minimum(room, _room(start, spots, (thing,)) - thing.size / 2)
    last = here + towards * (PUSH_WAY_M - thing.size / 2)  # where the tool ends
    score = np.minimum(room, 0.04) - 10.0 * (_out_of_reach(behind) + _out_of_reach(last))
    score -= 0.01 * np.abs(np.sin(SPOTS))  # away from the arm, where nothing else speaks
    return float(SPOTS[int(score.argmax())])


def _push(start: TableState, now: TableState, thing: TableObject) -> Waypoint:
    """Behind the thing with closed fingers, down, and on through where it is."""
    angle = push_angle(start, thing)
    along = np.array((math.cos(angle), math.sin(angle)))
    here = np.array((thing.x, thing.y))
    before = start.object(thing.name)
    # the hand stays above a cup that stands beside
    height = max(0.024, thing.height - 0.035)
    # One finger behind the other: something round would wedge itself between two side by side.
    yaw = _square(angle, now.tool_yaw, math.pi)
    gap = np.array(now.tool[:2]) - here
    if math.dist(here, (before.x, before.y)) >= PUSH_WAY_M:
        x, y, z = now.tool
        apart = float(np.linalg.norm(gap))
        if z < thing.height + 0.02 and 0.0 < apart < thing.size / 2 + OFF_M:
            x, y = (here + gap / apart * (thing.size / 2 + 2.0 * OFF_M)).tolist()
        else:  # not before: the fingers would take it with them
            z = max(z, TRAVEL_HEIGHT_M)
        return Waypoint((x, y, z), now.tool_yaw, 0.0, down=False)
    ahead = float(gap @ along)
    aside = float(gap[1] * along[0] - gap[0] * along[1])
    low = now.tool[2] < height + 0.012
    if low and abs(aside) < 0.018 and -thing.size / 2 - BEHIND_M - 0.012 < ahead < 0.0:
        goal = here + along * 0.03
        return Waypoint((float(goal[0]), float(goal[1]), height), yaw, 0.0, down=False)
    begin = here - along * (thing.size / 2 + BEHIND_M)
    return Waypoint((float(begin[0]), float(begin[1]), height), yaw, 0.0, ready=now.opening < 0.012)


def moved_table(intent: ArmIntent, now: TableState, row: Array, step: float) -> TableState:
    """The table `step` s later: the arm as told, what is gripped with it, what is pushed ahead.

    Args:
        intent: Is being done: only a push moves what it touches.
        now: The table.
        row: Where the arm is then (six angles, rad), and what the gripper is told (0 … 1).
        step: s.
    """
    place, rotation = chain.tool_pose(row[:6])
    tool = (float(place[0]), float(place[1]), float(place[2]))
    gripper_way = 2.0 * chain.FINGER_SPEED_M_S * step
    wanted = float(row[6]) * OPENING_MAX
    opening = now.opening + min(max(wanted - now.opening, -gripper_way), gripper_way)
    held = None
    objects = []
    for thing in now.objects:
        pressed = thing.shape != "bowl" and _between_fingers(now, thing) and wanted < thing.size
        if pressed and opening <= thing.size + 0.001:
            opening = max(opening, thing.size)
            held = thing.name
            shift = np.subtract(tool, now.tool)
            thing = replace(
                thing,
                x=thing.x + float(shift[0]),
                y=thing.y + float(shift[1]),
                z=thing.z + float(shift[2]),
            )
        elif now.held == thing.name or (thing.bottom > 0.012 and _between_fingers(now, thing)):
            thing = _dropped(now, thing)
        elif intent.kind == "push" and tool[2] < thing.height:
            thing = _pushed(thing, tool, now.tool)
        objects.append(thing)
    return replace(
        now,
        time=now.time + step,
        joints=tuple(row[:6].tolist()),
        tool=tool,
        tool_yaw=math.atan2(rotation[1, 1], rotation[0, 1]),
        opening=opening,
        objects=tuple(objects),
        held=held,
    )


def _dropped(now: TableState, thing: TableObject) -> TableObject:
    """Let go, it lies on what is below it: a block, a bowl's floor, or the table."""
    level = 0.0
    for other in now.objects:
        if other.name != thing.name and math.dist((other.x, other.y), (thing.x, thing.y)) < 0.03:
            level = other.height if other.shape == "block" else 0.006
    return replace(thing, z=level + thing.height / 2)


def _pushed(
    thing: TableObject, tool: tuple[float, float, float], before: tuple[float, float, float]
) -> TableObject:
    """Away from the fingers, where they would be inside it."""
    apart = math.dist((thing.x, thing.y), tool[:2])
    least = thing.size / 2 + 0.010
    way = math.dist(tool[:2], before[:2])
    if apart >= least or way < 1e-6:
        return thing
    share = (least - apart) / way
    return replace(
        thing,
        x=thing.x + share * (tool[0] - before[0]),
        y=thing.y + share * (tool[1] - before[1]),
    )
