"""How late the machine wakes a process that only sleeps, beside the measured ones.

A bound on a time is about our code; a machine with other work may add to it what this process saw
in the same moment. It knows nothing of the measured ones, so that what they do to themselves (a
lock, a busy loop in one process) is no excuse. Standard library only: it starts in 20 ms and ends
with the process that started it.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

PERIOD_S = 0.005  # between two wakings
# On a calm machine it oversleeps 1 ms. Where it is this much, so may be each of the processes that
# answer one another.
DISTURBED_S = 0.05
PATIENCE_S = 2.0  # for the process to be woken itself, before a question is answered without it


class Lateness:
    """`with Lateness(folder) as machine: ...; machine.late(since)`; times are steady seconds."""

    def __init__(self, folder: Path) -> None:
        path = folder / "lateness"
        path.touch()
        self._file = path.open(encoding="ascii")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(path), str(os.getpid())]
        )
        five_minutes = round(300.0 / PERIOD_S)
        self._wakings: deque[tuple[float, float]] = deque(maxlen=five_minutes)  # due, woken

    def __enter__(self) -> Lateness:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        self._file.close()

    def late(self, since: float, until: float = math.inf) -> float:
        """The longest (s) that a sleeper overslept between the two: allow for it in one answer."""
        return max(self._overslept(since, until), default=0.0)

    def lost(self, since: float) -> float:
        """What a sleeper overslept since then in all (s): allow for it in many steps."""
        return sum(self._overslept(since, math.inf))

    def _overslept(self, since: float, until: float) -> list[float]:
        """Each time by how much, s; of the last five minutes at most."""
        until = min(until, time.monotonic())
        end = time.monotonic() + PATIENCE_S
        # it writes when it wakes: one that oversleeps now has not told yet
        while not self._wakings or self._wakings[-1][1] < until:
            self._read()
            if time.monotonic() > end or self._process.poll() is not None:
                break
            time.sleep(PERIOD_S)
        return [woken - due for due, woken in self._wakings if due <= until and woken >= since]

    def _read(self) -> None:
        while line := self._file.readline():
            if not line.endswith("\n"):  # half a line: the rest comes with the next look
                self._file.seek(self._file.tell() - len(line))
                return
            due, woken = map(float, line.split())
            self._wakings.append((due, woken))


def main() -> None:
    parent = int(sys.argv[2])
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
    due = time.monotonic() + PERIOD_S
    while os.getppid() == parent:
        time.sleep(max(0.0, due - time.monotonic()))
        woken = time.monotonic()
        os.write(file, f"{due:.4f} {woken:.4f}\n".encode())
        due = max(due, woken) + PERIOD_S


if __name__ == "__main__":
    main()
