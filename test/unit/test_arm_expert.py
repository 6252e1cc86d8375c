"""The arm's expert does each task, from any moment, and foresees what it does."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")

from vla_ros.sim.arm.chain import HOME, LIMITS, joints_for, pointing_down
from vla_ros.sim.arm.episode import ARM_STEP_S, draw_intent, expert_drive, prepare, run_arm_episode
from vla_ros.sim.arm.expert import (
    FLAT_M,
    FLATNESS,
    JOINT_SPEED_RAD_S,
    Waypoint,
    funnel,
    next_row,
    rows_for,
)
from vla_ros.sim.arm.world import ArmWorld
from vla_ros.tasks.arm.intent import ARM_KINDS, ArmIntent, parse_arm
from vla_ros.tasks.arm.table import OPENING_MAX


@pytest.fixture(scope="module")
def world() -> ArmWorld:
    return ArmWorld(0, (16, 16))


def begin(world: ArmWorld, kind: str, seed: int) -> ArmIntent:
    world.reset(seed)
    intent = draw_intent(world, kind, np.random.default_rng((seed, 6)))
    assert intent is not None
    prepare(world, kind, seed)
    return intent


@pytest.mark.parametrize("kind", ARM_KINDS)
def test_the_expert_does_it(world: ArmWorld, kind: str) -> None:
    intent = begin(world, kind, 11)
    outcome = run_arm_episode(world, intent, expert_drive(intent))
    assert outcome.verdict.done, outcome.verdict.sentence


def test_it_never_asks_for_more_than_the_robot_file_allows(world: ArmWorld) -> None:
    intent = begin(world, "put_onto", 12)
    expert = expert_drive(intent)
    steps = []

    def watched(start: object, now: object) -> np.ndarray:
        row = expert(start, now)
        assert ((row[:6] >= LIMITS[:, 0]) & (row[:6] <= LIMITS[:, 1])).all()
        assert row[6] in (0.0, 1.0)
        steps.append(np.abs(row[:6] - np.array(now.joints)).max() / ARM_STEP_S)
        return row

    assert run_arm_episode(world, intent, watched).verdict.done
    assert max(steps) <= JOINT_SPEED_RAD_S + 1e-9


def test_it_goes_on_from_wherever_a_policy_has_brought_the_arm(world: ArmWorld) -> None:
    intent = begin(world, "pick", 13)
    start = world.state()
    x, y = 0.3, -0.25
    world.place_arm(joints_for(np.array([x, y, 0.05]), pointing_down(math.atan2(y, x) + 0.3)), 0.0)
    expert = expert_drive(intent)
    assert run_arm_episode(world, intent, lambda _, now: expert(start, now)).verdict.done


def test_every_place_that_joints_can_be_at_has_a_row(world: ArmWorld) -> None:
    intent = begin(world, "put_beside", 14)
    start = world.state()
    rng = np.random.default_rng(0)
    for _ in range(200):
        world.place_arm(
            rng.uniform(LIMITS[:, 0], LIMITS[:, 1]), float(rng.uniform(0.0, OPENING_MAX))
        )
        row = next_row(intent, start, world.state(), ARM_STEP_S)
        assert np.isfinite(row).all()


@pytest.mark.parametrize("roll, turn, onwards", [(1.8, 0.4, True), (2.4, 0.4, False), (-1.8, -0.4, True), (-2.4, -0.4, False)])
def test_a_hand_that_would_come_near_its_limit_turns_the_other_way(
        world: ArmWorld, roll: float, turn: float, onwards: bool) -> None:
    world.reset(0)
    block = next(thing for thing in world.scene.objects if thing.shape == "block")
    world.place_arm(np.array([*HOME[:5], roll]), OPENING_MAX)
    x, y, _ = world.state().tool
    world.place_thing(block.name, x, y, block.height / 2, math.pi / 2 - roll - turn)
    row = next_row(parse_arm(f"pick up the {block.name}"), world.state(), world.state(), ARM_STEP_S)
    assert ((row[5] - roll) * turn > 0.0) == onwards


def test_a_hand_is_not_turned_to_and_fro(world: ArmWorld) -> None:
    intent = begin(world, "put_beside", 53)  # it once turned to and fro for ever there
    assert run_arm_episode(world, intent, expert_drive(intent)).verdict.done


@pytest.mark.parametrize("aside, height", [
    (0.0, 0.0), (0.02, 0.0), (0.03, 0.01 * FLATNESS), (0.02 + FLAT_M, FLAT_M * FLATNESS), (0.03 + FLAT_M, FLAT_M * FLATNESS + 0.01 * 3.0)])
def test_the_funnel_over_where_something_is_put_is_flat_at_its_mouth(aside: float, height: float) -> None:
    goal = Waypoint((0.3, 0.0, 0.1), 0.0, 0.0, aligned=0.02, steepness=3.0, flat=FLAT_M)
    assert funnel(goal, aside) == pytest.approx(height)


@pytest.mark.parametrize("kind", ["pick", "put_into", "push"])
def test_a_chunk_is_what_it_goes_on_to_do(world: ArmWorld, kind: str) -> None:
    intent = begin(world, kind, 15)
    start = world.state()
    chunks = []
    rows = []
    expert = expert_drive(intent)

    def watched(_: object, now: object) -> np.ndarray:
        chunks.append(rows_for(intent, start, now, 6, ARM_STEP_S))
        rows.append(expert(start, now))
        return rows[-1]

    assert run_arm_episode(world, intent, watched).verdict.done
    np.testing.assert_array_equal(np.array(chunks)[:, 0], rows)
    # the arm lags a little behind what it is told, and the plan does not know that
    ahead = np.abs(np.array(chunks)[:-5, 5, :6] - np.array(rows)[5:, :6]).max(axis=1)
    assert ahead.mean() < 0.12
    differs = np.abs(np.array(chunks)[:-5, 5, 6] - np.array(rows)[5:, 6]) > 0.5
    assert differs.mean() < 0.2


def test_a_table_without_the_thing_is_said(world: ArmWorld) -> None:
    world.reset(0)
    names = {thing.name for thing in world.scene.objects}
    absent = next(
        f"{colour} cup" for colour in ("red", "blue", "yellow") if f"{colour} cup" not in names
    )
    with pytest.raises(ValueError, match=f"the table has no {absent} for that"):
        next_row(parse_arm(f"pick up the {absent}"), world.state(), world.state(), ARM_STEP_S)
