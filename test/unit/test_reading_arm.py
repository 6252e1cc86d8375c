"""Reading what a person says to the arm: the same reader as the cart's, with what an arm can be told."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.core.instructions import NotUnderstood
from vla_ros.tasks.arm.intent import ARM_KINDS, ArmIntent, Named
from vla_ros.tasks.arm.meaning import arm_meaning_of
from vla_ros.tasks.reading import weights
from vla_ros.tasks.reading.arm import ARM, one_task, thing_and_place
from vla_ros.tasks.reading.reader import InstructionReader, reader_of
from vla_ros.tasks.reading.robot import CannotBe


@pytest.fixture(scope="module")
def reader() -> InstructionReader[ArmIntent]:
    return reader_of(ARM)


@pytest.mark.parametrize(
    "text, meaning",
    [
        ("pick up the red block", "pick:red block"),
        ("Robot, would you kindly lift the navy cube?", "pick:blue block"),
        ("grab the crimson mug", "pick:red cup"),
        ("pick up any cup", "pick:cup"),
        ("pikc up the yelow blok", "pick:yellow block"),
        ("reach for the green bowl", "reach:green bowl"),
        ("move your hand over the orange thing", "reach:orange object"),
        ("put the red block into the blue bowl", "put_into:red block, blue bowl"),
        ("drop the violet brick inside the golden dish", "put_into:purple block, yellow bowl"),
        ("put the red block onto the blue one", "put_onto:red block, blue block"),
        ("put the red cup onto the blue thing", "put_onto:red cup, blue block"),
        ("stack the green cube on top of the yellow cube", "put_onto:green block, yellow block"),
        ("put the red block beside the blue cup", "put_beside:red block, blue cup"),
        ("place the green cup next to the orange one", "put_beside:green cup, orange cup"),
        ("put the yellow cup besides the red bowl", "put_beside:yellow cup, red bowl"),
        ("in the green bowl put the blue block", "put_into:blue block, green bowl"),
        ("the red cup is to go next to the blue bowl", "put_beside:red cup, blue bowl"),
        ("push the green cup", "push:green cup"),
        ("hand me the red block", "hand_over:red block"),
        ("could I have the yellow cup, please", "hand_over:yellow cup"),
        ("let go", "open"),
        ("close your hand", "close"),
        ("go back home", "home"),
        ("don't move", "stop"),
        ("stop", "stop"),
    ],
)
def test_an_instruction_is_read_as_it_is_meant(reader, text, meaning):
    assert reader.read(text) == arm_meaning_of(meaning)


@pytest.mark.parametrize(
    "text, meaning",
    [
        ("pick up the red cup and put it into the green bowl", "put_into:red cup, green bowl"),
        ("take the blue block and stack it on the red one", "put_onto:blue block, red block"),
        ("pick up the red block, then put the block next to the blue cup", "put_beside:red block, blue cup"),
        ("lift the red block and set it beside the blue one", "put_beside:red block, blue block"),
        ("grab the yellow cup and hand it to me", "hand_over:yellow cup"),
        ("reach for the red block and pick it up", "pick:red block"),
        ("there is a blue cup on the table, pick it up", "pick:blue cup"),
    ],
)
def test_what_is_one_task_is_one_step(reader, text, meaning):
    assert reader.read(text) == arm_meaning_of(meaning)


@pytest.mark.parametrize(
    "text, meaning",
    [
        ("pick up the red block, then go home", "pick:red block ; home"),
        ("open the gripper and then go home", "open ; home"),
        (
            "put the red block into the blue bowl, then put the green block into the blue bowl",
            "put_into:red block, blue bowl ; put_into:green block, blue bowl",
        ),
        ("pick up the red block, no sorry, the blue block", "pick:blue block"),
        ("before you go home, open the gripper", "open ; home"),
    ],
)
def test_several_steps_are_read_in_the_order_in_which_they_are_meant(reader, text, meaning):
    assert reader.read(text) == arm_meaning_of(meaning)


@pytest.mark.parametrize(
    "text, part",
    [
        ("", "no word"),
        ("don't pick up the red block", "what not to do"),
        ("where is the red block", "question"),
        ("if the light is on pick up the red block", "does not wait for"),
        ("pick up the pink cup", "pink"),
        ("pick it up", "'it'"),
        ("put it into the blue bowl", "'it'"),
        ("pick up the red block and the blue cup", "while the gripper holds the red block"),
        ("pick up the red block, then hand me the blue cup", "while the gripper holds the red block"),
        ("pick up the red block or the blue cup", "the words"),
        ("pick up the green bowl", "wider than the gripper"),
        ("put the red block into the blue cup", "it can be put into a bowl"),
        ("put the red block beside the red block", "the same object twice"),
        ("pick up the nearest block", "by its place"),
        ("put the red block next to that one", "do not say which thing"),
        ("pick up any thing", "do not say which thing"),
        ("pick up the block that is not red", "say what a thing is not"),
        ("pick up the red block and paint the fence", "paint the fence"),
        ("fly to the red block", "cannot do"),
        ("open the window", "not understood"),
        ("turn left", "not understood"),
        ("drive forward two metres", "cannot do"),
        ("increase the speed limit to 3", "the words"),
        ("nimm den roten Block", "not understood"),
        ("put the red block into the", "the words"),
        ("pick up the red block and", "break off"),
        ("the red cup is beside the blue bowl", "ask for nothing"),
        ("the red block was on the green block", "ask for nothing"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence_that_says_what(reader, text, part):
    with pytest.raises(NotUnderstood, match=part):
        reader.read(text)


def test_a_sentence_that_is_half_understood_is_refused_whole_and_names_the_half(reader):
    with pytest.raises(NotUnderstood) as refused:
        reader.read("pick up the red block, then paint the fence")
    assert "nothing of 'pick up the red block, then paint the fence' is done" in str(refused.value)
    assert "'paint the fence'" in str(refused.value)


def test_where_one_thing_is_nearest_the_sentence_offers_it(reader):
    with pytest.raises(NotUnderstood, match=r"did you mean: put the blue block onto a block\?"):
        reader.read("place red onto the blue block")


def test_a_stop_with_anything_beside_it_that_cannot_be_done_is_a_stop(reader):
    assert reader.read("stop, there is a child at the table") == (ArmIntent("stop"),)


@pytest.mark.parametrize("text", ["stop", "whoa", "don't move", "stay where you are", "hold it!"])
def test_words_of_halting_halt_both_robots(reader, text):
    assert reader.halting(text) > 0.5
    assert InstructionReader.load().halting(text) > 0.5


@pytest.mark.parametrize(
    "text",
    [
        "pick up the red block",
        "put the red block into the blue bowl",
        "put the yellow cup next to the green block",
        "hand me the yellow cup",
        "reach for the green bowl",
        "go home",
        "open the gripper",
    ],
)
def test_what_an_arm_is_told_does_not_halt_where_every_robot_s_words_are_heard(text):
    assert InstructionReader.load().halting(text) < 0.5


# -- which thing is put, and where -----------------------------------------------------


@pytest.mark.parametrize(
    "text, thing, place",
    [
        ("put the red block into the blue bowl", "red block", "blue bowl"),
        ("into the blue bowl put the red block", "red block", "blue bowl"),
        ("next to the blue cup put the red block", "red block", "blue cup"),
        ("load the blue bowl with the red block", "red block", "blue bowl"),
        ("line up the red block with the blue one", "red block", "blue one"),
        ("put it into the blue bowl", None, "blue bowl"),
        ("put the red block there", "red block", None),
        ("put the red block, the blue block and the green block away", None, None),
    ],
)
def test_the_place_is_what_the_words_before_it_say(reader, text, thing, place):
    named = []
    for found in thing_and_place(reader.parts(text)):
        named.append(found and f"{found.colour} {found.shape}")
    assert named == [thing, place]


RED = Named("red", "block")
BLUE = Named("blue", "block")
BOWL = Named("green", "bowl")


@pytest.mark.parametrize(
    "steps, left",
    [
        ([ArmIntent("pick", RED), ArmIntent("put_into", RED, BOWL)], [ArmIntent("put_into", RED, BOWL)]),
        (
            [ArmIntent("pick", RED), ArmIntent("put_into", Named(None, "block"), BOWL)],
            [ArmIntent("put_into", RED, BOWL)],
        ),
        ([ArmIntent("pick", RED), ArmIntent("open"), ArmIntent("pick", BLUE)], None),
        ([ArmIntent("put_into", RED, BOWL), ArmIntent("put_into", BLUE, BOWL)], None),
        ([ArmIntent("reach", BOWL), ArmIntent("pick", RED)], None),
        ([ArmIntent("pick", RED), ArmIntent("home"), ArmIntent("put_into", RED, BOWL)], None),
    ],
)
def test_steps_are_joined_where_they_are_one_task(steps, left):
    assert one_task(tuple(steps)) == tuple(steps if left is None else left)


@pytest.mark.parametrize("kind", ["pick", "hand_over"])
@pytest.mark.parametrize("between", [(), (ArmIntent("home"),), (ArmIntent("close"),)])
def test_nothing_else_is_taken_while_the_gripper_holds_something(kind, between):
    with pytest.raises(CannotBe, match="take the blue block while the gripper holds the red block"):
        one_task((ArmIntent(kind, RED), *between, ArmIntent("put_into", BLUE, BOWL)))


# -- the notation ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "notation, steps",
    [
        ("pick:red block", (ArmIntent("pick", RED),)),
        ("put_into: red block , green bowl", (ArmIntent("put_into", RED, BOWL),)),
        ("pick:block;home", (ArmIntent("pick", Named(None, "block")), ArmIntent("home"))),
        ("reach:red object", (ArmIntent("reach", Named("red")),)),
        ("refuse", ()),
    ],
)
def test_a_meaning_is_written_in_a_short_notation(notation, steps):
    assert arm_meaning_of(notation) == steps


@pytest.mark.parametrize(
    "notation, sentence",
    [
        ("lift:red block", "'lift'; it is one of reach, pick"),
        ("pick", "names 0 things, and pick has 1"),
        ("put_into:red block", "names 1 things, and put_into has 2"),
        ("home:red block", "names 1 things, and home has 0"),
        ("pick:pink block", "'pink', which is no colour"),
        ("pick:red ball", "'ball', which is no colour"),
    ],
)
def test_a_notation_that_says_nothing_is_refused(notation, sentence):
    with pytest.raises(ValueError, match=sentence):
        arm_meaning_of(notation)


# -- the files -------------------------------------------------------------------------


def test_the_arm_s_file_has_its_heads_and_shares_the_table():
    own = weights.stored_arrays(ARM)
    assert "table" not in own and "vocabulary" not in own
    assert own["head0.leave.weight"].shape[0] == len(ARM.classes) == len(ARM_KINDS) + 3
    assert (Path(weights.__file__).parent / "words_arm.npz").stat().st_size < 1_000_000


def test_a_file_that_is_missing_is_refused_with_its_path_and_the_command(tmp_path):
    shutil.copy(Path(weights.__file__).parent / "words.npz", tmp_path)
    with pytest.raises(ValueError, match=r"words_arm\.npz cannot be read .*vla train words --robot arm"):
        reader_of(ARM, tmp_path)


def test_reading_needs_neither_torch_nor_matplotlib():
    code = (
        "import sys\n"
        "for name in ('torch', 'matplotlib', 'transformers', 'rclpy', 'cv2'): sys.modules[name] = None\n"
        "from vla_ros.tasks.reading.arm import ARM\n"
        "from vla_ros.tasks.reading.reader import reader_of\n"
        "print(reader_of(ARM).read('go home')[0].kind)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "home\n", done.stderr


WORDS = ["pick", "up", "put", "the", "a", "red", "blue", "block", "cup", "bowl", "and", "then", ",", ".", "if", "not", "do", "it", "into", "onto", "next", "to", "beside", "hand", "me", "open", "gripper", "go", "home", "stop", "you", "one", "please", "what", "is", "with", "in", "on", "10", "cm"]


@given(st.lists(st.sampled_from(WORDS), max_size=20))
def test_whatever_is_said_in_words_of_the_task_it_is_read_or_refused(words):
    text = " ".join(words)
    try:
        steps = reader_of(ARM).read(text)
    except NotUnderstood as refused:
        assert str(refused)
    else:
        assert steps and all(isinstance(step, ArmIntent) for step in steps)
    assert 0.0 <= reader_of(ARM).halting(text) <= 1.0
