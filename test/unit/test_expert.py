"""The expert: every kind of instruction in closed loop, its thresholds one by one, and its plans."""
from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from vla_ros.core.types import ActionChunk, to_nanoseconds
from vla_ros.policies.progress import Progress
from vla_ros.sim import expert
from vla_ros.sim.expert import (
    AMOUNT,
    CARRY_M,
    ID,
    STAND_OFF_M,
    TURN,
    Situation,
    decide,
    finished,
    rollout,
)
from vla_ros.sim.projection import in_view
from vla_ros.tasks.phrases import KINDS, OBJECT_KINDS, intent_of

ALL = {"turn_left", "turn_right", "turn_around", "forward", "back", "open", "close", "stop"} | set(OBJECT_KINDS)
AWAY = (9.0, 9.0)


def moment(kind: str, ahead: float = 1.0, left: float = 0.0, others: Any = (), **more: float) -> Situation:
    """One moment, before which nothing was done: the gripper is open."""
    values = {"opening": 1.0, "command": 1.0, "turned": 0.0, "travelled": 0.0, "carried": 0.0, "side": 1.0, **more}
    placed = np.full((1, 5, 2), np.nan)
    placed[0, : len(others)] = np.reshape(others, (-1, 2))
    return Situation(np.array([ID[kind]]), np.array([ahead]), np.array([left]), placed,
                     **{name: np.array([value]) for name, value in values.items()})


def does(kind: str, ahead: float = 1.0, left: float = 0.0, others: Any = (), **more: float) -> list[float]:
    """Linear, angular, gripper."""
    return [float(value) for value in decide(moment(kind, ahead, left, others, **more))[0]]


# -- closed loop ---------------------------------------------------------------------------------------------
def seen_by(world: Any, intent: Any, progress: Progress) -> Situation:
    """The truth, as the expert is told it."""
    state = world.state()
    cos, sin = math.cos(state.yaw), math.sin(state.yaw)
    places = {one.name: ((one.x - state.x) * cos + (one.y - state.y) * sin,
                         (one.y - state.y) * cos - (one.x - state.x) * sin) for one in state.objects}
    target = places.pop(intent.target, AWAY)
    return moment(intent.kind, *target, list(places.values())[:5], opening=progress.opening,
                  command=progress.command or 0.0, turned=progress.turned, travelled=progress.travelled,
                  carried=progress.carried, side=progress.side)


def follow(world: Any, intent: Any, seconds: float = 25.0) -> tuple[Any, bool]:
    """The verdict when the expert is done with it, or time is over; and whether it says that it is done."""
    from vla_ros.sim.episode import obey
    from vla_ros.tasks.success import judge

    progress, start, began = Progress(), world.state(), world.time
    settled = 0
    while world.time - began < seconds and settled < 8:
        odometry = world.odometry()
        progress.move({"odom.x": odometry.x, "odom.y": odometry.y, "odom.yaw": odometry.yaw, **world.joint_states()})
        now = seen_by(world, intent, progress)
        if in_view(now.ahead, now.left)[0]:
            progress.found(now.left[0], bool(expert.at_fingers(now.ahead, now.left)[0]))
        else:
            progress.lost()
        rows = rollout(now, 8, 0.1)[0]
        progress.command = float(rows[0, 2])
        chunk = ActionChunk(to_nanoseconds(world.time), 1, ("linear.x", "angular.z", "gripper"), rows,
                            to_nanoseconds(0.1))
        for tick in range(4):
            obey(world, chunk, 0.02 * tick)
            world.step(0.02)
        settled = settled + 1 if finished(now, rows[:1])[0] else 0
    return judge(intent, start, world.state()), settled >= 8


@pytest.fixture(scope="module")
def world() -> Any:
    pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")
    from vla_ros.sim.world import World

    return World(0, width=16, height=16)


SEEDS = [5004, *(pytest.param(seed, marks=pytest.mark.full) for seed in (5000, 5001, 5002, 5005))]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_does_every_kind_and_says_when_it_is_done(world: Any, kind: str, seed: int) -> None:
    world.reset(seed)
    intent = intent_of(kind)
    if kind in OBJECT_KINDS:  # 0.8 m away, towards the middle of the room and out of view
        thing = world.scene.objects[0]
        angle = math.atan2(thing.y, thing.x)
        world.place_robot(thing.x - 0.8 * math.cos(angle), thing.y - 0.8 * math.sin(angle), angle - 1.0)
        intent = intent_of(kind, thing.colour, thing.shape)
    elif kind == "open":
        world.place_gripper(0.0)
    elif kind == "stop":
        world.command(0.3, 0.2)
        world.step(0.3)
    verdict, done = follow(world, intent)
    assert verdict.done, verdict.sentence
    assert done


