"""What was said to the robot, by whom, and what came of it in the end: a line for each."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from vla_ros.core.instructions import clean
from vla_ros.core.step_words import NOT_UNDERSTOOD, is_done, is_step

MOST_SENTENCES = 30
MOST_REMARKS = 5  # of a sentence
MOST_CHARACTERS = 1000  # command_ingest allows fewer; more is no sentence
ANSWER_WITHIN_S = 3.0
# Reports of the gate from before the words may come after them.
REPORTS_WITHIN_S = 0.5
NOT_ACCEPTED = "not accepted: "  # what command_ingest's feedback then begins with
ELSEWHERE = "another program"
# What may come of words.
SENT = "sent"
ACCEPTED = "accepted"  # as an instruction; the robot does not act on it yet
DOING = "doing"
DONE = "done"
REFUSED = "refused"
STOPPED = "stopped"  # before it was done
REPLACED = "replaced"  # by other words, before it was done
UNANSWERED = "unanswered"
OPEN = (ACCEPTED, DOING)


@dataclass
class Sentence:
    """Words, and what came of them.

    Attributes:
        when: the time of day, s since 1970.
        said: when, on the steady clock, s.
        outcome: one of those above.
        step: of several, the one that is done now: "step 2 of 3: turn around".
        accepted: when it became an instruction, on the steady clock, s.
        remarks: what the suite said about it; the reason, where it was refused or stopped.
    """

    when: float
    said: float
    who: str
    text: str
    outcome: str = SENT
    step: str = ""
    instruction_id: int = 0
    accepted: float = 0.0
    remarks: list[str] = field(default_factory=list)

    def close(self, outcome: str, reason: str = "") -> None:
        """That is what came of it."""
        self.outcome = outcome
        self.step = ""
        if reason:
            self.add(reason)

    def add(self, remark: str) -> None:
        """What somebody says about it, once."""
        if remark not in self.remarks and len(self.remarks) < MOST_REMARKS:
            self.remarks.append(remark[:300])


class SentenceHistory:
    """Puts the words together with what the nodes answer and remark, and with what the gate does.

    Times are steady s, but for `when`.
    """

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
            if sentence.outcome in OPEN:
                sentence.close(REPLACED if text else STOPPED)
        if mine is None and text:
            mine = Sentence(when, now, ELSEWHERE, text)
            self._sentences.append(mine)
        if mine is not None:
            # a word that stops is done as soon as it is heard
            mine.outcome = ACCEPTED if text else DONE
            mine.instruction_id = instruction_id
            mine.accepted = now

    def _asked(self, text: str) -> Sentence | None:
        """The sentence that waits for this answer; an empty one answers any that stops."""
        for sentence in self._sentences:
            if sentence.outcome != SENT:
                continue
            if not text or _cleaned(sentence.text) == text:
                return sentence
        return None

    @property
    def current(self) -> Sentence | None:
        """That of the instruction that holds."""
        if not self.instruction:
            return None
        for sentence in reversed(tuple(self._sentences)):
            if sentence.instruction_id == self._newest_id:
                return sentence
        return None

    def remark(self, line: str) -> None:
        """What a node says to the operator."""
        with self._lock:
            if self._sentences and not line.startswith("accepted: "):
                self._remark(line)

    def _remark(self, line: str) -> None:
        current = self.current
        if current is not None and current.outcome in OPEN and self._of_policy(line, current):
            return
        waiting = [sentence for sentence in self._sentences if sentence.outcome == SENT]
        if waiting and line.startswith(NOT_ACCEPTED):
            waiting[0].close(REFUSED, line.removeprefix(NOT_ACCEPTED))
        elif waiting and line.startswith("stopped: "):
            waiting[0].close(DONE, line)
        else:
            (waiting[0] if waiting else self._sentences[-1]).add(line)

    def _of_policy(self, line: str, sentence: Sentence) -> bool:
        """Whether the policy says by it how far it is with the instruction that holds."""
        if is_step(line):
            sentence.step = line
        elif is_done(line):
            # of one that has not begun, it is the last word about the one before
            if sentence.outcome == DOING:
                sentence.close(DONE)
        elif line.startswith(NOT_UNDERSTOOD):
            # what it has begun it gives up, as what it looks for is not there
            outcome = STOPPED if sentence.outcome == DOING else REFUSED
            sentence.close(outcome, line.removeprefix(NOT_UNDERSTOOD))
        else:
            return False
        return True

    def follow(self, instruction_id: int) -> None:
        """The robot acts on an instruction, as the gate says."""
        with self._lock:
            current = self.current
            mine = current is not None and current.instruction_id == instruction_id
            if current is not None and mine and current.outcome == ACCEPTED:
                current.outcome = DOING

    def forget(self, begun: str, not_begun: str, now: float) -> None:
        """The gate lets the instruction that holds move nothing any more.

        Args:
            begun: why, of one that the robot acted on.
            not_begun: why, of one that came at a time when nothing moves the robot.
            now: steady s.
        """
        with self._lock:
            current = self.current
            if current is None or current.outcome not in OPEN:
                return
            if now - current.accepted < REPORTS_WITHIN_S:
                return
            if current.outcome == DOING:
                current.close(STOPPED, begun)
            else:
                current.close(REFUSED, not_begun)

    def look(self, now: float) -> None:
        """Time has passed."""
        for sentence in tuple(self._sentences):
            if sentence.outcome == SENT and now - sentence.said > ANSWER_WITHIN_S:
                sentence.close(
                    UNANSWERED,
                    f"nobody answered within {ANSWER_WITHIN_S:g} s; is command_ingest active?",
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
