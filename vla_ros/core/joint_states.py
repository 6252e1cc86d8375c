"""Joint positions from any number of publishers, merged by joint. No clock: `now` is passed in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MOST_JOINTS = 256  # in a message, and in a table that takes every joint
LONGEST_NAME = 100  # characters


class JointReading(NamedTuple):
    """What was last said of a joint."""

    position: float  # rad or m, as it was published
    stamp: int  # ns, the message's
    came: int  # ns, on the clock of `now`


class JointTable:
    """The newest position of each joint, whoever publishes it.

    The last message to arrive wins, for its joints only. Stamps are kept, not compared: a driver's
    clock may be wrong or step back.

    Args:
        joints: those of interest, all others are passed over; None: every joint that is heard, at
            most MOST_JOINTS, the ones unheard for longest go first.
    """

    def __init__(self, joints: Iterable[str] | None = None) -> None:
        self._joints = None if joints is None else tuple(dict.fromkeys(joints))
        self._wanted = frozenset(self._joints or ())
        self._readings: dict[str, JointReading] = {}

    def update(self, names: Sequence[str], positions: Sequence[float], stamp: int, now: int) -> int:
        """Takes one message.

        NaN, which ros2_control publishes for a joint that has no position, refuses the message if
        the joint was asked for by name, and is passed over otherwise.

        Args:
            names: of N joints.
            positions: N, rad or m; or none (a message of velocities or efforts only).
            stamp: the message's, ns.
            now: on any one clock, ns.

        Returns:
            How many joints it brought; 0 says nothing about the robot.

        Raises:
            ValueError: the message is refused whole; the table is then as before.
        """
        if not len(positions):
            return 0
        _check(names, positions)
        brought: dict[str, JointReading] = {}
        for name, position in zip(names, positions):
            if self._joints is not None and name not in self._wanted:
                continue
            if math.isfinite(position):
                brought[name] = JointReading(float(position), stamp, now)
            elif self._joints is not None or math.isinf(position):
                raise ValueError(
                    f"a joint state says {position} for the position of '{name}'; refused whole, a "
                    "position is a number"
                )
        self._readings.update(brought)
        # A publisher that makes up ever new names fills no memory.
        while len(self._readings) > MOST_JOINTS and self._joints is None:
            del self._readings[min(self._readings, key=lambda name: self._readings[name].came)]
        return len(brought)

    def reading(self, joint: str) -> JointReading | None:
        """What was last said of a joint, however old."""
        return self._readings.get(joint)

    def age(self, joint: str, now: int) -> int | None:
        """ns since the joint was heard of; None: never."""
        reading = self._readings.get(joint)
        return None if reading is None else now - reading.came

    def positions(self, now: int, max_age: int) -> dict[str, float]:
        """Joints heard of within `max_age` ns.

        In the order they were asked for, or by name where all are taken.
        """
        positions: dict[str, float] = {}
        for joint, reading in self._in_order():
            if now - reading.came <= max_age:
                positions[joint] = reading.position
        return positions

    def stale(self, now: int, max_age: int) -> list[str]:
        """Joints that were heard of once, but not within `max_age` ns; in the same order."""
        return [joint for joint, reading in self._in_order() if now - reading.came > max_age]

    def _in_order(self) -> list[tuple[str, JointReading]]:
        """The joints that were heard of, each with what was last said of it."""
        if self._joints is None:
            return sorted(self._readings.items())
        return [(joint, self._readings[joint]) for joint in self._joints if joint in self._readings]

    def clear(self) -> None:
        """Forgets what was heard."""
        self._readings.clear()


def _check(names: Sequence[str], positions: Sequence[float]) -> None:
    """Raises ValueError for what no joint state can be, whichever joints are asked for."""
    if len(names) != len(positions):
        raise ValueError(
            f"a joint state has {len(names)} names and {len(positions)} positions; refused whole, "
            "nobody knows which belong together"
        )
    if len(names) > MOST_JOINTS:
        raise ValueError(
            f"a joint state has {len(names)} joints; refused whole, at most {MOST_JOINTS}"
        )
    longest = max(names, key=len)
    if len(longest) > LONGEST_NAME:
        raise ValueError(
            f"a joint state names '{longest[:40]}…', {len(longest)} characters; refused whole, at "
            f"most {LONGEST_NAME}"
        )
    if len(set(names)) < len(names):
        # The first that stands there again.
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(
            f"a joint state has joint '{twice}' twice; refused whole, which position is true is "
            "not known"
        )
