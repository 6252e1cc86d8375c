"""The joints of the arm that can fail: a controller's interpolation, and a drive that lags."""

from __future__ import annotations

import math

LAG_S = 0.03  # of a drive behind its set point
# a drive's; four times what the robot file allows: the gate keeps it slow, not the motor
MAX_SPEED_RAD_S = 2.0
HAND_SPEED_RAD_S = 0.45  # by which a joint is moved by hand


class Joint:
    """One joint; positions in rad (m), times in steady s.

    The set point goes straight to the last command within the time that the command gives it, and
    stays there whatever happens: as ros2_control's joint_trajectory_controller does
    (interpolate_from_desired_state).
    """

    def __init__(self, position: float) -> None:
        self.position = position
        self.speed = 0.0
        self.blocked = False
        self.hand: float | None = None  # where somebody takes it to; the drive is off meanwhile
        self._from = self._to = position
        self._began = self._takes = 0.0

    def command(self, position: float, now: float, takes: float) -> None:
        """A new command, to be reached `takes` seconds from `now`; 0: at once."""
        self._from = self._set_point(now)
        self._to = position
        self._began = now
        self._takes = takes

    def step(self, now: float, elapsed: float) -> None:
        """What the joint does in the `elapsed` seconds until `now`."""
        if self.blocked:
            way = 0.0
        elif self.hand is not None:
            way = _at_most(self.hand - self.position, HAND_SPEED_RAD_S * elapsed)
        else:
            gap = self._set_point(now) - self.position
            # a first-order lag, exact for any step
            way = _at_most(gap * -math.expm1(-elapsed / LAG_S), MAX_SPEED_RAD_S * elapsed)
        self.position += way
        self.speed = way / elapsed

    def _set_point(self, now: float) -> float:
        if self._takes <= 0.0:
            return self._to
        share = min((now - self._began) / self._takes, 1.0)
        return self._from + share * (self._to - self._from)


def _at_most(way: float, most: float) -> float:
    return min(max(way, -most), most)


def back_and_forth(way: float, reach: float) -> float:
    """Where something is that has gone `way` from 0, turning round at `reach` and -`reach`."""
    folded = (way + reach) % (4.0 * reach)
    return folded - reach if folded < 2.0 * reach else 3.0 * reach - folded
