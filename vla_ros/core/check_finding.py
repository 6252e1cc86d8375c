"""What a check found: one line of its table."""

from __future__ import annotations

from dataclasses import dataclass

FITS = "✓"
DOUBTFUL = "!"
WRONG = "✗"


@dataclass(frozen=True)
class CheckFinding:
    """One line of the table.

    Attributes:
        mark: FITS, DOUBTFUL or WRONG.
        subject: what it is about.
        text: what is so, with the values.
        remedy: what to do; empty where it fits.
    """

    mark: str
    subject: str
    text: str
    remedy: str = ""
