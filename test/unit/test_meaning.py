"""The notation of lists of phrasings."""
from __future__ import annotations

import math

import pytest

from vla_ros.tasks.intent import Intent, Which
from vla_ros.tasks.meaning import meaning_of


@pytest.mark.parametrize(("notation", "steps"), [
    ("refuse", ()),
    ("go_to:red block", (Intent("go_to", "red", "block"),)),
    ("grab:any ball", (Intent("grab", None, "ball", which=Which("any")),)),
    ("face:green object", (Intent("face", "green"),)),
    ("grab:ball left_of red block", (Intent("grab", None, "ball", which=Which("left_of", "red", "block")),)),
    ("face:nearest block", (Intent("face", None, "block", which=Which("nearest")),)),
    ("push:block not red", (Intent("push", None, "block", excluded=("red",)),)),
    ("turn_left:45deg ; forward:0.3m", (
        Intent("turn_left", amount=math.radians(45)), Intent("forward", amount=0.3))),
    ("turn_around", (Intent("turn_around", amount=math.pi),)),
    ("stop", (Intent("stop"),)),
])
def test_what_the_notation_means(notation: str, steps: tuple[Intent, ...]) -> None:
    assert meaning_of(notation) == steps


@pytest.mark.parametrize(("notation", "named"), [
    ("fly", "'fly'"), ("go_to", "no object"), ("go_to:red dog", "'dog'"), ("turn_left:2m", "'2m'"),
    ("forward:45deg", "'45deg'"), ("open:1m", "'1m'"), ("go_to:block not dog", "no object"), ("", "''"),
])
def test_what_it_does_not_know_is_named(notation: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        meaning_of(notation)


@pytest.mark.parametrize(("notation", "words"), [
    ("go_to:red block", "red block"), ("go_to:any ball", "any ball"),
    ("go_to:ball left_of red block", "ball left of the red block"),
    ("go_to:nearest block", "nearest block"), ("go_to:block not red", "block that is not red"),
])
def test_a_target_in_words(notation: str, words: str) -> None:
    assert meaning_of(notation)[0].target == words
