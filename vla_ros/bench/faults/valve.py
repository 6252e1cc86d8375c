"""What the stand-ins share: the moment of a fault on file, and a publisher that can fail."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = "VLA_FAULTS_FOLDER"  # the variable that names it
MOTION = "motion"  # the log of what the robot really did, in that folder


def note(stand_in: str) -> None:
    """The moment (steady s) at which it begins to fail, into the file of that name."""
    path = Path(os.environ[FOLDER]) / stand_in
    part = path.with_suffix(".part")  # whole or not at all: whoever waits for it reads at once
    part.write_text(repr(time.monotonic()), encoding="ascii")
    part.replace(path)


class MotionLog:
    """What the robot really did and what reached it; stack.Suite reads it.

    A line for each control step ("s") and each command that arrived ("c"): steady time (s),
    speeds / positions.
    """

    def __init__(self) -> None:
        path = Path(os.environ[FOLDER]) / MOTION
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, kind: str, speeds: Iterable[float], positions: Iterable[float] = ()) -> None:
        """A line; with one system call, so that threads do not mix theirs."""
        fields = [kind, f"{time.monotonic():.4f}"]
        fields += map("{:.4f}".format, speeds)
        fields.append("/")
        fields += map("{:.4f}".format, positions)
        os.write(self._file, f"{' '.join(fields)}\n".encode())


class Valve:
    """A publisher that can fail.

    `mode`: "well"; "silent"; "frozen", the last message again and again; "stuck", the last message
    with new stamps.
    """

    def __init__(self, publisher: Any) -> None:
        self._publisher = publisher
        self._kept: Any = None
        self.mode = "well"

    def publish(self, message: Any) -> None:
        if self.mode == "silent":
            return
        if self.mode == "well":
            self._kept = None
            self._publisher.publish(message)
            return
        if self._kept is None:
            self._kept = copy.deepcopy(message)  # the camera uses one message again and again
        if self.mode == "stuck":
            self._kept.header.stamp = message.header.stamp
        self._publisher.publish(self._kept)
