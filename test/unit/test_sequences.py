"""Several intents one after another: when they are done, and how they are said."""
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from vla_ros.tasks.intent import Intent
from vla_ros.tasks.meaning import meaning_of
from vla_ros.tasks.sequence import (
    UNTOUCHED_M,
    BitIntent,
    IntentSequence,
    Judging,
    first_kind,
    in_words,
    meant_by,
    named_first,
    steps_of,
    untouched,
)
from vla_ros.tasks.sequence_phrases import say_steps
from vla_ros.tasks.success import EXACT_ANGLE_RAD, EXACT_SHARE, exact, judge, resolved, targets
from vla_ros.tasks.world_state import ObjectState, WorldState


def thing(name: str, x: float, y: float) -> ObjectState:
    colour, _, shape = name.partition(" ")
    return ObjectState(name, colour, shape, x, y, 0.03, 0.0, 0.06, 0.06)


THINGS = (thing("red ball", 0.8, 0.1), thing("blue ball", 1.6, -0.5), thing("red block", 1.2, 0.6), thing("green cylinder", 1.5, 0.2))
START = WorldState(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.10, THINGS)


def at(x: float = 0.0, y: float = 0.0, degrees: float = 0.0, **changes: object) -> WorldState:
    return replace(START, x=x, y=y, yaw=math.radians(degrees), **changes)  # type: ignore[arg-type]


def meant(notation: str) -> Intent | IntentSequence:
    return meant_by(meaning_of(notation))


# -- which thing -----------------------------------------------------------------------


@pytest.mark.parametrize("notation, names", [
    ("go_to:ball left_of red block", None), ("go_to:ball right_of red block", ["red ball"]), ("go_to:nearest object", ["red ball"]),
    ("go_to:object behind red ball", ["green cylinder"]), ("go_to:ball not red", ["blue ball"]), ("go_to:any ball", ["red ball", "blue ball"]),
    ("go_to:ball", ["red ball", "blue ball"]), ("go_to:red object not block", ["red ball"]),
])
def test_what_is_meant_is_seen_from_where_the_robot_stands(notation: str, names: list[str] | None) -> None:
    intent = meaning_of(notation)[0]
    if names is None:
        with pytest.raises(ValueError, match="the room has no ball left of the red block; it has red ball"):
            targets(intent, START)
    else:
        assert [thing.name for thing in targets(intent, START)] == names


def test_a_relation_is_settled_at_the_start_and_stays_so_wherever_the_robot_drives() -> None:
    intent = meaning_of("face:nearest ball")[0]
    beside_the_blue = at(1.6, -0.9, 90.0)  # the blue ball is nearest now, and in front
    assert resolved(intent, START) == Intent("face", "red", "ball")
    assert not judge(meaning_of("go_to:nearest ball")[0], START, beside_the_blue).done
    assert judge(meaning_of("go_to:blue ball")[0], START, beside_the_blue).done
    assert judge(intent, START, at(degrees=math.degrees(math.atan2(0.1, 0.8)))).done


def test_any_is_done_with_any_and_the_nearest_only_with_the_nearest() -> None:
    facing_blue = at(degrees=math.degrees(math.atan2(-0.5, 1.6)))
    assert judge(meaning_of("face:any ball")[0], START, facing_blue).done
    assert not judge(meaning_of("face:nearest ball")[0], START, facing_blue).done


def test_the_other_one_is_not_the_one_before() -> None:
    judging = Judging(meant("face:red ball ; face:other ball"), START)
    red = at(degrees=math.degrees(math.atan2(0.1, 0.8)))
    assert "step 1 of 2" in judging(red).sentence
    assert not judging(red).done  # the red ball is faced still, and the other one is meant
    assert judging(at(degrees=math.degrees(math.atan2(-0.5, 1.6)))).done


# -- one step after another ------------------------------------------------------------


def test_a_sequence_is_done_when_its_steps_were_done_in_their_order() -> None:
    judging = Judging(meant("turn_left ; forward:0.5m"), START)
    assert judging(START).sentence.startswith("step 1 of 2: the robot turned 0 of 90 degrees")
    assert judging.done_steps == 0
    assert judging(at(degrees=90.0)).sentence.endswith("that step is done")
    assert judging.done_steps == 1
    here = judging(at(y=0.2, degrees=90.0))
    assert not here.done and here.sentence.startswith("step 2 of 2: the robot drove 0.20 of 0.50 m")
    assert judging(at(y=0.5, degrees=90.0)).done


