"""Which earlier observations a policy is given: those nearest to its spacing, by their stamps."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def keep(past: deque[tuple[int, T]], stamp: int, item: T, count: int, spacing: int) -> None:
    """Adds an observation to those of which later ones' histories are made.

    Of a quarter of the spacing one is kept, whatever the rate: 4 * count and a few are enough.

    Args:
        past: Stamps (ns), each with its observation, oldest first; changed in place.
        stamp: The new one's.
        item: The new observation.
        count: Of a history, as `earlier` takes it.
        spacing: As `earlier` takes it, ns.
    """
    # A clock that went back: what came before it is no history of what comes now.
    if past and past[-1][0] > stamp:
        past.clear()
    while past and stamp - past[0][0] > count * spacing:
        past.popleft()
    if not past or 4 * (stamp - past[-1][0]) >= spacing:
        past.append((stamp, item))


def earlier(
    stamps: Sequence[int], newest: int, count: int, spacing: int, missing: str
) -> list[int | None]:
    """The observations before the newest, oldest first: indices of `stamps`, or None.

    Args:
        stamps: Of those that are there, ns; in any order.
        newest: The stamp of the newest, ns.
        count: How many are wanted, the newest counted.
        spacing: From one to the next, ns; one that is half of that away is none.
        missing: `repeat`: where one is missing stands the next newer one (None: the newest itself);
            `refuse`.

    Raises:
        ValueError: one is missing, and that is refused.
    """
    chosen: list[int | None] = []
    newer: int | None = None
    for back in range(1, count):
        wanted = newest - back * spacing
        nearest = min(
            range(len(stamps)), key=lambda index: abs(stamps[index] - wanted), default=None
        )
        if nearest is not None and 2 * abs(stamps[nearest] - wanted) < spacing:
            newer = nearest
        elif missing == "refuse":
            raise ValueError(
                f"the policy wants {count} observations, {spacing / 1e9:g} s apart, and there is "
                f"none of {back * spacing / 1e9:g} s ago; it gets them when they have come, or "
                "with missing: repeat (history of the policy file)"
            )
        chosen.append(newer)
    return chosen[::-1]
