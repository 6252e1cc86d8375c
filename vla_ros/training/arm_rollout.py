"""The arm follows instructions, driven by the expert or by a policy; the expert labels all of it.

Where nobody has learned yet, the expert drives, disturbed, from all stages of the tasks; later the
policy drives, and what *it* meets is labelled (DAgger).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vla_ros.sim.arm import chain
from vla_ros.sim.arm.domain_randomization import TableLook, apply_look, random_table_look
from vla_ros.sim.arm.episode import ARM_STEP_S, draw_intent, obey_row, prepare
from vla_ros.sim.arm.expert import next_row
from vla_ros.sim.arm.world import ArmWorld
from vla_ros.tasks.arm.intent import HOLDING_KINDS, ArmIntent
from vla_ros.tasks.arm.success import judge_arm
from vla_ros.tasks.arm.table import OPENING_MAX, TableObject, TableState
from vla_ros.training.arm_frames import (
    ArmFrames,
    any_shape,
    draw_kind,
    label,
    look,
    meant,
    other_instruction,
    shoot,
    spot_for,
    state_of,
    trained,
)

Array = NDArray[np.float64]
# What a policy is asked: states B x 9, images of both cameras, and what was said, B x 5.
Choose = Callable[
    [NDArray[np.float32], Sequence[dict[str, NDArray[np.uint8]]], NDArray[np.int8]],
    NDArray[np.float32],
]
SEEDS = 1_000_000  # training's tables have seeds below, evaluation's from here on
PLAIN_SHARE = 0.35  # of the tables, that look as they are built
DISTURBED_SHARE = 0.08  # of the steps, at which a push begins
DISTURBANCE_RAD = 0.05
JITTER_RAD = 0.003
DROPPED_SHARE = 0.006  # at which the gripper is told otherwise
LONGEST_STEPS = 130
DONE_STEPS = 7  # that a done one goes on


@dataclass
class DrivenArm:
    """One arm with the instruction that it follows."""

    world: ArmWorld
    intent: ArmIntent = field(default_factory=lambda: ArmIntent("stop"))
    start: TableState | None = None
    left: int = 0  # steps until the next table
    done: int = 0  # steps since it was done
    command: float = 1.0  # of the gripper
    opening: float = 1.0  # at the step before
    pushed: int = 0  # steps that a push still lasts
    push: Array = field(default_factory=lambda: np.zeros(6))
    expert: bool = True


def drive(
    choose: Choose | None,
    count: int,
    steps: int,
    seed: int,
    *,
    arms: int = 8,
    keep: float = 0.5,
    placed: float = 0.6,
    expert: float = 0.25,
) -> ArmFrames:
    """`count` moments that were met while training's instructions were followed.

    Args:
        choose: The policy; None: the expert drives everywhere.
        count: How many moments.
        steps: Rows of a label.
        seed: Draws everything.
        arms: How many are driven at once: the policy is asked for all of them together.
        keep: Share of the moments that is kept.
        placed: Share of the episodes that begin at some stage of the task, and are short.
        expert: Share of the episodes that the expert drives, where there is a policy.
    """
    rng = np.random.default_rng(seed)
    frames = ArmFrames.empty(count + 1, steps)  # the last one is scratch
    fleet = [DrivenArm(ArmWorld(0)) for _ in range(arms)]
    index = 0
    while index < count:
        asked = []
        images = []
        states = []
        said = []
        for arm in fleet:
            if arm.left <= 0 or arm.done > DONE_STEPS:
                _begin(arm, rng, placed)
                arm.expert = choose is None or rng.random() < expert
            kept = rng.random() < keep and index < count
            seen = look(arm.world) if kept or not arm.expert else {}
            place = index if kept else count
            assert arm.start is not None
            if kept or not arm.expert:
                state = state_of(arm.world, arm.command, arm.opening)
                frames.state[place] = state
                rows = label(arm.world, frames, place, 0, arm.intent, arm.start)
                row = rows[0]
            else:
                row = next_row(arm.intent, arm.start, arm.world.state(), ARM_STEP_S)
            if kept:
                shoot(arm.world, frames, index, seen)
                other = any_shape(arm.world, other_instruction(arm.world, rng), rng)
                label(arm.world, frames, index, 1, other, arm.world.state())
                index += 1
            if arm.expert:
                _obey(arm, row, rng)
            else:
                asked.append(arm)
                images.append(seen)
                states.append(state)
                said.append(frames.said[place, 0].copy())
        if asked and choose is not None:
            for arm, row in zip(asked, choose(np.stack(states), images, np.stack(said))):
                _obey(arm, row, rng)
    for arm in fleet:
        arm.world.close()
    return _first(frames, count)


def _first(frames: ArmFrames, count: int) -> ArmFrames:
    return ArmFrames(**{name: array[:count] for name, array in vars(frames).items()})


def _obey(arm: DrivenArm, row: Array, rng: np.random.Generator) -> None:
    """Do it, a little disturbed."""
    row = np.array(row, float)
    if arm.pushed > 0:
        arm.pushed -= 1
        row[:6] += arm.push
    elif rng.random() < DISTURBED_SHARE:
        arm.pushed = int(rng.integers(1, 4))
        arm.push = rng.normal(0.0, DISTURBANCE_RAD, 6) * (1.0, 0.6, 0.6, 0.05, 0.3, 2.0)
    row[:6] += rng.normal(0.0, JITTER_RAD, 6)
    arm.opening = arm.world.joint_states()[chain.FINGER] / chain.FINGER_TRAVEL_M
    if rng.random() < DROPPED_SHARE:
        row[6] = 1.0 - row[6]
    arm.command = float(row[6] > 0.5)
    obey_row(arm.world, row)
    arm.world.step(ARM_STEP_S)
    arm.left -= 1
    assert arm.start is not None
    if judge_arm(arm.intent, arm.start, arm.world.state()).done:
        arm.done += 1
    else:
        arm.done = 0


def _begin(arm: DrivenArm, rng: np.random.Generator, placed: float) -> None:
    """Another table, instruction and stage of it."""
    world = arm.world
    intent = None
    while intent is None or not trained(intent):
        seed = int(rng.integers(SEEDS))
        world.reset(seed)
        kind = draw_kind(rng)
        intent = draw_intent(world, kind, rng)
    plain = rng.random() < PLAIN_SHARE
    apply_look(world, TableLook() if plain else random_table_look(rng, rng.random()))
    prepare(world, intent.kind, seed)
    arm.left = LONGEST_STEPS
    arm.command = 1.0
    arm.done = 0
    arm.pushed = 0
    if rng.random() < placed:
        arm.left = int(rng.integers(4, 16))
        _place(arm, intent, rng)
    arm.intent = any_shape(world, intent, rng)
    arm.start = world.state()
    arm.opening = world.joint_states()[chain.FINGER] / chain.FINGER_TRAVEL_M
    if arm.opening < 0.5:
        arm.command = 0.0


def _place(arm: DrivenArm, intent: ArmIntent, rng: np.random.Generator) -> None:
    """The arm at some stage of the task: anywhere, over the thing, or with it in its hand."""
    world = arm.world
    table = world.state()
    thing, place = meant(intent, table)
    holding = intent.kind in HOLDING_KINDS and rng.random() < 0.5
    if thing is None and rng.random() < 0.3:
        graspable = [other for other in table.objects if other.shape != "bowl"]
        thing = graspable[int(rng.integers(len(graspable)))]
        holding = True
    for _ in range(20):
        tool, roll = _anywhere(rng)
        if thing is not None and (holding or rng.random() < 0.75):
            tool, roll = _over(thing, rng)
        if holding and thing is not None:
            draw = rng.random()
            if place is not None and draw < 0.55:
                spot = np.array(spot_for(intent, table, thing, place))
                lift = 0.035 if intent.kind == "put_into" else 0.0
                tool = spot + (*rng.normal(0.0, 0.015, 2), lift + 0.12 * rng.random() ** 2)
            elif draw < 0.75:
                tool, roll = _anywhere(rng)
                tool[2] = rng.uniform(0.06, 0.2)
            else:
                tool = np.array((thing.x, thing.y, thing.z + 0.1 * rng.random() ** 2))
            if thing.shape == "cup":
                tool[2] += thing.height / 2 - 0.028
        tool[2] = max(tool[2], _clear(table, (thing, place), tool, holding))
        if _stand(world, thing if holding else None, tool, roll, rng):
            return


def _anywhere(rng: np.random.Generator) -> tuple[Array, float]:
    radius = rng.uniform(0.19, 0.45)
    bearing = rng.uniform(-1.2, 1.2)
    place = np.array(
        [radius * math.cos(bearing), radius * math.sin(bearing), rng.uniform(0.03, 0.25)]
    )
    return place, float(rng.uniform(-1.6, 1.6))


def _over(thing: TableObject, rng: np.random.Generator) -> tuple[Array, float]:
    """Beside its middle by little or more, and the hand turned so that it fits, nearly."""
    near = rng.random() ** 2
    aside = rng.normal(0.0, 0.004 + 0.05 * near, 2)
    height = 0.13 * rng.random() ** 1.5
    grip = thing.z if thing.shape == "block" else thing.z + thing.height / 2 - 0.028
    place = np.array([thing.x + aside[0], thing.y + aside[1], max(0.013, grip + height)])
    roll = math.atan2(place[1], place[0]) + math.pi / 2 - thing.yaw
    roll = math.remainder(roll + math.pi / 2 * rng.integers(2), math.pi)
    return place, roll + float(rng.normal(0.0, 0.05 + 0.5 * near))


def _clear(
    table: TableState, ours: tuple[TableObject | None, ...], tool: Array, holding: bool
) -> float:
    """The least height of the tool (m) at which it touches none but `ours`."""
    names = [thing.name for thing in ours if thing is not None]
    room = 0.07 if holding else 0.04  # m beside a thing, and half as much above it
    least = 0.0
    for other in table.objects:
        away = math.dist((other.x, other.y), tool[:2])
        if other.name not in names and away < other.size / 2 + room:
            least = max(least, other.height + room / 2)
    return least


def _stand(
    world: ArmWorld, held: TableObject | None, tool: Array, roll: float, rng: np.random.Generator
) -> bool:
    """The tool there, with a thing in its hand perhaps, if the arm reaches it."""
    bearing = math.atan2(tool[1], tool[0])
    try:
        joints = chain.joints_for(tool, chain.pointing_down(bearing + math.pi / 2))
    except ValueError:
        return False
    joints[5] = min(max(roll, -2.4), 2.4)
    if held is None:
        closed = rng.random() < 0.12
        opening = rng.uniform(0.0, OPENING_MAX) if closed else OPENING_MAX
        world.place_arm(joints, opening)
        if closed:
            world.command_gripper(0.0 if rng.random() < 0.5 else chain.FINGER_TRAVEL_M)
        return True
    world.place_arm(joints, held.size - 0.0005)
    yaw = bearing + math.pi / 2 - joints[5] + math.pi / 2 * rng.integers(4)
    drop = held.height / 2 - 0.028 if held.shape == "cup" else 0.0
    slip = rng.normal(0.0, 0.003, 3)
    height = max(tool[2] - drop + slip[2], held.height / 2)
    world.place_thing(
        held.name,
        tool[0] + 0.5 * slip[0],
        tool[1] + 0.5 * slip[1],
        height,
        yaw + rng.normal(0.0, 0.03),
    )
    world.command_gripper(0.0)
    world.command(joints, ARM_STEP_S)
    world.step(ARM_STEP_S)
    return True
