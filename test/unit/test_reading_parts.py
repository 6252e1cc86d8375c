"""The deterministic parts of reading, each at its edges."""

from __future__ import annotations

import math

import pytest

from vla_ros.tasks.intent import Which
from vla_ros.tasks.reading.amounts import amount_at
from vla_ros.tasks.reading.clauses import base_form, cuts_of, in_order, without_counting
from vla_ros.tasks.reading.colours import ColourNames, by_hue
from vla_ros.tasks.reading.objections import only_tells, waits_for_someone
from vla_ros.tasks.reading.objects import NamedThing, Things
from vla_ros.tasks.reading.parts import parts_of, with_degrees
from vla_ros.tasks.reading.repairs import repaired
from vla_ros.tasks.reading.spelling import Spelling, edits
from vla_ros.tasks.reading.text import words_of

THINGS = Things(ColourNames({"lime green": "green", "mustard": "yellow", "brick": "red"}))


def parts(text):
    return parts_of(words_of(text), THINGS)


def plain(found):
    return " ".join(part.text for part in found)


@pytest.mark.parametrize(
    "text, words",
    [
        ("Don't MOVE!", "do not move !"),
        ("go, um, forward", "go forward"),
        ("uh like go 30cm", "go 30 cm"),
        ("0,5 m", "0.5 m"),
        ("a U-turn", "a about turn"),
        ("u go fwd plz", "you go forward please"),
        ("the block sittin' there", "the block sitting there"),
        ("left - no, right", "left , no , right"),
        ("it\u2019s red", "it is red"),
        ("ＴＵＲＮ left", "turn left"),
        ("", ""),
    ],
)
def test_words_are_read_in_their_plain_form(text, words):
    assert " ".join(words_of(text)) == words


@pytest.mark.parametrize(
    "text, value, unit",
    [
        ("30 cm", 0.3, "distance"),
        ("30cm", 0.3, "distance"),
        ("half a metre", 0.5, "distance"),
        ("a metre", 1.0, "distance"),
        ("a metre and a half", 1.5, "distance"),
        ("one and a half meters", 1.5, "distance"),
        ("three quarters of a metre", 0.75, "distance"),
        ("two point five metres", 2.5, "distance"),
        ("two feet", 0.6096, "distance"),
        ("ten inches", 0.254, "distance"),
        ("a yard", 0.9144, "distance"),
        ("250 mm", 0.25, "distance"),
        ("forty-five degrees", math.radians(45), "angle"),
        ("one hundred and eighty degrees", math.pi, "angle"),
        ("45\u00b0", math.radians(45), "angle"),
        ("a quarter turn", math.pi / 2, "angle"),
        ("half a turn", math.pi, "angle"),
        ("an eighth of a turn", math.pi / 4, "angle"),
        ("a right angle", math.pi / 2, "angle"),
        ("a full turn", 2 * math.pi, "angle"),
        ("a one eighty", math.pi, "angle"),
        ("three sixty", 2 * math.pi, "angle"),
        ("180", math.pi, "angle"),
        ("30", 30.0, "number"),
        ("a bit", 0.0, "little"),
        ("just a tiny bit", 0.0, "little"),
        ("ever so slightly", 0.0, "little"),
    ],
)
def test_an_amount_is_read_in_its_unit(text, value, unit):
    words = words_of(text)
    amount, end = amount_at(words, 0)
    assert (amount.unit, end) == (unit, len(words))
    assert amount.value == pytest.approx(value)


@pytest.mark.parametrize("text", ["a turn to the left", "one", "the left", "a ball", "half", "bit"])
def test_other_words_are_no_amount(text):
    assert amount_at(words_of(text), 0) is None


