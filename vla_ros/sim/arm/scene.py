"""How a seed becomes a table: which things stand on it, and where."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vla_ros.tasks.objects import COLOURS

# The pool, a slot a row: shape, width (m), height (m). Blocks are cubes.
POOL: tuple[tuple[str, float, float], ...] = (
    ("block", 0.036, 0.036),
    ("block", 0.040, 0.040),
    ("block", 0.044, 0.044),
    ("cup", 0.056, 0.066),
    ("cup", 0.060, 0.070),
    ("bowl", 0.128, 0.040),
    ("bowl", 0.138, 0.044),
)
SLOTS = {
    shape: tuple(slot for slot, row in enumerate(POOL) if row[0] == shape)
    for shape in ("block", "cup", "bowl")
}
# Where things stand, from the arm's axis: m and rad.
NEAREST_M = 0.21
FARTHEST_M = 0.43
WIDEST = math.radians(57.0)
GAP_M = 0.055  # m between two things: a finger on each side of what is grasped, and some


@dataclass(frozen=True)
class Standing:
    """A thing of a scene: which of the pool, its colour, its place (m, rad)."""

    slot: int
    colour: str
    x: float
    y: float
    yaw: float

    @property
    def shape(self) -> str:
        return POOL[self.slot][0]

    @property
    def size(self) -> float:
        return POOL[self.slot][1]

    @property
    def height(self) -> float:
        return POOL[self.slot][2]

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class TableScene:
    """Where everything starts: the tool (x, y, z in m, yaw in rad) and the things."""

    tool: tuple[float, float, float, float]
    objects: tuple[Standing, ...]


def sample_table(seed: int) -> TableScene:
    """A random table of 4 to 6 things: the same seed gives the same.

    There are two or three blocks, a cup and a bowl always, and sometimes a second of these; no two
    are of one colour and one shape.
    """
    rng = np.random.default_rng(seed)
    counts = {"block": int(rng.integers(2, 4)), "cup": 1, "bowl": 1}
    second = int(rng.integers(3))  # 2: neither
    if second < 2:
        counts[("cup", "bowl")[second]] += 1
    slots: list[int] = []
    for shape, count in counts.items():
        slots.extend(rng.permutation(SLOTS[shape])[:count].tolist())
    objects = []
    taken: set[tuple[str, str]] = set()
    for slot, (x, y) in zip(slots, _places(rng, slots)):
        shape = POOL[slot][0]
        free = [colour for colour in COLOURS if (colour, shape) not in taken]
        colour = free[int(rng.integers(len(free)))]
        taken.add((colour, shape))
        yaw = float(rng.uniform(-math.pi / 4, math.pi / 4))
        objects.append(Standing(slot, colour, x, y, yaw))
    x, y, z = (np.array([0.26, 0.0, 0.23]) + rng.uniform(-0.04, 0.04, 3)).tolist()
    return TableScene((x, y, z, float(rng.uniform(-0.4, 0.4))), tuple(objects))


def _places(rng: np.random.Generator, slots: list[int]) -> list[tuple[float, float]]:
    """A place (m) for each, the widest first, at least GAP apart from each other."""
    order = sorted(range(len(slots)), key=lambda index: -POOL[slots[index]][1])
    while True:
        places: dict[int, tuple[float, float]] = {}
        for index in order:
            for _ in range(60):
                # so that no ring is fuller than another
                radius = math.sqrt(rng.uniform(NEAREST_M**2, FARTHEST_M**2))
                bearing = float(rng.uniform(-WIDEST, WIDEST))
                place = (radius * math.cos(bearing), radius * math.sin(bearing))
                half = POOL[slots[index]][1] / 2
                if all(
                    math.dist(place, places[other]) >= half + POOL[slots[other]][1] / 2 + GAP_M
                    for other in places
                ):
                    places[index] = place
                    break
        if len(places) == len(slots):
            return [places[index] for index in range(len(slots))]
