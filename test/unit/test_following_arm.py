"""Step after step at the table: when one is done, and what is announced."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vla_ros.policies.following_arm import (
    DONE_IMAGES,
    OPEN_SHARE,
    STANDS_RAD,
    STILL_SHARE,
    STUCK_IMAGES,
    ArmFollowing,
    ArmMoment,
    is_done,
)
from vla_ros.tasks.arm.intent import ArmIntent, Named

RED = Named("red", "block")
BOWL = Named("blue", "bowl")
PICK = ArmIntent("pick", RED)
PUT = ArmIntent("put_into", RED, BOWL)
# stands, and holds nothing in an open gripper
OPEN = ArmMoment(moves=False, turned=0.0, opening=1.0, opened=0.0, command=1.0, gripped=False)
HELD = replace(OPEN, opening=0.5, command=0.0, gripped=True)


@pytest.mark.parametrize(
    "intent, moment, done",
    [
        (PICK, HELD, True),
        (PICK, replace(HELD, gripped=False), False),
        (PICK, replace(HELD, command=1.0), False),
        (ArmIntent("hand_over", RED), HELD, True),
        (ArmIntent("hand_over", RED), OPEN, False),
        (PUT, OPEN, True),
        (PUT, HELD, False),
        (PUT, replace(OPEN, opening=OPEN_SHARE), False),
        (PUT, replace(OPEN, gripped=True), False),
        (ArmIntent("open"), OPEN, True),
        (ArmIntent("open"), replace(OPEN, opening=OPEN_SHARE), False),
        (ArmIntent("close"), replace(HELD, gripped=False), True),
        (ArmIntent("close"), replace(HELD, opened=-STILL_SHARE), False),
        (ArmIntent("close"), OPEN, False),
        (ArmIntent("reach", RED), OPEN, True),
        (ArmIntent("home"), HELD, True),
        (ArmIntent("stop"), HELD, True),
    ],
)
def test_a_step_is_done_when_the_arm_stands_and_the_gripper_is_as_it_has_to_be(intent, moment, done):
    assert is_done(intent, moment) == done


@pytest.mark.parametrize("intent, moment", [(PICK, HELD), (PUT, OPEN), (ArmIntent("home"), OPEN)])
@pytest.mark.parametrize("change, done", [({"moves": True}, False), ({"turned": STANDS_RAD}, True), ({"turned": 1.01 * STANDS_RAD}, False)])
def test_an_arm_that_moves_has_not_done_it(intent, moment, change, done):
    assert is_done(intent, replace(moment, **change)) == done


def test_the_next_step_begins_after_images_in_a_row_and_each_is_announced():
    following = ArmFollowing([PICK, ArmIntent("home")])
    assert following.announced == ("step 1 of 2: pick up the red block",) and not following.half_done
    assert [following.note(HELD) for _ in range(DONE_IMAGES)] == [False] * (DONE_IMAGES - 1) + [True]
    assert following.current == ArmIntent("home") and following.half_done
    assert following.title == "step 2 of 2: go home" and following.blamed("it is gone") == "step 2 of 2: go home: it is gone"
    for _ in range(DONE_IMAGES):
        assert not following.note(HELD)
    assert following.announced[1:] == ("step 2 of 2: go home", "all 2 steps are done")


def test_of_a_single_step_its_end_is_announced():
    following = ArmFollowing([PUT])
    for _ in range(2 * DONE_IMAGES):
        assert not following.note(OPEN)
    assert following.announced == ("done: put the red block into the blue bowl",)
    assert following.title == "put the red block into the blue bowl"


HOVERS = ArmMoment(moves=True, turned=STANDS_RAD, opening=0.5, opened=0.0, command=0.0, gripped=True)


@pytest.mark.parametrize("images, stuck", [(STUCK_IMAGES - 1, False), (STUCK_IMAGES, True)])
def test_an_arm_that_stands_for_long_with_its_step_not_done_is_stuck(images, stuck):
    """It hovers over the bowl: the model asks for more than the drives give."""
    following = ArmFollowing([PUT, ArmIntent("home")])
    for _ in range(images):
        following.note(HOVERS)
    assert following.stuck == stuck


@pytest.mark.parametrize("change", [{"turned": 1.01 * STANDS_RAD}, {"opened": STILL_SHARE}])
def test_an_arm_that_moves_now_and_then_is_not_stuck(change):
    following = ArmFollowing([PUT])
    for _ in range(STUCK_IMAGES - 1):
        following.note(HOVERS)
    following.note(replace(HOVERS, **change))
    following.note(HOVERS)
    assert not following.stuck


def test_an_arm_that_is_done_stands_as_long_as_it_likes():
    following = ArmFollowing([PUT])
    for _ in range(DONE_IMAGES):
        following.note(OPEN)
    for _ in range(2 * STUCK_IMAGES):
        following.note(HOVERS)
    assert not following.stuck