def test_the_second_step_alone_is_not_enough() -> None:
    judging = Judging(meant("turn_left ; forward:0.5m"), START)
    for x in (0.1, 0.3, 0.5):
        assert not judging(at(x)).done
    assert judging.done_steps == 0


def test_a_step_is_judged_from_where_the_one_before_ended() -> None:
    judging = Judging(meant("forward:0.5m ; back:0.5m"), START)
    assert not judging(at(0.5)).done
    assert not judging(at(0.5)).done  # it stands where the first step ended
    assert judging(at(0.0)).done


def test_a_step_is_not_done_as_long_as_the_robot_moves() -> None:
    judging = Judging(meant("turn_left ; turn_left"), START)
    judging(at(degrees=90.0, angular=0.3))
    assert judging.done_steps == 0
    judging(at(degrees=90.0))
    assert judging.done_steps == 1


def test_the_last_step_is_judged_to_the_end() -> None:
    judging = Judging(meant("turn_left ; open"), START)
    judging(at(degrees=90.0))
    assert judging(at(degrees=90.0)).done
    assert not judging(at(degrees=90.0, opening=0.0)).done


def test_where_a_relation_tells_nothing_from_a_later_step_s_place_it_is_as_when_it_was_said() -> None:
    relation = meaning_of("face:ball right_of red block")[0]
    assert [thing.name for thing in targets(relation, START)] == ["red ball"]
    with pytest.raises(ValueError, match="the room has no ball right of the red block"):
        targets(relation, at(2.5))
    judging = Judging(meant("forward:2.5m ; face:ball right_of red block"), START)
    judging(at(2.5))
    assert judging.done_steps == 1 and not judging(at(2.5)).done
    assert judging(at(2.5, degrees=math.degrees(math.atan2(0.1, 0.8 - 2.5)))).done


def test_a_thing_that_the_room_has_not_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="the room has no purple ball"):
        Judging(meant("go_to:purple ball ; back"), START)


def test_more_than_half_a_turn_is_counted_and_not_read_off_the_heading() -> None:
    to_the_right = Judging(meant("turn_left:270deg"), START)
    for degrees in range(0, -91, -10):
        verdict = to_the_right(at(degrees=degrees))
    assert not verdict.done  # the heading is that of 270 degrees to the left
    to_the_left = Judging(meant("turn_left:270deg"), START)
    for degrees in range(0, 271, 10):
        verdict = to_the_left(at(degrees=math.degrees(math.remainder(math.radians(degrees), 2 * math.pi))))
    assert verdict.done
    assert not Judging(meant("turn_left:360deg"), START)(START).done  # not before it begins


def test_what_is_to_be_refused_is_never_done() -> None:
    judging = Judging(IntentSequence(()), START)
    assert not judging(START).done
    assert judging(at(0.4)).sentence == "the words were to be refused; the robot moved 0.40 m"


@pytest.mark.parametrize("x, is_so", [(UNTOUCHED_M - 0.001, True), (UNTOUCHED_M, True), (UNTOUCHED_M + 0.001, False)])
def test_untouched_is_what_one_could_not_see(x: float, is_so: bool) -> None:
    assert untouched(START, [at(x)]) is is_so
    assert untouched(START, [at(degrees=math.degrees(x) * (1 - 1e-9))]) is is_so
    assert not untouched(START, [at(held="red ball")])


def test_who_came_back_to_where_it_stood_was_not_still_there() -> None:
    circle = [at(degrees=degrees) for degrees in range(0, 361, 15)]
    assert not untouched(START, circle)
    assert not untouched(START, [at(0.2), START]) and not untouched(START, [at(held="red ball"), START])
    assert untouched(START, [START, at(0.01), START])


@pytest.mark.parametrize("speeds, is_so", [
    ({"linear": 0.029}, True), ({"linear": 0.031}, False), ({"linear": -0.3}, False), ({"angular": 0.049}, True), ({"angular": -0.051}, False),
])
def test_who_refuses_on_the_move_did_something(speeds: dict, is_so: bool) -> None:
    assert untouched(START, [START, at(0.02, **speeds)]) is is_so


# -- neighbouring amounts --------------------------------------------------------------


def moments(notation: str, *worlds: WorldState) -> list[bool]:
    judging = Judging(meant(notation), START)
    return [judging(world).done for world in worlds]


@pytest.mark.parametrize("total, done", [(22.0, False), (24.9, False), (25.1, True), (40.0, True), (40.9, True)])
def test_tolerances_of_neighbouring_turns_do_not_add_up(total: float, done: bool) -> None:
    assert moments("turn_left:20deg ; turn_left:20deg", at(degrees=11.0), at(degrees=total)) == [False, done]
    assert moments("turn_right:20deg ; turn_right:20deg", at(degrees=-11.0), at(degrees=-total)) == [False, done]


