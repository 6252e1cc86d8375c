"""A scripted person beside a policy in the bare simulator: takes over where it errs, gives back, and is written down."""
import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")
pytest.importorskip("pyarrow", reason="datasets need pyarrow")
pytest.importorskip("av", reason="datasets need PyAV")

from vla_ros.cli.main import main
from vla_ros.core.types import to_nanoseconds
from vla_ros.datasets.lerobot.read import Dataset
from vla_ros.policies.base import NotUnderstood, PolicySpec
from vla_ros.sim.episode import run_episode
from vla_ros.sim.world import World
from vla_ros.training import scripted_person
from vla_ros.training.scripted_person import ScriptedPerson, watched_policy

WORDS = "go to the red block"
CHANNELS = ("angular.z", "linear.x")  # a policy need not have the person's order, or the gripper


@pytest.fixture(scope="module")
def world():
    world = World(0, width=32, height=32)
    try:
        world.render()
    except RuntimeError as problem:
        pytest.skip(f"neither EGL nor OSMesa draws here: {problem}")
    yield world
    world.close()


class Played:
    """A policy that asks `choose` for a row; counts its resets."""

    name = "played"

    def __init__(self, choose):
        self.choose, self.resets, self.sizes = choose, 0, set()

    def predict(self, observation):
        self.sizes.add(observation.images["camera"].shape)
        return np.tile(np.array(self.choose(observation), np.float32), (2, 1))

    def reset(self):
        self.resets += 1


def drive(world, choose, seed=3, seconds=25.0):
    """The outcome, and (s, who, row) of each image."""
    world.reset(seed)
    policy = Played(choose)
    spec = PolicySpec(CHANNELS, 2, to_nanoseconds(0.1), {"camera": (16, 24)})
    watched, seen = watched_policy(world, (32, 32), (policy, spec))
    watched.reset()
    said = []
    outcome = run_episode(watched, world, WORDS, seconds, spec=seen, rate=10,
                          watch=lambda state, observation, chunk: said.append(
                              (observation.stamp / 1e9, watched.control_source, chunk.values[0].tolist())))
    return outcome, said, watched, policy


def right(world):
    """What the person would do, for a policy that does it."""
    person = ScriptedPerson(world)
    begun = []

    def choose(observation):
        if not begun:
            begun.append(person.begin(WORDS))
        linear, angular, _ = person.rows(1, 0.1)[0]
        return angular, linear
    return choose


def test_the_person_alone_goes_to_what_is_named(world):
    world.reset(3)
    watched, spec = watched_policy(world, (32, 32), None)
    watched.reset()
    outcome = run_episode(watched, world, WORDS, 30.0, spec=spec, rate=10)
    assert outcome.done and watched.control_source == "teleop" and watched.takeovers == 0


def test_a_policy_that_does_what_is_right_keeps_the_robot(world):
    outcome, said, watched, policy = drive(world, right(world))
    assert outcome.done and watched.takeovers == 0 and {who for _, who, _ in said} == {"policy"}
    assert policy.sizes == {(16, 24, 3)}  # its own, of the 32 x 32 that are recorded


def test_who_drives_away_is_taken_over_after_a_second_and_not_given_back_to(world):
    outcome, said, watched, _ = drive(world, lambda observation: (0.0, -0.4))
    began = said[0][0]
    assert outcome.done and watched.takeovers == 1
    taken = next(time for time, who, _ in said if who == "teleop") - began
    assert scripted_person.WATCHED_S <= taken <= scripted_person.WATCHED_S + 0.31
    assert [who for _, who, _ in said] == sorted(who for _, who, _ in said)  # policy, then the person for good
    assert all(row == pytest.approx([0.0, -0.4]) for _, who, row in said if who == "policy")


def test_who_stands_still_is_taken_over(world):
    outcome, _, watched, _ = drive(world, lambda observation: (0.0, 0.0))
    assert outcome.done and watched.takeovers >= 1


@pytest.mark.parametrize("errs_s", [1.1, 1.5])  # it is taken over after 1 s
def test_the_robot_is_given_back_reset_once_the_policy_would_do_what_is_right(world, errs_s):
    choose = right(world)
    began = []

    def errs_first(observation):
        began.append(observation.stamp)
        row = choose(observation)
        return (0.0, -0.4) if observation.stamp - began[0] < to_nanoseconds(errs_s) else row

    outcome, said, watched, policy = drive(world, errs_first)
    sources = [who for _, who, _ in said]
    assert outcome.done and watched.takeovers == 1
    assert policy.resets == 3  # as it is made, as the episode begins, as the robot is given back
    assert sources[0] == sources[-1] == "policy" and "teleop" in sources
    driven = [time for time, who, _ in said if who == "teleop"]
    assert driven[-1] - driven[0] >= 1.5 - 0.11  # s, less an image


def test_a_policy_that_gives_up_never_has_the_robot_again(world):
    def gives_up(observation):
        raise NotUnderstood("no")
    outcome, said, _, _ = drive(world, gives_up)
    assert outcome.done and {who for _, who, _ in said} == {"teleop"}


def test_what_a_person_does_not_see_for_is_not_shown(world):
    world.reset(3)
    person = ScriptedPerson(world)
    with pytest.raises(NotUnderstood, match="the scripted person shows .*'turn left' is turn_left"):
        person.begin("turn left")


def test_a_policy_of_another_robot_is_refused(world):
    spec = PolicySpec(("joint_1",), 2, to_nanoseconds(0.1), {"camera": (16, 24)})
    with pytest.raises(ValueError, match="the policy drives joint_1, and the person linear.x, angular.z, gripper"):
        watched_policy(world, (32, 32), (Played(None), spec))


def test_vla_record_writes_who_had_the_robot_and_goes_on(world, tmp_path, capsys):
    argv = ["record", "--sim", "--person", "scripted", "--episodes", "1", "--seed", "3", "--camera", "32x32", WORDS, "--out",
            str(tmp_path / "set")]
    assert main(argv) == 0
    assert main(argv) == 2 and "is not empty" in capsys.readouterr().err
    assert main([*argv, "--append", "--policy", "color_servo"]) == 0
    assert "the person took over " in capsys.readouterr().out
    dataset = Dataset(tmp_path / "set")
    alone, watched = dataset.episodes
    assert dataset.cameras == {"camera": (32, 32)}
    sources = dataset.control_source
    assert set(sources[alone.start:alone.end]) == {"teleop"} and "policy" in sources[watched.start:watched.end]
    assert dataset.marked("intervention").tolist() == [source == "teleop" for source in sources]
    assert dataset.marked("next.success")[alone.end - 1]
    assert main(["record", "--sim", "--robot", "arm", "--person", "scripted", "--out", str(tmp_path / "arm")]) == 2
    assert "drives the cart, not the arm" in capsys.readouterr().err
