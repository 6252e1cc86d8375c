"""What a speaker takes back: "turn right, no sorry, I mean left"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vla_ros.tasks.reading.amounts import Amount, amount_at
from vla_ros.tasks.reading.parts import ITEM, Part

_SORRY = r"(?:sorry|pardon|oops|whoops|apologies)"
_MARKER = re.compile(
    rf"(?:,? ?(?:no|nope|wait|actually|{_SORRY}|scratch that|or rather|rather|correction"
    rf"|er) ?,? ?)*"
    r"(?:i mean|i meant|make that|make it|or rather|scratch that|correction|no ,? ?wait"
    r"|wait ,? ?no"
    rf"|i meant to say|let us say instead|no ,? ?(?:just|only)|no ,? ?{_SORRY}|{_SORRY} ,? ?no"
    rf"|, {_SORRY} ,)(?: ,)?(?!\S)"
)
_SIDES = frozenset(("left", "right", "clockwise", "anticlockwise", "counterclockwise"))


def repaired(parts: Sequence[Part]) -> list[Part]:
    """With what was taken back replaced by what was said in its place.

    A thing takes the place of the last thing, an amount that of the last amount, a side that of
    the last side; anything else that of all that was said before.
    """
    texts = [part.text for part in parts]
    for place in range(1, len(parts)):
        match = _MARKER.match(" ".join(texts[place:]))
        if match is None:
            again = _replaced_alone(parts, place)
            if again is not None:
                return again
        if match is None or not match[0].strip(" ,"):
            continue
        before = list(parts[:place])
        while before[-1:] and before[-1].text == ",":
            before.pop()
        after = list(parts[place + len(match[0].split()) :])
        while after and after[0].text == ",":
            after = after[1:]
        if not after:  # "no, right I mean"
            return _last_said(before)
        if after[0].text in ("and", "then"):  # the same, and a step behind it
            return [*_last_said(before), *after]
        return _replaced(before, repaired(after))
    return list(parts)


def _replaced_alone(parts: Sequence[Part], place: int) -> list[Part] | None:
    """ "the red ball, no, the blue one": "no" alone takes back, for what follows is no step."""
    text = " ".join(part.text for part in parts[place:])
    match = re.match(r", (?:no|nope|wait|rather)(?: ,)?(?!\S)", text)
    if match is None:
        return None
    before = list(parts[:place])
    after = list(parts[place + len(match[0].split()) :])
    made = _replaced(before, after)
    return made if made is not after else None


def _last_said(before: list[Part]) -> list[Part]:
    texts = [part.text for part in before]
    for place in range(len(before) - 1, 0, -1):
        if texts[place] in ("no", ",", "sorry") and place + 1 < len(before):
            first = before[:place]
            while first and first[-1].text in (",", "no", "sorry", "wait", "er"):
                first = first[:-1]
            return _replaced(first, before[place + 1 :])
    return before


def _replaced(before: list[Part], after: list[Part]) -> list[Part]:
    said = [part for part in after if part.text not in (",", "please", "to", "the", "your")]
    if len(said) == 1:
        new = said[0]
        for place in range(len(before) - 1, -1, -1):
            old = before[place]
            both_amounts = (
                old.text[0] == "[" and new.text[0] == "[" and ITEM not in (old.text, new.text)
            )
            both_sides = old.text in _SIDES and new.text in _SIDES
            if both_amounts or both_sides or old.text == new.text == ITEM:
                if new.text == "[number]":  # "25 degrees, no, make that 35"
                    new = _in_unit(new, old)
                return [*before[:place], new, *before[place + 1 :]]
        if isinstance(new.value, Amount):  # "turn right, no just 20 degrees"
            return [*before, new]
    return after


def _in_unit(new: Part, old: Part) -> Part:
    read = amount_at([*new.said.split(), old.said.split()[-1]], 0)
    if read is None or read[0].unit == "number":
        return new
    return Part(f"[{read[0].unit}]", f"{new.said} {old.said.split()[-1]}", read[0])
