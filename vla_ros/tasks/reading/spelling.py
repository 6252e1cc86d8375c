"""Misspelt words read as the one word of the task that they are nearest to."""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Iterator

SHORTEST = 3  # letters of a word that is worth a guess
SHORTEST_SOUND = 6  # of one that may have two letters wrong


def edits(word: str) -> Iterator[str]:
    """All that one edit makes of it: a letter less, more, other, or two swapped."""
    for place in range(len(word) + 1):
        head = word[:place]
        tail = word[place:]
        if tail:
            yield head + tail[1:]
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]
        for letter in string.ascii_lowercase:
            yield head + letter + tail
            if tail:
                yield head + letter + tail[1:]


def _swaps(word: str) -> Iterator[str]:
    """All that two neighbours swapped make of it."""
    for place in range(len(word) - 1):
        yield word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def sound(word: str) -> str:
    """Its first letter and its consonants, doubled ones once: "cilynder" and "cylinder" agree."""
    consonants = re.sub("[aeiouy]", "", word[1:])
    return word[0] + re.sub(r"(.)\1+", r"\1", consonants)


class Spelling:
    """Corrects words that nobody knows; those that somebody knows are left alone."""

    def __init__(self, task: Collection[str], known: Collection[str]) -> None:
        """
        Args:
            task: Words that instructions are made of.
            known: Words that are no mistakes, whatever they look like: "bed" is not "red".
        """
        self._task = frozenset(task)
        self._known = frozenset(known) | self._task
        # by what stays of a word of which two letters are wrong: its consonants, or all, swapped
        self._alike: dict[str, set[str]] = {}
        for word in self._task:
            if len(word) >= SHORTEST_SOUND:
                for key in (sound(word), "".join(sorted(word))):
                    self._alike.setdefault(key, set()).add(word)

    def correct(self, word: str) -> list[str]:
        """The word itself, the one that is meant, or the two that were written as one."""
        if word in self._known or not word.isascii() or not word.isalpha():
            return [word]
        # "stoooop", "pleeease": a letter held for long
        for times in (r"\1\1", r"\1"):
            shorter = re.sub(r"(.)\1{2,}", times, word)
            if shorter in self._known:
                return [shorter]
        if len(word) < SHORTEST:
            return [word]
        near = {edit for edit in edits(word) if edit in self._task}
        for likely in _likeliest(word, near):
            if len(likely) == 1:
                return [likely.pop()]
        if not near:
            for place in range(2, len(word) - 1):
                if word[:place] in self._task and word[place:] in self._task:
                    return [word[:place], word[place:]]
            for swapped in _swaps(word):
                if swapped in self._known:
                    return [swapped]
            return self._by_sound(word)
        return [word]

    def _by_sound(self, word: str) -> list[str]:
        """For a longer word in which two letters are wrong."""
        if len(word) < SHORTEST_SOUND:
            return [word]
        for key in (sound(word), "".join(sorted(word))):
            alike = {
                each
                for each in self._alike.get(key, ())
                if each[0] == word[0] and abs(len(each) - len(word)) <= 1
            }
            if len(alike) == 1:
                return [alike.pop()]
        return [word]


def _likeliest(word: str, near: set[str]) -> Iterator[set[str]]:
    """Fewer and fewer of the words that one edit makes: what fingers do most stays longest."""
    yield set(near)
    # nobody misses the first letter
    first = {edit for edit in near if edit[0] == word[0]}
    yield set(first)
    yield {edit for edit in first if sorted(edit) == sorted(word)}  # two letters swapped
    yield {edit for edit in first if len(edit) > len(word)}  # one left out
