"""Words that ask to halt in other words than the stop words: read where they are heard.

No thread and no waiting: a reading is numpy on a few words, some milliseconds, and its answer is
there before the words are accepted, so that it can never be about words that are no longer the
last. The list of stop words is looked at before, and needs none of this.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from vla_ros.core.instructions import NotUnderstood
from vla_ros.core.shown import shown
from vla_ros.tasks.reading.reader import InstructionReader

WITHOUT = "only the stop words stop"


class HaltingWords:
    """Asks a reader whether words halt the robot; a reader that fails stops nothing.

    Attributes:
        problem: The last thing that was wrong with the reader, a sentence; empty: nothing was.
    """

    def __init__(
        self,
        load: Callable[[], InstructionReader],
        threshold: float,
        complain: Callable[[str], None],
    ) -> None:
        """Loads the reader; does not raise.

        Args:
            load: Gives the reader.
            threshold: The reader's probability from which on words halt, 0 … 1.
            complain: Is told what is wrong with the reader, once a cause, in a sentence.
        """
        self.problem = ""
        self._threshold = threshold
        self._complain = complain
        self._complained: set[str] = set()  # causes
        self._reader: InstructionReader | None = None
        try:
            self._reader = load()
        except Exception as error:  # a missing file, a broken one, a library that is not there
            self._say("load", f"words that halt are not read: {error}; {WITHOUT}")

    def halts(self, text: str) -> bool:
        """Whether the words halt; clean ones only, for the reading takes as long as they are."""
        if self._reader is None:
            return False
        try:
            sureness = float(self._reader.halting(text))
        except NotUnderstood:  # more words than it reads, say
            return False
        except Exception as error:
            cause = type(error).__name__
            self._say(cause, f"the reader failed at {shown(text)}: {error!r}; {WITHOUT}")
            return False
        if math.isnan(sureness):
            self._say("NaN", f"the reader gave no number for {shown(text)}; {WITHOUT}")
        # NaN halts nothing: doubt about the reader is no doubt about the words
        return sureness >= self._threshold

    def _say(self, cause: str, sentence: str) -> None:
        self.problem = sentence
        if cause not in self._complained:
            self._complained.add(cause)
            self._complain(sentence)
