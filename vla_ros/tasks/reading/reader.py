"""Reads what a person says: the steps that are meant, or why there are none."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vla_ros.core.instructions import STOP_WORDS, NotUnderstood, is_stop
from vla_ros.core.shown import shown
from vla_ros.tasks.intent import ANGLE_RANGE_RAD, DISTANCE_RANGE_M, Intent
from vla_ros.tasks.objects import COLOURS
from vla_ros.tasks.phrases import AMOUNTS, KINDS, OBJECT_KINDS, PLAIN_WORDS
from vla_ros.tasks.reading.amounts import SMALL_ANGLE_RAD, SMALL_DISTANCE_M, Amount
from vla_ros.tasks.reading.clauses import (
    Cut,
    cuts_of,
    in_order,
    is_interjection,
    says_again,
    without_counting,
)
from vla_ros.tasks.reading.network import CLASSES, FILLER, MENTION, REFUSE
from vla_ros.tasks.reading.objections import (
    ASKED,
    CONDITIONAL,
    NEGATED,
    REPORTED,
    is_hypothetical,
    objection,
    only_tells,
    tells,
    waits_for_someone,
)
from vla_ros.tasks.reading.objects import NamedThing
from vla_ros.tasks.reading.parts import ITEM, Part, parts_of, said, with_degrees
from vla_ros.tasks.reading.repairs import repaired
from vla_ros.tasks.reading.text import words_of
from vla_ros.tasks.reading.weights import Weights, load_weights

MOST_WORDS = 60  # of a text; no instruction is that long
MOST_CLAUSES = 8
REMEMBERED = 256  # texts
# How one would say it, for "did you mean".
EXAMPLES = {**PLAIN_WORDS, "face": "look at"}
_HELP = "try 'go to the red block', 'grab the green ball', 'turn left', 'back up 30 cm'"
NEAREST_RATIO = 2.0  # of the likeliest kind to the next, for "did you mean"
NEAREST_STOP_SHARE = 0.2
# A wrong stop costs little
STOP_SHARE = 0.7
# Of the likeliest kind: a comment that resembles an instruction more is none
COMMENT_SHARE = 0.5
# of what is no instruction, beside the kinds, in `halting`: a false stop costs less than none
NONE_WEIGHT = 0.1
_TIES = frozenset(("and", "then", "but", "afterwards", "after", "finally", "next", "plus", "&"))
_MORE = frozenset(("again", "more", "another", "further", "also", "second", "too"))
_PRONOUNS = frozenset(("it", "that", "this", "there", "them", "one", "him", "her"))
_OPPOSITES = {
    "turn_left": re.compile(r"\b(?:right(?:wards?)?|clockwise|starboard)\b"),
    "turn_right": re.compile(r"\b(?:left(?:wards?)?|anticlockwise|counterclockwise|port)\b"),
    "forward": re.compile(r"\b(?:back(?:wards?)?|reverse)\b"),
    "back": re.compile(r"\b(?:forwards?|ahead|onwards?)\b"),
}
# "right away" is no side, and "counter clockwise" is one word
_NO_SIDE = re.compile(
    r"\bright (?=away|now|there|up|here|on|over|back|round|around|ahead|behind|beside|next|after"
    r"|then|in|this|at|off)|(?:all|that is|^|,) right (?=,|then|so|now)"
)
_CARRY = re.compile(
    r"(?:take|bring|carry|deliver|move|get|fetch|transport|haul|drag|cart|shuttle|ferry|grab) "
    r"(?P<what>\[item\]|it|that|this|them) "
    r"(?:over |across |back |up |along |right )?(?:to|towards?|next to|beside|near|up to|over to) "
    r"(?:where )?\[item\](?: is)?(?: (?:please|now|for me))?"
)


@dataclass(frozen=True)
class Clause:
    """What one clause was read as.

    Attributes:
        label: One of CLASSES; `refuse` where it is not understood.
        steps: Its intents, where it is an instruction.
        thing: What it names, if anything.
        pointing: It says "it" or "there" for what was named before.
        problem: Why it is refused, as the end of "the words ...".
        likeliest: The share of the kind that it resembles most, 0 to 1.
    """

    label: str
    steps: tuple[Intent, ...] = ()
    thing: NamedThing | None = None
    pointing: bool = False
    problem: str = ""
    likeliest: float = 0.0


class InstructionReader:
    """Reads instructions; what it answered to the last REMEMBERED of them it still knows."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._answer = lru_cache(REMEMBERED)(self._read_anew)
        self._sureness = lru_cache(REMEMBERED)(self._halting_anew)

    @classmethod
    def load(cls, folder: Path | None = None) -> InstructionReader:
        """From `words.npz` in `folder`, or of this package.

        Raises:
            ValueError: The file is missing or was not written by `vla train words`.
        """
        return _load(None if folder is None else str(folder))

    def read(self, text: str) -> tuple[Intent, ...]:
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

    def _read_anew(self, text: str) -> tuple[Intent, ...] | str:
        """The steps, or the sentence of the refusal."""
        try:
            return self._read(self.parts(text), text)
        except NotUnderstood as refused:
            return str(refused)

    def _read(self, parts: Sequence[Part], text: str) -> tuple[Intent, ...]:
        """As `read`, of the text's parts."""
        if not any(part.text[-1].isalnum() or part.text[0] == "[" for part in parts):
            raise NotUnderstood(
                f"there is no word in {shown(text, 40)} that counts; say what to do"
            )
        parts = in_order(repaired(parts))
        clauses = self._clauses(parts, text)
        steps = self._steps(clauses, text)
        # "stop and" stops all the same
        if _breaks_off(parts) and steps[0].kind != "stop":
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
            read_as_stop = self._read(parts, text)[0].kind == "stop"
        except NotUnderstood:
            read_as_stop = False
        if read_as_stop:
            return max(STOP_SHARE, _halting(self._shares(tried[:1])[0]))
        shares = self._shares(tried)
        surest = _halting(shares[0])
        # Of several clauses the first that says something: "go to the ball and wait there" has a
        # stop for its last step, and that step's time has not come.
        for row in shares[1:]:
            if CLASSES[int(row.argmax())] != FILLER:
                return max(surest, _halting(row))
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
        """B x len(CLASSES)."""
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
        halt = _stop_alone(read, spans, joints)
        if halt is not None:
            return [(read[halt], spans[halt])]
        read = _without_repeats(_without_comments(read, spans, joints), spans, joints)
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
        pointing = not _PRONOUNS.isdisjoint(words)
        thing = things[0] if things else None
        if words and _only_stops(words):
            return Clause("stop", (Intent("stop"),))
        problem = objection(parts)
        best = int(shares.argmax())
        label = CLASSES[best]
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
        text = " ".join(words)
        carried = _CARRY.fullmatch(_without_courtesy(text))
        if carried is not None and len(things) == 1 + (carried["what"] == ITEM):
            steps = (_object_step("grab", things[0]), _object_step("go_to", things[-1]))
            if carried["what"] != ITEM:
                return Clause("go_to", steps[1:], things[-1], pointing=False)
            return Clause("grab", steps, things[-1])
        if words == [ITEM]:
            return Clause(MENTION, thing=thing)
        if label == REFUSE or not enough:
            likeliest = float(shares[: len(KINDS)].max())
            return Clause(REFUSE, problem=_why_not(shares, parts, things), likeliest=likeliest)
        if label in (FILLER, MENTION):
            return Clause(label, thing=thing, pointing=pointing)
        if len(things) > 1:
            return Clause(REFUSE, problem="name more than one thing; name one at a time")
        opposite = _OPPOSITES.get(label)
        if opposite is not None and opposite.search(_NO_SIDE.sub(" ", _joined_sides(text))):
            return Clause(REFUSE, problem=_nearest(shares, thing))
        if label in OBJECT_KINDS:
            return self._about_thing(label, parts, thing, pointing)
        return _with_amount(label, parts)

    def _about_thing(
        self, kind: str, parts: Sequence[Part], thing: NamedThing | None, pointing: bool
    ) -> Clause:
        for part in parts:
            if isinstance(part.value, Amount) and part.value.unit != "little":
                return Clause(
                    REFUSE, problem=f"ask for {part.said} there, and 'forward' or a turn takes that"
                )
        if thing is None and not pointing:
            return Clause(
                REFUSE,
                problem=f"name no thing that the robot knows; did you mean: {EXAMPLES[kind]} the "
                "red block?",
            )
        # what "it" is, the clause before says
        steps = (Intent(kind),) if thing is None else (_object_step(kind, thing),)
        return Clause(kind, steps, thing, pointing=thing is None)

    def _steps(
        self, clauses: Sequence[tuple[Clause, Sequence[Part]]], text: str
    ) -> tuple[Intent, ...]:
        """Pronouns and what goes without saying resolved."""
        steps: list[Intent] = []
        last: NamedThing | None = None
        pending: Sequence[Part] | None = None  # a thing that was named, and nothing said of it yet
        for index, (clause, parts) in enumerate(clauses):
            if clause.label == FILLER:
                continue
            if clause.label == MENTION:
                last = clause.thing or last
                following = [each for each, _ in clauses[index + 1 :] if each.label != FILLER]
                if following and following[0].pointing:
                    pending = parts
                elif steps and steps[-1].kind in OBJECT_KINDS and last is not None:
                    also = _object_step(steps[-1].kind, last)
                    if also != steps[-1]:  # "grab a block, any block"
                        steps.append(also)  # "... then the blue ball"
                else:
                    raise _not_understood(
                        "name a thing, and not what to do with it; did you mean: go to it?",
                        parts,
                        text,
                        whole=len(clauses) == 1,
                    )
                continue
            pending = None
            if clause.pointing and clause.label in OBJECT_KINDS:
                if last is None:
                    raise _not_understood(
                        "do not say what 'it' is; name the thing, as in "
                        f"'{EXAMPLES[clause.label]} the red block'",
                        parts,
                        text,
                        whole=len(clauses) == 1,
                    )
                new = [_object_step(clause.label, last)]
            else:
                new = list(clause.steps)
                last = clause.thing or last
            for step in new:
                if not steps or steps[-1] != step or step.kind not in (*OBJECT_KINDS, "stop"):
                    steps.append(step)
        if pending is not None or not steps:
            raise _not_understood(f"ask for nothing; {_HELP}", [], text, whole=True)
        if len(steps) > MOST_CLAUSES:
            raise NotUnderstood(
                f"the instruction {shown(text)} has {len(steps)} steps; at most {MOST_CLAUSES} "
                "are taken at a time"
            )
        return tuple(steps)


