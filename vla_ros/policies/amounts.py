"""Turns and drives of any amount, by a model that learned one amount of each kind.

The model is told how far it has come, and ends where its own amount is reached: 90 degrees for
"turn left". For 30 degrees it is told 60 from the start, for 180 degrees nothing until 90 are left;
so the last stretch always looks like that of its own amount. Models stop a little early, as those
did from whom they learned: what odometry still misses once the robot stands, is added to the aim.
"""

from __future__ import annotations

import math

from vla_ros.tasks.intent import Intent
from vla_ros.tasks.phrases import AMOUNTS

BACKWARDS = ("turn_right", "back")  # kinds whose way counts negative in odometry
# rad and m, by what counts: nearer than this to the amount is there
NEAR = {"turned": 0.02, "travelled": 0.004}
STOOD = {"turned": 0.003, "travelled": 0.001}  # from one image to the next, and it stands
# by which models stop early at most, and the aim may be moved: one that stands for another reason
# is not driven on
MOST_BEYOND = {"turned": 0.1, "travelled": 0.06}
REACHED_SHARE = 0.25  # of the amount may be missing at most, or the least would be done unmoved


def has_stood(turned: float, travelled: float) -> bool:
    """Whether a robot stood, that turned (rad) and travelled (m) so far from image to image."""
    return abs(turned) < STOOD["turned"] and abs(travelled) < STOOD["travelled"]


class AmountLeft:
    """What is left of one turn or drive, and what the model is told of it.

    Attributes:
        feature: What counts: "turned" (rad) or "travelled" (m).
    """

    def __init__(self, intent: Intent) -> None:
        """Of a kind in AMOUNTS; without an amount it is the usual one."""
        self.feature = "turned" if intent.kind.startswith("turn") else "travelled"
        self._sign = -1.0 if intent.kind in BACKWARDS else 1.0
        self._usual = AMOUNTS[intent.kind]
        self._wanted = intent.amount or self._usual
        self._beyond = 0.0  # rad or m, that it aims farther than is wanted
        self._stood_at = math.inf

    def left(self, covered: float) -> float:
        """What is still to be done once odometry says `covered`; negative: it went too far."""
        return self._wanted - self._sign * covered

    def told(self, covered: float) -> float:
        """What the model is told in place of `covered`, with its sign."""
        # far from the end it is as at the beginning
        least = min(0.0, self._sign * covered)
        return self._sign * max(least, self._usual - self.left(covered) - self._beyond)

    def reached(self, covered: float) -> bool:
        """Is it there, or as near as models stop?"""
        near = min(MOST_BEYOND[self.feature], REACHED_SHARE * self._wanted)
        return abs(self.left(covered)) < near

    def begun(self, covered: float) -> bool:
        """Did the robot cover some of it, either way?"""
        return abs(covered) > NEAR[self.feature]

    def stand(self, covered: float) -> None:
        """The model wants to stand there: once the robot does, what it misses moves the aim."""
        stood = abs(covered - self._stood_at) < STOOD[self.feature]
        self._stood_at = covered
        missing = self.left(covered)
        if stood and abs(missing) > NEAR[self.feature]:
            most = MOST_BEYOND[self.feature]
            self._beyond = min(max(self._beyond + missing, -most), most)
