"""color_servo in the simulated room, closed loop, no ROS: does the robot do what the words say?"""
from __future__ import annotations

import pytest

pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")
pytest.importorskip("cv2", reason="color_servo needs OpenCV")

from vla_ros.policies.color_servo.policy import ColorServo
from vla_ros.sim.episode import run_episode
from vla_ros.sim.world import World


@pytest.fixture(scope="module")
def world() -> World:
    world = World(0, width=320, height=240)
    try:
        world.render()
    except RuntimeError as problem:
        pytest.skip(f"neither EGL nor OSMesa draws here: {problem}")
    return world


@pytest.mark.parametrize("seed, text", [
    (5, "go to the {}"), (6, "drive up to the {}"), (7, "grab the {}"), (8, "face the {}"), (9, "push the {}"),
    (10, "turn left"), (11, "rotate right"), (12, "back up"), (13, "go forward"), (14, "close the gripper"),
])
def test_the_robot_does_what_the_words_say(world: World, seed: int, text: str) -> None:
    world.reset(seed)
    policy = ColorServo({})
    outcome = run_episode(policy, world, text.format(world.scene.objects[0].name), 40.0, spec=policy.spec({}))
    assert outcome.done, outcome.verdict.sentence


def test_a_policy_that_does_nothing_gets_nothing_done(world: World) -> None:
    from vla_ros.policies.constant import Constant

    world.reset(5)
    policy = Constant({})
    outcome = run_episode(policy, world, "turn left", 1.0, spec=policy.spec({}))
    assert not outcome.done and outcome.seconds == pytest.approx(1.0, abs=0.1)


def test_an_object_that_is_not_there_ends_with_the_policy_giving_up(world: World) -> None:
    world.reset(5)
    names = {placed.colour for placed in world.scene.objects}
    missing = next(colour for colour in ("red", "green", "blue", "yellow", "purple", "orange") if colour not in names)
    policy = ColorServo({})
    with pytest.raises(ValueError, match=f"no {missing} block"):
        run_episode(policy, world, f"go to the {missing} block", 5.0, spec=policy.spec({}))


def test_what_was_grabbed_is_carried_to_the_next_object(world: World) -> None:
    world.reset(21)
    first, second = (placed.name for placed in world.scene.objects[:2])
    policy = ColorServo({})
    for instruction_id, text in enumerate((f"grab the {first}", f"go to the {second}"), start=1):
        outcome = run_episode(policy, world, text, 40.0, spec=policy.spec({}), instruction_id=instruction_id)
        assert outcome.done, outcome.verdict.sentence
    assert world.state().held == first