@lru_cache(maxsize=4)
def _load(folder: str | None) -> InstructionReader:
    return InstructionReader(load_weights(None if folder is None else Path(folder)))


def _stop_alone(
    read: Sequence[Clause], spans: Sequence[Sequence[Part]], joints: Sequence[str]
) -> int | None:
    """Which clause is a stop beside which the others say nothing that can be done, or None.

    "stop, there is a child in the hall", "hang on, let me tie my shoe": doubt means stop.
    """
    halt = None
    for index, (clause, span) in enumerate(zip(read, spans)):
        refused = clause.label == REFUSE
        if refused and clause.problem == CONDITIONAL and is_hypothetical(span):
            return None  # "if you see a ball, stop"
        if halt is not None:
            tied = not _TIES.isdisjoint(joints[index].split())
            # "stop, then turn left" and "stop! turn left" have two steps
            told = tells(span) and not tied and clause.label != "stop"
            if refused or told:
                return halt
        elif clause.label == "stop":
            halt = index
            before = [each.label for each in read[:index]]
            if REFUSE in before:
                return None if not _TIES.isdisjoint(joints[index].split()) else halt
        elif clause.label in KINDS:
            return None  # the stop's time has not come
    return None


def _without_comments(
    read: Sequence[Clause], spans: Sequence[Sequence[Part]], joints: Sequence[str]
) -> list[Clause]:
    """With what only gives a reason for the steps before it read as saying nothing."""
    kept: list[Clause] = []
    instructed: str | None = None
    for clause, span, joint in zip(read, spans, joints):
        refused = clause.label == REFUSE and clause.problem not in (ASKED, NEGATED, CONDITIONAL)
        # "back up 30 cm, I need room" asks for the same twice at most
        comment = refused or clause.label == instructed
        comment = comment and instructed is not None and _TIES.isdisjoint(joint.split())
        if comment and clause.likeliest < COMMENT_SHARE and only_tells(span):
            clause = Clause(FILLER)
        if clause.label in KINDS:
            instructed = clause.label
        kept.append(clause)
    return kept


