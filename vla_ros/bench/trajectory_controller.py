"""How a joint_trajectory_controller takes the gate's points, by a model of it.

    python3 -m vla_ros.bench.trajectory_controller

The gate sends a point in each of its periods. Where the controller begins towards it, from what it
wanted or from what it measures, and how far ahead the point is, decide how the joint moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vla_ros.bench.markdown import table

PERIOD_S = 0.02  # between two points of the gate
SPEED_RAD_S = 0.5  # that the gate asks for, in each trial
WAY_RAD = 1.0  # and how far
REST_S = 1.0  # after the way, in which the joint comes to rest
LATENESS_S = 0.003  # a point comes by so much too late, at most
HELD_UP_S = 0.015  # and on a busy machine or network
SETTLED_S = 0.5  # after the start, from when on the speed should be even
AHEAD_PERIODS = (0, 1, 2, 3, 5, 7, 10)  # 0: a forward controller, which takes each point at once
SAG_RAD = 0.005  # of a joint under load
SPEED_WINDOW_S = 0.01  # a joint's speed is what it goes in that time


@dataclass(frozen=True)
class Setup:
    """A controller and what it drives.

    Attributes:
        from_desired: `interpolate_from_desired_state`.
        ahead: `time_from_start` of each point, in periods of the gate.
        update_rate: of the controller, Hz.
        lag: time constant of the joint, s.
        sag: how far the joint stands below what it is sent, rad: its load.
        lateness: how much too late a point comes at most, s.
    """

    from_desired: bool
    ahead: float
    update_rate: float = 500.0
    lag: float = 0.03
    sag: float = 0.0
    lateness: float = LATENESS_S


class TrajectoryController:
    """One joint's controller: points without velocities, so straight lines between them."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._interval = 1.0 / setup.update_rate
        self._follows = 1.0 - math.exp(-self._interval / setup.lag)
        self.desired = 0.0
        self.joint = -setup.sag
        self._began = (0.0, 0.0)  # when, and from where
        self._point = (0.0, 0.0)  # when, and where to

    def take(self, now: float, position: float, time_from_start: float) -> None:
        """A trajectory of one point, stamped zero, that replaces the one before."""
        self._began = (now, self.desired if self._setup.from_desired else self.joint)
        self._point = (now + time_from_start, position)

    def update(self, now: float) -> None:
        """Samples the trajectory, and the joint follows."""
        began, start = self._began
        end, target = self._point
        share = 1.0 if now >= end else (now - began) / (end - began)
        self.desired = start + share * (target - start)
        self.joint += (self.desired - self._setup.sag - self.joint) * self._follows


@dataclass(frozen=True)
class Motion:
    """What a trial gave.

    Attributes:
        fastest: the joint's largest speed, as a share of what was asked.
        jump: the largest change of what the drive is sent beyond what the speed allows, rad.
        slowest: its smallest speed on the way, as a share.
        late: how long it is behind the gate on the way, s.
        beyond: how far it goes beyond the end, rad.
        short: how far from the end it stands at rest, rad.
    """

    fastest: float
    jump: float
    slowest: float
    late: float
    beyond: float
    short: float


def drive(setup: Setup, seed: int = 0) -> Motion:
    """The gate asks for `SPEED_RAD_S` over `WAY_RAD`, then holds."""
    rng = np.random.default_rng(seed)
    controller = TrajectoryController(setup)
    interval = 1.0 / setup.update_rate
    updates = round((WAY_RAD / SPEED_RAD_S + REST_S) * setup.update_rate)
    times = interval * np.arange(updates)
    joint = np.empty(updates)
    desired = np.empty(updates)
    due = 0.0
    sent = 0
    for update, now in enumerate(times):
        if now >= due:
            target = min(WAY_RAD, SPEED_RAD_S * PERIOD_S * sent)
            controller.take(now, target, setup.ahead * PERIOD_S)
            sent += 1
            due = sent * PERIOD_S + rng.uniform(0.0, setup.lateness)
        controller.update(now)
        joint[update] = controller.joint
        desired[update] = controller.desired
    window = max(1, round(SPEED_WINDOW_S / interval))
    speed = (joint[window:] - joint[:-window]) / (window * interval)
    way_s = WAY_RAD / SPEED_RAD_S
    on_the_way = (times[window:] > SETTLED_S) & (times[window:] < way_s)
    behind = SPEED_RAD_S * times - joint - setup.sag
    return Motion(
        fastest=float(speed.max() / SPEED_RAD_S),
        jump=max(0.0, float(np.abs(np.diff(desired)).max() - SPEED_RAD_S * interval)),
        slowest=float(speed[on_the_way].min() / SPEED_RAD_S),
        late=float(behind[times < way_s][-1] / SPEED_RAD_S),
        beyond=max(0.0, float(joint.max() + setup.sag - WAY_RAD)),
        short=float(WAY_RAD - joint[-1]),
    )


def main() -> None:
    rows = []
    for from_desired in (True, False):
        for ahead in AHEAD_PERIODS if from_desired else AHEAD_PERIODS[1:]:
            rows.append(row(from_desired, ahead))
    header = (
        "controller",
        "`time_from_start`, periods",
        "fastest",
        "slowest",
        "fastest, held up",
        "slowest, held up",
        "late, s",
        "short under load, rad",
    )
    print(table(header, rows, texts=1))


def row(from_desired: bool, ahead: float) -> tuple[str, ...]:
    """What a controller makes of points `ahead` periods away, at 500 Hz and a lag of 30 ms."""
    motion = drive(Setup(from_desired, ahead))
    loaded = drive(Setup(from_desired, ahead, sag=SAG_RAD))
    held_up = drive(Setup(from_desired, ahead, lateness=HELD_UP_S))
    name = "from desired" if from_desired else "from measured"
    return (
        name if ahead else "forward controller",
        f"{ahead:g}" if ahead else "–",
        f"{motion.fastest:.2f}",
        f"{motion.slowest:.2f}",
        f"{held_up.fastest:.2f}",
        f"{held_up.slowest:.2f}",
        f"{motion.late:.2f}",
        f"{loaded.short:.3f}",
    )


if __name__ == "__main__":
    main()
