"""Reads what a person says: the steps that are meant, or why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeGuard

import numpy as np

from vla_ros.core.instructions import NotUnderstood, is_stop
from vla_ros.core.shown import shown
from vla_ros.tasks.intent import Intent, Which
from vla_ros.tasks.objects import COLOURS
from vla_ros.tasks.reading.amounts import Amount
from vla_ros.tasks.reading.asides import (
    is_more,
    stop_alone,
    without_asides,
    without_comments,
    without_repeats,
)
from vla_ros.tasks.reading.cart import CART, object_step
from vla_ros.tasks.reading.clause import PRONOUNS, Clause
from vla_ros.tasks.reading.clauses import (
    Cut,
    cuts_of,
    in_order,
    is_interjection,
    says_again,
    without_counting,
)
from vla_ros.tasks.reading.idioms import (
    BESIDE_UNKNOWN,
    ENOUGH,
    PUTS,
    is_address,
    is_looked_for,
    only_hand,
    only_stops,
    sides_of,
    without_courtesy,
)
from vla_ros.tasks.reading.network import FILLER, MENTION, REFUSE
from vla_ros.tasks.reading.objections import (
    ASKED,
    CONDITIONAL,
    REPORTED,
    objection,
    waits_for_someone,
)
from vla_ros.tasks.reading.objects import NamedThing
from vla_ros.tasks.reading.parts import ITEM, Part, parts_of, said, with_degrees
from vla_ros.tasks.reading.repairs import repaired
from vla_ros.tasks.reading.robot import CannotBe, RobotWords, Step
from vla_ros.tasks.reading.text import words_of
from vla_ros.tasks.reading.weights import Weights, load_weights

MOST_WORDS = 60  # of a text; no instruction is that long
MOST_CLAUSES = 8
REMEMBERED = 256  # texts
NEAREST_RATIO = 2.0  # of the likeliest kind to the next, for "did you mean"
NEAREST_STOP_SHARE = 0.2
# A wrong stop costs little
STOP_SHARE = 0.7
# Beside an instruction: so likely it says nothing, and no kind of instruction is likelier than that
IDLE_SHARE = 0.6
IDLE_KIND_SHARE = 0.1
# of what is no instruction, beside the kinds, in `halting`: a false stop costs less than none
NONE_WEIGHT = 0.3


class InstructionReader(Generic[Step]):
    """Reads what one robot is told; what it answered to the last texts it still knows."""

    def __init__(self, weights: Weights, robot: RobotWords[Step]) -> None:
        self._weights = weights
        self._robot = robot
        self._kinds = len(robot.kinds)
        # what it offers, it understands: "did you mean: turn left?"
        self._plain = {words.format(ITEM): kind for kind, words in robot.examples.items()}
        self._answer = lru_cache(REMEMBERED)(self._read_anew)
        self._sureness = lru_cache(REMEMBERED)(self._halting_anew)

    @classmethod
    def load(cls, folder: Path | None = None) -> InstructionReader[Intent]:
        """The cart's, from `words.npz` in `folder`, or of this package.

        Raises:
            ValueError: The file is missing or was not written by `vla train words`.
        """
        return reader_of(CART, folder)

    def read(self, text: str) -> tuple[Step, ...]:
        """The steps that the text asks for, in their order; one at least.

        Raises:
            NotUnderstood: It asks for nothing that can be done, or only a part of it is
                understood; the sentence names the part and, where one is near, what can be done.
        """
        answer = self._answer(text)
        if isinstance(answer, str):
            raise NotUnderstood(answer)  # a new one each time: a traceback belongs to one raising
        return answer

    def forget(self) -> None:
        """What was read is read anew."""
        self._answer.cache_clear()
        self._sureness.cache_clear()

    def _read_anew(self, text: str) -> tuple[Step, ...] | str:
        """The steps, or the sentence of the refusal."""
        try:
            return self._read(self.parts(text), text)
        except NotUnderstood as refused:
            return str(refused)

    def _read(self, parts: Sequence[Part], text: str) -> tuple[Step, ...]:
        """As `read`, of the text's parts."""
        if not any(part.text[-1].isalnum() or part.text[0] == "[" for part in parts):
            raise NotUnderstood(
                f"there is no word in {shown(text, 40)} that counts; say what to do"
            )
        parts = in_order(repaired(_without_tail(parts)))
        clauses = self._clauses(parts, text)
        steps = self._steps(clauses, text)
        # "stop and" stops all the same
        if _breaks_off(parts) and _kind(steps[0]) != "stop":
            raise _not_understood(
                f"break off after {shown(parts[-1].said)}; say the rest", [], text, whole=True
            )
        return steps

    def halting(self, text: str) -> float:
        """How surely the text asks the robot to stand still now, 0 to 1.

        Doubt counts as stop: of the text and its first clause, that which says it more.
        """
        return self._sureness(text)

    def _halting_anew(self, text: str) -> float:
        if is_stop(text):
            return 1.0
        try:
            parts = self.parts(text)
        except NotUnderstood:  # who talks for so long does not shout stop
            return 0.0
        tried = [parts]
        place = 0
        corrected = repaired(parts)
        for cut in (*cuts_of(corrected), Cut(len(corrected), len(corrected), True)):
            tried.append(corrected[place : cut.start])
            place = cut.end
        tried = [_bare(each) for each in tried if each][: 2 * MOST_CLAUSES]
        if not tried:
            return 0.0
        try:
            read_as_stop = _kind(self._read(parts, text)[0]) == "stop"
        except NotUnderstood:
            read_as_stop = False
        if read_as_stop:
            return max(STOP_SHARE, self._halting(self._shares(tried[:1])[0]))
        shares = self._shares(tried)
        surest = self._halting(shares[0])
        # Of several clauses the first that says something: "go to the ball and wait there" has a
        # stop for its last step, and that step's time has not come.
        for row in shares[1:]:
            if self._robot.classes[int(row.argmax())] != FILLER:
                return max(surest, self._halting(row))
        return surest

    def parts(self, text: str) -> list[Part]:
        """The words with marks in the place of things and amounts, as the heads read them."""
        words: list[str] = []
        for word in words_of(text[: 20 * MOST_WORDS])[: MOST_WORDS + 1]:
            words.extend(self._weights.spelling.correct(word))
        if len(words) > MOST_WORDS:
            raise NotUnderstood(
                f"the instruction has more than {MOST_WORDS} words; say it in fewer"
            )
        return with_degrees(parts_of(words, self._weights.things))

    def _shares(self, clauses: Sequence[Sequence[Part]]) -> np.ndarray:
        """B x the robot's classes."""
        rows = []
        for clause in clauses:
            rows.append(self._weights.pieces.encode([part.text for part in clause]) or [0])
        return self._weights.network(rows)

    def _clauses(self, parts: Sequence[Part], text: str) -> list[tuple[Clause, Sequence[Part]]]:
        """The text cut into as many clauses as are understood.

        Raises:
            NotUnderstood: However it is cut, a part is not understood.
        """
        cuts = cuts_of(parts)
        if len(cuts) >= 2 * MOST_CLAUSES:
            raise NotUnderstood(
                f"the instruction {shown(text)} has too many parts; at most {MOST_CLAUSES} steps "
                "are taken at a time"
            )
        bounds = [0]
        ends = []
        for cut in cuts:
            ends.append(cut.start)
            bounds.append(cut.end)
        ends.append(len(parts))
        pieces: list[tuple[int, int]] = []
        for first, last in zip(bounds, ends, strict=True):
            if not without_counting(parts[first:last]):
                continue
            if pieces and says_again(parts, pieces[-1], (first, last)):
                pieces.pop()  # "left! left!" is one turn
            elif pieces and is_interjection(parts, pieces, first, last):
                pieces.pop()  # "right, go to the ball"
            pieces.append((first, last))
        # first as finely as it can be cut; most sentences end here
        spans = [without_counting(parts[first:last]) for first, last in pieces]
        if not spans:
            spans = [list(parts)]
            pieces = [(0, len(parts))]
        read = self._read_all(spans)
        joints = [""]
        for (_, end), (start, _) in zip(pieces, pieces[1:]):
            joints.append(" ".join(part.text for part in parts[end:start]))
        halt = stop_alone(read, spans, joints)
        if halt is not None:
            return [(read[halt], spans[halt])]
        read = without_asides(read, spans, joints)
        read = without_comments(read, spans, joints)
        read = without_repeats(read, spans, joints, self._robot.said_twice)
        if all(clause.label != REFUSE for clause in read):
            return list(zip(read, spans))
        joined = self._joined(parts, pieces, read, [cut for cut in cuts if cut.sure])
        if joined is not None:
            return joined
        worst = next(index for index, clause in enumerate(read) if clause.label == REFUSE)
        raise _not_understood(read[worst].problem, spans[worst], text, whole=len(spans) == 1)

    def _joined(
        self,
        parts: Sequence[Part],
        pieces: Sequence[tuple[int, int]],
        read: Sequence[Clause],
        sure: Sequence,
    ) -> list[tuple[Clause, Sequence[Part]]] | None:
        """The finest cut of which every part is understood, or None."""
        ranges = []
        spans = []
        for first in range(len(pieces)):
            for last in range(first + 1, len(pieces)):
                start = pieces[first][0]
                end = pieces[last][1]
                if any(start < cut.start < end for cut in sure):
                    break
                if is_more(parts, pieces, read, last):
                    break  # "pick up the ball and eat it" is more than to pick it up
                ranges.append((first, last))
                spans.append(without_counting(parts[start:end]))
        found: dict[tuple[int, int], tuple[Clause, Sequence[Part]]] = {}
        for index, clause in enumerate(read):
            span = without_counting(parts[slice(*pieces[index])])
            found[(index, index)] = (clause, span)
        if spans:
            for where, clause, span in zip(ranges, self._read_all(spans), spans):
                found[where] = (clause, span)
        # best[n]: the finest cut of the first n pieces
        best: list[list[tuple[Clause, Sequence[Part]]] | None] = [[]]
        for end in range(len(pieces)):
            choice = None
            for first in range(end, -1, -1):
                head = best[first]
                tail = found.get((first, end))
                if head is None or tail is None or tail[0].label == REFUSE:
                    continue
                if choice is None or len(head) + 1 > len(choice):
                    choice = [*head, tail]
            best.append(choice)
        return best[-1]

    def _read_all(self, spans: Sequence[Sequence[Part]]) -> list[Clause]:
        shares = self._shares([_bare(span) for span in spans])
        read = []
        for span, row in zip(spans, shares):
            read.append(self._clause(span, row))
        return read

    def _clause(self, parts: Sequence[Part], shares: np.ndarray) -> Clause:
        things = []
        for part in parts:
            if isinstance(part.value, NamedThing):
                things.append(part.value)
        words = [part.text for part in parts]
        pointing = not PRONOUNS.isdisjoint(words)
        thing = things[0] if things else None
        if words and (only_stops(words) or ENOUGH.fullmatch(" ".join(words))):
            return Clause("stop", (self._robot.alone("stop", ()),))
        if only_hand(words):  # "open wide, claw"
            return Clause(FILLER)
        problem = objection(parts, self._robot)
        best = int(shares.argmax())
        label = self._robot.classes[best]
        enough = shares[best] >= (STOP_SHARE if label == "stop" else self._weights.threshold)
        # "I can see a red ball", "is that ok" ask for nothing beside what does
        harmless = (label == FILLER and problem in (REPORTED, ASKED)) or (
            label in (MENTION, "stop") and problem == REPORTED
        )
        # "stay there until I am done" is kept by standing still
        patient = label == "stop" and problem == CONDITIONAL and waits_for_someone(parts)
        harmless = harmless or patient
        if problem is not None and not (harmless and enough):
            return Clause(REFUSE, problem=problem)
        for each in things:
            if each.unknown:
                known = ", ".join(COLOURS)
                return Clause(REFUSE, problem=f"name {each.unknown}, none of {known}")
        if is_looked_for(parts):
            return Clause(REFUSE, problem="say by a look that it cannot tell which thing is meant")
        text = " ".join(words)
        plain = self._plain.get(without_courtesy(text).removesuffix(" again"))
        if plain is not None:
            label = plain
            enough = True
        at_once = self._robot.at_once(without_courtesy(text), things)
        if at_once is not None:
            return Clause(_kind(at_once[0]), at_once, things[-1])
        if words == [ITEM]:
            return Clause(MENTION, thing=thing)
        if label == "stop" and PUTS.match(without_courtesy(text)):
            label = REFUSE
        if label == REFUSE or not enough:
            likeliest = float(shares[: self._kinds].max())
            problem = self._why_not(shares, parts, things)
            idle = label == FILLER and shares[best] >= IDLE_SHARE and likeliest < IDLE_KIND_SHARE
            idle = idle or is_address(words, self._weights.idle)
            return Clause(REFUSE, problem=problem, idle=idle, likeliest=likeliest)
        if label in (FILLER, MENTION):
            return Clause(label, thing=thing, pointing=pointing)
        if len(things) > self._robot.most_things(label):
            return Clause(REFUSE, problem="name more than one thing; name one at a time")
        opposite = (self._robot.opposites or {}).get(label)
        if opposite is not None and opposite.search(sides_of(text)):
            return Clause(REFUSE, problem=self._nearest(shares, thing))
        try:
            if label in self._robot.object_kinds:
                return self._about_thing(label, parts, thing, pointing)
            return Clause(label, (self._robot.alone(label, parts),), thing)
        except CannotBe as problem:
            return Clause(REFUSE, problem=str(problem))

    def _about_thing(
        self, kind: str, parts: Sequence[Part], thing: NamedThing | None, pointing: bool
    ) -> Clause:
        """Raises CannotBe."""
        place = None
        text = " ".join(part.text for part in parts)
        if self._robot.nouns.relations and BESIDE_UNKNOWN.search(text):
            raise CannotBe("say beside what it stands, in words that are not understood")
        if kind in self._robot.place_kinds:
            thing, place = self._robot.roles(parts)
        for part in parts:
            if isinstance(part.value, Amount) and part.value.unit != "little":
                raise CannotBe(f"ask for {part.said} there, {self._robot.no_amounts}")
        if thing is None and not pointing:
            raise CannotBe(
                f"name no thing that the robot knows; did you mean: {self._example(kind)}?"
            )
        # what "it" is, the clause before says
        if thing is None:
            return Clause(kind, place=place, pointing=True)
        return Clause(kind, (self._robot.about(kind, thing, place),), thing, place)

    def _example(self, kind: str, it: str = "the red block") -> str:
        """How one would say it."""
        return self._robot.examples[kind].format(it)

    def _steps(
        self, clauses: Sequence[tuple[Clause, Sequence[Part]]], text: str
    ) -> tuple[Step, ...]:
        """Pronouns and what goes without saying resolved."""
        steps: list[Step] = []
        object_kinds = self._robot.object_kinds
        last: NamedThing | None = None
        pending: Sequence[Part] | None = None  # a thing that was named, and nothing said of it yet
        for index, (clause, parts) in enumerate(clauses):
            if clause.label == FILLER:
                continue
            if clause.label == MENTION:
                before = last
                last = clause.thing or last
                if steps and before is not None and _is_anything(last) and _is_any(before):
                    last = before
                    continue  # "give me a block, any one"
                following = [each for each, _ in clauses[index + 1 :] if each.label != FILLER]
                if following and following[0].pointing:
                    pending = parts
                elif steps and before is not None and _only_excludes(last):
                    # "a ball, anything but a blue one"
                    last = replace(before, excluded=(*before.excluded, *last.excluded))
                    steps[-1] = self._about(_kind(steps[-1]), last, None, parts, text)
                elif steps and _kind(steps[-1]) in object_kinds and last is not None:
                    also = self._about(_kind(steps[-1]), last, None, parts, text)
                    if also != steps[-1]:  # "grab a block, any block"
                        steps.append(also)  # "... then the blue ball"
                else:
                    raise _not_understood(
                        "name a thing, and not what to do with it; did you mean: "
                        f"{self._example(object_kinds[0], 'it')}?",
                        parts,
                        text,
                        whole=len(clauses) == 1,
                    )
                continue
            pending = None
            if clause.pointing and clause.label in object_kinds:
                if last is None:
                    raise _not_understood(
                        "do not say what 'it' is; name the thing, as in "
                        f"'{self._example(clause.label)}'",
                        parts,
                        text,
                        whole=len(clauses) == 1,
                    )
                new = [self._about(clause.label, last, clause.place, parts, text)]
            else:
                new = list(clause.steps)
                last = clause.thing or last
            for step in new:
                if not steps or steps[-1] != step or _kind(step) not in (*object_kinds, "stop"):
                    steps.append(step)
        if pending is not None or not steps:
            raise _not_understood(f"ask for nothing; {self._robot.help}", [], text, whole=True)
        if len(steps) > MOST_CLAUSES:
            raise NotUnderstood(
                f"the instruction {shown(text)} has {len(steps)} steps; at most {MOST_CLAUSES} "
                "are taken at a time"
            )
        try:
            return self._robot.joined(tuple(steps))
        except CannotBe as problem:
            raise _not_understood(str(problem), [], text, whole=True) from None

    def _about(
        self,
        kind: str,
        thing: NamedThing,
        place: NamedThing | None,
        parts: Sequence[Part],
        text: str,
    ) -> Step:
        """The step about a thing that another clause names. Raises NotUnderstood."""
        try:
            return self._robot.about(kind, thing, place)
        except CannotBe as problem:
            raise _not_understood(str(problem), parts, text, whole=False) from None

    def _halting(self, shares: np.ndarray) -> float:
        """The share of stop among the kinds, less where the words may be no instruction at all."""
        classes = self._robot.classes
        halt = float(shares[classes.index("stop")])
        others = float(shares[: self._kinds].sum()) - halt
        refused = float(shares[classes.index(REFUSE)] + shares[classes.index(FILLER)])
        return halt / (halt + others + NONE_WEIGHT * refused + 1e-9)

    def _why_not(
        self, shares: np.ndarray, parts: Sequence[Part], things: Sequence[NamedThing]
    ) -> str:
        """What is wrong with a clause that is not understood, where that is plain to see."""
        kind = self._robot.kinds[int(shares[: self._kinds].argmax())]
        if len(things) > self._robot.most_things(kind):
            return "name more than one thing; name one at a time"
        texts = [part.text for part in parts]
        # "drive forward 30": of what?
        bare = "[number]" in texts and not {"forward", "ahead", "back", "backwards"}.isdisjoint(
            texts
        )
        if kind not in self._robot.object_kinds and (bare or self._is_near(shares)):
            try:
                self._robot.alone(kind, parts)
            except CannotBe as problem:
                return str(problem)
        return self._nearest(shares, things[0] if things else None)

    def _is_near(self, shares: np.ndarray) -> bool:
        """Whether one kind is clearly the likeliest."""
        kinds = shares[: self._kinds]
        least, most = np.sort(kinds)[-2:]
        # stop is what nonsense is likest to, and no help to who talks it
        best = self._robot.kinds[int(kinds.argmax())]
        certain = best != "stop" or most >= NEAREST_STOP_SHARE
        return bool(most >= NEAREST_RATIO * least and certain)

    def _nearest(self, shares: np.ndarray, thing: NamedThing | None) -> str:
        """ "are not understood", with what is nearest to it where that is clear."""
        if not self._is_near(shares):
            return f"are not understood; {self._robot.help}"
        kind = self._robot.kinds[int(shares[: self._kinds].argmax())]
        target = object_step(kind, thing or NamedThing("red", "block")).target
        it = target if target.startswith("any") else f"the {target}"
        return f"are not understood; did you mean: {self._example(kind, it)}?"


