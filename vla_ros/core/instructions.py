"""An operator's words: cleaned, checked, and told apart from a wish to stop."""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Collection

from vla_ros.core.shown import shown
from vla_ros.core.types import NANOSECONDS

STOP_WORDS = ("stop", "halt", "freeze", "cancel", "abort")

# The reader's probability that words ask to halt, from which on they do: more likely than not.
# A false stop costs a sentence said again; a missed one may cost what the robot runs into.
HALTING_THRESHOLD = 0.5


class NotUnderstood(ValueError):
    """The policy cannot follow the instruction: unknown words, or an object that it cannot find.

    The sentence goes to the operator, once an instruction. The robot holds; nothing is broken, so
    nothing is mended.
    """


def clean(text: str, max_length: int) -> str:
    """`text` in Unicode NFC with single spaces.

    Raises:
        ValueError: a sentence for the operator: too long, blank, no Unicode or no plain text.
    """
    if len(text) > 20 * max_length:  # do not even normalise a megabyte
        raise ValueError(
            f"the instruction has {len(text)} characters; at most {max_length} are accepted"
        )
    if "\ufffd" in text or any(unicodedata.category(c) == "Cs" for c in text):
        raise ValueError("the instruction is not valid Unicode; send it as UTF-8")
    text = " ".join(unicodedata.normalize("NFC", text).split())
    if not text:
        raise ValueError("the instruction is blank; say what to do, or 'stop'")
    # Controls, what formats (it could turn what is read round), private use and what is unassigned.
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cf", "Co", "Cn"):
            raise ValueError(
                f"the instruction holds the control character U+{ord(character):04X}; send plain "
                "text"
            )
    if len(text) > max_length:
        raise ValueError(
            f"the instruction has {len(text)} characters; at most {max_length} are accepted"
        )
    return text


def fold(text: str) -> str:
    """However it was typed, the same word: case, accents' encoding and full-width letters aside."""
    # Twice: folding the case may make letters that are not composed any more.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def is_stop(text: str, stop_words: Collection[str] = STOP_WORDS) -> bool:
    """Whether any word of `text` is one of the folded `stop_words`.

    Doubt means stop: "don't stop" stops too.
    """
    return bool(stop_word_in(text, stop_words))


def stop_word_in(text: str, stop_words: Collection[str] = STOP_WORDS) -> str:
    """The first word of `text` that is one of the folded `stop_words`; "": none is."""
    return next((word for word in re.findall(r"\w+", fold(text)) if word in stop_words), "")


def check_stop_words(words: Collection[str]) -> frozenset[str]:
    """The words folded. Raises ValueError for a list that could not stop the robot."""
    if not words:
        raise ValueError("parameter 'stop_words' is empty; the operator needs at least one")
    for word in words:
        if not re.fullmatch(r"\w+", fold(word)):
            raise ValueError(f"parameter 'stop_words' holds {shown(word)}; give single words")
    return frozenset(map(fold, words))


ECHO_NS = NANOSECONDS  # the two arrivals of one message are never so far apart
MOST_ECHOES = 100  # texts that wait for their echo


class Echoes:
    """Tells which messages came already. Times in ns on any one clock.

    What a reliable publisher says arrives twice, at a reliable subscription and at one that is not.
    """

    def __init__(self) -> None:
        # The text's hash, which subscription, when: those that arrived once so far.
        self._single: deque[tuple[int, int, int]] = deque(maxlen=MOST_ECHOES)

    def is_one(self, text: str, subscription: int, now: int) -> bool:
        """Whether this arrival is the second one of a message."""
        while self._single and now - self._single[0][2] > ECHO_NS:
            self._single.popleft()
        mark = hash(text)
        for arrival in self._single:
            first_mark, first_subscription, _ = arrival
            # The same text at the same subscription is a person who says it again.
            if first_mark == mark and first_subscription != subscription:
                self._single.remove(arrival)
                return True
        self._single.append((mark, subscription, now))
        return False


class RateLimit:
    """A token bucket: `rate` a second, bursts of as many. Times in ns on any one clock."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._tokens = max(1.0, rate)
        self._last: int | None = None  # when it was last asked

    def allow(self, now: int) -> bool:
        """Whether there is a token left, which is taken then."""
        if self._last is not None:
            passed = max(0, now - self._last) / NANOSECONDS  # s; a clock may go back
            self._tokens = min(max(1.0, self._rate), self._tokens + passed * self._rate)
        self._last = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
