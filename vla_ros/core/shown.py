"""A value as a sentence about it prints it: short, on one line, whatever it is."""

from __future__ import annotations

import reprlib

_REPR = reprlib.Repr()
_REPR.maxlevel = 3
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 100


def shown(value: object, most: int = 80) -> str:
    """The repr of `value`, at most `most` characters.

    It costs the same for a text of 10 MB, and never raises.
    """
    try:
        text = _REPR.repr(value)
    except Exception:  # a whole number of more digits than Python prints
        text = f"<{type(value).__name__}>"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def printable(text: str) -> str:
    """One line that steers no terminal: what does not print is written as its escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
