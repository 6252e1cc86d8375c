"""What an instruction to an arm means as a thing that did or did not happen on its table.

Every criterion compares the table now with the table when the instruction was given, has its
tolerance written down here, and asks that the arm stands still. It is the simulator's truth that
is judged, never what a policy believes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from vla_ros.tasks.arm.intent import HOLDING_KINDS, PLACES, ArmIntent, Named
from vla_ros.tasks.arm.judged_meaning import one_arm_step
from vla_ros.tasks.arm.table import (
    GRASPABLE,
    HAND_OVER,
    OPENING_MAX,
    TableObject,
    TableState,
)
from vla_ros.tasks.success import Judgement

STILL_RAD_S = 0.08  # below, the fastest joint stands still
# m, of a tool that reaches for something: beside its middle, and above its top
REACH_ASIDE_M = 0.03
REACH_ABOVE_M = (-0.01, 0.09)
MAX_MOVED_M = 0.03  # of what is reached for, or put something onto, into or beside
LIFTED_M = 0.05  # of the bottom of what is picked up
HAND_OVER_M = 0.06  # from where it is offered
INTO_SHARE = 0.75  # of a bowl's half width: nearer to its middle is in it
ONTO_SHARE = 0.5  # of the lower block's width: nearer to its middle is on it
LEVEL_M = 0.012  # of the height of what stands on the table or on something
BESIDE_GAP_M = 0.06  # between the nearest sides, at most
MIN_PUSH_M = 0.05
MIN_OPEN_M = 0.9 * OPENING_MAX
MAX_CLOSED_M = 0.006
MAX_DRIFT_M = 0.10  # of a tool that only opens or closes
HOME_RAD = 0.12  # of each joint


def judge_arm(instruction: str | ArmIntent, start: TableState, now: TableState) -> Judgement:
    """Has the instruction, given at `start`, been done `now`?

    Raises:
        ValueError: The words have no meaning, or several steps (ArmJudging follows those), or the
            table has no such thing.
    """
    if isinstance(instruction, str):
        instruction = one_arm_step(instruction)
    intent = instruction
    verdict = _CRITERIA[intent.kind](intent, start, now)
    if verdict.done and now.speed > STILL_RAD_S:
        return Judgement(
            False, 0.0, f"{verdict.sentence}, but the arm still moves ({now.speed:.2f} rad/s)"
        )
    return verdict


def things_meant(intent: ArmIntent, state: TableState) -> list[TableObject]:
    """The things that the words could mean, for a kind that has one.

    Raises:
        ValueError: The table has none.
    """
    held = intent.kind in HOLDING_KINDS
    return _meant(intent.thing or Named(), state, GRASPABLE if held else None)


def places_meant(intent: ArmIntent, state: TableState, thing: TableObject) -> list[TableObject]:
    """The things that `thing` could be put into, onto or beside.

    Raises:
        ValueError: The table has none.
    """
    wanted = PLACES.get(intent.kind)
    meant = _meant(intent.place or Named(), state, (wanted,) if wanted else None)
    others = [place for place in meant if place.name != thing.name]
    if not others:
        raise ValueError(f"the table has nothing but the {thing.name} that the words could mean")
    return others


def _meant(named: Named, state: TableState, shapes: tuple[str, ...] | None) -> list[TableObject]:
    meant = []
    for thing in state.objects:
        fits = named.colour in (None, thing.colour) and named.shape in (None, thing.shape)
        if fits and (shapes is None or thing.shape in shapes):
            meant.append(thing)
    if not meant:
        names = ", ".join(thing.name for thing in state.objects)
        raise ValueError(f"the table has no {named.text} for that; it has {names}")
    return meant


def _verdict(sentence: str, *excesses: float) -> Judgement:
    """Done when no excess over its tolerance is positive; the distance is the largest."""
    over = [max(0.0, excess) for excess in excesses]
    return Judgement(max(over) == 0.0, max(over), sentence, sum(over))


def _nearest_to_done(verdicts: list[Judgement]) -> Judgement:
    """Where words could mean several things, the one that is done, or the nearest to it."""
    return min(verdicts, key=lambda verdict: verdict.lacking)


def _moved(start: TableState, thing: TableObject) -> float:
    """How far (m) the thing is from where it was at `start`, over the table."""
    before = start.object(thing.name)
    return math.dist((before.x, before.y), (thing.x, thing.y))


def _held_instead(now: TableState, thing: TableObject) -> float:
    """m: what a thing that is still held, or still between the fingers, lacks to be let go."""
    return 0.05 if now.held == thing.name else 0.0


def _reach(intent: ArmIntent, start: TableState, now: TableState) -> Judgement:
    verdicts = []
    for thing in things_meant(intent, now):
        aside = math.dist((thing.x, thing.y), now.tool[:2])
        above = now.tool[2] - (thing.z + thing.height / 2)
        moved = _moved(start, thing)
        verdicts.append(
            _verdict(
                f"the tool is {100 * aside:.1f} cm beside the {thing.name}'s middle and "
                f"{100 * above:.1f} cm above it, which was moved {100 * moved:.1f} cm",
                aside - REACH_ASIDE_M,
                REACH_ABOVE_M[0] - above,
                above - REACH_ABOVE_M[1],
                moved - MAX_MOVED_M,
            )
        )
    return _nearest_to_done(verdicts)


def _pick(intent: ArmIntent, start: TableState, now: TableState) -> Judgement:
    verdicts = []
    for thing in things_meant(intent, now):
        away = 0.0 if now.held == thing.name else math.dist((thing.x, thing.y, thing.z), now.tool)
        verdicts.append(
            _verdict(
                f"the gripper holds {_held(now)}, and the {thing.name} is "
                f"{100 * thing.bottom:.1f} cm above the table",
                away,
                LIFTED_M - thing.bottom,
            )
        )
    return _nearest_to_done(verdicts)


def _hand_over(intent: ArmIntent, start: TableState, now: TableState) -> Judgement:
    verdicts = []
    offered = math.dist(now.tool, HAND_OVER)
    for thing in things_meant(intent, now):
        away = 0.0 if now.held == thing.name else math.dist((thing.x, thing.y, thing.z), now.tool)
        verdicts.append(
            _verdict(
                f"the gripper holds {_held(now)}, {100 * offered:.1f} cm from where it is offered",
                away,
                offered - HAND_OVER_M,
            )
        )
    return _nearest_to_done(verdicts)


def _held(now: TableState) -> str:
    return f"the {now.held}" if now.held else "nothing"


def _put(intent: ArmIntent, start: TableState, now: TableState) -> Judgement:
    verdicts = []
    for thing in things_meant(intent, now):
        for place in places_meant(intent, now, thing):
            apart = math.dist((thing.x, thing.y), (place.x, place.y))
            moved = _moved(start, place)
            sentence = (
                f"the {thing.name} is {100 * apart:.1f} cm from the {place.name}'s middle, "
                f"{100 * thing.bottom:.1f} cm above the table, and the gripper holds {_held(now)}; "
                f"the {place.name} was moved {100 * moved:.1f} cm"
            )
            # a bowl gives way when something drops into it
            allowed = MAX_MOVED_M + (0.03 if intent.kind == "put_into" else 0.0)
            verdicts.append(
                _verdict(
                    sentence,
                    *_PLACED[intent.kind](thing, place, apart),
                    moved - allowed,
                    _held_instead(now, thing),
                )
            )
    return _nearest_to_done(verdicts)


def _is_into(thing: TableObject, place: TableObject, apart: float) -> tuple[float, ...]:
    # it lies on the bowl's floor or leans on its side: its bottom is below the rim
    return (apart - INTO_SHARE * place.size / 2, thing.bottom - place.height * 0.8)


def _is_onto(thing: TableObject, place: TableObject, apart: float) -> tuple[float, ...]:
    level = thing.bottom - (place.z + place.height / 2)
    return (apart - ONTO_SHARE * place.size, abs(level) - LEVEL_M)


def _is_beside(thing: TableObject, place: TableObject, apart: float) -> tuple[float, ...]:
    gap = apart - (thing.size + place.size) / 2
    return (gap - BESIDE_GAP_M, abs(thing.bottom) - LEVEL_M)


_PLACED: dict[str, Callable[[TableObject, TableObject, float], tuple[float, ...]]] = {
    "put_into": _is_into,
    "put_onto": _is_onto,
    "put_beside": _is_beside,
}


def _push(intent: ArmIntent, start: TableState, now: TableState) -> Judgement:
    verdicts = []
    for thing in things_meant(intent, now):
        moved = _moved(start, thing)
        verdicts.append(
            _verdict(
                f"the {thing.name} was moved {100 * moved:.1f} cm and is "
                f"{100 * thing.bottom:.1f} cm above the table",
                MIN_PUSH_M - moved,
                abs(thing.bottom) - LEVEL_M,
                _held_instead(now, thing),
            )
        )
    return _nearest_to_done(verdicts)


def _open(intent: ArmIntent, start: TableState, now: TableState) -> Judgement:
    return _verdict(
        f"the gripper is open {100 * now.opening:.1f} cm",
        MIN_OPEN_M - now.opening,
        math.dist(start.tool, now.tool) - MAX_DRIFT_M,
    )


def _close(intent: ArmIntent, start: TableState, now: TableState) -> Judgement:
    drift = math.dist(start.tool, now.tool) - MAX_DRIFT_M
    if now.held:  # the fingers cannot close further
        return _verdict(f"the gripper closed on the {now.held}", drift)
    return _verdict(
        f"the gripper is open {100 * now.opening:.1f} cm", now.opening - MAX_CLOSED_M, drift
    )


def _home(intent: ArmIntent, start: TableState, now: TableState) -> Judgement:
    worst = float(np.abs(np.subtract(now.joints, now.home)).max())
    return _verdict(
        f"the joint that is farthest from home is {worst:.2f} rad away", worst - HOME_RAD
    )


def _stop(intent: ArmIntent, start: TableState, now: TableState) -> Judgement:
    """The braking distance is allowed for; standing still is asked of every instruction."""
    return _verdict(f"the fastest joint turns at {now.speed:.2f} rad/s", now.speed - STILL_RAD_S)


_CRITERIA: dict[str, Callable[[ArmIntent, TableState, TableState], Judgement]] = {
    "reach": _reach,
    "pick": _pick,
    "put_into": _put,
    "put_onto": _put,
    "put_beside": _put,
    "push": _push,
    "hand_over": _hand_over,
    "open": _open,
    "close": _close,
    "home": _home,
    "stop": _stop,
}
