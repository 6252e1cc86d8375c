"""The built-in policy in the bare simulator: amounts, relations, steps one after another, things that look alike."""
from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip("torch", reason="the learned policy needs torch")
pytest.importorskip("mujoco", reason="the simulated robot needs MuJoCo")

from vla_ros.core.step_words import is_done
from vla_ros.core.types import Instruction
from vla_ros.policies import make_policy, policy_spec
from vla_ros.policies.base import NotUnderstood
from vla_ros.sim.episode import between_images, observe
from vla_ros.sim.scene import RGB
from vla_ros.sim.world import World
from vla_ros.tasks.meaning import meaning_of
from vla_ros.tasks.success import judge
from vla_ros.tasks.world_state import WorldState

pytestmark = [pytest.mark.timeout(600), pytest.mark.computes]
PERIOD_S = 0.08  # between images


class Notation:
    """In the reader's place: what is tested here is what is done with its meanings."""

    def read(self, text: str) -> Any:
        return meaning_of(text)


@pytest.fixture(scope="module")
def policy() -> Any:
    policy: Any = make_policy("builtin", {"engine": "eager"})
    policy._reader = Notation()
    return policy


@pytest.fixture(scope="module")
def world() -> World:
    return World(0, 320, 240)


def follow(policy: Any, world: World, text: str, seconds: float) -> list[WorldState]:
    """The truth at the beginning, at each announcement after the first, and at the end."""
    policy.reset()
    spec = policy_spec("builtin", {})
    instruction = Instruction(0, hash(text), text)
    states = [world.state()]
    coming: list[Any] = []
    announced = 1
    ends = world.time + seconds
    while world.time < ends and not (policy.announcements and "steps are done" in policy.announcements[-1]):
        seen = observe(world, spec, instruction)
        rows = policy.predict(seen)
        if len(policy.announcements) > announced:
            announced = len(policy.announcements)
            states.append(world.state())
        coming.append((world.time + PERIOD_S, spec.chunk(rows, seen)))
        between_images(world, coming, PERIOD_S)
    return [*states, world.state()]


@pytest.mark.parametrize(("text", "turned", "ahead"), [
    ("turn_left:45deg", math.radians(45), 0.0), ("turn_right:150deg", -math.radians(150), 0.0), ("back:0.2m", 0.0, -0.2)])
def test_it_goes_as_far_as_it_is_told(policy: Any, world: World, text: str, turned: float, ahead: float) -> None:
    world.reset(1_700_000)
    world.place_robot(0.0, 0.0, 0.0)
    start, end = follow(policy, world, text, 10.0)
    assert math.degrees(end.yaw - start.yaw) == pytest.approx(math.degrees(turned), abs=5.0)
    assert end.x - start.x == pytest.approx(ahead, abs=0.1 * abs(ahead) + 0.03 * (ahead == 0.0))


def arrange(world: World, seed: int = 1_700_000) -> None:
    """The scene's first objects stand at half left and at half right, 1 m and 1.3 m away; the others behind the robot."""
    world.reset(seed)
    world.place_robot(-0.8, 0.0, 0.0)
    for index, thing in enumerate(world.scene.objects):
        place = {0: (0.13, 0.35), 1: (0.43, -0.4)}.get(index, (-1.6, 0.5 * index - 1.6))
        world.place_object(thing.name, *place)


@pytest.mark.parametrize(("words", "index"), [("nearest object", 0), ("farthest object", 1), ("leftmost object", 0)])
def test_it_goes_to_the_thing_that_is_meant(policy: Any, world: World, words: str, index: int) -> None:
    arrange(world)
    meant = world.scene.objects[index].name
    start, *_, end = follow(policy, world, f"go_to:{words}", 12.0)
    assert policy.announcements[0] == f"the {words}: it is the {meant}" and is_done(policy.announcements[-1])
    verdict = judge(meaning_of(f"go_to:{meant}")[0], start, end)
    assert verdict.done, verdict.sentence


def test_one_step_follows_another(policy: Any, world: World) -> None:
    arrange(world)
    text = f"go_to:{world.scene.objects[0].name} ; back:0.3m ; turn_around"
    states = follow(policy, world, text, 60.0)
    steps = meaning_of(text)
    assert len(policy.announcements) == len(steps) + 1 and policy.announcements[-1] == "all 3 steps are done"
    for step, before, after in zip(steps, states, states[1:]):
        verdict = judge(step, before, after)
        assert verdict.done, f"{step}: {verdict.sentence}"


def test_of_two_things_that_look_alike_it_asks_which_and_goes_to_the_one_it_is_told(policy: Any, world: World) -> None:
    arrange(world, 1_700_017)
    first, second = world.scene.objects[:2]
    assert first.shape == second.shape
    for thing in (first, second):
        world.paint(thing.name, RGB["red"])
    with pytest.raises(NotUnderstood, match=f"may be the red {first.shape} on the left or the red {first.shape} on the right"):
        follow(policy, world, f"go_to:red {first.shape}", 3.0)
    *_, end = follow(policy, world, f"go_to:rightmost red {first.shape}", 12.0)
    thing = end.objects[1]
    assert math.dist((end.x, end.y), (thing.x, thing.y)) < 0.45


def in_its_way(world: World, near: tuple[float, float]) -> str:
    """Two red things alike, 1.7 m ahead and at `near`; their shape."""
    world.reset(1_700_017)
    world.place_robot(-1.0, 0.0, 0.0)
    for index, thing in enumerate(world.scene.objects):
        world.place_object(thing.name, *{0: near, 1: (0.7, 0.0)}.get(index, (-1.6, 0.5 * index - 1.6)))
    for thing in world.scene.objects[:2]:
        world.paint(thing.name, RGB["red"])
    return str(world.scene.objects[0].shape)


@pytest.mark.parametrize("near", [(-0.45, 0.13), (-0.45, -0.13)])
def test_it_steers_around_the_one_of_two_alike_that_is_not_meant(policy: Any, world: World, near: tuple[float, float]) -> None:
    shape = in_its_way(world, near)
    start, *_, end = follow(policy, world, f"go_to:farthest red {shape}", 12.0)
    passed, reached = end.objects[:2]
    assert math.dist((passed.x, passed.y), (start.objects[0].x, start.objects[0].y)) < 0.02
    assert math.dist((end.x, end.y), (reached.x, reached.y)) < 0.45


def test_two_alike_that_touch_in_the_image_are_not_driven_to_as_one(policy: Any, world: World) -> None:
    shape = in_its_way(world, (-0.1, 0.1))
    start = world.state()
    with pytest.raises(NotUnderstood, match="may be two of them, too close to tell apart"):
        follow(policy, world, f"go_to:red {shape}", 3.0)
    assert math.dist((world.state().x, world.state().y), (start.x, start.y)) < 0.01


def test_a_policy_that_is_reset_in_the_middle_does_nothing_twice(policy: Any, world: World) -> None:
    world.reset(1_700_000)
    world.place_robot(-1.0, 0.0, 0.0)
    follow(policy, world, "forward:0.6m ; turn_left", 2.0)
    policy.reset()
    spec = policy_spec("builtin", {})
    for _ in range(2):
        with pytest.raises(NotUnderstood, match="the policy was reset in 'step 1 of 2: go forward 0.6 m'; say what is left to do"):
            policy.predict(observe(world, spec, Instruction(0, hash("forward:0.6m ; turn_left"), "forward:0.6m ; turn_left")))
