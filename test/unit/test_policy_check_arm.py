"""`vla policy check --data` with what the simulated arm really does: its motors lag, and its fingers hold things."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")

from policy_data import CONFIG
from test_policy_check_data import findings

from vla_ros.core.check_finding import DOUBTFUL, FITS, UNKNOWN, WRONG, CheckFinding
from vla_ros.core.policy_file import PolicyFile, PolicyNumber, load_policy_file
from vla_ros.core.robot import load_robot
from vla_ros.policies.training_data import TrainingData
from vla_ros.sim.arm import chain
from vla_ros.sim.arm.episode import (
    ARM_CHANNELS,
    ARM_STEP_S,
    draw_intent,
    expert_drive,
    obey_row,
    prepare,
)
from vla_ros.sim.arm.world import ArmWorld
from vla_ros.tasks.arm.success import judge_arm

ROBOT = load_robot(CONFIG / "robots" / "sim_arm.yaml")
FILE = load_policy_file(CONFIG / "policies" / "builtin_arm.yaml")
MOVING = ("joint_1", "joint_2", "joint_3", "joint_5", "joint_6")  # the expert's hand points down: joint_4 rests
MOST_STEPS = 140


@pytest.fixture(scope="module")
def recorded() -> TrainingData:
    """The expert's episodes: it picks things up, and pushes them."""
    world = ArmWorld(0)
    state: list[list[float]] = []
    actions: list[np.ndarray] = []
    starts: list[int] = []
    names = (*chain.NAMES, chain.FINGER)
    for seed, kind in zip(range(100, 112), itertools.cycle(("pick", "put_into", "push"))):
        world.reset(seed)
        intent = draw_intent(world, kind, np.random.default_rng((seed, 6)))
        if intent is None:
            continue
        prepare(world, kind, seed)
        drive = expert_drive(intent)
        start = world.state()
        starts.append(len(actions))
        for _ in range(MOST_STEPS):
            measured = world.joint_states()
            state.append([measured[name] for name in names])
            actions.append(drive(start, world.state()))
            obey_row(world, actions[-1])
            world.step(ARM_STEP_S)
            if judge_arm(intent, start, world.state()).done:
                break
    columns = dict(zip(names, np.array(state).T))
    rows = dict(zip(ARM_CHANNELS, np.array(actions).T))
    return TrainingData("table", 1.0 / ARM_STEP_S, np.array(starts), columns, names, rows)


def found(data: TrainingData, file: PolicyFile = FILE) -> list[CheckFinding]:
    return [finding for finding in findings(ROBOT, file, data) if finding.mark in (WRONG, DOUBTFUL)]


def test_what_the_expert_did_fits_its_policy_file(recorded: TrainingData) -> None:
    said = {finding.subject: finding for finding in findings(ROBOT, FILE, recorded)}
    assert not found(recorded)
    assert {finding.subject for finding in said.values() if finding.mark == UNKNOWN} == {"image scene", "image wrist"}
    assert said["gripper gripper"].mark == FITS and "it holds something" in said["gripper gripper"].text


@pytest.mark.parametrize("part", ["state", "actions"])
def test_every_exchange_of_two_joints_that_move_is_found(recorded: TrainingData, part: str) -> None:
    for one, other in itertools.combinations(MOVING, 2):
        values = dict(getattr(recorded, part))
        values[one], values[other] = values[other], values[one]
        subjects = {finding.subject for finding in found(replace(recorded, **{part: values})) if finding.mark == WRONG}
        assert {f"motion of {one}", f"motion of {other}"} <= subjects


def test_a_gripper_that_is_upside_down_is_found(recorded: TrainingData) -> None:
    actions = {**recorded.actions, "gripper": 1.0 - recorded.actions["gripper"]}
    (finding,) = found(replace(recorded, actions=actions))
    assert finding.subject == "motion of gripper" and "moves against its commands" in finding.text
    state = {**recorded.state, chain.FINGER: 0.04 - recorded.state[chain.FINGER]}
    (finding,) = found(replace(recorded, actions=actions, state=state))
    assert finding.subject == "gripper gripper" and "upside down" in finding.text


def test_changes_taken_for_positions_are_found(recorded: TrainingData) -> None:
    actions = dict(recorded.actions)
    for joint in MOVING:
        steps = np.diff(actions[joint], append=actions[joint][-1:])
        steps[recorded.starts[1:] - 1] = 0.0
        actions[joint] = steps
    said = {finding.subject: finding.text for finding in found(replace(recorded, actions=actions)) if finding.mark == WRONG}
    for joint in MOVING:
        assert "they are a delta, and are taken for a position" in said[f"motion of {joint}"]


@pytest.mark.parametrize(("factor", "unit"), [(57.3, ""), (1.0, "deg")])
def test_a_wrong_unit_is_found_both_ways(recorded: TrainingData, factor: float, unit: str) -> None:
    def scaled(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: column * (factor if name.startswith("joint") else 1.0) for name, column in values.items()}

    data = replace(recorded, state=scaled(dict(recorded.state)), actions=scaled(dict(recorded.actions)))
    given = tuple(PolicyNumber(joint, joint, unit) for joint in MOVING)
    said = found(data, replace(FILE, state=given, actions=given))
    subjects = {finding.subject for finding in said if finding.mark == WRONG}
    assert {f"action {joint}" for joint in MOVING} | {f"state {joint}" for joint in MOVING} <= subjects


@pytest.mark.parametrize("fps", [5.0, 20.0, 30.0])
def test_a_wrong_fps_is_found(recorded: TrainingData, fps: float) -> None:
    said = {finding.subject: finding.mark for finding in found(replace(recorded, fps=fps))}
    assert said["rate"] in (WRONG, DOUBTFUL)  # it may have learned each second frame