def _without_repeats(
    read: Sequence[Clause], spans: Sequence[Sequence[Part]], joints: Sequence[str]
) -> list[Clause]:
    """With a step that is only said twice said once: "straight on, keep going"."""
    kept = list(read)
    last: int | None = None
    joint: list[str] = []
    for index, (clause, span) in enumerate(zip(read, spans)):
        joint.extend(joints[index].split())
        if clause.label not in KINDS:
            continue
        if last is not None:
            before = kept[last]
            more = not _MORE.isdisjoint(part.text for part in span)
            if clause.steps == before.steps and set(joint) <= {","} and not more:
                kept[index] = Clause(FILLER)
            # "swing round and look at it": who faces it has turned
            if (before.label, clause.label, joint) == ("turn_around", "face", ["and"]):
                kept[last] = Clause(FILLER)
        last = index
        joint = []
    return kept


def _breaks_off(parts: Sequence[Part]) -> bool:
    """Whether a joint is the last word: "go to the block and"."""
    words = [part.text for part in parts if part.text[0].isalnum() or part.text[0] == "["]
    return bool(words) and words[-1] in ("and", "then", "but", "or", "plus")


def _only_stops(words: Sequence[str]) -> bool:
    spoken = [word for word in words if word[0].isalpha()]
    return bool(spoken) and set(spoken) <= set(STOP_WORDS)


