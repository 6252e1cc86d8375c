"""Instructions that fit the room, where nobody gave any."""

from __future__ import annotations

import math
from collections.abc import Mapping

from vla_ros.demo.plots import PathPoint, Thing

EMPTY_ROOM_INSTRUCTIONS = ("turn left", "back up", "turn right")  # nothing to go to
IN_THE_WAY_M = 0.35  # what stands nearer to the straight way than this is in the way


def choose_instructions(things: Mapping[str, Thing], robot: PathPoint) -> list[str]:
    """Three kinds of task that this room allows: go to something, turn, grab something else."""
    if not things:
        return list(EMPTY_ROOM_INSTRUCTIONS)
    first = _best(things, (robot.x, robot.y), ("block", "cylinder", "ball"), "")
    if len(things) == 1:
        return [f"go to the {first.name}", "back up", "turn left"]
    second = _best(things, (first.x, first.y), ("ball", "cylinder", "block"), first.name)
    return [f"go to the {first.name}", "turn left", f"grab the {second.name}"]


def _best(
    things: Mapping[str, Thing], start: tuple[float, float], shapes: tuple[str, ...], but: str
) -> Thing:
    """The thing that shows best, but not `but`.

    Its colour is its own, the way from `start` (m) is free, and its shape is early in `shapes`: in
    this order.
    """
    candidates = [thing for thing in things.values() if thing.name != but]
    colours = [name.split()[0] for name in things]

    def cost(thing: Thing) -> tuple[bool, int, int, float]:
        colour, _, shape = thing.name.partition(" ")
        blocked = 0
        for other in candidates:
            blocked += other.name != thing.name and _in_the_way(start, thing, other)
        shape_rank = shapes.index(shape) if shape in shapes else len(shapes)
        far = math.hypot(thing.x - start[0], thing.y - start[1])  # a longer way shows more
        return colours.count(colour) > 1, blocked, shape_rank, -far

    return min(candidates, key=cost)


def _in_the_way(start: tuple[float, float], goal: Thing, other: Thing) -> bool:
    """Whether `other` stands in the straight way from `start` (m) to `goal`."""
    dx = goal.x - start[0]
    dy = goal.y - start[1]
    length = math.hypot(dx, dy) or 1e-9
    # where on the way, from 0 to 1, `other` is nearest
    share = ((other.x - start[0]) * dx + (other.y - start[1]) * dy) / length**2
    share = min(max(share, 0.0), 1.0)
    nearest = (start[0] + share * dx, start[1] + share * dy)
    return math.dist(nearest, (other.x, other.y)) < IN_THE_WAY_M
