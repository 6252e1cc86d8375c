"""The command line: one file a verb, imported only when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def wide_console() -> Console:
    """As wide as the terminal; what goes into a file or a pipe is not cut to 80 columns."""
    from rich.console import Console

    return Console(width=None if Console().is_terminal else 120)