@pytest.mark.parametrize(
    "rgb, colour",
    [
        ((0.9, 0.0, 0.0), "red"),
        ((0.4, 0.0, 0.1), "red"),
        ((1.0, 0.5, 0.0), "orange"),
        ((0.4, 0.2, 0.0), None),  # brown
        ((1.0, 0.9, 0.0), "yellow"),
        ((0.0, 0.6, 0.1), "green"),
        ((0.0, 0.8, 0.8), None),  # teal is either
        ((0.0, 0.1, 0.3), "blue"),
        ((0.5, 0.1, 0.6), "purple"),
        ((1.0, 0.5, 0.75), None),  # pink
        ((0.5, 0.5, 0.5), None),
    ],
)
def test_hue_decides_which_of_the_six_a_colour_is(rgb, colour):
    assert by_hue(*rgb) == colour


@pytest.mark.parametrize(
    "text, thing",
    [
        ("the red block", NamedThing("red", "block")),
        ("lime green ball", NamedThing("green", "ball")),
        ("the mustard coloured box", NamedThing("yellow", "block")),
        ("that orange brick", NamedThing("orange", "block")),
        ("the brick ball", NamedThing("red", "ball")),
        ("the dark reddish one", NamedThing("red")),
        ("the big old blue can", NamedThing("blue", "cylinder")),
        ("the red", NamedThing("red")),
        ("a ball", NamedThing(None, "ball", Which("any"))),
        ("any block you like", NamedThing(None, "block", Which("any"))),
        ("anything round", NamedThing(None, "ball", Which("any"))),
        ("something green", NamedThing("green", None, Which("any"))),
        ("the other one", NamedThing(which=Which("other"))),
        ("the nearest block", NamedThing(None, "block", Which("nearest"))),
        ("the ball closest to you", NamedThing(None, "ball", Which("nearest"))),
        ("the object in front of you", NamedThing(which=Which("ahead"))),
        ("the left block", NamedThing(None, "block", Which("leftmost"))),
        ("the ball on your right", NamedThing(None, "ball", Which("rightmost"))),
        (
            "the ball to the left of the red block",
            NamedThing(None, "ball", Which("left_of", "red", "block")),
        ),
        ("the thing that is behind the can", NamedThing(which=Which("behind", None, "cylinder"))),
        ("whatever is next to the red one", NamedThing(which=Which("next_to", "red"))),
        ("nearest ball", NamedThing(None, "ball", Which("nearest"))),
        (
            "the red block behind the green one",
            NamedThing("red", "block", Which("behind", "green", "block")),
        ),
        (
            "the ball that is at left of the can",
            NamedThing(None, "ball", Which("left_of", None, "cylinder")),
        ),
        (
            "the can that stands right from the green ball",
            NamedThing(None, "cylinder", Which("right_of", "green", "ball")),
        ),
        (
            "that can sittin' right next to the red ball",
            NamedThing(None, "cylinder", Which("next_to", "red", "ball")),
        ),
        (
            "the ball near of the red block",
            NamedThing(None, "ball", Which("next_to", "red", "block")),
        ),
        ("the block that is not red", NamedThing(None, "block", None, ("red",))),
        ("any ball but the red one", NamedThing(None, "ball", Which("any"), ("red",))),
        ("the pink ball", NamedThing(None, "ball", unknown="pink")),
    ],
)
def test_a_thing_is_read_with_all_that_is_said_of_it(text, thing):
    assert THINGS.at(words_of(text), 0)[0] == thing


@pytest.mark.parametrize(
    "text",
    ["can you", "the left", "the red fire truck", "one metre", "the wed ball", "the sofa", "it"],
)
def test_other_words_are_no_thing(text):
    assert THINGS.at(words_of(text), 0) is None


@pytest.mark.parametrize(
    "word, meant",
    [
        ("trun", ["turn"]),
        ("lef", ["left"]),
        ("leftt", ["left"]),
        ("lift", ["lift"]),  # a word of its own
        ("stoooop", ["stop"]),
        ("turnleft", ["turn", "left"]),
        ("xyzzy", ["xyzzy"]),
        ("bad", ["bad"]),
        ("lt", ["lt"]),
        ("tirn", ["turn"]),
        ("balf", ["ball"]),
    ],
)
def test_a_misspelt_word_is_read_as_the_one_task_word_near_it(word, meant):
    spelling = Spelling({"turn", "left", "stop", "ball", "bad"}, {"lift"})
    assert spelling.correct(word) == meant


