"""Single keys of a terminal, without Enter; where there is no terminal, none ever come."""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import suppress
from typing import Any


class TerminalKeys:
    """Within `with`, keys come one by one and are not shown; Ctrl-C stays a signal."""

    def __init__(self) -> None:
        self._before: list[Any] | None = None

    def __enter__(self) -> TerminalKeys:
        with suppress(ImportError, OSError, ValueError):  # no POSIX terminal, or no stdin at all
            import termios
            import tty

            if sys.stdin is not None and sys.stdin.isatty():
                before = termios.tcgetattr(sys.stdin)
                tty.setcbreak(sys.stdin)
                self._before = before
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    @property
    def there(self) -> bool:
        """Whether there is a terminal."""
        return self._before is not None

    def wait(self, seconds: float) -> str:
        """The key that was pressed within so long; empty: none."""
        if self._before is None:
            time.sleep(seconds)
            return ""
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        if not ready:
            return ""
        # not through sys.stdin, whose buffer would keep the second of two keys from `select`
        key = os.read(sys.stdin.fileno(), 1).decode(errors="ignore")
        if not key:  # the terminal is gone, and would be ready for ever
            self._before = None
        return key

    def line(self, prompt: str) -> str:
        """A whole line, as one types it; the key loop stands still meanwhile."""
        import termios
        import tty

        self._restore()
        try:
            return input(prompt)
        except EOFError:
            return ""
        finally:
            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)

    def _restore(self) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
