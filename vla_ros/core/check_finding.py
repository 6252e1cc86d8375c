"""What a check found: one line of its table."""

from __future__ import annotations

from dataclasses import dataclass

FITS = "✓"
DOUBTFUL = "!"
WRONG = "✗"
UNKNOWN = "?"


@dataclass(frozen=True)
class CheckFinding:
    """One line of the table.

    Attributes:
        mark: FITS, DOUBTFUL, WRONG, or UNKNOWN: it could not be judged.
        subject: what it is about.
        text: what is so, with the values.
        remedy: what to do, or what it needs to be judged; empty where it fits.
    """

    mark: str
    subject: str
    text: str
    remedy: str = ""
