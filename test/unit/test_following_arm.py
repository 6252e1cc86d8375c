"""Step after step at the table: when one is done, and what is announced."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vla_ros.policies.following_arm import (
    DONE_S,
    OPEN_SHARE,
    STANDS_RAD_S,
    STILL_SHARE_S,
    STUCK_S,
    ArmFollowing,
    ArmMoment,
    Lasting,
    is_done,
)
from vla_ros.tasks.arm.intent import ArmIntent, Named

RED = Named("red", "block")
BOWL = Named("blue", "bowl")
PICK = ArmIntent("pick", RED)
PUT = ArmIntent("put_into", RED, BOWL)
# stands, and holds nothing in an open gripper
OPEN = ArmMoment(stamp=7.0, moves=False, speed=0.0, opening=1.0, opening_speed=0.0, command=1.0, gripped=False)
HELD = replace(OPEN, opening=0.5, command=0.0, gripped=True)


def show(following: ArmFollowing, moment: ArmMoment, seconds: float, rate: float = 10.0, start: float = 7.0) -> list[bool]:
    """Images of this moment, the first at `start`, the last `seconds` later."""
    return [following.note(replace(moment, stamp=start + index / rate)) for index in range(round(seconds * rate) + 1)]


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
        (ArmIntent("close"), replace(HELD, opening_speed=-STILL_SHARE_S), False),
        (ArmIntent("close"), OPEN, False),
        (ArmIntent("reach", RED), OPEN, True),
        (ArmIntent("home"), HELD, True),
        (ArmIntent("stop"), HELD, True),
    ],
)
def test_a_step_is_done_when_the_arm_stands_and_the_gripper_is_as_it_has_to_be(intent, moment, done):
    assert is_done(intent, moment) == done


@pytest.mark.parametrize("intent, moment", [(PICK, HELD), (PUT, OPEN), (ArmIntent("home"), OPEN)])
@pytest.mark.parametrize("change, done", [({"moves": True}, False), ({"speed": STANDS_RAD_S}, True), ({"speed": 1.01 * STANDS_RAD_S}, False)])
def test_an_arm_that_moves_has_not_done_it(intent, moment, change, done):
    assert is_done(intent, replace(moment, **change)) == done


@pytest.mark.parametrize("rate", [10.0, 20.0])
def test_the_next_step_begins_after_half_a_second_whatever_the_cameras_rate_and_each_is_announced(rate):
    following = ArmFollowing([PICK, ArmIntent("home")])
    assert following.announced == ("step 1 of 2: pick up the red block",) and not following.half_done
    began = show(following, HELD, DONE_S, rate)
    assert began == [False] * (len(began) - 1) + [True] and len(began) == DONE_S * rate + 1
    assert following.current == ArmIntent("home") and following.half_done
    assert following.title == "step 2 of 2: go home" and following.blamed("it is gone") == "step 2 of 2: go home: it is gone"
    assert not any(show(following, HELD, DONE_S, rate, start=7.0 + DONE_S + 1.0 / rate))
    assert following.announced[1:] == ("step 2 of 2: go home", "all 2 steps are done")


def test_what_showed_a_step_done_says_nothing_of_the_next_one():
    following = ArmFollowing([PICK, PICK, ArmIntent("home")])
    assert show(following, HELD, 2 * DONE_S + 0.1).count(True) == 2
    assert len(following.announced) == 3


def test_of_a_single_step_its_end_is_announced():
    following = ArmFollowing([PUT])
    assert not any(show(following, OPEN, 2 * DONE_S))
    assert following.announced == ("done: put the red block into the blue bowl",)
    assert following.title == "put the red block into the blue bowl"


HOVERS = ArmMoment(stamp=7.0, moves=True, speed=STANDS_RAD_S, opening=0.5, opening_speed=0.0, command=0.0, gripped=True)


@pytest.mark.parametrize("rate", [10.0, 20.0])
@pytest.mark.parametrize("seconds, stuck", [(STUCK_S - 0.1, False), (STUCK_S, True)])
def test_an_arm_that_stands_for_long_with_its_step_not_done_is_stuck(seconds, stuck, rate):
    """It hovers over the bowl: the model asks for more than the drives give."""
    following = ArmFollowing([PUT, ArmIntent("home")])
    show(following, HOVERS, seconds, rate)
    assert following.stuck == stuck


@pytest.mark.parametrize("change", [{"speed": 1.01 * STANDS_RAD_S}, {"opening_speed": STILL_SHARE_S}])
def test_an_arm_that_moves_now_and_then_is_not_stuck(change):
    following = ArmFollowing([PUT])
    show(following, HOVERS, STUCK_S - 0.1)
    following.note(replace(HOVERS, stamp=7.0 + STUCK_S, **change))
    following.note(replace(HOVERS, stamp=7.1 + STUCK_S))
    assert not following.stuck


def test_an_arm_that_is_done_stands_as_long_as_it_likes():
    following = ArmFollowing([PUT])
    show(following, OPEN, DONE_S)
    show(following, HOVERS, 2 * STUCK_S, start=7.1 + DONE_S)
    assert not following.stuck


def test_what_lasts_is_counted_from_its_first_image():
    lasting = Lasting()
    noted = [lasting.note(holds, stamp) for holds, stamp in ((True, 1.0), (True, 1.5), (False, 2.0), (True, 2.5), (True, 4.0))]
    assert noted == [0.0, 0.5, 0.0, 0.0, 1.5]
