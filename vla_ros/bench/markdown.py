"""Tables in Markdown, for the pages that the benches write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]], texts: int | None = None) -> str:
    """Its lines, without a newline at the end; a cell for each column in every row.

    Args:
        header: the columns' titles.
        rows: from top to bottom.
        texts: how many columns, from the left, are no numbers, which stand to the right; None: all.
    """
    left = len(header) if texts is None else texts
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    lines = [f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]
    return "\n".join(lines)
