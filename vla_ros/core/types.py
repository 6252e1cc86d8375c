"""The data that flows through the suite, as the messages hold it, in plain numpy.

Times are integer nanoseconds; a `stamp` is on the ROS clock. Units are SI, axes REP 103.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

NANOSECONDS = 1_000_000_000

# Who has the robot: SafetyReport.control_source.
POLICY = "policy"
TELEOP = "teleop"  # a person

VELOCITIES = ("linear.", "angular.")  # how the names of velocities begin

Image = NDArray[np.uint8]  # height x width x 3, rgb8
Depth = NDArray[np.float32]  # height x width, m; NaN where nothing was measured
CloudPoints = NDArray[np.float32]  # K x 3: x, y, z, m; or K x 6: red, green, blue, 0 to 1, too
Size = tuple[int, int]  # height, width in pixels
LONGEST_SIDE = 4096  # pixels: 50 MB an image
MOST_CLOUD_POINTS = 65_536  # that are handed on of a cloud: 1.5 MB with colours
CLOUD_COLUMNS = (3, 6)
RESIZE_MODES = ("pad", "crop", "stretch")  # how an image of another shape is fitted in


def is_size(size: object) -> bool:
    """Whether it is (height, width) in pixels, as a policy may want its images."""
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        return False
    # `type`, since to `isinstance` true is a whole number.
    return all(type(side) is int and 0 < side <= LONGEST_SIDE for side in size)


def to_seconds(nanoseconds: int) -> float:
    return nanoseconds / NANOSECONDS


def to_nanoseconds(seconds: float) -> int:
    return round(seconds * NANOSECONDS)


@dataclass(frozen=True)
class Instruction:
    """An accepted instruction. Empty text: no instruction, the robot holds."""

    stamp: int
    instruction_id: int
    text: str


@dataclass(frozen=True)
class Frame:
    """One camera image, ready for the policy. `camera` is the camera's name.

    Or the points of a cloud, in `image`, and `camera` the name of its stream (core/pairing.py).
    `depth` belongs to it, pixel by pixel; its size may be another.
    """

    stamp: int
    camera: str
    image: NDArray[Any]
    depth: Depth | None = None


@dataclass(frozen=True)
class Prefix:
    """What is left of the chunk before, for a policy that continues it (real-time chunking).

    Attributes:
        rows: K x C, as the policy gave them: row i is for the same moment as row i of what it is to
            give now. Numbers that count from the state at the observation count from the newest.
        delay: So many of them will have been executed when the new chunk arrives.
        horizon: So many rows of each chunk are executed.
    """

    rows: NDArray[np.float32]
    delay: int
    horizon: int


@dataclass(frozen=True)
class Observation:
    """Images and an instruction that belong together, and the robot's state.

    `stamp` is the oldest one's. `depths` has the depth images of the cameras that hand them on,
    `clouds` the point clouds of the robot file's `clouds`.
    `state` holds the numbers of the robot file's `state` under its
    names, in SI units; `ages` how long ago each of them was heard when the observation was made, s.
    `history` has the observations before it that the policy's spec asks for, oldest first; `prefix`
    what is left of the chunk before, where the spec takes it and the robot is executing one.
    """

    stamp: int
    instruction: Instruction
    images: Mapping[str, Image]
    state: Mapping[str, float] = field(default_factory=dict)
    skew: int = 0
    ages: Mapping[str, float] = field(default_factory=dict)
    depths: Mapping[str, Depth] = field(default_factory=dict)
    clouds: Mapping[str, CloudPoints] = field(default_factory=dict)
    history: tuple[Observation, ...] = ()
    prefix: Prefix | None = None


@dataclass(frozen=True)
class ActionChunk:
    """What the policy wants: `values` is rows x channels; row i is for `stamp + i * step`.

    The last row holds until the chunk is too old; `stamp` and `instruction_id` are the
    observation's. `process` made it, and numbers its chunks by `sequence` from 1 on; 0: not
    numbered.
    """

    stamp: int
    instruction_id: int
    channels: tuple[str, ...]
    values: NDArray[np.float32]
    step: int
    sequence: int = 0
    policy: str = ""
    latency: int = 0
    process: str = ""
