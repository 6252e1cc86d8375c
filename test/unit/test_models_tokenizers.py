"""Words as numbers: what is not known is named."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.models.config import VLAConfig
from vla_ros.models.language import lexicon
from vla_ros.models.language.tokenizers import (
    LexiconTokenizer,
    WordTokenizer,
    check_tokenizer,
    padded,
)


def test_words_are_numbered_by_how_common_they_are(tmp_path: Path) -> None:
    words = WordTokenizer.of(["Go to the red block!", "go to the ball", "push the ball"], most=6)
    assert words.words == ("the", "ball", "go", "to", "block", "push") and words.size == 7
    assert words.encode("Push the BALL.") == [6, 1, 2]
    words.save(tmp_path / words.place)
    assert WordTokenizer.load(tmp_path / words.place).words == words.words


@pytest.mark.parametrize(("text", "said"), [
    ("go to the zebra", "does not know the word 'zebra'"),
    ("seek the zebra near the zebra", "does not know the words 'seek', 'zebra', 'near'"),
    ("go " + "x" * 50, f"the word '{'x' * 20}'"),
])
def test_unknown_words_are_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        WordTokenizer(["go", "to", "the"]).encode(text)


BLANK = ["", " ", "!!!", ".", "…", "👍", "-", "_", "'", "\t\n", "\u200b", "\u00a0\u3000", "\x00\x07\x1b[", "\ufeff", "\ud83d",
         "\U0001f468\u200d\U0001f469"]
ODD = ["a" * 200, "go " * 200, "иди к красному блоку", "去红色方块", "اذهب", "\u0627\u064b", "ǅ", "İ", "٣", "²", "go\x00to"]


@pytest.mark.parametrize("text", BLANK, ids=ascii)
def test_where_there_is_no_word_that_is_said(text: str) -> None:
    for own in (LexiconTokenizer(), WordTokenizer(["go"])):
        with pytest.raises(ValueError, match="there is no word in "):
            own.encode(text)


@pytest.mark.parametrize("own", [LexiconTokenizer(), WordTokenizer(["go", "to", "the", "red", "block"])],
                         ids=["lexicon", "words"])
@given(text=st.text() | st.text(st.characters()) | st.sampled_from(ODD)
       | st.lists(st.sampled_from(["go", "to", "red", "!", "ß"])).map(" ".join))
def test_any_text_gives_ids_or_one_sentence(own: LexiconTokenizer | WordTokenizer, text: str) -> None:
    try:
        ids = own.encode(text)
    except ValueError as problem:
        assert str(problem).isprintable()
    else:
        assert ids and all(0 < one < own.size for one in ids)


@pytest.mark.parametrize("words", [["go", "go"], ["go", ""]])
def test_a_list_with_a_word_twice_or_empty_is_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match="2 words are given, "):
        WordTokenizer(words)


def test_the_lexicon_is_saved_to_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = LexiconTokenizer()
    assert own.encode("go to the red block") == lexicon.encode("go to the red block") and max(own.encode("object")) < own.size
    own.save(tmp_path / own.place)
    LexiconTokenizer.load(tmp_path / own.place)
    other = ("", "ruby", *lexicon.CART.words[2:])
    monkeypatch.setattr(LexiconTokenizer, "LEXICON", replace(lexicon.CART, words=other))
    with pytest.raises(ValueError, match=f"word 1 is '{own_first(tmp_path)}' there and 'ruby' here"):
        LexiconTokenizer.load(tmp_path / own.place)


def own_first(folder: Path) -> str:
    import json

    return json.loads((folder / "tokenizer.json").read_text())["words"][0]


def test_a_tokenizer_must_be_its_language_s_and_fit_its_vocabulary() -> None:
    lstm = VLAConfig(language="lstm", language_options={"vocabulary": 4})
    check_tokenizer(lstm, WordTokenizer(["go", "to", "the"]))
    with pytest.raises(ValueError, match="numbers 5 words, and language 'lstm' has vocabulary 4; give a vocabulary of at least 5"):
        check_tokenizer(lstm, WordTokenizer(["go", "to", "the", "red"]))
    with pytest.raises(ValueError, match="language 'small' reads ids of a LexiconTokenizer, and the model's tokenizer is WordTokenizer"):
        check_tokenizer(VLAConfig(), WordTokenizer(["go"]))
    with pytest.raises(ValueError, match="tokenizer is none; set"):
        check_tokenizer(lstm, None)


def test_rows_of_ids_are_padded_behind() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    ids, mask = padded([[3, 4, 5], [6], []])
    assert ids.tolist() == [[3, 4, 5], [6, 0, 0], [0, 0, 0]]
    assert mask.tolist() == [[True] * 3, [True, False, False], [False] * 3]
    assert padded([[3]], 4)[1].tolist() == [[True, False, False, False]]
    with pytest.raises(ValueError, match="an instruction has 3 ids; there is room for 2"):
        padded([[1, 2, 3]], 2)


@pytest.mark.parametrize("length", [3, 4])
def test_an_instruction_may_fill_all_the_room_that_there_is(length: int) -> None:
    pytest.importorskip("torch", reason="it fills a tensor")
    assert padded([[1, 2, 3]], length)[1].sum() == 3
