"""What strangers say beside an instruction, and what looks like one and is none."""

from __future__ import annotations

import math

import pytest

from vla_ros.core.instructions import HALTING_THRESHOLD, NotUnderstood
from vla_ros.tasks.arm.intent import ArmIntent
from vla_ros.tasks.meaning import meaning_of
from vla_ros.tasks.reading.amounts import amount_at
from vla_ros.tasks.reading.arm import ARM
from vla_ros.tasks.reading.clauses import says_again
from vla_ros.tasks.reading.reader import InstructionReader, reader_of
from vla_ros.tasks.reading.spelling import Spelling


@pytest.fixture(scope="module")
def cart() -> InstructionReader:
    return InstructionReader.load()


@pytest.fixture(scope="module")
def arm() -> InstructionReader[ArmIntent]:
    return reader_of(ARM)


def kinds(steps) -> list[str]:
    return [step.kind for step in steps]


@pytest.mark.parametrize(
    "text, meaning",
    [
        ("turn left, corporal", "turn_left"),
        ("go to the red ball, dear nurse", "go_to:red ball"),
        ("back up, over and out", "back"),
        ("grab the green can, the doctor is waiting", "grab:green cylinder"),
        ("push the blue block, I know you can", "push:blue block"),
        ("you are facing the wrong way, turn around", "turn_around"),
        ("go back 20 cm, you are in my way", "back:0.2m"),
        ("go to the other ball, not this one", "go_to:other ball"),
        ("look at the other block instead", "face:other block"),
    ],
)
def test_who_is_spoken_to_and_why_changes_nothing(cart, text, meaning):
    assert cart.read(text) == meaning_of(meaning)


@pytest.mark.parametrize(
    "text",
    [
        "turn left and dance",
        "turn left, then dance",
        "go to the red ball, sing",
        "go to the red ball and throw it away",
        "pick up the green ball and swallow it",
        "grab the blue can, I need a knife",
        "turn right, left instead",
        "turn left, wash the windows",
    ],
)
def test_an_action_or_a_thing_beside_an_instruction_is_refused_with_it(cart, text):
    with pytest.raises(NotUnderstood):
        cart.read(text)


@pytest.mark.parametrize(
    "text",
    [
        "count the blocks twice",
        "look after the green ball",
        "drive around the red block",
        "take some photos of the blue can",
        "go to the red ball, sneeze",
    ],
)
def test_what_no_robot_here_does_is_refused_by_its_verb(cart, text):
    with pytest.raises(NotUnderstood, match="what this robot cannot do"):
        cart.read(text)


@pytest.mark.parametrize(
    "text",
    [
        "knock it off now",
        "oi, cut it out",
        "that's quite enough, thanks",
        "please leave it out, will you",
        "enough of that",
    ],
)
def test_idioms_of_halting_halt(cart, text):
    assert cart.halting(text) >= HALTING_THRESHOLD
    assert kinds(cart.read(text)) == ["stop"]


@pytest.mark.parametrize("text", ["put it down over there", "drop the attitude"])
def test_putting_something_is_no_halt(arm, text):
    try:
        assert "stop" not in kinds(arm.read(text))
    except NotUnderstood:
        pass


@pytest.mark.parametrize(
    "text", ["no pushing the red ball", "no grabbing it, please", "no, no touching the blue block"]
)
def test_what_must_not_be_done_to_a_thing_is_no_instruction(cart, text):
    with pytest.raises(NotUnderstood):
        cart.read(text)


@pytest.mark.parametrize("text", ["never push the red ball", "avoid the red block"])
def test_a_negation_with_swapped_letters_is_one(cart, text):
    for place in range(1, 4):
        misspelt = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        with pytest.raises(NotUnderstood):
            cart.read(misspelt)


@pytest.mark.parametrize(
    "words, unit, value",
    [
        ("three five degrees", "angle", math.radians(35)),
        ("zero niner zero degrees", "angle", math.pi / 2),
        ("one two centimetres", "distance", 0.12),
        ("pi over four radians", "angle", math.pi / 4),
        ("pi 2", "angle", math.pi / 2),  # pi/2
        ("half pi", "angle", math.pi / 2),
        ("pi", "angle", math.pi),
        ("two hundred millimetres", "distance", 0.2),
    ],
)
def test_digits_and_parts_of_pi_are_amounts(words, unit, value):
    amount, end = amount_at(words.split(), 0)
    assert (amount.unit, end) == (unit, len(words.split()))
    assert amount.value == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "turn left ten times ten degrees",
        "go forward three thousand cm",
        "turn right over 30 degrees",
        "go back twenty percent per metre",
    ],
)
def test_an_amount_that_would_have_to_be_worked_out_is_refused(cart, text):
    with pytest.raises(NotUnderstood):
        cart.read(text)


