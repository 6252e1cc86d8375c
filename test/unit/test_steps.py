"""The steps of an instruction: what the model is told, what people are told, and when the next one begins."""
from __future__ import annotations

import math

import pytest

from vla_ros.policies.steps import DONE_IMAGES, Steps, canonical, must_look, spoken
from vla_ros.tasks.choice import Sighting
from vla_ros.tasks.intent import Intent, Which
from vla_ros.tasks.meaning import meaning_of

RED_BLOCK = Intent("go_to", "red", "block")
AROUND = Intent("turn_around", amount=math.pi)


@pytest.mark.parametrize(("notation", "words", "people"), [
    ("go_to:red block", "go to the red block", "go to the red block"),
    ("grab:blue object", "grab the blue object", "grab the blue object"),
    ("turn_left", "turn left", "turn left"),
    ("turn_left:45deg", "turn left", "turn left 45 degrees"),
    ("back:0.3m", "back up", "back up 0.3 m"),
    ("open", "open the gripper", "open the gripper"),
    ("face:any ball", "face the ball", "face the ball"),
    ("face:ahead ball", "face the ball", "face the ball ahead"),
    ("face:ball left_of red block", "face the ball", "face the ball left of the red block"),
])
def test_the_model_is_told_its_own_words_and_people_what_they_asked_for(notation: str, words: str, people: str) -> None:
    intent, = meaning_of(notation)
    assert canonical(intent) == words and spoken(intent) == people


def test_of_a_thing_that_was_chosen_the_model_is_told_its_name() -> None:
    intent = Intent("grab", None, "ball", which=Which("nearest"))
    assert canonical(intent, Sighting("blue", "ball", 1.0, 0.0)) == "grab the blue ball"


@pytest.mark.parametrize(("notation", "look"), [
    ("go_to:red block", False), ("turn_left", False), ("stop", False),
    ("go_to:red object", True), ("go_to:any ball", True), ("face:nearest block", True), ("push:block not red", True),
    ("grab:red ball left_of blue block", True),
])
def test_what_colour_and_shape_leave_open_has_to_be_looked_for(notation: str, look: bool) -> None:
    assert must_look(meaning_of(notation)[0]) == look


@pytest.mark.parametrize(("images", "begins"), [(DONE_IMAGES - 1, False), (DONE_IMAGES, True)])
def test_the_next_step_begins_once_enough_images_in_a_row_show_it_done(images: int, begins: bool) -> None:
    steps = Steps([RED_BLOCK, AROUND])
    for done in [True] * (DONE_IMAGES - 1) + [False]:  # not in a row
        assert not steps.note(done)
    begun = [steps.note(True) for _ in range(images)]
    assert begun == [False] * (DONE_IMAGES - 1) + [True] * begins
    assert steps.current == (AROUND if begins else RED_BLOCK)


def test_each_step_is_announced_and_the_end() -> None:
    steps = Steps([RED_BLOCK, AROUND])
    assert steps.announced == ["step 1 of 2: go to the red block"] and steps.title == steps.announced[0]
    for _ in range(4 * DONE_IMAGES):
        steps.note(True)
    assert steps.announced[1:] == ["step 2 of 2: turn around", "all 2 steps are done"]
    assert steps.current == AROUND  # and it stays with the last one
    assert steps.blamed("it is gone") == "step 2 of 2: turn around: it is gone"


def test_of_a_single_step_the_end_alone_is_announced() -> None:
    steps = Steps([RED_BLOCK])
    for _ in range(2 * DONE_IMAGES):
        assert not steps.note(True)
    assert steps.announced == ["done: go to the red block"] and steps.title == "go to the red block" and steps.blamed("it is gone") == "it is gone"
