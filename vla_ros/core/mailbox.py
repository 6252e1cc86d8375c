"""A mailbox with one place: the newest letter wins."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """`put` never waits; `take` waits for a letter, or gives None once the box is closed."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._letter: T | None = None
        self.closed = False

    def put(self, letter: T) -> bool:
        """Leaves a letter; returns whether an unread one was replaced."""
        with self._condition:
            replaced = self._letter is not None
            self._letter = letter
            self._condition.notify()
            return replaced

    def take(self) -> T | None:
        """The newest letter, as soon as there is one; None: the box is closed."""
        with self._condition:
            while self._letter is None and not self.closed:
                self._condition.wait()
            letter = self._letter
            self._letter = None
            return None if self.closed else letter

    def close(self) -> None:
        """Ends the waiting of whoever takes, for good."""
        with self._condition:
            self.closed = True
            self._condition.notify_all()
