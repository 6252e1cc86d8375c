"""Reading what a person says: from words to steps, or a sentence why there are none."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.core.instructions import NotUnderstood
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.meaning import meaning_of
from vla_ros.tasks.reading.cart import CART
from vla_ros.tasks.reading.reader import REMEMBERED, InstructionReader
from vla_ros.tasks.reading.weights import load_weights


@pytest.fixture(scope="module")
def reader() -> InstructionReader:
    return InstructionReader.load()


@pytest.mark.parametrize(
    "text, meaning",
    [
        ("go to the red block", "go_to:red block"),
        ("Robot, would you kindly drive over to the navy cube?", "go_to:blue block"),
        ("fetch me the crimson sphere", "grab:red ball"),
        ("shove that green can", "push:green cylinder"),
        ("have a look at the yellow thing", "face:yellow object"),
        ("turn left", "turn_left"),
        ("rotate clockwise", "turn_right"),
        ("do a u-turn", "turn_around"),
        ("back up", "back"),
        ("keep going straight ahead", "forward"),
        ("let go", "open"),
        ("close your hand", "close"),
        ("don't move", "stop"),
        ("turn left 45 degrees", "turn_left:45deg"),
        ("back up thirty centimetres", "back:0.3m"),
        ("go to the ball left of the red block", "go_to:ball left_of red block"),
        ("grab the nearest cylinder", "grab:nearest cylinder"),
        ("push any block that is not red", "push:any block not red"),
        ("push the block that is not red", "push:block not red"),
        ("take the furthest ball you can see", "grab:farthest ball"),
        ("take any ball you can see", "grab:any ball"),
        ("pick up the can besides the yellow block", "grab:cylinder next_to yellow block"),
        ("grab the thing that's furthest left", "grab:leftmost object"),
        ("swing left 20 degrees or so", "turn_left:20deg"),
        ("back up 30 cm precisely", "back:0.3m"),
        ("trun left", "turn_left"),
        ("go to the yelow blok", "go_to:yellow block"),
    ],
)
def test_an_instruction_is_read_as_it_is_meant(reader, text, meaning):
    assert reader.read(text) == meaning_of(meaning)


@pytest.mark.parametrize(
    "text, meaning",
    [
        ("turn left, then go forward", "turn_left ; forward"),
        ("go to the red block and grab it", "go_to:red block ; grab:red block"),
        ("open the gripper. Then back up 20 cm", "open ; back:0.2m"),
        ("after you have turned around, look at the red ball", "turn_around ; face:red ball"),
        ("before you push the blue ball, turn right", "turn_right ; push:blue ball"),
        ("go to the red ball, then the blue ball", "go_to:red ball ; go_to:blue ball"),
        ("take the red block to the green ball", "grab:red block ; go_to:green ball"),
        ("there is a red ball over there, grab it", "grab:any red ball"),
        ("first turn left and second turn right", "turn_left ; turn_right"),
        ("turn right, no sorry, left", "turn_left"),
        ("go to the red block, I mean the blue one", "go_to:blue object"),
        ("turn left 20 degrees, make that 40", "turn_left:40deg"),
    ],
)
def test_several_steps_are_read_in_the_order_in_which_they_are_meant(reader, text, meaning):
    assert reader.read(text) == meaning_of(meaning)


@pytest.mark.parametrize(
    "text, part",
    [
        ("", "no word"),
        ("?!", "no word"),
        ("don't turn left", "what not to do"),
        ("never push the red ball", "what not to do"),
        ("did you turn left?", "question"),
        ("where is the red block", "question"),
        ("if you see the ball turn left", "does not wait for"),
        ("you turned left", "ask for nothing"),
        ("grab the pink ball", "pink"),
        ("grab it", "'it'"),
        ("pick up the can besides the gold qube", "beside what it stands"),
        ("you just pushed the blue block", "ask for nothing"),
        ("go to the red ball or the blue ball", "more than one thing"),
        ("turn left 30 cm", "give degrees"),
        ("go forward 90 degrees", "'go forward 90 degrees'"),
        ("go forward 5 km", "ask for 0.05 to 3 m"),
        ("turn left 2 degrees", "ask for 5 to 360"),
        ("drive forward 30", "not of what"),
        ("turn left and blah blah wibble", "blah blah wibble"),
        ("the red ball", "not what to do with it"),
        ("open the window", "not understood"),
        ("increase the speed limit to 3", "not understood"),
        ("fahre zum roten Block", "not understood"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence_that_says_what(reader, text, part):
    with pytest.raises(NotUnderstood, match=part):
        reader.read(text)


def test_a_sentence_that_is_half_understood_is_refused_whole_and_names_the_half(reader):
    with pytest.raises(NotUnderstood) as refused:
        reader.read("turn left, then paint the fence")
    assert "nothing of 'turn left, then paint the fence' is done" in str(refused.value)
    assert "'paint the fence'" in str(refused.value)


def test_where_one_thing_is_nearest_the_sentence_offers_it(reader):
    with pytest.raises(NotUnderstood, match=r"did you mean: grab the red block\?"):
        reader.read("grab the banana")


@pytest.mark.parametrize(
    "text",
    [
        "stop, there is a child behind the door",
        "hang on, let me tie my shoe",
        "stay still, I'm holding a ladder",
        "wait there, I'll be back in a minute",
        "stop and blah blah wibble",
        "stay where you are while I mop the floor",
        "there is a child behind the door, stop!",
    ],
)
def test_a_stop_with_anything_beside_it_that_cannot_be_done_is_a_stop(reader, text):
    assert reader.read(text) == (Intent("stop"),)
    assert reader.halting(text) > 0.5


@pytest.mark.parametrize(
    "text, kinds",
    [
        ("stop, then turn left", ["stop", "turn_left"]),
        ("turn left and stop", ["turn_left", "stop"]),
    ],
)
def test_a_clear_instruction_after_or_before_a_stop_is_a_step(reader, text, kinds):
    assert [step.kind for step in reader.read(text)] == kinds


def test_a_stop_that_depends_on_something_is_refused(reader):
    with pytest.raises(NotUnderstood):
        reader.read("if you see a red ball, stop")


@pytest.mark.parametrize(
    "text, meaning",
    [
        ("back up, reverse", "back"),
        ("turn right, rotate right", "turn_right"),
        ("grab a block, any block", "grab:any block"),
        ("turn left, then turn left", "turn_left ; turn_left"),
        ("turn left, turn left again", "turn_left ; turn_left"),
        ("go ahead and back up", "back"),
        ("go on and turn right", "turn_right"),
        ("please go ahead and turn right", "turn_right"),
        ("spin round and look at the blue ball", "face:blue ball"),
        ("turn around, then look at the blue ball", "turn_around ; face:blue ball"),
        ("turn left 45", "turn_left:45deg"),
        ("drive until the red ball", "go_to:red ball"),
    ],
)
def test_what_is_said_twice_or_out_of_courtesy_is_done_once(reader, text, meaning):
    assert reader.read(text) == meaning_of(meaning)


@pytest.mark.parametrize(
    "text, meaning",
    [
        ("back up 30 cm, I need some room", "back:0.3m"),
        ("turn left so I can sweep here", "turn_left"),
        ("turn right like my sister said", "turn_right"),
        ("turn around, the stove is warm", "turn_around"),
    ],
)
def test_a_reason_after_an_instruction_changes_nothing(reader, text, meaning):
    assert reader.read(text) == meaning_of(meaning)


@pytest.mark.parametrize(
    "text",
    [
        "back up, unless it is hot",
        "turn left, but not now",
        "turn left, I was joking",
        "turn left, I changed my mind",
        "grab the red ball, I need a knife",
        "leave the green ball where it is",
        "leave it alone",
        "swim to the red ball",
        "could you please levitate over to the blue can",
        "motorists should keep to the right",
        "may I ask where you pushed the red ball",
        "keep the blue can where it is",
        "turn left and",
        "turn left then",
        "go to the green ball and then",
    ],
)
def test_what_changes_the_meaning_or_breaks_off_is_refused(reader, text):
    with pytest.raises(NotUnderstood):
        reader.read(text)


@pytest.mark.parametrize("text", ["stop", "whoa", "don't move", "stay where you are", "hold it!"])
def test_words_of_halting_halt(reader, text):
    assert reader.halting(text) > 0.5


@pytest.mark.parametrize(
    "text", ["", "turn left", "grab the red ball", "go to the red ball and wait there"]
)
def test_other_words_do_not(reader, text):
    assert reader.halting(text) < 0.5


def test_a_bit_is_less_than_what_goes_without_saying(reader):
    assert reader.read("turn a bit to the left")[0].amount == pytest.approx(math.radians(30))
    assert reader.read("go back a little")[0].amount == pytest.approx(0.2)


@pytest.mark.parametrize("text", ["grab the red ball", "pick up the sofa", "whoa, hold it", ""])
def test_what_was_read_is_known_and_refused_anew(text, monkeypatch):
    fresh = InstructionReader(load_weights(CART), CART)

    def answer():
        try:
            return fresh.read(text), fresh.halting(text)
        except NotUnderstood as refused:
            return refused, fresh.halting(text)

    first, sureness = answer()
    monkeypatch.setattr(fresh, "parts", lambda text: pytest.fail("it was read again"))
    again, as_sure = answer()
    assert as_sure == sureness
    if isinstance(first, NotUnderstood):
        assert again is not first and str(again) == str(first)
    else:
        assert again == first


def test_only_so_many_texts_are_remembered(monkeypatch):
    fresh = InstructionReader(load_weights(CART), CART)
    read = []
    monkeypatch.setattr(fresh, "_read", lambda parts, text: read.append(text) or (Intent("stop"),))
    texts = [f"turn left {number} degrees" for number in range(REMEMBERED + 1)]
    for text in (*texts, *texts[1:], texts[0]):
        fresh.read(text)
    assert read == [*texts, texts[0]]
    fresh.forget()
    fresh.read(texts[-1])
    assert read[-1] == texts[-1]


@given(st.text(max_size=300))
def test_whatever_is_said_it_is_read_or_refused(text):
    reader = InstructionReader.load()
    try:
        steps = reader.read(text)
    except NotUnderstood as refused:
        assert str(refused)
    else:
        assert steps and all(isinstance(step, Intent) for step in steps)
    assert 0.0 <= reader.halting(text) <= 1.0


WORDS = [
    "go",
    "to",
    "turn",
    "left",
    "right",
    "the",
    "a",
    "red",
    "blue",
    "ball",
    "block",
    "can",
    "and",
    "then",
    ",",
    ".",
    "if",
    "not",
    "do",
    "it",
    "45",
    "degrees",
    "half",
    "metre",
    "before",
    "after",
    "you",
    "first",
    "no",
    "i",
    "mean",
    "of",
    "behind",
    "nearest",
    "grab",
    "stop",
    "one",
    "please",
    "what",
    "is",
]


@given(st.lists(st.sampled_from(WORDS), max_size=20))
def test_whatever_is_said_in_words_of_the_task_it_is_read_or_refused(words):
    reader = InstructionReader.load()
    try:
        steps = reader.read(" ".join(words))
    except NotUnderstood as refused:
        assert str(refused)
    else:
        assert steps


def test_reading_needs_neither_torch_nor_matplotlib():
    code = (
        "import sys\n"
        "for name in ('torch', 'matplotlib', 'transformers', 'rclpy', 'cv2'): sys.modules[name] = None\n"
        "from vla_ros.tasks.reading.reader import InstructionReader\n"
        "print(InstructionReader.load().read('turn left')[0].kind)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "turn_left\n", done.stderr


def test_a_file_that_is_missing_or_another_s_is_refused_with_its_path(tmp_path):
    with pytest.raises(ValueError, match="vla train words"):
        InstructionReader.load(tmp_path)
    (tmp_path / "words.npz").write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"words\.npz"):
        InstructionReader.load(tmp_path)