# -- thresholds ----------------------------------------------------------------------------------------------
def test_every_kind_is_one_that_it_knows() -> None:
    assert set(KINDS) == set(ID) == ALL
    assert AMOUNT[ID["turn_right"]] == -AMOUNT[ID["turn_left"]] < 0 < AMOUNT[ID["forward"]] == -AMOUNT[ID["back"]]


def test_it_goes_up_to_the_target_and_stands() -> None:
    assert does("go_to", STAND_OFF_M + 0.036)[0] > 0 > does("go_to", STAND_OFF_M - 0.036)[0]
    assert does("go_to", STAND_OFF_M + 0.034) == does("go_to", STAND_OFF_M - 0.034) == [0.0, 0.0, 1.0]
    assert does("go_to", 2.0)[0] == expert.SPEED
    assert does("go_to", 0.9, 0.3)[1] > 0 > does("go_to", 0.9, -0.3)[1]
    assert does("go_to", 0.5, 0.38)[0] == 0.0  # 0.65 rad: it turns first


@pytest.mark.parametrize(("bearing", "turns"), [(0.039, False), (0.041, True), (-0.039, False), (-0.041, True)])
def test_it_faces_the_target(bearing: float, turns: bool) -> None:
    linear, angular, _ = does("face", math.cos(bearing), math.sin(bearing))
    assert linear == 0.0 and angular == pytest.approx(1.8 * bearing if turns else 0.0)


@pytest.mark.parametrize("kind", OBJECT_KINDS)
def test_it_turns_where_the_target_was_seen_last_until_it_is_seen(kind: str) -> None:
    edge = next(left for left in np.arange(0.3, 1.0, 1e-3) if not in_view(np.array(0.8), np.array(left)))
    assert does(kind, 0.8, edge, command=0.0, side=-1.0)[:2] == [0.0, -TURN]
    assert does(kind, 0.8, edge, command=0.0, side=1.0)[:2] == [0.0, TURN]
    assert does(kind, 0.8, edge - 2e-3, side=-1.0)[1] > 0.0  # seen on its left
    assert does(kind, 0.8, edge, command=0.0)[2] == (1.0 if kind in ("grab", "push") else 0.0)


def test_a_grip_needs_the_target_between_open_fingers() -> None:
    assert does("grab", 0.249) == [0.0, 0.0, 0.0]
    assert does("grab", 0.251)[0] > 0 and does("grab", 0.251)[2] == 1.0
    assert does("grab", 0.28, opening=0.8) == [0.0, 0.0, 0.0]  # it holds: what slipped a little is kept
    assert does("grab", 0.291, opening=0.8)[2] == 1.0
    assert does("grab", 0.249, 0.029)[2] == 0.0 and does("grab", 0.249, 0.031)[2] == 1.0
    assert does("grab", 0.249, 0.031)[0] < 0  # back, to line up
    assert does("grab", 0.42, opening=0.8)[:2] == [0.0, 0.0]  # it waits for its fingers
    assert does("grab", 0.161, opening=0.8, command=0.0)[2] == 1.0  # too near to be seen: nothing is held


def test_a_push_drives_on_for_as_long_as_it_said() -> None:
    assert does("push", 0.339)[0] == 0.2 and does("push", 0.341)[0] < 0.2
    assert does("push", 0.3, 0.059)[0] == 0.2 and does("push", 0.3, 0.061)[0] != 0.2
    assert does("push", 0.3, carried=CARRY_M - 1e-6)[0] == 0.2 and does("push", 0.3, carried=CARRY_M)[:2] == [0.0, 0.0]
    assert does("push", *AWAY, carried=CARRY_M)[:2] == [0.0, 0.0]  # it rolled on, out of view: done all the same


@pytest.mark.parametrize(("kind", "sign"), [("turn_left", 1), ("turn_right", -1), ("turn_around", 1)])
def test_a_turn_ends_at_its_amount(kind: str, sign: int) -> None:
    amount = AMOUNT[ID[kind]]
    assert sign * does(kind)[1] == TURN and does(kind)[0] == 0.0
    assert sign * does(kind, turned=amount - sign * 0.031)[1] == 0.08
    assert does(kind, turned=amount - sign * 0.029)[1] == 0.0
    assert sign * does(kind, turned=amount + sign * 0.031)[1] == -0.08


