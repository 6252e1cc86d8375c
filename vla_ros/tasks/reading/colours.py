"""Names of colours, and which of the room's six each means."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

from vla_ros.tasks.objects import COLOURS

# These stand for a colour without a noun: "the red". "the lemon" is a fruit.
NOUNS = frozenset((*COLOURS, "crimson", "scarlet", "violet"))
# Where people mean another of the six than the survey's value would say, or a name that the
# survey has not.
BY_HAND = {
    "ruby": "red",
    "maroon": "red",
    "burgundy": "red",
    "wine": "red",
    "cherry": "red",
    "carmine": "red",
    "vermilion": "red",
    "amber": "orange",
    "tangerine": "orange",
    "golden": "yellow",
    "gold": "yellow",
    "lime": "green",
    "olive": "green",
    "mint": "green",
    "jade": "green",
    "verdant": "green",
    "navy": "blue",
    "azure": "blue",
    "indigo": "purple",
    "plum": "purple",
    "mauve": "purple",
    "amethyst": "purple",
    "lavender": "purple",
    "lilac": "purple",
}
# What is none of the six, whatever its hue.
OTHERS = frozenset(
    [
        "pink",
        "brown",
        "grey",
        "gray",
        "white",
        "black",
        "beige",
        "tan",
        "silver",
        "cream",
        "ivory",
        "teal",
        "turquoise",
        "cyan",
        "aqua",
        "magenta",
        "fuchsia",
        "multicoloured",
        "multicolored",
        "transparent",
        "colourless",
        "colorless",
    ]
)
_MODIFIERS = frozenset(
    [
        "dark",
        "light",
        "bright",
        "pale",
        "deep",
        "vivid",
        "dull",
        "soft",
        "rich",
        "neon",
        "pastel",
        "faded",
        "hot",
        "pure",
        "very",
        "really",
        "solid",
        "strong",
        "plain",
        "all",
    ]
)
_SUFFIXES = frozenset(["coloured", "colored", "colour", "color", "hued", "tinted", "painted"])
# Hue in degrees from, to; least saturation; least value. Between them people do not agree.
_HUES: dict[str, tuple[tuple[float, float], float, float]] = {
    "red": ((328.0, 372.0), 0.60, 0.25),
    "orange": ((14.0, 44.0), 0.50, 0.70),
    "yellow": ((45.0, 66.0), 0.44, 0.70),
    "green": ((80.0, 166.0), 0.34, 0.22),
    "blue": ((188.0, 252.0), 0.40, 0.20),
    "purple": ((258.0, 322.0), 0.30, 0.22),
}


def by_hue(red: float, green: float, blue: float) -> str | None:
    """The one of the six that a colour (0 to 1 each) belongs to, or None: brown, pink, teal."""
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    degrees = 360.0 * hue
    if 300.0 <= degrees <= 342.0 and saturation * value > 0.80:
        return None  # magenta, cerise, hot pink
    for colour, ((first, last), saturated, light) in _HUES.items():
        inside = first <= degrees <= last or first <= degrees + 360.0 <= last
        if inside and saturation >= saturated and value >= light:
            return colour
    return None


class ColourNames:
    """Which of the six a name means; "" for names of other colours."""

    def __init__(self, survey: Mapping[str, str]) -> None:
        """`survey` maps names, of several words too, to one of the six or to ""."""
        self._names = {**survey, **BY_HAND, **dict.fromkeys(OTHERS, "")}
        for colour in COLOURS:
            self._names[colour] = colour
        self._longest = max(len(name.split()) for name in self._names)

    def __contains__(self, word: str) -> bool:
        return word in self._names or _stem(word) in COLOURS

    def at(self, words: Sequence[str], start: int) -> tuple[str, int] | None:
        """The colour that is named there ("" where it is none of the six), and where it ends."""
        for length in range(min(self._longest, len(words) - start), 0, -1):
            name = " ".join(words[start : start + length])
            if name in self._names and name not in _MODIFIERS:
                return self._names[name], _past_suffix(words, start + length)
        word = words[start]
        if _stem(word) in COLOURS:
            return _stem(word), _past_suffix(words, start + 1)
        if word in _MODIFIERS and start + 1 < len(words):
            return self.at(words, start + 1)
        return None


def _past_suffix(words: Sequence[str], place: int) -> int:
    return place + 1 if place < len(words) and words[place] in _SUFFIXES else place


def _stem(word: str) -> str:
    """The colour of "reddish", "greenish", "bluish", "reds"."""
    for ending in ("dish", "ish", "y", "s"):
        stem = word.removesuffix(ending)
        for colour in COLOURS:
            if stem != word and colour in (stem, f"{stem}e"):
                return colour
    return word
