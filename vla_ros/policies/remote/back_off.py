"""When a server that is gone is asked again."""

from __future__ import annotations

import time

# With every image would be thirty times a second: first after this long, then twice as long each
# time.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0


class BackOff:
    """Pauses between tries, each twice as long as the one before."""

    def __init__(self) -> None:
        self._pause_s = 0.0
        self._not_before = 0.0  # monotonic

    def check(self, server: str) -> None:
        """Raises ConnectionError while it is too early."""
        wait = self._not_before - time.monotonic()
        if wait > 0.0:
            raise ConnectionError(f"{server} is gone; it is tried again in {wait:.1f} s")

    def failed(self) -> None:
        """A try was in vain."""
        self._pause_s = min(max(FIRST_PAUSE_S, 2.0 * self._pause_s), LONGEST_PAUSE_S)
        self._not_before = time.monotonic() + self._pause_s

    def succeeded(self) -> None:
        """The next loss begins with the first pause again."""
        self._pause_s = 0.0
