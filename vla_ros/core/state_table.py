"""The robot's state from any number of topics and publishers. No clock: `now` is passed in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from vla_ros.core.robot_state import StateSource
from vla_ros.core.types import to_seconds


class StateTable:
    """The newest value of each number of the robot file's `state`, and when it came.

    The last message to arrive wins, for its numbers only: one publisher may know the arm and
    another the gripper. Stamps are not compared: a driver's clock may be wrong or step back.

    Args:
        sources: the robot file's; their numbers keep this order.
    """

    def __init__(self, sources: Sequence[StateSource]) -> None:
        self._order = [name for source in sources for name in source.names]
        self._values: dict[str, tuple[float, int]] = {}  # name -> the value, and when it came

    def update(self, source: StateSource, published: Mapping[str, float], now: int) -> None:
        """Takes what one message says, in its own names and unit.

        Args:
            source: one of the table's.
            published: the message's name -> number; others than the source's are passed over.
            now: on any one clock, ns.

        Raises:
            ValueError: a number is none; the table is then as before.
        """
        # Aside first: half a message would mix two moments of one sensor.
        brought: dict[str, tuple[float, int]] = {}
        for name, theirs in source.names.items():
            if theirs not in published:
                continue
            value = (
                source.value(published[theirs]) if math.isfinite(published[theirs]) else math.nan
            )
            if not math.isfinite(value):
                raise ValueError(
                    f"{source.topic} says {published[theirs]} for '{theirs}'; refused whole, a "
                    "number is right"
                )
            brought[name] = (value, now)
        self._values.update(brought)

    def values(self, now: int, max_age: int) -> dict[str, float]:
        """What was heard within `max_age` ns, in the file's order."""
        values: dict[str, float] = {}
        for name in self._order:
            if name in self._values and now - self._values[name][1] <= max_age:
                values[name] = self._values[name][0]
        return values

    def ages(self, names: Iterable[str], now: int) -> dict[str, float]:
        """How long ago each of `names`, which were heard, was heard last, s."""
        ages: dict[str, float] = {}
        for name in names:
            ages[name] = to_seconds(now - self._values[name][1])
        return ages

    def stale(self, now: int, max_age: int) -> dict[str, int]:
        """What was heard once, but not within `max_age` ns -> its age, ns; in the file's order."""
        ages: dict[str, int] = {}
        for name in self._order:
            if name in self._values and now - self._values[name][1] > max_age:
                ages[name] = now - self._values[name][1]
        return ages
