"""Which of the things in sight an intent means."""
from __future__ import annotations

import math

import pytest

from vla_ros.tasks.choice import (
    AHEAD_RAD,
    CLEARANCE_M,
    IN_LINE_RAD,
    NEXT_TO_M,
    SAME_BEARING_RAD,
    SAME_DISTANCE_M,
    Sighting,
    chosen,
)
from vla_ros.tasks.meaning import meaning_of

NEAR_BALL = Sighting("red", "ball", 0.8, 0.1)
FAR_BALL = Sighting("blue", "ball", 1.6, -0.5)
BLOCK = Sighting("red", "block", 1.2, 0.6)
CAN = Sighting("green", "cylinder", 1.5, 0.2)
ROOM = [NEAR_BALL, FAR_BALL, BLOCK, CAN]


@pytest.mark.parametrize(("notation", "things"), [
    ("go_to:red ball", [NEAR_BALL]),
    ("go_to:ball", [NEAR_BALL, FAR_BALL]),  # not clear
    ("go_to:red object", [NEAR_BALL, BLOCK]),
    ("go_to:any ball", [NEAR_BALL]),
    ("go_to:nearest object", [NEAR_BALL]),
    ("go_to:farthest ball", [FAR_BALL]),
    ("go_to:leftmost object", [BLOCK]),
    ("go_to:rightmost object", [FAR_BALL]),
    ("go_to:ahead object", [NEAR_BALL]),
    ("go_to:ball not red", [FAR_BALL]),
    ("go_to:red object not block", [NEAR_BALL]),
    ("go_to:ball right_of red block", [NEAR_BALL]),
    ("go_to:object left_of red ball", [BLOCK]),
    ("go_to:object behind red ball", [CAN]),
    ("go_to:object in_front_of green cylinder", [NEAR_BALL]),
    ("go_to:object next_to red block", [CAN]),
    ("go_to:blue object next_to red block", []),  # none is near enough
    ("go_to:purple ball", []),
    ("go_to:ball left_of purple block", []),  # no such landmark
])
def test_what_is_meant(notation: str, things: list[Sighting]) -> None:
    assert chosen(meaning_of(notation)[0], ROOM) == things


@pytest.mark.parametrize(("apart", "there"), [(0.99, True), (1.01, False), (5.0, False)])
def test_next_to_is_near(apart: float, there: bool) -> None:
    ball = Sighting("red", "ball", 1.0, apart * NEXT_TO_M)
    assert chosen(meaning_of("face:ball next_to block")[0], [Sighting("red", "block", 1.0, 0.0), ball]) == [ball] * there


@pytest.mark.parametrize(("bearing", "there"), [(0.99, True), (1.01, False), (4.0, False), (-0.99, True), (-1.01, False)])
def test_ahead_is_in_front_of_the_robot(bearing: float, there: bool) -> None:
    ball = Sighting("red", "ball", math.cos(bearing * AHEAD_RAD), math.sin(bearing * AHEAD_RAD))
    assert chosen(meaning_of("face:ahead ball")[0], [ball]) == [ball] * there


@pytest.mark.parametrize(("farther", "count"), [(0.9, 2), (1.1, 1)])
def test_of_two_beside_a_thing_the_nearer_one_is_meant_where_it_is_clearly_nearer(farther: float, count: int) -> None:
    first, second = Sighting("red", "ball", 1.0, 0.3), Sighting("blue", "ball", 1.0, -0.3 - farther * CLEARANCE_M)
    things = [Sighting("red", "block", 1.0, 0.0), first, second]
    assert chosen(meaning_of("face:ball next_to block")[0], things) == [first, second][:count]


@pytest.mark.parametrize(("aside", "count"), [(0.9, 2), (1.1, 1)])
def test_of_two_behind_a_thing_the_straighter_one_is_meant_where_it_is_clearly_straighter(aside: float, count: int) -> None:
    first = Sighting("red", "ball", 1.5, 0.0)
    second = Sighting("blue", "ball", math.cos(aside * SAME_BEARING_RAD) * 1.6, math.sin(aside * SAME_BEARING_RAD) * 1.6)
    things = [Sighting("red", "block", 1.0, 0.0), first, second]
    assert chosen(meaning_of("face:ball behind block")[0], things) == [first, second][:count]


def test_beside_one_of_two_things_alike_is_not_clear() -> None:
    blocks = [Sighting("red", "block", 1.0, 0.6), Sighting("red", "block", 1.0, -0.6)]
    balls = [Sighting("red", "ball", 1.0, 0.8), Sighting("blue", "ball", 1.0, -0.3)]
    intent = meaning_of("face:ball next_to red block")[0]
    assert chosen(intent, blocks + balls) == balls and chosen(intent, [*blocks, balls[0]]) == balls[:1]


def test_the_other_one_is_not_the_last_one() -> None:
    assert chosen(meaning_of("go_to:other ball")[0], ROOM, last=NEAR_BALL) == [FAR_BALL]


@pytest.mark.parametrize(("by", "there"), [(0.9, False), (1.1, True)])
def test_left_is_more_than_a_few_degrees(by: float, there: bool) -> None:
    bearing = by * SAME_BEARING_RAD
    ball = Sighting("red", "ball", math.cos(bearing), math.sin(bearing))
    things = [Sighting("red", "block", 1.0, 0.0), ball]
    assert chosen(meaning_of("face:ball left_of block")[0], things) == [ball] * there


@pytest.mark.parametrize(("farther", "aside", "there"), [
    (0.9 * SAME_DISTANCE_M, 0.0, False), (1.1 * SAME_DISTANCE_M, 0.0, True),
    (0.5, 0.9 * IN_LINE_RAD, True), (0.5, 1.1 * IN_LINE_RAD, False),
])
def test_behind_is_farther_in_about_one_direction(farther: float, aside: float, there: bool) -> None:
    distance = 1.0 + farther
    ball = Sighting("red", "ball", distance * math.cos(aside), distance * math.sin(aside))
    things = [Sighting("red", "block", 1.0, 0.0), ball]
    assert chosen(meaning_of("face:ball behind block")[0], things) == [ball] * there
