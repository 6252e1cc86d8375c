"""Notices that the model wants to move and gets nowhere.

Close before a thing that is not the target a model may waver, to the left and to the right of it:
in its training nothing stood so near at first. The safety gate may hold the robot as well, for as
long as somebody stands in its way: which of the two it is cannot be known here.
"""

from __future__ import annotations

from collections import deque

from vla_ros.policies.progress import Progress

IMAGES = 125  # of which each asked for motion: 10 s at 12.5 a second
# within which the robot stayed all the while
STAYED_M = 0.05
STAYED_RAD = 0.5


class Headway:
    """Of one step."""

    def __init__(self) -> None:
        self._poses: deque[tuple[float, float]] = deque(maxlen=IMAGES)  # travelled, turned

    def lost(self, wants: bool, progress: Progress) -> bool:
        """After an image: `wants` the model to move, and did it get nowhere for long?"""
        if not wants:
            self._poses.clear()
            return False
        self._poses.append((progress.travelled, progress.turned))
        travelled, turned = zip(*self._poses)
        stayed = (
            max(travelled) - min(travelled) < STAYED_M and max(turned) - min(turned) < STAYED_RAD
        )
        return len(self._poses) == IMAGES and stayed
