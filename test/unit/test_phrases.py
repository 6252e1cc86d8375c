"""How people say it: four splits, and which words and combinations each of them has."""
from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest

from vla_ros.models.language.lexicon import CART, LENGTH, encode, words_of
from vla_ros.policies.steps import canonical
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.objects import COLOURS, SHAPES
from vla_ros.tasks.phrases import (
    KINDS,
    OBJECT_KINDS,
    POLITE_AFTER,
    POLITE_BEFORE,
    SLOTS,
    SPLITS,
    TEMPLATES,
    UNSEEN_PAIRS,
    held_out,
    intent_of,
    say,
)

MANY = 150  # ways asked for, of each kind and split
KNOWN = {word for trained, _ in SLOTS.values() for word in trained.split()}
KNOWN |= {word for texts in TEMPLATES.values() for text in texts for word in re.findall(r"\b[a-z]+\b", text)}
KNOWN |= {word for text in (*POLITE_BEFORE, *POLITE_AFTER) for word in text.split()}
HELD_OUT = {word for _, held in SLOTS.values() for word in held.split()}


def meant(kind: str, rng: np.random.Generator) -> Intent:
    if kind not in OBJECT_KINDS:
        return intent_of(kind)
    return intent_of(kind, list(COLOURS)[rng.integers(len(COLOURS))], SHAPES[rng.integers(len(SHAPES))])


@pytest.fixture(scope="module")
def said() -> dict[tuple[str, str], list[str]]:
    """(kind, split) -> texts."""
    rng = np.random.default_rng(0)
    return {(kind, split): [say(rng, meant(kind, rng), split) for _ in range(MANY)]
            for kind in KINDS for split in SPLITS}


def test_no_held_out_word_is_in_a_template_or_another_slot() -> None:
    assert len(HELD_OUT) > 50 and not HELD_OUT & KNOWN


@pytest.mark.parametrize("kind", KINDS)
def test_only_unseen_words_has_words_that_the_other_splits_have_not(said: dict, kind: str) -> None:
    for split in ("known", "recombined", "pairs"):
        assert not {word for text in said[kind, split] for word in text.split()} - KNOWN
    assert all(set(text.split()) & HELD_OUT for text in said[kind, "unseen_words"])


@pytest.mark.parametrize("kind", KINDS)
def test_known_and_recombined_have_no_text_in_common(said: dict, kind: str) -> None:
    known, recombined = (set(said[kind, split]) for split in ("known", "recombined"))
    assert known and recombined and not known & recombined


def all_texts(intent: Intent) -> list[tuple[str, str]]:
    """Every (template, text) of training's words, without what is polite."""
    things = [f"{article}{colour} {shape}" for article in ("the ", "")
              for colour in SLOTS[intent.colour or "red"][0].split()
              for shape in SLOTS[intent.shape or "object"][0].split()]
    found = []
    for template in TEMPLATES[intent.kind]:
        gaps = re.findall("[A-Z]+|{it}", template)
        found += [(template, re.sub("[A-Z]+|{it}", "{}", template).format(*words))
                  for words in product(*(things if gap == "{it}" else SLOTS[gap][0].split() for gap in gaps))]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_recombined_training_knows_its_words_and_its_template(kind: str) -> None:
    meant = [intent_of(kind, colour, shape) for colour in COLOURS for shape in (*SHAPES, None)]
    for intent in meant if kind in OBJECT_KINDS else [intent_of(kind)]:
        texts = all_texts(intent)
        held, known = ([one for one in texts if held_out(*one) == out] for out in (True, False))
        assert 0.1 * len(texts) <= len(held) <= 0.3 * len(texts) and len(held) >= 3
        assert {template for template, _ in held} <= {template for template, _ in known}
        words, others = ({word for _, text in some for word in text.split()} for some in (held, known))
        assert words <= others


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_ten_ways_and_more(said: dict, kind: str) -> None:
    assert len(set(TEMPLATES[kind])) == len(TEMPLATES[kind]) >= 10
    assert len(set(said[kind, "known"])) >= 10 and len(set(said[kind, "unseen_words"])) >= 10
    assert all(("{it}" in text) == (kind in OBJECT_KINDS) for text in TEMPLATES[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_every_slot_is_filled(said: dict, kind: str) -> None:
    for split in SPLITS:
        for text in said[kind, split]:
            assert text.strip() and "  " not in text and not re.search("[A-Z{}]", text)


@pytest.mark.parametrize("kind", OBJECT_KINDS)
def test_an_object_is_named_by_its_colour_and_its_shape(kind: str) -> None:
    rng = np.random.default_rng(1)
    colours, shapes = SLOTS["blue"][0].split(), SLOTS["cylinder"][0].split()
    for _ in range(30):
        words = say(rng, intent_of(kind, "blue", "cylinder")).split()
        assert set(colours) & set(words) and set(shapes) & set(words)
        assert set(SLOTS["object"][0].split()) & set(say(rng, intent_of(kind, "blue")).split())


def test_the_pairs_that_training_never_names_are_three_colours_and_all_shapes() -> None:
    assert {colour for colour, _ in UNSEEN_PAIRS} <= set(COLOURS) and {shape for _, shape in UNSEEN_PAIRS} == set(SHAPES)
    assert len({colour for colour, _ in UNSEEN_PAIRS}) == 3


def test_a_split_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="split is 'new'; use one of known, recombined, unseen_words, pairs"):
        say(np.random.default_rng(0), intent_of("stop"), "new")


# -- the lexicon ---------------------------------------------------------------------------------------------
def test_the_model_knows_the_words_that_it_is_told_and_no_other() -> None:
    told = {canonical(Intent(kind, colour, shape))
            for kind in KINDS for colour in (None, *COLOURS) for shape in (None, *SHAPES)}
    assert all(len(encode(text)) <= LENGTH for text in told)
    assert {word for text in told for word in text.split()} == set(CART.words[1:])


def test_words_are_read_whatever_their_case_and_marks() -> None:
    assert words_of("Turn counter-clockwise.") == ["turn", "counterclockwise"]
    assert encode("Go, to the RED block!") == encode("go to the red block")


@pytest.mark.parametrize(("text", "message"), [
    ("fly to the red block", "does not know the word 'fly'; try"),
    ("fly to the Moon, fly", "does not know the words 'fly', 'moon'; try"),
    ("go " * 21, "has 21 words; use at most 20"),
])
def test_words_that_it_does_not_know_are_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(text)


def test_what_it_says_to_try_it_knows() -> None:
    for text in re.findall("'(.+?)'", CART.examples):
        assert encode(text)
