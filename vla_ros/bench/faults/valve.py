"""What the stand-ins that can fail share: the moment of a fault on file, and a publisher that fails
when told to."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = "VLA_FAULTS_FOLDER"
MOTION = "motion"  # the log of what the robot really did, in that folder


def note(what: str) -> None:
    """The moment (steady s) at which `what` begins to fail, into the file of that name; whole or
    not at all."""
    path = Path(os.environ[FOLDER]) / what
    path.with_suffix(".part").write_text(repr(time.monotonic()), encoding="ascii")
    path.with_suffix(".part").replace(path)


class MotionLog:
    """A line for each control step ("s") and each command that arrived ("c"): steady time (s),
    speeds / positions."""

    def __init__(self) -> None:
        self._file = os.open(
            Path(os.environ[FOLDER]) / MOTION, os.O_WRONLY | os.O_CREAT | os.O_APPEND
        )

    def write(self, kind: str, speeds: Iterable[float], positions: Iterable[float] = ()) -> None:
        before, after = (
            " ".join(f"{number:.4f}" for number in numbers) for numbers in (speeds, positions)
        )
        os.write(self._file, f"{kind} {time.monotonic():.4f} {before} / {after}\n".encode())


class Valve:
    """A publisher that can fail in three ways."""

    def __init__(self, publisher: Any) -> None:
        self._publisher = publisher
        self._kept: Any = None
        self.mode = "well"

    def publish(self, message: Any) -> None:
        if self.mode == "silent":
            return
        if self.mode == "well":
            self._kept = None
        elif self._kept is None:
            self._kept = copy.deepcopy(message)  # the camera uses one message again and again
        elif self.mode == "stuck":
            self._kept.header.stamp = message.header.stamp
        self._publisher.publish(self._kept or message)