@pytest.mark.parametrize(
    "text, meaning",
    [
        ("go forward 30 cm, no more", "forward:0.3m"),
        ("turn left 20 degrees, just twenty", "turn_left:20deg"),
        ("turn right twenty degrees, only twenty", "turn_right:20deg"),
        ("move back four hundred mil", "back:0.4m"),
        ("turn right, no just 20 degrees", "turn_right:20deg"),
    ],
)
def test_an_amount_that_is_said_twice_is_one(cart, text, meaning):
    if text.startswith("turn left"):
        text = text.replace("20", "twenty")
    assert cart.read(text) == meaning_of(meaning)


@pytest.mark.parametrize(
    "text, meaning",
    [
        ("look at whatever's behind the red ball", "face:object behind red ball"),
        ("go to whatever is green", "go_to:green object"),
        ("face the ball right side of the blue block", "face:ball right_of blue block"),
        ("go to a ball, anything but a red one", "go_to:any ball not red"),
        ("grab the thing ahead", "grab:ahead object"),
        ("go to the ruby red ball", "go_to:red ball"),
        ("before you push the red block, look at it", "face:red block ; push:red block"),
        ("push the red ball, push the blue ball", "push:red ball ; push:blue ball"),
        ("turn right, turn left I mean, and then go forward", "turn_left ; forward"),
    ],
)
def test_which_thing_and_which_step_is_meant(cart, text, meaning):
    steps = cart.read(text)
    expected = meaning_of(meaning)
    assert kinds(steps) == kinds(expected)
    for step, other in zip(steps, expected):
        assert (step.colour, step.shape, step.excluded) == (
            other.colour,
            other.shape,
            other.excluded,
        )


@pytest.mark.parametrize(
    "text", ["Claw: open.", "open wide, little claw", "jaws: open", "open, dear gripper"]
)
def test_the_gripper_s_name_asks_for_nothing(cart, arm, text):
    assert kinds(cart.read(text)) == ["open"]
    assert kinds(arm.read(text)) == ["open"]


def test_a_hand_that_is_told_twice_to_open_opens_once(arm):
    assert kinds(arm.read("let go and open the gripper")) == ["open"]


def test_two_things_are_not_one_said_twice(arm):
    steps = arm.read("put the red block next to the blue cup, put the green block next to the bowl")
    assert [str(step.thing.colour) for step in steps] == ["red", "green"]
    parts = arm.parts("push the red cup, push the blue cup")
    comma = [part.text for part in parts].index(",")
    assert not says_again(parts, (0, comma), (comma + 1, len(parts)))


@pytest.mark.parametrize(
    "text",
    [
        "cup your ears",
        "hand me whichever cup is oldest",
        "Major, the red block is in the blue bowl.",
        "should the red cup be full, hand it to me",
    ],
)
def test_what_looks_like_an_instruction_to_the_arm_is_none(arm, text):
    with pytest.raises(NotUnderstood):
        arm.read(text)


@pytest.mark.parametrize("kind", ["cart", "arm"])
def test_what_the_reader_offers_it_understands(cart, arm, kind):
    reader = cart if kind == "cart" else arm
    robot = reader._robot
    for meant, words in robot.examples.items():
        if robot is ARM and meant in robot.place_kinds:
            words = words.replace("a cup", "the blue cup")
        text = words.format("the red block")
        assert kinds(reader.read(text)) == [meant], text


@pytest.mark.parametrize(
    "written, meant",
    [
        ("cilynder", "cylinder"),
        ("cillinder", "cylinder"),
        ("retreive", "retrieve"),
        ("yelow", "yellow"),
        ("bleu", "blue"),
        ("nveer", "never"),
        ("aviod", "avoid"),
        ("mercury", "mercury"),
        ("blok", "block"),
    ],
)
def test_two_letters_of_a_long_word_may_be_wrong(written, meant):
    task = ["cylinder", "retrieve", "yellow", "blue", "never", "block", "turn"]
    known = ["avoid", "mercury", "bed"]
    assert Spelling(task, known).correct(written) == [meant]


@pytest.mark.parametrize(
    "text, why",
    [
        ("should anybody cough, drive back a metre", "depend on something"),
        ("the porter had pushed the red ball", "tell something"),
        ("once the blue ball is gone, go to the red block", "depend on something"),
        ("open the gripper halfway", "part of the way"),
        ("go part of the way to the red ball", "part of the way"),
    ],
)
def test_what_waits_tells_or_asks_for_a_part_is_refused(cart, text, why) -> None:
    with pytest.raises(NotUnderstood, match=why):
        cart.read(text)


def test_half_way_round_is_a_turn(cart) -> None:
    assert kinds(cart.read("turn half way round")) == ["turn_around"]


@pytest.mark.parametrize("text", ["once the yellow cup is clean, hand it to me", "the cook has given me a green bowl"])
def test_the_arm_does_not_take_a_report_or_a_condition_for_an_instruction(arm, text) -> None:
    with pytest.raises(NotUnderstood):
        arm.read(text)