def _halting(shares: np.ndarray) -> float:
    """The share of stop among the kinds, less where the words may be no instruction at all."""
    halt = float(shares[CLASSES.index("stop")])
    others = float(shares[: len(KINDS)].sum()) - halt
    refused = float(shares[CLASSES.index(REFUSE)] + shares[CLASSES.index(FILLER)])
    return halt / (halt + others + NONE_WEIGHT * refused + 1e-9)


def _bare(parts: Sequence[Part]) -> list[Part]:
    """Without signs at its ends."""
    kept = without_counting(parts)
    return kept or list(parts)


def _without_courtesy(text: str) -> str:
    text = re.sub(
        r"^(?:(?:please|now|robot|hey|ok|okay|could|would|can|will|you|kindly|just|go|and) )+",
        "",
        text,
    )
    return re.sub(r"(?: (?:please|now|for me|thanks|thank you))+$", "", text)


def _joined_sides(text: str) -> str:
    return re.sub(r"\b(?:anti|counter) clockwise\b", "anticlockwise", text)


def _object_step(kind: str, thing: NamedThing) -> Intent:
    which = thing.which
    if which is not None and which.relation == "any" and (thing.excluded):
        which = None  # "a block that is not red": any such will do
    return Intent(kind, thing.colour, thing.shape, which=which, excluded=thing.excluded)