def test_who_falls_short_in_the_sum_is_told_both() -> None:
    judging = Judging(meant("turn_left:20deg ; turn_left:20deg"), START)
    judging(at(degrees=11.0))
    verdict = judging(at(degrees=22.0))
    assert verdict.sentence == "step 2 of 2: the robot turned 11 of 20 degrees; in all the robot turned 22 of 40 degrees"
    assert verdict.distance == pytest.approx(math.radians(3.0))


def test_three_neighbours_are_judged_by_the_sum_of_three() -> None:
    short = [at(degrees=11.0), at(degrees=26.0), at(degrees=37.0)]
    assert moments("turn_left:20deg ; turn_left:20deg ; turn_left:20deg", *short) == [False, False, False]
    assert moments("turn_left:20deg ; turn_left:20deg ; turn_left:20deg", *short[:2], at(degrees=46.0)) == [False, False, True]


def test_a_sum_over_half_a_turn_is_counted_and_not_read_off_the_heading() -> None:
    whole = [at(degrees=math.degrees(math.remainder(math.radians(degrees), 2 * math.pi))) for degrees in range(0, 271, 30)]
    assert moments("turn_left:90deg ; turn_left:90deg ; turn_left:90deg", *whole)[-1]
    assert not moments("turn_left:90deg ; turn_left:90deg ; turn_left:90deg", *whole[:7])[-1]  # 180


@pytest.mark.parametrize("total, done", [(1.17, False), (1.23, True), (2.0, True)])
def test_neighbouring_drives_are_judged_by_their_sum(total: float, done: bool) -> None:
    assert moments("forward:1m ; forward:1m", at(0.61), at(total)) == [False, done]


def test_a_sum_begins_where_its_first_step_did() -> None:
    worlds = (at(degrees=90.0), at(y=1.0, degrees=90.0), at(y=2.0, degrees=90.0))
    assert moments("turn_left ; forward:1m ; forward:1m", *worlds) == [False, False, True]
    turns = [at(degrees=degrees) for degrees in (20.0, 40.0, 40.0, 60.0, 80.0)]
    assert moments("turn_left:20deg ; turn_left:20deg ; open ; turn_left:20deg ; turn_left:20deg", *turns)[-1]


def test_ways_aside_do_not_add_up() -> None:
    assert moments("forward:1m ; forward:1m", at(1.0, 0.14), at(2.0, 0.14)) == [False, True]
    assert moments("forward:1m ; forward:1m", at(1.0, 0.14), at(2.0, 0.16)) == [False, False]


@pytest.mark.parametrize("notation, worlds", [
    ("turn_left:20deg ; turn_right:20deg", [{"degrees": 11.0}, {"degrees": -0.1}]),
    ("forward:0.5m ; back:0.5m", [{"x": 0.31}, {"x": 0.0}]),
    ("turn_left:20deg ; open ; turn_left:20deg", [{"degrees": 11.0}, {"degrees": 11.0}, {"degrees": 22.0}]),
    ("turn_around ; turn_around", [{"degrees": 179.0}, {"degrees": 0.0}]),
])
def test_what_does_not_add_up_is_judged_step_by_step(notation: str, worlds: list[dict]) -> None:
    assert moments(notation, *(at(**moment) for moment in worlds))[-1]


def test_a_bit_and_an_amount_do_not_add_up() -> None:
    judging = Judging(IntentSequence((Intent("turn_left", amount=math.radians(20)), BitIntent("turn_left", amount=math.pi / 2))), START)
    judging(at(degrees=11.0))
    assert judging(at(degrees=22.0)).done


# -- amounts ---------------------------------------------------------------------------


@pytest.mark.parametrize("notation, turned, met", [
    ("turn_left:20deg", 15.1, True), ("turn_left:20deg", 14.9, False), ("turn_left:20deg", 24.9, True),
    ("turn_right:120deg", -108.1, True), ("turn_right:120deg", -107.9, False), ("turn_right:120deg", 108.1, False),
])
def test_a_turn_is_exact_within_ten_percent_or_five_degrees(notation: str, turned: float, met: bool) -> None:
    assert math.isclose(EXACT_ANGLE_RAD, math.radians(5)) and EXACT_SHARE == 0.1
    assert exact(meaning_of(notation)[0], START, at(degrees=turned)) is met