def reader_of(robot: RobotWords[Step], folder: Path | None = None) -> InstructionReader[Step]:
    """From the files in `folder`, or of this package.

    Raises:
        ValueError: A file is missing or was not written by `vla train words`.
    """
    return _load(robot, None if folder is None else str(folder))


@lru_cache(maxsize=4)
def _load(robot: RobotWords[Any], folder: str | None) -> InstructionReader[Any]:
    return InstructionReader(load_weights(robot, None if folder is None else Path(folder)), robot)


def _kind(step: Any) -> str:
    kind: str = step.kind
    return kind


def _without_tail(parts: Sequence[Part]) -> list[Part]:
    """Without "instead" behind one step; "turn right, left instead" takes something back."""
    kept = list(parts)
    while kept and not kept[-1].text[0].isalnum() and kept[-1].text[0] != "[":
        kept.pop()
    if len(kept) > 1 and kept[-1].text == "instead" and not cuts_of(kept[:-1]):
        return kept[:-1]
    return list(parts)


def _is_any(thing: NamedThing) -> bool:
    return thing.which == Which("any")


def _is_anything(thing: NamedThing | None) -> bool:
    """Whether it says no more than "any one"."""
    return thing == NamedThing(which=Which("any"))


def _only_excludes(thing: NamedThing | None) -> TypeGuard[NamedThing]:
    """Whether it says what is not meant, and nothing else: "anything but a blue one"."""
    if thing is None or not thing.excluded:
        return False
    return thing == NamedThing(which=thing.which, excluded=thing.excluded)


def _breaks_off(parts: Sequence[Part]) -> bool:
    """Whether a joint is the last word: "go to the block and"."""
    words = [part.text for part in parts if part.text[0].isalnum() or part.text[0] == "["]
    return bool(words) and words[-1] in ("and", "then", "but", "or", "plus")


def _bare(parts: Sequence[Part]) -> list[Part]:
    """Without signs at its ends."""
    kept = without_counting(parts)
    return kept or list(parts)


def _not_understood(problem: str, parts: Sequence[Part], text: str, whole: bool) -> NotUnderstood:
    if whole or not parts:
        return NotUnderstood(f"the words {shown(text)} {problem}")
    return NotUnderstood(
        f"nothing of {shown(text)} is done: the words {shown(said(parts))} {problem}"
    )
