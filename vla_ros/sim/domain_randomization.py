"""How the room looks and how the camera is mounted: varied, for training and for robustness.

The model stays as it was compiled; only its colours, lights and the camera's place are written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from vla_ros.sim import scene as scenes
from vla_ros.sim.world import World

Array = NDArray[np.float64]
Triple = tuple[float, float, float]
# rgb, as the room is built
PLAIN_FLOOR = (1.0, 1.0, 1.0)
PLAIN_WALL = (0.82, 0.82, 0.80)


@dataclass(frozen=True)
class Look:
    """The room's light and colours and the camera's place; the default is the room as it is built.

    Attributes:
        light: Scales all lights.
        sun: Turns the main light about the vertical, rad.
        floor: Its colour, which multiplies its pattern.
        wall: Their colour.
        shift: Moves each object's colour; a row a slot of the pool.
        camera: Moves the camera, m: ahead, left, up.
        tilt: Tilts it further down, rad.
    """

    light: float = 1.0
    sun: float = 0.0
    floor: Triple = PLAIN_FLOOR
    wall: Triple = PLAIN_WALL
    shift: tuple[Triple, ...] = ()
    camera: Triple = (0.0, 0.0, 0.0)
    tilt: float = 0.0


def random_look(rng: np.random.Generator, amount: float = 1.0) -> Look:
    """A look that differs from the plain one by up to `amount` of what training varies.

    Args:
        rng: Draws it.
        amount: 0 (the plain look) to 1; more is beyond what training has seen.
    """

    def spread(size: float, count: int = 3) -> Array:
        return rng.uniform(-size * amount, size * amount, count)

    # In this order, or a seed gives another look.
    grey = rng.uniform(-0.25, 0.1) * amount
    light = float(1 + spread(0.35, 1)[0])
    sun = float(spread(math.pi, 1)[0])
    floor = _colour(1 + grey + spread(0.08))
    wall = _colour(np.array(PLAIN_WALL) + rng.uniform(-0.2, 0.12) * amount + spread(0.06))
    shift = tuple(_triple(spread(0.05)) for _ in scenes.slots())
    camera = _triple(spread(0.008))
    tilt = float(spread(math.radians(0.8), 1)[0])
    return Look(light, sun, floor, wall, shift, camera, tilt)


def _triple(values: Array) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])


def _colour(values: Array) -> Triple:
    return _triple(np.clip(values, 0.0, 1.0))


@dataclass(frozen=True)
class _Plain:
    """What a look changes of a model, as it was built: a look is always taken from there."""

    diffuse: Array
    ambient: Array
    headlight: Array
    direction: Array
    place: Array
    turn: Array

    @classmethod
    def of(cls, model: Any) -> _Plain:
        front = model.camera("front").id
        head = model.vis.headlight
        return cls(
            model.light_diffuse.copy(),
            head.ambient.copy(),
            head.diffuse.copy(),
            model.light_dir.copy(),
            model.cam_pos[front].copy(),
            model.cam_quat[front].copy(),
        )


_PLAIN: WeakKeyDictionary[World, _Plain] = WeakKeyDictionary()


def apply(world: World, look: Look) -> None:
    """Give the world this look.

    `reset` keeps light, room and camera, and gives the objects plain colours again.
    """
    plain = _PLAIN.get(world) or _PLAIN.setdefault(world, _Plain.of(world.model))
    _light(world.model, plain, look)
    _mount(world.model, plain, look)
    world.model.mat_rgba[world.model.material("floor").id, :3] = look.floor
    world.model.mat_rgba[world.model.material("wall").id, :3] = look.wall
    for placed in world.scene.objects:
        shift = look.shift[placed.slot] if look.shift else (0.0, 0.0, 0.0)
        world.paint(placed.name, _colour(np.array(scenes.RGB[placed.colour]) + shift))
    world.settle()


def _light(model: Any, plain: _Plain, look: Look) -> None:
    model.light_diffuse[:] = plain.diffuse * look.light
    model.vis.headlight.ambient[:] = plain.ambient * look.light
    model.vis.headlight.diffuse[:] = plain.headlight * look.light
    cos = math.cos(look.sun)
    sin = math.sin(look.sun)
    model.light_dir[:, 0] = plain.direction[:, 0] * cos - plain.direction[:, 1] * sin
    model.light_dir[:, 1] = plain.direction[:, 0] * sin + plain.direction[:, 1] * cos


def _mount(model: Any, plain: _Plain, look: Look) -> None:
    front = model.camera("front").id
    model.cam_pos[front] = plain.place + np.array(look.camera)
    # The camera's quaternion, times one that turns about the camera's own x axis.
    half = -look.tilt / 2
    c = math.cos(half)
    s = math.sin(half)
    w, x, y, z = plain.turn
    model.cam_quat[front] = (w * c - x * s, x * c + w * s, y * c + z * s, z * c - y * s)
