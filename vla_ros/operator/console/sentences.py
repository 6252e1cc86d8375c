"""What was said to the robot, by whom, and what came of it."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from vla_ros.core.instructions import clean

MOST_SENTENCES = 30
MOST_REMARKS = 5  # of a sentence
MOST_CHARACTERS = 1000  # command_ingest allows fewer; more is no sentence
ANSWER_WITHIN_S = 3.0
REFUSED = "not accepted: "  # what command_ingest's feedback then begins with
ELSEWHERE = "another program"


@dataclass
class Sentence:
    """Words, and what came of them.

    Attributes:
        when: the time of day, s since 1970.
        said: when, on the steady clock, s.
        outcome: sent, accepted, refused, over (replaced or cancelled), or unanswered.
        remarks: what the suite said about it.
    """

    when: float
    said: float
    who: str
    text: str
    outcome: str = "sent"
    instruction_id: int = 0
    remarks: list[str] = field(default_factory=list)


class SentenceHistory:
    """Puts the words together with command_ingest's answers and with what the nodes remark."""

    def __init__(self) -> None:
        self._sentences: deque[Sentence] = deque(maxlen=MOST_SENTENCES)
        self.instruction = ""  # the one that holds
        self._newest_id = 0
        self._lock = threading.Lock()  # words come from a page's thread, answers from the node's

    def say(self, text: str, who: str, now: float, when: float) -> None:
        """Words are about to be sent.

        Raises:
            ValueError: There are none, or too many.
        """
        if not text.strip():
            raise ValueError("there are no words; type what the robot is to do")
        if len(text) > MOST_CHARACTERS:
            raise ValueError(
                f"the text has {len(text)} characters; at most {MOST_CHARACTERS} are sent on"
            )
        with self._lock:
            self._sentences.append(Sentence(when, now, who, text))

    def accept(self, instruction_id: int, text: str, now: float, when: float) -> None:
        """An instruction holds now; empty: none does."""
        with self._lock:
            self._accept(instruction_id, text, now, when)

    def _accept(self, instruction_id: int, text: str, now: float, when: float) -> None:
        if instruction_id <= self._newest_id:
            return  # the latched one, heard again
        self._newest_id = instruction_id
        self.instruction = text
        mine = self._asked(text)
        for sentence in self._sentences:
            if sentence.outcome == "accepted":
                sentence.outcome = "over"
        if mine is None and text:
            mine = Sentence(when, now, ELSEWHERE, text)
            self._sentences.append(mine)
        if mine is not None:
            # a word that stops is done as soon as it is heard
            mine.outcome = "accepted" if text else "over"
            mine.instruction_id = instruction_id

    def _asked(self, text: str) -> Sentence | None:
        """The sentence that waits for this answer; an empty one answers any that stops."""
        for sentence in self._sentences:
            if sentence.outcome != "sent":
                continue
            if not text or _cleaned(sentence.text) == text:
                return sentence
        return None

    def remark(self, line: str) -> None:
        """What a node says to the operator."""
        with self._lock:
            if self._sentences and not line.startswith("accepted: "):
                self._remark(line)

    def _remark(self, line: str) -> None:
        waiting = [sentence for sentence in self._sentences if sentence.outcome == "sent"]
        sentence = waiting[0] if waiting else self._sentences[-1]
        if waiting and line.startswith(REFUSED):
            sentence.outcome = "refused"
            line = line.removeprefix(REFUSED)
        elif waiting and line.startswith("stopped: "):
            sentence.outcome = "over"
        if line not in sentence.remarks and len(sentence.remarks) < MOST_REMARKS:
            sentence.remarks.append(line[:300])

    def look(self, now: float) -> None:
        """Time has passed."""
        for sentence in tuple(self._sentences):
            if sentence.outcome == "sent" and now - sentence.said > ANSWER_WITHIN_S:
                sentence.outcome = "unanswered"
                sentence.remarks.append(
                    f"nobody answered within {ANSWER_WITHIN_S:g} s; is command_ingest active?"
                )

    def page(self) -> list[dict[str, Any]]:
        """As the page shows them, the newest first."""
        return [asdict(sentence) for sentence in reversed(tuple(self._sentences))]


def _cleaned(text: str) -> str:
    """As command_ingest publishes it; the text itself where it would refuse it."""
    try:
        return clean(text, MOST_CHARACTERS)
    except ValueError:
        return text
