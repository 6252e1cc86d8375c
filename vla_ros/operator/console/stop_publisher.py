"""The stop: published by a thread that does nothing else, whatever the page or the server do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PERIOD_S = 0.1  # as a button of hardware repeats its state (doc/howto/stop_button.md)
HELD_FOR_S = 0.5  # after the last request: a page that holds the button asks five times a second


class StopPublisher:
    """Publishes a press at once, and repeats it for as long as it is held.

    A release is published only where this console pressed: the gate has one flag for all buttons,
    and another's press is not ours to take back unless somebody says so.

    Args:
        publish: sends whether the stop is pressed; called in this thread alone.
    """

    def __init__(self, publish: Callable[[bool], None]) -> None:
        self._publish = publish
        self._change = threading.Condition()
        self._asked = 0  # presses since the last was published
        self._presses = 0  # so far
        self._handled = 0  # the newest press that was sent, or could not be
        self._held_until = 0.0  # steady s
        self._release = False
        self._ended = False
        self.pressed = False  # by this console, and not let go
        self.slowest_s = 0.0  # from a request until it was published
        self._requested = 0.0  # steady s
        self.problem = ""  # why the last one was not sent
        self._thread = threading.Thread(target=self._run, name="stop", daemon=True)
        self._thread.start()

    def press(self) -> int:
        """Ask for the stop; returns at once, with the press's number."""
        with self._change:
            if self._ended:  # nobody sends it
                return self._presses + 1
            now = time.monotonic()
            if not self._asked:
                self._requested = now
            self._asked += 1
            self._presses += 1
            self._held_until = now + HELD_FOR_S
            self._release = False
            self.pressed = True
            self._change.notify()
            return self._presses

    def outcome(self, number: int) -> str | None:
        """Why a press was not published; empty: it was; None: that is not known yet."""
        if self._ended and number > self._presses:
            return "the console is ending"
        return self.problem if self._handled >= number else None

    def release(self) -> None:
        """Let go of it; the gate keeps what it latched."""
        with self._change:
            self._release = True
            self._held_until = 0.0
            self._asked = 0
            self.pressed = False
            self._change.notify()

    def end(self) -> None:
        with self._change:
            self._ended = True
            self._change.notify()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while True:
            with self._change:
                held = time.monotonic() < self._held_until
                if not (self._asked or self._release or self._ended):
                    self._change.wait(PERIOD_S if held else None)
                if self._ended:
                    return
                asked = self._asked
                presses = self._presses
                requested = self._requested
                release = self._release
                held = time.monotonic() < self._held_until
                self._asked = 0
                self._release = False
            if release:
                self._send(False)
            elif asked or held:
                self._send(True)
                if asked:
                    self._handled = presses
                    self.slowest_s = max(self.slowest_s, time.monotonic() - requested)

    def _send(self, pressed: bool) -> None:
        """Nothing that goes wrong here ends the thread: the next press is sent again."""
        try:
            self._publish(pressed)
            self.problem = ""
        except Exception as error:
            self.problem = str(error) or type(error).__name__
