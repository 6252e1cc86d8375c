"""Where a sentence may be cut into clauses, and in which order they are meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vla_ros.tasks.reading.parts import ITEM, Part

# Between two steps, and between nothing else.
_SURE = re.compile(
    r"(?:(?:and|but) )?(?:then|after that|after this|afterwards|afterward|thereafter|subsequently"
    r"|followed by|finally|lastly|last of all|later|when (?:that is|you are|this is) done"
    r"|once (?:that is|you are|this is) done|when done|once done|when finished|once there"
    r"|(?:and )?when you (?:are|get|arrive) there|once you (?:are|get|arrive) there"
    r"|(?:when|once) you (?:have )?(?:arrived|arrive|finished|done that|done so|done it)"
    r"|having done (?:that|so)|with that done|that done)(?!\S)"
)
_SURE_SIGN = frozenset((";", ".", "!", "?"))
_PERHAPS = frozenset((",", "and", "but", "plus", "&", "+", "next", "/"))
# At the start of a clause they only count.
_COUNTS = re.compile(
    r"(?:first of all|first off|firstly|first|secondly|second|thirdly|third|fourth|next"
    r"|to (?:begin|start) with|begin by|start by|start off by|step \[number\]|step (?:one|two"
    r"|three|four)"
    r"|\[number\] [.)]|\[number\] ,|now|also|and|but|then|so|finally|lastly|afterwards"
    r"|after that|,)(?!\S)"
)
_SETS_OUT = re.compile(
    r"(?:(?:please|now|could|would|can|will|you|robot|then|just|to|i|want|need|ok|okay|hey|kindly"
    r"|let us|mind) )*(?:go|going|move|drive|come|run|roll|head|travel|walk|turn|pop|nip|hop)"
    r"(?: over| across| up| out| along)?"
)
# "go ahead and turn left" has one step
_IDLE = re.compile(
    r"(?:(?:please|now|just|robot|ok|okay|you|can|could|then) )*"
    r"(?:go ahead and|go on and|try and|be sure to|make sure (?:to|you|that you)"
    r"|be (?:a dear|an angel|a love|a darling|a sport|so kind) (?:and|as to|to)"
    r"|(?:so )?(?:what|all) i (?:want|need|ask|would like)(?: you to do)? is"
    r" (?:for you to|that you|to)"
    r"|(?:could|can|may|might) i (?:trouble|bother|ask|get|persuade) you to"
    r"|i would be (?:[a-z]+ )?(?:grateful|glad|happy|obliged|delighted) if you (?:would|could|can)"
    r"|be good and|come on and|be kind and|do me a (?:favour|favor|solid) and|please do)(?!\S)"
)

# Where a reason begins without a comma: "turn left so I can get by".
_REASON = re.compile(
    r"(?:so (?:that )?(?:i|we|he|she|they) |because |(?:just )?(?:like|as) (?:my|our|the|your|i) "
    r"(?:\w+ )?(?:said|says|told|showed|asked|wanted)(?!\S)|like (?:a|an) \w+"
    r"|(?:pretty please|with sugar on|with a cherry on|with knobs on)(?!\S)"
    r"|now (?:it is|that is) (?:my|his|her|our|their) turn)"
)


@dataclass(frozen=True)
class Cut:
    """A place between two clauses: what stands there is parts[start:end]."""

    start: int
    end: int
    sure: bool


def cuts_of(parts: Sequence[Part]) -> list[Cut]:
    """Where a clause may end and another begin."""
    cuts: list[Cut] = []
    place = 0
    while place < len(parts):
        text = _text(parts[place : place + 6])
        match = _SURE.match(text)
        if match is not None:
            end = place + len(match[0].split())
            _add(cuts, Cut(place, end, True))
            place = end
        elif parts[place].text in _SURE_SIGN:
            _add(cuts, Cut(place, place + 1, True))
            place += 1
        elif parts[place].text in _PERHAPS and not _sets_out(parts, cuts, place):
            _add(cuts, Cut(place, place + 1, False))
            place += 1
        else:
            if place and _REASON.match(text):
                _add(cuts, Cut(place, place, False))
            place += 1
    return cuts


def _sets_out(parts: Sequence[Part], cuts: Sequence[Cut], place: int) -> bool:
    """Whether what stands there only looks like the end: "go and grab it" is one step."""
    if parts[place].text == "next":  # "drive up next to it"
        return _text(parts[place + 1 : place + 2]) == "to"
    before = _text(parts[cuts[-1].end if cuts else 0 : place])
    if parts[place].text != "and":
        return False
    return _SETS_OUT.fullmatch(before) is not None or _IDLE.fullmatch(f"{before} and") is not None


def _add(cuts: list[Cut], cut: Cut) -> None:
    """Two that touch are one."""
    if cuts and cuts[-1].end == cut.start:
        last = cuts.pop()
        cut = Cut(last.start, cut.end, cut.sure or last.sure)
    cuts.append(cut)


def without_counting(parts: Sequence[Part]) -> list[Part]:
    """The clause without "first", "step two", "go ahead and" before it and signs around it."""
    kept = list(parts)
    while kept:
        text = _text(kept[:6])
        match = _IDLE.match(text) or _COUNTS.match(text)
        if match is not None:
            kept = kept[len(match[0].split()) :]
        elif not kept[0].text[0].isalnum() and not kept[0].text.startswith("["):
            kept = kept[1:]
        else:
            break
    while kept and not kept[-1].text[-1].isalnum() and kept[-1].text[-1] not in "]?":
        kept.pop()
    return kept


def says_again(parts: Sequence[Part], one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether `other` only says again, or in full, what `one` said: "right, turn right!"."""
    between = parts[one[1] : other[0]]
    if any(part.text[0].isalnum() for part in between):
        return False  # "left and left again" is two turns
    # as they are said: two things have the same mark
    first = [part.said for part in without_counting(parts[slice(*one)])]
    second = [part.said for part in without_counting(parts[slice(*other)])]
    return first == second or (first in (["left"], ["right"]) and first[0] in second)


