"""The arm's table as a gymnasium environment: gymnasium's own check, and what an episode in it is."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")
pytest.importorskip("gymnasium", reason="gymnasium is not installed")

import gymnasium
from gymnasium.utils.env_checker import check_env

from vla_ros.sim.arm.episode import ARM_CHANNELS, ARM_STEP_S
from vla_ros.sim.arm.expert import next_row
from vla_ros.sim.arm.gym import ARM_STATE, Table
from vla_ros.sim.gym import TABLE_ID
from vla_ros.tasks.arm.intent import parse_arm


def make(**options: Any) -> Any:
    """With cameras as small as they can be, and skipped where nothing draws."""
    env = gymnasium.make(TABLE_ID, **{"image_size": (16, 16), **options})
    try:
        env.reset(seed=0)
    except RuntimeError as problem:
        pytest.skip(f"neither EGL nor OSMesa draws here: {problem}")
    return env


@pytest.fixture(scope="module")
def env() -> Iterator[Any]:
    env = make()
    yield env
    env.close()


def test_gymnasium_s_own_check_finds_nothing_but_that_si_units_are_not_normalised() -> None:
    env = make(render_mode="rgb_array", variation=1.0)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        check_env(env.unwrapped)
    env.close()
    known = (
        "Box observation space minimum value is -inf",
        "Box observation space maximum value is inf",
        "we recommend using a symmetric and normalized space",
    )
    messages = [str(warning.message) for warning in found]
    assert not [message for message in messages if not any(text in message for text in known)]


def test_the_spaces_are_two_cameras_joints_words_and_the_robot_file_s_bounds(env: Any) -> None:
    observation, info = env.reset(seed=3)
    assert list(observation) == ["scene", "wrist", "state", "instruction"]
    assert observation in env.observation_space
    assert observation["state"].shape == (len(ARM_STATE),)
    assert env.action_space.shape == (len(ARM_CHANNELS),)
    assert env.action_space.low[0] == pytest.approx(-2.6) and env.action_space.high[6] == pytest.approx(1.1)
    assert info["is_success"] is False and info["distance"] >= 0.0


def test_the_same_seed_is_the_same_episode(env: Any) -> None:
    first, _ = env.reset(seed=5)
    second, _ = env.reset(seed=5)
    for name in ("scene", "wrist", "state"):
        np.testing.assert_array_equal(first[name], second[name])
    assert first["instruction"] == second["instruction"]
    assert env.reset(seed=6)[0]["instruction"] != first["instruction"]


def test_the_expert_ends_an_episode_with_its_reward(env: Any) -> None:
    env.reset(seed=8, options={"table": 4})
    table = env.unwrapped
    total = 0.0
    for _ in range(200):
        row = next_row(table.intent, table._start, table.world.state(), ARM_STEP_S)
        _, reward, terminated, truncated, info = env.step(row.astype(np.float32))
        total += reward
        if terminated or truncated:
            break
    assert terminated and not truncated and info["is_success"] and info["table"] == 4
    assert total > 3.0


def test_time_ends_an_episode_too() -> None:
    env = make(instruction="open the gripper", seconds=0.3)
    observation, _ = env.reset(seed=1)
    still = np.append(observation["state"][:6], 0.0).astype(np.float32)
    ends = [env.step(still)[2:4] for _ in range(3)]
    env.close()
    assert ends == [(False, False), (False, False), (False, True)]


def test_words_that_are_given_are_the_episode_s(env: Any) -> None:
    observation, _ = env.reset(seed=2, options={"instruction": "pick up the block"})
    assert observation["instruction"] == "pick up the block"
    assert env.unwrapped.intent == parse_arm("pick up the block")


def test_only_the_kinds_that_were_asked_for_are_drawn() -> None:
    env = make(kinds=("pick", "reach"))
    kinds = set()
    for seed in range(12):
        env.reset(seed=seed)
        kinds.add(env.unwrapped.intent.kind)
    env.close()
    assert kinds == {"pick", "reach"}


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"split": "pairs"}, "split is 'pairs'; give one of known, recombined, unseen_words"),
        ({"kinds": ("dance",)}, "kinds is ('dance',); give some of reach, pick"),
        ({"kinds": ()}, "kinds is (); give some of"),
        ({"seconds": 0.0}, "seconds is 0.0; give more than 0"),
        ({"variation": 1.1}, "variation is 1.1; give 0 to 1"),
        ({"render_mode": "human"}, "render_mode is 'human'; give rgb_array or None"),
        ({"instruction": "sing"}, "the words 'sing' are not understood"),
        ({"image_size": (8, 8)}, "cameras of 8x8 pixels are too small"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Table(**options)


def test_another_robot_s_file_is_refused() -> None:
    from vla_ros.core.config_files import config_folder

    with pytest.raises(
        ValueError, match="the robot file has the channels linear.x, angular.z, gripper, and the"
    ):
        Table(robot_file=config_folder() / "robots" / "sim.yaml")


def test_an_action_outside_its_bounds_is_refused_and_moves_nothing(env: Any) -> None:
    observation, _ = env.reset(seed=2)
    action = np.append(observation["state"][:6], 1.0).astype(np.float32)
    time = env.unwrapped.world.time
    for bad in (np.nan, 2.7):
        action[0] = bad
        with pytest.raises(
            ValueError, match="the action is .*; give a finite number within its bounds"
        ):
            env.unwrapped.step(action)
    assert env.unwrapped.world.time == time


def test_a_table_without_the_thing_is_refused_and_one_with_it_is_drawn(env: Any) -> None:
    with pytest.raises(ValueError, match="the table has no"):
        for table in range(20):  # no table of twenty has them all
            env.reset(options={"table": table, "instruction": "push the red cup"})
    env.reset(seed=4, options={"instruction": "push the red cup"})
    assert "red cup" in [thing.name for thing in env.unwrapped.world.scene.objects]


def test_an_option_that_is_none_is_refused(env: Any) -> None:
    with pytest.raises(ValueError, match="reset has no option room; it has table, instruction"):
        env.reset(options={"room": 3})


def test_a_step_before_the_first_reset_says_so() -> None:
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset first"):
        Table(image_size=(16, 16)).step(np.zeros(7, np.float32))