@pytest.mark.parametrize("notation, x, met", [
    ("forward:0.5m", 0.451, True), ("forward:0.5m", 0.449, False), ("forward:0.5m", 0.549, True), ("forward:0.5m", 0.551, False),
    ("back:0.5m", -0.451, True), ("back:0.5m", 0.5, False),
])
def test_a_drive_is_exact_within_ten_percent(notation: str, x: float, met: bool) -> None:
    assert exact(meaning_of(notation)[0], START, at(x)) is met


def test_a_small_turn_is_not_done_before_it_begins_and_a_usual_one_is_judged_as_ever() -> None:
    assert not judge(meaning_of("turn_left:10deg")[0], START, START).done
    assert judge(meaning_of("turn_left:10deg")[0], START, at(degrees=5.1)).done
    for degrees, done in ((74.9, False), (75.1, True), (104.9, True), (105.1, False)):
        assert judge(meaning_of("turn_left")[0], START, at(degrees=degrees)).done is done


@pytest.mark.parametrize("kind, moment, done", [
    ("turn_left", {"degrees": 4.9}, False), ("turn_left", {"degrees": 10.1}, True), ("turn_left", {"degrees": 90.0}, True),
    ("turn_left", {"degrees": 105.1}, False), ("turn_left", {"degrees": -30.0}, False), ("turn_right", {"degrees": -30.0}, True),
    ("forward", {"x": 0.02}, False), ("forward", {"x": 0.06}, True), ("forward", {"x": 0.71}, False), ("back", {"x": -0.2}, True),
    ("back", {"x": -0.2, "linear": -0.1}, False),
])
def test_a_bit_is_done_from_a_bit_to_the_usual_amount(kind: str, moment: dict, done: bool) -> None:
    usual = meaning_of(kind)[0].amount
    assert Judging(BitIntent(kind, amount=usual), START)(at(**moment)).done is done
    assert in_words(BitIntent(kind, amount=usual)).endswith("a bit")


# -- in words --------------------------------------------------------------------------


@pytest.mark.parametrize("notation, words", [
    ("go_to:red block", "go to the red block"), ("turn_left:45deg ; back", "turn left 45 degrees, then back 0.5 m"),
    ("face:any ball", "face any ball"), ("grab:ball left_of red block", "grab the ball left of the red block"),
    ("push:block not red", "push the block that is not red"), ("open", "open"), ("go_to:ball", "go to the ball"),
])
def test_what_is_meant_in_words(notation: str, words: str) -> None:
    assert in_words(meant(notation)) == words


def test_no_step_is_a_refusal_and_one_step_is_no_sequence() -> None:
    assert meant("refuse") == IntentSequence(()) and in_words(meant("refuse")) == "nothing that the robot may do"
    assert meant("open") == Intent("open") and steps_of(meant("open")) == (Intent("open"),)
    assert [meant(text).kind for text in ("refuse", "open", "open ; close")] == ["refuse", "open", "sequence"]
    assert [first_kind(meant(text)) for text in ("refuse", "open", "close ; open")] == ["refuse", "open", "close"]


def test_the_first_thing_that_is_named() -> None:
    assert named_first(meant("turn_left ; grab:nearest ball ; face:red block"), START) == "red ball"
    assert named_first(meant("turn_left"), START) == named_first(meant("go_to:purple ball"), START) == ""
    assert named_first(meant("go_to:red ball"), None) == ""


@pytest.mark.parametrize("notation, parts", [
    ("turn_left:45deg", ("left",)), ("forward:0.5m", ("5",)), ("grab:ball left_of red block", ("left", "red block", "ball")),
    ("push:block not red", ("red", "block")), ("face:nearest ball", ("ball",)), ("go_to:any cylinder", ("cylinder",)),
    ("face:red ball ; go_to:other ball", ("red", "other ball")), ("turn_right ; open ; back:0.3m", ("3",)),
])
def test_every_way_to_say_it_names_what_is_meant(notation: str, parts: tuple[str, ...]) -> None:
    texts = {say_steps(np.random.default_rng(seed), meant(notation)) for seed in range(40)}
    assert len(texts) > 5
    for text in texts:
        assert "{" not in text and text == text.strip()
        said = text.replace("half a metre", "0.5").replace("fifty", "50").replace("thirty", "30").replace("a quarter turn", "90")
        assert all(part in said for part in parts), text


def test_there_are_no_words_for_a_relation_that_is_not_evaluated() -> None:
    with pytest.raises(ValueError, match="no words for the relation 'leftmost'"):
        say_steps(np.random.default_rng(0), meant("face:leftmost ball"))
