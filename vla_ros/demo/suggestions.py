"""Instructions that fit the room, where nobody gave any."""

from __future__ import annotations

import math
from collections.abc import Mapping

from vla_ros.demo.plots import PathPoint, Thing

DANCE = ("turn left", "back up", "turn right")  # where there is nothing to go to


def choose_instructions(things: Mapping[str, Thing], robot: PathPoint) -> list[str]:
    """Three kinds of task that this room allows: go to something, turn, grab something else."""
    if not things:
        return list(DANCE)
    first = _best(things, (robot.x, robot.y), ("block", "cylinder", "ball"), "")
    if len(things) == 1:
        return [f"go to the {first.name}", "back up", "turn left"]
    second = _best(things, (first.x, first.y), ("ball", "cylinder", "block"), first.name)
    return [f"go to the {first.name}", "turn left", f"grab the {second.name}"]


def _best(
    things: Mapping[str, Thing], start: tuple[float, float], shapes: tuple[str, ...], but: str
) -> Thing:
    """One whose colour is its own, with a free way from `start`, of the first shape that there
    is."""
    colours = [name.split()[0] for name in things]

    def cost(thing: Thing) -> tuple[bool, int, int, float]:
        colour, _, shape = thing.name.partition(" ")
        blocked = sum(
            _in_the_way(start, thing, other)
            for other in things.values()
            if other.name not in (thing.name, but)
        )
        far = math.hypot(thing.x - start[0], thing.y - start[1])  # a longer way shows more
        return (
            colours.count(colour) > 1,
            blocked,
            shapes.index(shape) if shape in shapes else len(shapes),
            -far,
        )

    return min((thing for thing in things.values() if thing.name != but), key=cost)


def _in_the_way(start: tuple[float, float], goal: Thing, other: Thing, width: float = 0.35) -> bool:
    """Whether `other` stands nearer than `width` to the straight way from `start` to `goal` (m)."""
    dx, dy = goal.x - start[0], goal.y - start[1]
    length = math.hypot(dx, dy) or 1e-9
    share = min(max(((other.x - start[0]) * dx + (other.y - start[1]) * dy) / length**2, 0.0), 1.0)
    return math.hypot(start[0] + share * dx - other.x, start[1] + share * dy - other.y) < width
