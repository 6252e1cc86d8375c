"""`vla evaluate --robot arm`: its episodes can be done and are not done before, and its report is as the cart's."""
from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("mujoco")
pytest.importorskip("scipy")

from vla_ros.cli import evaluate
from vla_ros.evaluation import advice, plan, runner, summary
from vla_ros.evaluation.arm import named_done
from vla_ros.evaluation.plan import PlannedEpisode, robot_named
from vla_ros.evaluation.runner import PolicyChoice
from vla_ros.sim.arm.episode import prepare
from vla_ros.sim.arm.expert import rows_for
from vla_ros.sim.arm.world import ArmWorld
from vla_ros.tasks.arm.intent import (
    LEARNED_KINDS,
    LEARNED_OBJECT_KINDS,
    ArmIntent,
    Named,
    parse_arm,
)
from vla_ros.tasks.arm.phrases import UNSEEN_TABLE_PAIRS
from vla_ros.tasks.arm.success import judge_arm

ARM = robot_named("arm")


@pytest.fixture(scope="module")
def episodes() -> list[PlannedEpisode]:
    return plan.success(80, robot=ARM)


def test_every_kind_and_split_is_asked_for_and_pairs_are_of_things_alone(episodes: list[PlannedEpisode]) -> None:
    assert set(Counter(episode.meant.kind for episode in episodes)) == set(LEARNED_KINDS)
    for episode in episodes:
        thing = episode.meant.thing
        if episode.split == "pairs":
            assert episode.meant.kind in LEARNED_OBJECT_KINDS and (thing.colour, thing.shape) in UNSEEN_TABLE_PAIRS
        assert episode.robot == "arm" and (episode.split == "unseen_words" or parse_arm(episode.text) == episode.meant)


def test_nothing_is_done_before_it_begins(episodes: list[PlannedEpisode]) -> None:
    world = ArmWorld(0, (16, 16))
    for episode in episodes:
        world.reset(episode.seed)
        prepare(world, episode.meant.kind, episode.seed)
        start = world.state()
        assert not judge_arm(episode.meant, start, start).done, episode.text


def test_a_swap_changes_the_colour_of_the_thing_and_not_of_the_place() -> None:
    meant = ArmIntent("put_into", Named("red", "block"), Named("red", "bowl"))
    episode = PlannedEpisode(0, "success", "known", 1_000_003, meant, "put the red block into the red bowl", 30.0, robot="arm")
    said = ARM.swap(episode).split()
    assert said[2] != "red" and said[-2] == "red"


def chosen(**given: Any) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    evaluate.arguments(parser)
    return parser.parse_args(["--robot", "arm", *given.get("more", ())])


def test_scenarios_that_a_table_cannot_have_are_refused_and_left_out_of_all() -> None:
    with pytest.raises(ValueError, match="the scenarios of the arm are dim, bright"):
        evaluate.make_plan(chosen(more=["--scenarios", "moved_camera", "--episodes", "40"]))
    names = {episode.scenario for episode in evaluate.make_plan(chosen(more=["--episodes", "40"]))}
    assert "new_scenes" in names and "distractors" not in names
    with pytest.raises(ValueError, match="unknown kind 'push'"):
        evaluate.make_plan(chosen(more=["--kinds", "push"]))


class Expert:
    """Knows the table: it is handed its world."""

    name = "expert@1"
    world: ArmWorld

    @classmethod
    def spec(cls, options: Any) -> Any:
        from vla_ros.policies import policy_spec
        return policy_spec("vla_ros.sim.arm.policy:TableExpert")

    def __init__(self, options: Any) -> None:
        self.start: Any = None

    def predict(self, observation: Any) -> Any:
        now = self.world.state()
        self.start = self.start or now
        intent = parse_arm(observation.instruction.text) if observation.instruction.text else ArmIntent("stop")
        return rows_for(intent, self.start, now, 10, 0.1)


def test_who_knows_the_table_does_what_is_meant_and_not_what_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "make_policy", lambda name, options: Expert(options))
    monkeypatch.setattr(runner, "policy_spec", lambda name, options: Expert.spec({}))
    worker = runner.worker_class(PolicyChoice("expert", robot="arm"))(PolicyChoice("expert", camera=(16, 16), robot="arm"))
    Expert.world = worker._table
    records = []
    for episode in plan.success(4, ("known",), ("reach", "home", "stop", "open"), robot=ARM):
        records.append(worker.run(episode))
        assert records[-1].done, records[-1].sentence
    blank = worker.run(replace(records[0].episode, number=9, part="blank", text="", seconds=2.0))
    assert not blank.done and blank.reached == []
    worker.close()
    assert records[0].chunks[0] == records[0].chunks[1] > 0  # within the arm's own bounds
    numbers = summary.summarise([*records, blank])
    aims = {aim.what: aim for aim in advice.aims(numbers)}
    assert numbers["robot"] == "arm" and aims["reach, new scenes"].met and aims["pick, new scenes"].met is None
    assert aims["… with the words blank"].met
    assert list(numbers["task_completion"]["by_kind"]) == ["reach", "open", "home", "stop"]


class Counted(Expert):
    """Slow to make, or not: how often it was made, and reset."""
    calls: list[str] = []

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.calls.append("made")

    def reset(self) -> None:
        self.calls.append("reset")


@pytest.mark.parametrize(("once", "calls"), [(True, ["made", "reset", "reset"]), (False, ["made", "made", "made"])])
def test_a_policy_that_is_made_once_is_reset_between_episodes_and_another_is_made_anew(
        monkeypatch: pytest.MonkeyPatch, once: bool, calls: list[str]) -> None:
    monkeypatch.setattr(Counted, "made_once", once, raising=False)
    monkeypatch.setattr(Counted, "calls", [])
    monkeypatch.setattr(runner, "make_policy", lambda name, options: Counted(options))
    monkeypatch.setattr(runner, "policy_spec", lambda name, options: Expert.spec({}))
    worker = runner.worker_class(PolicyChoice("expert", robot="arm"))(PolicyChoice("expert", camera=(16, 16), robot="arm"))
    Expert.world = worker._table
    for episode in plan.success(3, ("known",), ("home",), robot=ARM):
        worker.run(episode)
    worker.close()
    assert Counted.calls == calls


def test_the_things_with_which_it_is_done_are_named() -> None:
    world = ArmWorld(1_000_000, (16, 16))
    start = world.state()
    thing = start.objects[0]
    assert named_done(ArmIntent("reach", Named("red", "cup")), start, replace(start, tool=(thing.x, thing.y, thing.z + 0.05 + thing.height / 2))) == [thing.name]
    assert named_done(ArmIntent("home"), start, start) == []
