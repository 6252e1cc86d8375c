"""What a rule of the gate may look at, and what it may say."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.robot import Channel, Robot
from vla_ros.core.types import ActionChunk, Command
from vla_ros.safety.obstacles import Reading


class Verdict(IntEnum):
    """SafetyReport.verdict. HELD stops through the deceleration limit, STOPPED at once."""

    PASSED = 0
    LIMITED = 1
    HELD = 2
    STOPPED = 3


Row = tuple[float, ...]  # one value for each of the robot's channels, in their order, in their units


@dataclass(frozen=True)
class Finding:
    rule: str
    verdict: Verdict
    reason: str
    row: Row | None = None  # LIMITED: what the row becomes


@dataclass(frozen=True)
class Settings:
    """The gate's own limits; times in ns. 0 switches `repeat_limit`, `saturation_limit` off."""

    max_age: int = 400_000_000
    max_future: int = 50_000_000
    clock_jump: int = 500_000_000
    clock_stall: int = 300_000_000
    period: int = 20_000_000
    measured_age: int = 300_000_000  # a measured position older than this is unknown
    instruction_limit: int = 120_000_000_000
    repeat_limit: int = 20_000_000_000  # longer than a search takes that turns once around
    saturation_limit: int = 10_000_000_000
    seam_pause: int = 300_000_000
    sources: Mapping[str, int] = field(default_factory=dict)  # name -> the longest silence
    lost: Mapping[str, int] = field(default_factory=dict)  # name -> the silence after which a person speaks again


@dataclass(frozen=True)
class Behind:
    """A position that stands away from where it was sent: for how long (ns), where, and where it was sent."""

    time: int
    stands: float
    sent: float


@dataclass
class Situation:
    """All that a rule may look at in one tick; times are ns before now, None for never.

    `channels` are those that this action moves (and all velocities), in the order of `row`, of `last`
    (emitted before, or else measured) and of `measured` (lately, or None). `row` is empty until `shape` has
    passed. `readings`: topic -> the newest reading, its age by the steady and by the ROS clock. `points` gives all that
    range sensors saw lately, N x 2. `spent`: the last instruction that a person has to give again, and why.
    `behind`: channel -> how it is too far from what was sent.
    """

    robot: Robot
    settings: Settings
    chunk: ActionChunk | None
    command: Command | None
    armed: tuple[int, int]  # the generation and the ROS time of the arming
    newest_generation: int
    age: int
    silence: Mapping[str, int | None]
    rivals: Sequence[str]
    unheard: Sequence[str]
    chunk_sources: Sequence[str]
    clock_still: int
    instruction_age: int
    readings: Mapping[str, tuple[Reading, int, int]]
    points: Callable[[], NDArray[np.float64]]
    was_blocked: bool
    spent: tuple[int, str]
    behind: Mapping[str, Behind]
    ended: int  # since the last row of the chunk was over
    repeated: int = 0
    over_limit: int = 0
    seam: str = ""  # why the newest chunk does not go on from the one before
    elapsed: int = 0  # since the tick before, at most two periods
    pause: int = 0  # the same, whatever it was
    channels: Sequence[Channel] = ()
    row: Row = ()
    last: Sequence[float | None] = ()
    measured: Sequence[float | None] = ()
