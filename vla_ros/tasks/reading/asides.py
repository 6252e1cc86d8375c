"""What is said beside an instruction and changes nothing: asides, reasons, and steps said twice."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vla_ros.tasks.reading.amounts import Amount
from vla_ros.tasks.reading.clause import PRONOUNS, Clause
from vla_ros.tasks.reading.network import FILLER, REFUSE
from vla_ros.tasks.reading.objections import (
    ASKED,
    CONDITIONAL,
    NEGATED,
    REPORTED,
    is_hypothetical,
    only_tells,
    tells,
)
from vla_ros.tasks.reading.objects import NamedThing
from vla_ros.tasks.reading.parts import Part

# Of the likeliest kind: a comment that resembles an instruction more is none
COMMENT_SHARE = 0.5
_TIES = frozenset(("and", "then", "but", "afterwards", "after", "finally", "next", "plus", "&"))
_ARTICLES = frozenset(("a", "an", "the", "some"))
_OBJECTS = frozenset(("it", "them", "him", "her"))
_MANNERS = re.compile(
    r"(?:(?:away|on|up|over|around|round|again|slow|slowly|easy|gently|down|out|about|along|back"
    r"|forward|steady|quick|quickly|careful|carefully|softly|aside|off|here|now|please|beyond"
    r"|ahead)(?: |$))*"
)
# behind a step with an amount
_NO_MORE = re.compile(r"(?:and )?(?:no|not(?:hing)?|not a bit) (?:more|further|farther|less)")
_GO_AHEAD = re.compile(
    r"(?:now )?(?:(?:just )?do (?:it|that|so|this)|off you (?:go|pop|trot)|go on|get going"
    r"|chop chop|get on with it|make it so|make it happen|go for it)(?: now| then| please)?"
)
_NOT_THAT = re.compile(r"(?:no ,? ?)?not (?:this|that)(?: (?:one|thing|here|there))?")
_YOU_ARE = re.compile(
    r"(?:you|we) are (?:too|facing|pointing|looking|going|heading|very|quite|nearly|almost|still"
    r"|on my|in (?:my|our|the|his|her) way)\b"
)
# "you are facing right": what is said of sides is no mere reason
_SIDES = frozenset(("left", "right", "forward", "forwards", "back", "backwards", "around"))
_MORE = frozenset(("again", "more", "another", "further", "also", "second", "too"))


def stop_alone(
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
        elif clause.instructs:
            return None  # the stop's time has not come
    return None


def is_more(
    parts: Sequence[Part], pieces: Sequence[tuple[int, int]], read: Sequence[Clause], index: int
) -> bool:
    """Whether a piece that is not understood asks for more than the step before it."""
    if not read[index - 1].instructs or read[index].label != REFUSE:
        return False
    span = parts[slice(*pieces[index])]
    words = [part.text for part in span if part.text[0].isalnum()]
    # "forward, 20 cm", "push the ball, gently" are one step
    return not (_has_amount(span) and _OBJECTS.isdisjoint(words)) and not _MANNERS.fullmatch(
        " ".join(words)
    )


def without_asides(
    read: Sequence[Clause], spans: Sequence[Sequence[Part]], joints: Sequence[str]
) -> list[Clause]:
    """With what is said beside an instruction and changes nothing read as saying nothing.

    A form of address, a plea, "30 cm, no more", "the other ball, not this one". A clause that names
    a thing, or may be an instruction of its own, stays refused.
    """
    kept = list(read)
    if all(clause.label == REFUSE for clause in read):
        return kept
    for index, (clause, span) in enumerate(zip(read, spans)):
        before = read[index - 1] if index else None
        after = read[index + 1] if index + 1 < len(read) else None
        tied = any(
            not _TIES.isdisjoint(joint.split()) for joint in joints[max(1, index) : index + 2]
        )
        behind = before is not None and before.instructs and not tied
        words = " ".join(part.said for part in span)
        if clause.label in ("stop", REFUSE) and _NO_MORE.fullmatch(words):  # "30 cm, no more"
            aside = index > 0 and not tied and _has_amount(spans[index - 1])
        elif clause.label != REFUSE:
            aside = False
        elif _NOT_THAT.fullmatch(words):  # "the other ball, not this one"
            aside = any(each is not None and _is_other(each.thing) for each in (before, after))
        elif clause.problem == REPORTED:  # "you are too close, go back"
            ahead = before is None and after is not None and after.instructs and not tied
            told = _YOU_ARE.match(words) is not None and _SIDES.isdisjoint(words.split())
            aside = (behind or ahead) and told and not _has_mark(span)
        elif behind and (_says_amount_again(spans[index - 1], words) or _GO_AHEAD.fullmatch(words)):
            aside = True
        else:
            aside = clause.idle and not tied and not _names_something(span)
        if aside:
            kept[index] = Clause(FILLER)
    return kept


def _names_something(span: Sequence[Part]) -> bool:
    """Whether there may be a thing in it, one of the room's or another: "I need a knife"."""
    words = {part.text for part in span}
    return _has_mark(span) or not words.isdisjoint(PRONOUNS | _ARTICLES)


def _is_other(thing: NamedThing | None) -> bool:
    return thing is not None and thing.which is not None and thing.which.relation == "other"


def _has_mark(span: Sequence[Part]) -> bool:
    return any(part.text[0] == "[" for part in span)


def _has_amount(span: Sequence[Part]) -> bool:
    return any(isinstance(part.value, Amount) for part in span)


def _says_amount_again(span: Sequence[Part], words: str) -> bool:
    """Whether the words are the span's amount once more, or its number: "just ten"."""
    number = re.sub(r"^(?:just|only|exactly) ", "", words)
    for part in span:
        if isinstance(part.value, Amount) and f"{part.said} ".startswith(f"{number} "):
            return True
    return False


def without_comments(
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
        if clause.instructs:
            instructed = clause.label
        kept.append(clause)
    return kept


def without_repeats(
    read: Sequence[Clause],
    spans: Sequence[Sequence[Part]],
    joints: Sequence[str],
    said_twice: tuple[str, str] | None,
) -> list[Clause]:
    """With a step that is only said twice said once: "straight on, keep going"."""
    kept = list(read)
    last: int | None = None
    joint: list[str] = []
    for index, (clause, span) in enumerate(zip(read, spans)):
        joint.extend(joints[index].split())
        if not clause.instructs:
            continue
        if last is not None:
            before = kept[last]
            more = not _MORE.isdisjoint(part.text for part in span)
            same = (clause.label, clause.steps, clause.place)
            same_as_before = same == (before.label, before.steps, before.place)
            # "loosen your grip and open the hand": an open hand opens no further
            again = set(joint) <= {",", "and"} and clause.label in ("open", "close", "home")
            if same_as_before and (again or set(joint) <= {","}) and not more:
                kept[index] = Clause(FILLER)
            # "swing round and look at it"
            if (before.label, clause.label) == said_twice and joint == ["and"]:
                kept[last] = Clause(FILLER)
        last = index
        joint = []
    return kept
