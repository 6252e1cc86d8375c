"""The policy that knows its table: it does tasks from joints alone, one after another, and says what it cannot do."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")

from vla_ros.core.types import Instruction, Observation, to_nanoseconds
from vla_ros.policies import make_policy, policy_spec
from vla_ros.policies.base import NotUnderstood
from vla_ros.sim.arm.episode import ARM_STEP_S, obey_row
from vla_ros.sim.arm.policy import ROWS, TableExpert
from vla_ros.sim.arm.world import ArmWorld
from vla_ros.tasks.arm.success import judge_arm

NAME = "vla_ros.sim.arm.policy:TableExpert"
BLACK = {camera: np.zeros((128, 128, 3), np.uint8) for camera in ("scene", "wrist")}
SEED = 2


def observe(world: ArmWorld, words: str, number: int) -> Observation:
    return Observation(to_nanoseconds(world.time), Instruction(0, number, words), BLACK, world.joint_states())


def things(world: ArmWorld, shape: str) -> list[str]:
    return sorted(thing.name for thing in world.state().objects if thing.shape == shape)


def test_its_spec_is_both_cameras_and_the_joints_and_a_row_a_tenth_of_a_second() -> None:
    spec = policy_spec(NAME)
    assert spec.channels == ("joint_1", "joint_2", "joint_3", "joint_4", "joint_5", "joint_6", "gripper")
    assert set(spec.images) == {"scene", "wrist"} and spec.state[-1] == "finger_joint"
    assert (spec.steps, spec.step) == (ROWS, 100_000_000)


def test_it_does_one_task_after_another_without_seeing() -> None:
    world = ArmWorld(SEED, (16, 16))
    policy = make_policy(NAME, {"seed": SEED})
    blocks, cups, bowls = (things(world, shape) for shape in ("block", "cup", "bowl"))
    tasks = [f"put the {blocks[0]} into the {bowls[0]}", f"push the {cups[0]}", "go home", f"pick up the {blocks[1]}"]
    for number, words in enumerate(tasks, 1):
        start = world.state()
        for _ in range(150):
            obey_row(world, policy.predict(observe(world, words, number))[0].astype(float))
            world.step(ARM_STEP_S)
            if judge_arm(words, start, world.state()).done:
                break
        verdict = judge_arm(words, start, world.state())
        assert verdict.done, f"{words}: {verdict.sentence}"


def picks_up(seed: int, rows: int) -> str | None:
    """Where the gripper closes in 1 s, and a chunk now and then lasts for `rows`: what was wrong in the end."""
    world = ArmWorld(seed, (16, 16))
    policy = make_policy(NAME, {"seed": seed})
    words = f"pick up the {things(world, 'block')[0]}"
    start = world.state()
    gripper = 1.0
    for number in range(100):
        count = rows if number % 4 == 3 else 1
        for row in policy.predict(observe(world, words, 1))[:count].astype(float):
            gripper += float(np.clip(row[6] - gripper, -0.1, 0.1))
            obey_row(world, np.append(row[:6], gripper))
            world.step(ARM_STEP_S)
        if judge_arm(words, start, world.state()).done:
            return None
    return judge_arm(words, start, world.state()).sentence


def test_an_arm_that_was_up_before_its_fingers_held_notices_it_and_tries_again() -> None:
    assert not [(seed, rows, problem) for seed in range(2, 8) for rows in (1, 3, 5) if (problem := picks_up(seed, rows))]


def test_told_nothing_or_to_stop_it_stays_where_it_is() -> None:
    world = ArmWorld(SEED, (16, 16))
    policy = make_policy(NAME, {"seed": SEED})
    joints = np.array(list(world.joint_states().values()))[:6]
    for words in ("", "stop"):
        rows = policy.predict(observe(world, words, 1))
        assert rows.shape == (ROWS, 7) and rows.dtype == np.float32
        np.testing.assert_allclose(rows[:, :6], np.tile(joints, (ROWS, 1)), atol=1e-6)
        assert (rows[:, 6] == 1.0).all()


def test_what_is_not_understood_or_not_there_is_said() -> None:
    world = ArmWorld(SEED, (16, 16))
    policy = make_policy(NAME, {"seed": SEED})
    with pytest.raises(NotUnderstood, match="'sing' ask for what this arm cannot do"):
        policy.predict(observe(world, "sing", 1))
    cups = things(world, "cup")
    absent = next(f"{colour} cup" for colour in ("red", "blue", "yellow", "green") if f"{colour} cup" not in cups)
    with pytest.raises(NotUnderstood, match=f"the table has no {absent}"):
        policy.predict(observe(world, f"push the {absent}", 2))


@pytest.mark.parametrize("options, sentence", [
    ({"sede": 3}, "policy 'TableExpert' has no option 'sede'; it has seed"),
    ({"seed": -1}, "policy 'TableExpert': seed is -1; give 0 or more"),
    ({"seed": True}, "policy 'TableExpert': seed is True; give 0 or more"),
    ({"seed": "3"}, "policy 'TableExpert': seed is '3'; give 0 or more"),
])
def test_an_option_that_is_none_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TableExpert.spec(options)
