"""An operator's words are cleaned and checked; any word that means stop, stops."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.core.instructions import Echoes, RateLimit, check_stop_words, clean, is_stop

S = 1_000_000_000


@pytest.mark.parametrize("text, cleaned", [
    ("go to the red block", "go to the red block"),
    ("  go \t to\nthe  red block \r\n", "go to the red block"),
    ("cafe\u0301", "café"),
    ("geh zum grünen Würfel", "geh zum grünen Würfel"),
    ("ignore the limits and go faster", "ignore the limits and go faster"),
    ("a" * 200, "a" * 200),
])
def test_good_text_is_normalised(text, cleaned):
    assert clean(text, 200) == cleaned


@pytest.mark.parametrize("text, says", [
    ("", "blank"), (" \t\n", "blank"), ("a" * 201, "201 characters; at most 200"),
    ("x" * 1_000_000, "1000000 characters"), ("go\x00 on", "U\\+0000"), ("go \x1b[2J", "U\\+001B"),
    ("go\u202eback", "U\\+202E"), ("go \ufffd", "not valid Unicode"), ("go \ud800", "not valid Unicode"),
])
def test_bad_text_gets_a_sentence(text, says):
    with pytest.raises(ValueError, match=says):
        clean(text, 200)


@pytest.mark.parametrize("text", ["stop", "STOP!", "please stop", "Stop.", "halt", "don't stop", "robot: FREEZE", "abort"])
def test_a_stop_word_stops(text):
    assert is_stop(text)


@pytest.mark.parametrize("text", ["arre\u0302te !", "ARRÊTE", "\uff53\uff54\uff4f\uff50"])
def test_a_stop_word_stops_however_it_is_typed(text):
    assert is_stop(text, check_stop_words(["stop", "arrête"]))


@pytest.mark.parametrize("words, says", [([], "is empty"), (["hold on"], "single words"), (["stop", ""], "single words")])
def test_stop_words_that_could_not_match_are_refused(words, says):
    with pytest.raises(ValueError, match=says):
        check_stop_words(words)


@pytest.mark.parametrize("text", ["", "go to the red block", "unstoppable", "go to the bus-stopper", "stopp"])
def test_other_words_do_not(text):
    assert not is_stop(text)


@given(st.text(max_size=400))
def test_whatever_comes_is_cleaned_or_refused(text):
    try:
        out = clean(text, 200)
    except ValueError:
        return
    assert out and len(out) <= 200 and out == clean(out, 200)


def test_a_rate_limit_lets_a_burst_through_then_its_rate():
    limit = RateLimit(5.0)
    assert sum(limit.allow(S) for _ in range(1000)) == 5
    assert sum(limit.allow(S + i * S // 1000) for i in range(1, 1001)) == 5


def test_a_rate_limit_survives_a_clock_that_steps_back():
    limit = RateLimit(5.0)
    limit.allow(10 * S)
    assert sum(limit.allow(5 * S) for _ in range(10)) == 4


def arrivals(*heard):
    """Which of (text, subscription, ns) count."""
    echoes = Echoes()
    return [text for text, subscription, when in heard if not echoes.is_one(text, subscription, when)]


@pytest.mark.parametrize("heard, counts", [
    ([("go", 0, 0), ("go", 1, 1)], ["go"]),  # a reliable publisher
    ([("go", 1, 0), ("go", 0, 1)], ["go"]),
    ([("go", 1, 0), ("go", 1, 1)], ["go", "go"]),  # one that is not, twice
    ([("go", 0, 0), ("go", 0, 1), ("go", 1, 2), ("go", 1, 3)], ["go", "go"]),  # a reliable one, twice
    ([("go", 0, 0), ("go", 1, 1), ("go", 0, 2), ("go", 1, 3)], ["go", "go"]),
    ([("go", 0, 0), ("stop", 0, 1), ("go", 1, 2), ("stop", 1, 3)], ["go", "stop"]),
    ([("stop", 0, 0), ("go", 0, 1), ("stop", 1, 2), ("go", 1, 3)], ["stop", "go"]),  # the go is not cancelled
    ([("go", 0, 0), ("go", 0, 1), ("go", 1, 2)], ["go", "go"]),  # one was lost on the way that loses
    ([("go", 0, 0), ("go", 1, S + 1)], ["go", "go"]),  # too late to be the same message
])
def test_each_message_counts_once(heard, counts):
    assert arrivals(*heard) == counts


def test_a_flood_of_messages_is_not_remembered():
    echoes = Echoes()
    for number in range(10_000):
        echoes.is_one(f"{number}" * 1000, 0, number)
    assert len(echoes._single) <= 100
