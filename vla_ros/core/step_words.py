"""How a policy says which step of an instruction it is at, and that all is done.

Policies say it, and what shows it to a person (the console) reads it.
"""

from __future__ import annotations

import re

_STEP = re.compile(r"step \d+ of \d+: ")
_DONE = re.compile(r"all \d+ steps are done|done: ")
NOT_UNDERSTOOD = "not understood: "  # how the policy's refusal of an instruction begins


def step_begins(number: int, count: int, words: str) -> str:
    """Of several steps; `number` from 1. Of a single one its words alone."""
    return words if count == 1 else f"step {number} of {count}: {words}"


def all_done(count: int, words: str) -> str:
    """After the last of `count` steps; `words` of the last one."""
    return f"done: {words}" if count == 1 else f"all {count} steps are done"


def is_step(line: str) -> bool:
    """Whether it says that one of several steps begins."""
    return _STEP.match(line) is not None


def is_done(line: str) -> bool:
    """Whether it says that all of an instruction is done."""
    return _DONE.match(line) is not None