@pytest.mark.parametrize(("kind", "sign"), [("forward", 1), ("back", -1)])
def test_a_drive_ends_at_its_amount_and_keeps_its_heading(kind: str, sign: int) -> None:
    amount = AMOUNT[ID[kind]]
    assert sign * does(kind)[0] == 0.35 and does(kind)[1] == 0.0
    assert sign * does(kind, travelled=amount - sign * 0.016)[0] == 0.05
    assert does(kind, travelled=amount - sign * 0.014)[:2] == [0.0, 0.0]
    assert does(kind, turned=0.1)[1] < 0 < does(kind, turned=-0.1)[1]


def test_the_gripper_and_stop() -> None:
    for command in (0.0, 1.0):
        assert does("open", command=command) == [0.0, 0.0, 1.0]
        assert does("close", command=command) == [0.0, 0.0, 0.0]
        assert does("stop", command=command) == does("turn_left", turned=AMOUNT[ID["turn_left"]], command=command) == [
            0.0, 0.0, command]


def test_it_drives_around_what_stands_in_between() -> None:
    assert does("go_to", 1.5)[1] == 0.0
    assert does("go_to", 1.5, others=(0.7, 0.05))[1] < 0 < does("go_to", 1.5, others=(0.7, -0.05))[1]
    assert does("go_to", 1.5, others=(0.7, 0.28))[1] == 0.0  # beside the way
    assert does("go_to", 1.5, others=(1.4, 0.05))[1] == 0.0  # beside the target
    assert does("go_to", 1.5, others=[(1.0, -0.05), (0.7, 0.05)])[1] < 0  # the nearer one first


@pytest.mark.parametrize(("now", "done"), [
    (moment("grab", 0.22, opening=0.6, command=0.0), True), (moment("grab", 0.22, opening=1.0, command=0.0), False),
    (moment("grab", *AWAY), False), (moment("push", 0.3, carried=CARRY_M), True), (moment("push", 0.3), False),
    (moment("open", opening=0.86), True), (moment("open", opening=0.84), False),
    (moment("close", opening=0.14), True), (moment("close", opening=0.16), False),
    (moment("stop"), True), (moment("turn_left"), False), (moment("face", 1.0), True), (moment("face", *AWAY), False),
])
def test_when_it_is_done(now: Situation, done: bool) -> None:
    assert finished(now, decide(now))[0] == done


# -- plans ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["turn_left", "turn_right", "turn_around"])
def test_a_planned_turn_stops_at_the_amount(kind: str) -> None:
    rows = rollout(moment(kind), 100, 0.1)[0]
    assert rows[:, 1].sum() * 0.1 == pytest.approx(AMOUNT[ID[kind]], abs=0.03)
    assert not rows[-5:, :2].any()


def test_a_planned_approach_stops_in_front_of_the_target_and_a_planned_grip_closes() -> None:
    rows = rollout(moment("go_to", 1.2), 80, 0.1)[0]
    assert 1.2 - rows[:, 0].sum() * 0.1 == pytest.approx(STAND_OFF_M, abs=0.035) and not rows[-1, :2].any()
    rows = rollout(moment("grab", 0.6), 100, 0.1)[0]
    closed = int(rows[:, 2].argmin())
    assert rows[closed, 2] == 0.0 and not rows[closed:, :2].any()
    assert 0.16 < 0.6 - rows[:, 0].sum() * 0.1 < 0.25


def test_a_planned_push_pushes_what_is_at_the_palm() -> None:
    start = moment("push", 0.21)
    one = replace(start, ahead=np.array([0.205]))
    assert rollout(one, 30, 0.1)[0, :, 0].sum() * 0.1 == pytest.approx(CARRY_M, abs=0.021)


def test_many_at_once_are_each_alone() -> None:
    rng = np.random.default_rng(0)
    count = 120
    others = rng.uniform(-0.5, 1.5, (count, 5, 2))
    others[rng.random((count, 5)) < 0.4] = np.nan
    many = Situation(rng.integers(0, len(KINDS), count), rng.uniform(0.1, 1.2, count), rng.normal(0, 0.2, count), others,
                     rng.random(count), rng.integers(0, 2, count).astype(float), rng.normal(0, 1.5, count),
                     rng.normal(0, 0.3, count), rng.uniform(0, 0.4, count), rng.choice([-1.0, 1.0], count))
    together = rollout(many, 6, 0.1)
    for row in range(count):
        alone = Situation(**{one.name: getattr(many, one.name)[row : row + 1] for one in fields(many)})
        np.testing.assert_allclose(rollout(alone, 6, 0.1)[0], together[row], atol=1e-12)
    assert len({tuple(rows[0]) for rows in together.round(6)}) > 40
