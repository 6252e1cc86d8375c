"""A policy by its policy file, without nodes: prompt, history and horizon are the file's."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vla_ros.core.config_files import config_folder
from vla_ros.core.policy_file import load_policy_file
from vla_ros.core.robot import load_robot
from vla_ros.core.types import Instruction, Observation
from vla_ros.policies.base import PolicySpec, Rows
from vla_ros.policies.fitted import Fitting

TENTH = 100_000_000  # ns


class Diary:
    """Writes down what it is given; its rows count from its call's number on."""

    name = "diary@1"

    @classmethod
    def spec(cls, options: Any) -> PolicySpec:
        return PolicySpec(("linear.x", "angular.z"), 4, TENTH, {"camera": (2, 2)}, history=options.get("sees", 1))

    def __init__(self, options: Any) -> None:
        self.seen: list[Observation] = []

    def predict(self, observation: Observation) -> Rows:
        self.seen.append(observation)
        first = 10.0 * len(self.seen)
        return np.array([[first + row, 0.0] for row in range(4)])

    def reset(self) -> None:
        self.seen.clear()


def fitted(folder: Path, text: str = "") -> tuple[Any, list[Observation]]:
    (folder / "policy.yaml").write_text(f"policy: test_policy_fitted:Diary\n{text}")
    policy: Any = Fitting(load_policy_file(folder / "policy.yaml"), load_robot(config_folder() / "robots" / "sim.yaml")).make()
    return policy, policy._policy.seen


def observed(tenths: float, words: str = "go", number: int = 1) -> Observation:
    image = np.full((2, 2, 3), max(0, round(tenths)), np.uint8)
    return Observation(round(tenths * TENTH), Instruction(0, number, words), {"camera": image}, {})


def test_without_a_horizon_every_observation_is_answered_anew(tmp_path: Path) -> None:
    policy, seen = fitted(tmp_path)
    assert [policy.predict(observed(at))[0, 0] for at in (0, 1, 2)] == [10, 20, 30] and len(seen) == 3
    assert policy.name == "diary@1"


def test_until_the_horizon_is_over_what_is_left_of_the_chunk_is_given(tmp_path: Path) -> None:
    policy, seen = fitted(tmp_path, "horizon: 3")
    given, planned = [], []
    for at in range(5):
        given.append(policy.predict(observed(at))[:, 0].tolist())
        planned.append(policy.planned)
    assert given == [[10, 11, 12], [11, 12], [12], [20, 21, 22], [21, 22]] and len(seen) == 2
    assert planned == [False, True, True, False, True], "no time of a policy's is measured where nothing was computed"


@pytest.mark.parametrize("then", [observed(1, "stop", 2), observed(-1)])
def test_new_words_and_a_clock_that_went_back_begin_a_new_chunk(tmp_path: Path, then: Observation) -> None:
    policy, _ = fitted(tmp_path, "horizon: 3")
    policy.predict(observed(0))
    assert policy.predict(then)[0, 0] == 20


def test_a_reset_forgets_the_chunk_and_what_was_seen(tmp_path: Path) -> None:
    policy, seen = fitted(tmp_path, "horizon: 3\noptions: {sees: 2}\nhistory: {observations: 2}")
    policy.predict(observed(0))
    policy.reset()
    policy.predict(observed(1))
    assert [one.images["camera"][0, 0, 0] for one in seen[0].history] == [1], "the newest in place of one that is missing"


def test_the_history_is_of_the_observations_before_also_of_those_that_asked_nothing(tmp_path: Path) -> None:
    policy, seen = fitted(tmp_path, "horizon: 2\noptions: {sees: 3}\nhistory: {observations: 3}")
    for at in (0, 1, 2):
        policy.predict(observed(at))
    assert len(seen) == 2 and [one.stamp for one in seen[-1].history] == [0, TENTH]


def test_the_prompt_is_the_file_s(tmp_path: Path) -> None:
    policy, seen = fitted(tmp_path, 'prompt: "please {instruction}"')
    policy.predict(observed(0, "turn left"))
    assert seen[0].instruction.text == "please turn left"


def test_images_that_are_fitted_in_in_two_ways_are_refused(tmp_path: Path) -> None:
    class Two(Diary):
        @classmethod
        def spec(cls, options: Any) -> PolicySpec:
            return PolicySpec(("linear.x",), 1, TENTH, {"a": (2, 2), "b": (4, 4)})

    globals()["Two"] = Two
    (tmp_path / "policy.yaml").write_text("policy: test_policy_fitted:Two\nimages: {a: {camera: scene, resize: crop}, b: {camera: wrist}}\n"
                                          "actions: [{name: linear.x, to: joint_1}]")
    with pytest.raises(ValueError, match="fitted in by crop and by pad; give them all the same resize"):
        Fitting(load_policy_file(tmp_path / "policy.yaml"), load_robot(config_folder() / "robots" / "sim_arm.yaml"))