def test_edits_are_one_letter_away():
    assert {"at", "ct", "ca", "cut", "cart", "act"} <= set(edits("cat"))
    assert "dog" not in set(edits("cat"))


@pytest.mark.parametrize(
    "text, order",
    [
        ("before you go, turn left", "turn left then go"),
        ("after turning left, go", "turn left then go"),
        ("turn left before you go", "turn left then go"),
        ("go once you have turned left", "turn left then go"),
        ("turn left then go", "turn left then go"),
        ("go to the thing before the red block", "go to [item]"),
    ],
)
def test_before_and_after_put_the_steps_in_order(text, order):
    assert plain(in_order(parts(text))) == order


@pytest.mark.parametrize(
    "text, clauses",
    [
        ("turn left, then go", ["turn left", "go"]),
        ("turn left and go", ["turn left", "go"]),
        ("first turn left. second, go", ["turn left", "go"]),
        ("go ahead and turn left", ["turn left"]),
        ("do go on and turn left", ["do go on", "turn left"]),
        ("turn left so I can get by", ["turn left", "i can get by"]),
        ("turn left; go", ["turn left", "go"]),
        ("turn left when you are there", ["turn left"]),
    ],
)
def test_clauses_are_cut_where_one_ends(text, clauses):
    found = []
    place = 0
    whole = parts(text)
    for cut in cuts_of(whole):
        found.append(plain(without_counting(whole[place : cut.start])))
        place = cut.end
    found.append(plain(without_counting(whole[place:])))
    assert [clause for clause in found if clause] == clauses


@pytest.mark.parametrize(
    "form, base",
    [
        ("turned", "turn"),
        ("grabbing", "grab"),
        ("gone", "go"),
        ("moved", "move"),
        ("facing", "face"),
        ("pushed", "push"),
        ("rotating", "rotate"),
        ("red", "red"),
    ],
)
def test_the_base_form_of_a_verb(form, base):
    assert base_form(form) == base


@pytest.mark.parametrize(
    "text, meant",
    [
        ("turn right, no sorry, I mean left", "turn left"),
        ("go to the red ball, I mean the blue ball", "go to [item]"),
        ("go back, no wait, turn left", "turn left"),
        ("turn left", "turn left"),
    ],
)
def test_what_is_taken_back_is_replaced(text, meant):
    assert plain(repaired(parts(text))) == meant


@pytest.mark.parametrize(
    "text, marks",
    [
        ("turn left 4", "turn left [number]"),
        ("turn left 5", "turn left [angle]"),
        ("turn right 360", "turn right [angle]"),
        ("turn right 361", "turn right [number]"),
        ("forward 2", "forward [number]"),
        ("left 40 then right 50", "left [angle] then right [angle]"),
        ("turn left 3 times", "turn left [number] times"),
    ],
)
def test_a_bare_number_after_a_side_is_degrees_where_a_turn_can_be_so_large(text, marks):
    assert plain(with_degrees(parts(text))) == marks


@pytest.mark.parametrize(
    "text",
    [
        "I need some room",
        "I need to sweep here",
        "the stove is warm",
        "because we want to sit down",
        "like my sister said",
        "I'll be back in a moment",
    ],
)
def test_a_reason_only_tells(text):
    assert only_tells(parts(text))


@pytest.mark.parametrize(
    "text",
    [
        "I need the red ball",
        "I need a knife",
        "I want you to wait",
        "I changed my mind",
        "I was joking",
        "unless it is hot",
        "it is the wrong one",
        "the way is blocked",
        "we have 20 cm",
        "turn left",
    ],
)
def test_what_may_change_the_meaning_does_not_only_tell(text):
    assert not only_tells(parts(text))


def test_how_long_to_stand_still_is_a_condition_that_standing_still_keeps():
    assert waits_for_someone(parts("stay there until I am done"))
    assert not waits_for_someone(parts("stop when you see a ball"))
    assert not waits_for_someone(parts("if it rains stay there until I am done"))
