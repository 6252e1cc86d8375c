"""How far and how much: "30 cm", "half a metre", "a quarter turn", "a bit"."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

# What a "bit" is: m, rad.
SMALL_DISTANCE_M = 0.2
SMALL_ANGLE_RAD = math.radians(30)

UNITS: dict[str, dict[str, float]] = {
    "distance": {
        "m": 1.0,
        "metre": 1.0,
        "meter": 1.0,
        "cm": 0.01,
        "centimetre": 0.01,
        "centimeter": 0.01,
        "mm": 0.001,
        "millimetre": 0.001,
        "millimeter": 0.001,
        "km": 1000.0,
        "kilometre": 1000.0,
        "kilometer": 1000.0,
        "foot": 0.3048,
        "feet": 0.3048,
        "ft": 0.3048,
        "inch": 0.0254,
        "inches": 0.0254,
        "yard": 0.9144,
        "mile": 1609.0,
    },
    "angle": {
        "degree": math.radians(1),
        "deg": math.radians(1),
        "\u00b0": math.radians(1),
        "radian": 1.0,
        "rad": 1.0,
        "turn": 2 * math.pi,
        "rotation": 2 * math.pi,
        "revolution": 2 * math.pi,
        "circle": 2 * math.pi,
    },
}
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
NUMBERS = {word: float(value) for value, word in enumerate(_ONES)}
NUMBERS.update({word: 20.0 + 10.0 * index for index, word in enumerate(_TENS)})
NUMBERS["fourty"] = 40.0
NUMBERS["niner"] = 9.0  # on the radio
_PARTS = {"half": 0.5, "quarter": 0.25, "quarters": 0.25, "third": 1 / 3, "thirds": 1 / 3}
_PARTS |= {"eighth": 0.125, "tenth": 0.1, "tenths": 0.1}
_LITTLE = re.compile(
    r"(?:just |only )?(?:a (?:(?:tiny|wee|little|small|teeny|teensy|very) )*"
    r"(?:bit|little|tad|touch|smidge\w*|fraction|trifle|hair|whisker|notch)"
    r"|(?:ever so |very |just )?slightly)\b"
)
# "turn on the spot a full circle": these say 1, where a turn follows
_WHOLE = ("full", "whole", "complete", "entire")


@dataclass(frozen=True)
class Amount:
    """`unit` is distance (m), angle (rad), little (of either) or number (of what, nobody says)."""

    value: float
    unit: str


def amount_at(words: Sequence[str], start: int) -> tuple[Amount, int] | None:
    """The amount that begins there and where it ends, or None."""
    little = _little(words, start)
    if little is not None:
        return little
    part_of_pi = _of_pi(words, start)
    if part_of_pi is not None:
        return part_of_pi
    said = _digits(words, start) or _number(words, start)
    if said is None:
        return None
    value, end, article = said
    after = _unit(words, end)
    if after is None:
        if words[end : end + 2] in (["right", "angle"], ["right", "angles"]):
            return Amount(value * math.pi / 2, "angle"), end + 2
        # "do a one eighty": a number of degrees that goes by its name
        if value in (180.0, 270.0, 360.0):
            return Amount(math.radians(value), "angle"), end
        bare = article or words[start:end] == ["one"]  # "that one", "one moment"
        return None if bare else (Amount(value, "number"), end)
    unit, size, end = after
    if unit == "angle" and words[start] in ("a", "an", "another") and end == start + 2:
        return None  # "take a turn to the left" is no amount
    # "a metre and a half"
    if words[end : end + 3] == ["and", "a", "half"]:
        return Amount((value + 0.5) * size, unit), end + 3
    if words[end : end + 3] == ["and", "a", "quarter"]:
        return Amount((value + 0.25) * size, unit), end + 3
    return Amount(value * size, unit), end


def _little(words: Sequence[str], start: int) -> tuple[Amount, int] | None:
    match = _LITTLE.match(" ".join(words[start : start + 6]))
    if match is None:
        return None
    return Amount(0.0, "little"), start + len(match[0].split())


def _of_pi(words: Sequence[str], start: int) -> tuple[Amount, int] | None:
    """ "pi", "half pi", "pi over two radians", "pi/2": an angle."""
    times = 1.0
    place = start
    if words[place] != "pi":
        said = _number(words, place)
        if said is None or words[said[1] : said[1] + 1] != ["pi"]:
            return None
        times, place, _ = said
    place += 1
    if words[place : place + 1] in (["over"], ["by"]):
        place += 1
    elif words[place : place + 2] == ["divided", "by"]:
        place += 2
    below = _number(words, place) if place < len(words) else None
    value = math.pi * times
    if below is not None and below[0]:
        value /= below[0]
        place = below[1]
    if words[place : place + 1] and words[place].removesuffix("s") in ("radian", "rad"):
        place += 1
    return Amount(value, "angle"), place


def _digits(words: Sequence[str], start: int) -> tuple[float, int, bool] | None:
    """ "three five degrees", "zero nine zero degrees": before a unit alone."""
    place = start
    digits = ""
    while place < len(words) and 0.0 <= NUMBERS.get(words[place], -1.0) < 10.0:
        digits += str(int(NUMBERS[words[place]]))
        place += 1
    if len(digits) < 2 or _unit(words, place) is None:
        return None
    return float(digits), place, False


def _number(words: Sequence[str], start: int) -> tuple[float, int, bool] | None:
    """A number, where it ends, and whether it is one only before a unit: "a metre", "half"."""
    word = words[start]
    if word[0].isdigit():
        try:
            value = float(word)
        except ValueError:  # a digit of another script
            return None
        end = start + 1
        if words[end : end + 3] == ["and", "a", "half"]:
            return value + 0.5, end + 3, False
        return value, end, False
    if word in ("a", "an", "another", "the", "one") and start + 1 < len(words):
        following = words[start + 1]
        if following in _PARTS:  # a quarter [of] [a] turn
            return _PARTS[following], _skip_of(words, start + 2), True
        if following in _WHOLE:
            return 1.0, start + 2, True
        if following == "hundred":
            return _spoken(words, start)
        if following == "couple":
            return 2.0, _skip_of(words, start + 2, article=False), False
        if following in NUMBERS:  # "a one eighty", "another ten degrees"
            spoken = _spoken(words, start + 1)
            if spoken is not None:
                return spoken
        if following[0].isdigit() and word != "one":
            return _number(words, start + 1)
        if word in ("a", "an", "another"):
            return 1.0, start + 1, True
    if word in _PARTS:
        return _PARTS[word], _skip_of(words, start + 1), True
    if word in _WHOLE:
        return 1.0, start + 1, True
    return _spoken(words, start)


def _spoken(words: Sequence[str], start: int) -> tuple[float, int, bool] | None:
    """Number words: "twenty five", "one hundred and eighty", "one eighty", "three quarters"."""
    total = 0.0
    last = 0.0
    place = start
    while place < len(words):
        word = words[place]
        if word == "hundred":
            total = max(1.0, total) * 100.0
            last = 100.0
        elif word in NUMBERS:
            value = NUMBERS[word]
            if place > start and last != 100.0 and not (last >= 20.0 and 0.0 < value < 10.0):
                if value < 10.0 or total >= 10.0:
                    break  # "two three" is no number
                total *= 100.0  # "three sixty", "one twenty"
            total += value
            last = value
        elif word == "and" and last == 100.0 and words[place + 1 : place + 2]:
            if words[place + 1] not in NUMBERS:
                break
        elif word == "point" and place > start and words[place + 1 : place + 2]:
            return _decimals(words, place, total)
        elif word == "a" and words[place + 1 : place + 2] == ["hundred"]:
            total = 1.0
        else:
            break
        place += 1
    if place == start:
        return None
    if place < len(words) and words[place] in _PARTS and words[place] not in ("half", "quarter"):
        return total * _PARTS[words[place]], _skip_of(words, place + 1), False
    if words[place : place + 3] == ["and", "a", "half"]:
        return total + 0.5, place + 3, False
    return total, place, False


def _decimals(words: Sequence[str], point: int, whole: float) -> tuple[float, int, bool] | None:
    digits = ""
    place = point + 1
    while place < len(words) and NUMBERS.get(words[place], 10.0) < 10.0:
        digits += str(int(NUMBERS[words[place]]))
        place += 1
    if not digits:
        return None
    return float(f"{int(whole)}.{digits}"), place, False


def _skip_of(words: Sequence[str], place: int, article: bool = True) -> int:
    """Past the "of a" of "a quarter of a metre", "half a metre"."""
    if words[place : place + 1] == ["of"]:
        place += 1
    if article and words[place : place + 1] in (["a"], ["an"]):
        place += 1
    return place


def _unit(words: Sequence[str], place: int) -> tuple[str, float, int] | None:
    if place >= len(words):
        return None
    word = words[place]
    for unit, sizes in UNITS.items():
        for name in (word, word.removesuffix("s")):
            if name in sizes:
                return unit, sizes[name], place + 1
    return None
