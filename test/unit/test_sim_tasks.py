"""What done means: each criterion below, at and above its tolerance."""
from __future__ import annotations

import math
from dataclasses import replace

import pytest

from vla_ros.tasks import success
from vla_ros.tasks.success import judge
from vla_ros.tasks.world_state import ObjectState, WorldState

RED = ObjectState("red block", "red", "block", 1.0, 0.0, 0.03, 0.0, 0.06, 0.06)
BALL = ObjectState("red ball", "red", "ball", -1.0, 0.0, 0.035, 0.0, 0.07, 0.07)
BLUE = ObjectState("blue ball", "blue", "ball", 0.0, 1.0, 0.035, 0.0, 0.07, 0.07)
START = WorldState(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.10, (RED, BALL, BLUE))


def at(x: float, y: float = 0.0, degrees: float = 0.0, **changes: object) -> WorldState:
    return replace(START, x=x, y=y, yaw=math.radians(degrees), **changes)  # type: ignore[arg-type]


def done(text: str, now: WorldState, start: WorldState = START) -> bool:
    return judge(text, start, now).done


@pytest.mark.parametrize("gap, degrees, expected", [
    (0.35, 0, True), (0.44, 0, True), (0.46, 0, False), (0.35, 19, True), (0.35, 21, False), (0.35, 180, False),
])
def test_go_to(gap: float, degrees: float, expected: bool) -> None:
    assert done("go to the red block", at(1.0 - gap, degrees=degrees)) is expected


def test_the_wrong_colour_or_shape_is_not_done() -> None:
    beside_red = at(0.65)
    assert done("approach the red block", beside_red)
    assert not done("approach the blue ball", beside_red)
    assert not done("approach the red ball", beside_red)
    assert done("approach the red one", beside_red)


def test_a_robot_that_still_moves_is_not_done() -> None:
    assert not done("go to the red block", at(0.65, linear=0.1))
    assert not done("go to the red block", at(0.65, angular=-0.2))
    assert "still moves" in judge("go to the red block", START, at(0.65, linear=0.1)).sentence


def test_an_object_pushed_away_was_not_gone_to() -> None:
    pushed = (replace(RED, x=1.2), BALL, BLUE)
    assert not done("go to the red block", at(0.85, objects=pushed))
    assert done("push the red block", at(0.85, objects=pushed))


def test_distance_shrinks_on_the_way_and_ends_at_zero() -> None:
    far, near, there = (judge("go to the red block", START, at(x)).distance for x in (0.0, 0.4, 0.65))
    assert far > near > there == 0.0


@pytest.mark.parametrize("degrees, expected", [(90, True), (83, True), (81, False), (97, True), (-90, False)])
def test_face(degrees: float, expected: bool) -> None:
    assert done("face the blue ball", at(0.0, degrees=degrees)) is expected


def test_what_all_conditions_lack_is_their_sum() -> None:
    turned, drifted = judge("face the blue ball", START, at(0.0)), judge("face the blue ball", START, at(0.0, y=-0.35))
    assert turned.lacking == turned.distance == pytest.approx(math.radians(82))
    assert drifted.distance == pytest.approx(math.radians(82)) and drifted.lacking == pytest.approx(drifted.distance + 0.10)
    assert judge("face the blue ball", START, at(0.0, degrees=90)).lacking == 0.0


def test_grab_needs_the_named_object_in_the_gripper() -> None:
    assert done("grab the red block", at(0.75, held="red block"))
    assert not done("grab the red block", at(0.75, held="red ball"))
    assert not done("grab the red block", at(0.75))


@pytest.mark.parametrize("text, degrees, expected", [
    ("turn left", 90, True), ("turn left", 76, True), ("turn left", 74, False), ("turn left", -90, False),
    ("turn right", -90, True), ("turn right", 90, False), ("turn around", 180, True), ("turn around", -175, True),
    ("turn left 45 degrees", 45, True), ("turn left 45 degrees", 90, False),
])
def test_turns(text: str, degrees: float, expected: bool) -> None:
    assert done(text, at(0.0, degrees=degrees)) is expected


def test_turning_while_driving_off_is_not_a_turn() -> None:
    assert not done("turn left", at(0.5, degrees=90))


@pytest.mark.parametrize("text, x, expected", [
    ("go forward", 0.5, True), ("go forward", 0.31, True), ("go forward", 0.29, False), ("go forward", 0.75, False),
    ("back up", -0.5, True), ("back up", 0.5, False), ("back up", -0.29, False), ("back up 1 m", -0.5, False),
])
def test_straight_drives(text: str, x: float, expected: bool) -> None:
    assert done(text, at(x)) is expected


def test_straight_drives_follow_the_heading_at_the_start() -> None:
    north = replace(START, yaw=math.pi / 2)
    assert done("go forward", replace(north, y=0.5), north)
    assert not done("go forward", replace(north, x=0.5), north)


def test_gripper() -> None:
    assert done("open the gripper", at(0.0, opening=0.09)) and not done("open the gripper", at(0.0, opening=0.08))
    assert done("close the gripper", at(0.0, opening=0.005)) and not done("close the gripper", at(0.0, opening=0.05))
    assert done("close the gripper", at(0.0, opening=0.06, held="red block"))


def test_stop() -> None:
    assert done("stop", at(0.0)) and not done("stop", at(0.0, linear=0.2))


def test_words_without_meaning_and_objects_that_are_not_there() -> None:
    with pytest.raises(ValueError, match="not understood"):
        judge("make me a sandwich", START, START)
    with pytest.raises(ValueError, match="no purple ball; it has red block"):
        judge("go to the purple ball", START, START)


def test_every_kind_has_a_criterion() -> None:
    from vla_ros.policies.color_servo.policy import _FIRST_PHASE

    assert set(success._CRITERIA) == set(_FIRST_PHASE)
