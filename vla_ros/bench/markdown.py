"""Tables in Markdown, for the pages that the benches write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = False) -> str:
    """Its lines, without a newline at the end; a cell for each column in every row.

    Args:
        header: the columns' titles.
        rows: from top to bottom.
        numbers: all columns but the first stand to the right.
    """
    rule = ["---"] * len(header)
    if numbers:
        rule[1:] = ["---:"] * (len(header) - 1)
    lines = [f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]
    return "\n".join(lines)
