"""By what meaning words are judged that nobody brought a meaning for."""

from __future__ import annotations

import math

from vla_ros.core.instructions import NotUnderstood
from vla_ros.tasks.intent import Intent, parse
from vla_ros.tasks.phrases import has_usual_amount
from vla_ros.tasks.reading.reader import InstructionReader
from vla_ros.tasks.sequence import IntentSequence, meant_by

AS_READ = "as the reader read it"  # beside a result that cannot show a misreading


def judged_meaning(text: str, reader: InstructionReader) -> tuple[Intent | IntentSequence, bool]:
    """What the words mean for the judge, and whether the reader alone says so.

    A policy that reads with the same reader would be judged by its own reading, misread or not. So
    the grammar's meaning counts, which no policy reads with; but the grammar passes over what it
    has no notion of ("behind the ball", "ten centimetres"), and there the reader's counts.

    Raises:
        NotUnderstood: neither understands them.
    """
    try:
        plain: Intent | None = parse(text)
    except NotUnderstood:
        plain = None
    try:
        read = meant_by(reader.read(text))
    except NotUnderstood:
        if plain is None:
            raise
        return plain, False
    if plain is None or (_says_more(read) and not _same(plain, read)):
        return read, True
    return plain, False


def _says_more(read: Intent | IntentSequence) -> bool:
    """Whether it holds what the grammar passes over."""
    if isinstance(read, IntentSequence):
        return True
    return read.which is not None or bool(read.excluded) or not has_usual_amount(read)


def _same(plain: Intent, read: Intent | IntentSequence) -> bool:
    if isinstance(read, IntentSequence) or read.which is not None or read.excluded:
        return False
    first = (plain.kind, plain.colour, plain.shape)
    second = (read.kind, read.colour, read.shape)
    return first == second and math.isclose(plain.amount, read.amount, rel_tol=1e-3)