def _with_amount(kind: str, parts: Sequence[Part]) -> Clause:
    amounts = []
    for part in parts:
        if isinstance(part.value, Amount):
            amounts.append((part.value, part.said))
    sizes = [each for each in amounts if each[0].unit != "little"]
    amount = AMOUNTS.get(kind, 0.0)
    turns = kind in ("turn_left", "turn_right", "turn_around")
    if len(sizes) > 1:
        return Clause(REFUSE, problem="give two amounts; give one")
    if kind == "stop":
        sizes = []  # "not another inch"
    if kind not in AMOUNTS and sizes:
        return Clause(REFUSE, problem=f"ask for {sizes[0][1]}, which means nothing there")
    if sizes:
        value, words = sizes[0]
        if value.unit == "number":
            if not turns:
                return Clause(REFUSE, problem=f"say {words}, and not of what; say '{words} cm'")
            value = Amount(math.radians(value.value), "angle")
        if (value.unit == "angle") != turns:
            unit = "degrees" if turns else "metres or centimetres"
            return Clause(REFUSE, problem=f"ask for {words}; give {unit}")
        amount = value.value
        if kind == "turn_around" and not any(
            math.isclose(amount, whole, rel_tol=0.01) for whole in (math.pi, 2 * math.pi)
        ):
            return Clause(REFUSE, problem=f"ask for {words}, and not to which side; say 'left'")
        least, most = ANGLE_RANGE_RAD if turns else DISTANCE_RANGE_M
        if not least * 0.999 <= amount <= most * 1.001:
            return Clause(REFUSE, problem=_out_of_range(amount, turns))
        amount = min(max(amount, least), most)
    elif amounts and kind != "turn_around" and kind in AMOUNTS:
        amount = SMALL_ANGLE_RAD if turns else SMALL_DISTANCE_M
    thing = next((part.value for part in parts if isinstance(part.value, NamedThing)), None)
    return Clause(kind, (Intent(kind, amount=amount),), thing)


def _out_of_range(amount: float, turns: bool) -> str:
    if turns:
        least, most = (math.degrees(limit) for limit in ANGLE_RANGE_RAD)
        return f"ask for {math.degrees(amount):g} degrees; ask for {least:g} to {most:g}"
    shortest, longest = DISTANCE_RANGE_M
    return f"ask for {amount:g} m; ask for {shortest:g} to {longest:g} m"


def _why_not(shares: np.ndarray, parts: Sequence[Part], things: Sequence[NamedThing]) -> str:
    """What is wrong with a clause that is not understood, where that is plain to see."""
    if len(things) > 1:
        return "name more than one thing; name one at a time"
    kind = KINDS[int(shares[: len(KINDS)].argmax())]
    texts = [part.text for part in parts]
    # "drive forward 30": of what?
    bare = "[number]" in texts and not {"forward", "ahead", "back", "backwards"}.isdisjoint(texts)
    if kind in AMOUNTS and (bare or _is_near(shares)):
        problem = _with_amount(kind, parts).problem
        if problem:
            return problem
    return _nearest(shares, things[0] if things else None)


def _is_near(shares: np.ndarray) -> bool:
    """Whether one kind is clearly the likeliest."""
    kinds = shares[: len(KINDS)]
    least, most = np.sort(kinds)[-2:]
    # stop is what nonsense is likest to, and no help to who talks it
    certain = KINDS[int(kinds.argmax())] != "stop" or most >= NEAREST_STOP_SHARE
    return bool(most >= NEAREST_RATIO * least and certain)


def _nearest(shares: np.ndarray, thing: NamedThing | None) -> str:
    """ "are not understood", with what is nearest to it where that is clear."""
    kinds = shares[: len(KINDS)]
    best = int(kinds.argmax())
    if not _is_near(shares):
        return f"are not understood; {_HELP}"
    kind = KINDS[best]
    example = EXAMPLES[kind]
    if kind in OBJECT_KINDS:
        target = _object_step(kind, thing or NamedThing("red", "block")).target
        article = "" if target.startswith("any") else "the "
        example = f"{example} {article}{target}"
    return f"are not understood; did you mean: {example}?"


def _not_understood(problem: str, parts: Sequence[Part], text: str, whole: bool) -> NotUnderstood:
    if whole or not parts:
        return NotUnderstood(f"the words {shown(text)} {problem}")
    return NotUnderstood(
        f"nothing of {shown(text)} is done: the words {shown(said(parts))} {problem}"
    )