def is_interjection(
    parts: Sequence[Part], before: Sequence[tuple[int, int]], first: int, last: int
) -> bool:
    """Whether the text begins with a "right" that is no side: "right, go to the ball"."""
    word = [part.text for part in without_counting(parts[slice(*before[0])])]
    signs = all(not part.text[0].isalnum() for part in parts[before[-1][1] : first])
    following = {part.text for part in parts[first:last]}
    return len(before) == 1 and word == ["right"] and signs and not following & {"left", "right"}


def in_order(parts: Sequence[Part]) -> list[Part]:
    """With "before" and "after" resolved: what is done first stands first."""
    texts = [part.text for part in parts]
    then = Part("then", "then")
    if texts and texts[0] in ("before", "after", "once", "when") and "," in texts:
        comma = texts.index(",")
        early = _plain(parts[1:comma])
        late = list(parts[comma + 1 :])
        if not early or not late or not _done(parts[:comma]):
            return list(parts)
        if texts[0] == "before":
            early, late = _named_first(early, late)
        if texts[0] == "before":
            return [*late, then, *early]
        return [*early, then, *late]
    for place in range(1, len(parts) - 1):
        word = texts[place]
        if word in ("before", "after", "once") and _done(parts[place:]):
            first = list(parts[:place])
            second = _plain(parts[place + 1 :])
            if word == "before":
                return [*first, then, *second]
            return [*second, then, *first]
    return list(parts)


def _named_first(said_first: list[Part], said_last: list[Part]) -> tuple[list[Part], list[Part]]:
    """ "before you push the cube, turn to it": who turns first must know to what."""
    things = [place for place, part in enumerate(said_first) if part.text == ITEM]
    pointing = [place for place, part in enumerate(said_last) if part.text == "it"]
    if len(things) == 1 and len(pointing) == 1 and all(p.text != ITEM for p in said_last):
        thing = said_first[things[0]]
        said_first[things[0]], said_last[pointing[0]] = said_last[pointing[0]], thing
    return said_first, said_last


def _done(parts: Sequence[Part]) -> bool:
    """Whether "after ..." is about what the robot does itself."""
    text = _text(parts)
    itself = r"(?:you|you have|having|you are|you had|you will have) "
    match = re.match(rf"(?:before|after|once|when) (?:{itself})?(\S+)", text)
    if match is None or match[1] in ("that", "this", "you", "there", "done", "a", "the"):
        return False
    has_subject = re.match(rf"(?:before|after|once|when) {itself}", text) is not None
    if parts[0].text in ("once", "when"):
        return (
            re.match(r"(?:once|when) you (?:have|are) (?!there|done|finished|ready)", text)
            is not None
        )
    return has_subject or match[1].endswith("ing")


def _plain(parts: Sequence[Part]) -> list[Part]:
    """ "you have turned around" and "turning around" as "turn around"."""
    kept = list(parts)
    while kept and kept[0].text in ("you", "have", "having", "are", "had", "will", "then"):
        kept = kept[1:]
    if not kept:
        return []
    base = base_form(kept[0].text)
    return [Part(base, base), *kept[1:]]


_IRREGULAR = {
    "gone": "go",
    "going": "go",
    "been": "go",
    "taken": "take",
    "taking": "take",
    "got": "get",
    "gotten": "get",
    "getting": "get",
    "driven": "drive",
    "driving": "drive",
    "held": "hold",
    "caught": "catch",
    "seen": "see",
    "shut": "shut",
    "let": "let",
    "put": "put",
    "spun": "spin",
    "swung": "swing",
    "come": "come",
    "run": "run",
    "brought": "bring",
    "found": "find",
    "stood": "stand",
    "reversing": "reverse",
}


def base_form(word: str) -> str:
    """ "turned", "grabbing" -> "turn", "grab"; what is no such form stays."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem == word or len(stem) < 3:
            continue
        if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "lsz":
            return stem[:-1]  # grabbed
        if (
            stem[-1] in "cvz"
            or stem.endswith(("rs", "at", "os", "leas", "dg", "as"))
            or stem
            in (
                "rotat",
                "mov",
                "fac",
                "approach_",
                "seiz",
                "clos",
                "revers",
                "releas",
                "nudg",
                "pok",
            )
        ):
            return f"{stem}e"
        return stem
    return word


def _text(parts: Sequence[Part]) -> str:
    return " ".join(part.text for part in parts)
