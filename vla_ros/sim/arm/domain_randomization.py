"""How the table looks and how its cameras are mounted: varied, for training and robustness.

The model stays as it was compiled; only its colours, lights and the cameras' places are written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from vla_ros.sim.arm.scene import POOL
from vla_ros.sim.arm.world import CAMERAS, ArmWorld
from vla_ros.sim.scene import RGB

Array = NDArray[np.float64]
# How far training varies what, at most.
LIGHT = 0.35  # of all lights
TABLE_COLOUR = 0.14  # rgb
FLOOR_COLOUR = 0.20
SHELL_COLOUR = 0.08
THING_COLOUR = 0.05
CAMERA_SHIFT = {"scene": 0.015, "wrist": 0.002}  # m
CAMERA_TURN = {"scene": math.radians(1.2), "wrist": math.radians(0.8)}


@dataclass(frozen=True)
class TableLook:
    """The table's light and colours and its cameras' places; the default is as it is built.

    Attributes:
        light: Scales all lights.
        sun: Turns the main light about the vertical, rad.
        table, floor, shell: What is added to the colour of table, floor and arm, rgb.
        things: What is added to each thing's colour, rgb; a row a slot of the pool.
        shifts: Moves each camera in its parent's frame, m; a row each, in the order of CAMERAS.
        turns: Turns each camera about its own axes, rad; as `shifts`.
    """

    light: float = 1.0
    sun: float = 0.0
    table: tuple[float, ...] = (0.0, 0.0, 0.0)
    floor: tuple[float, ...] = (0.0, 0.0, 0.0)
    shell: tuple[float, ...] = (0.0, 0.0, 0.0)
    things: tuple[tuple[float, ...], ...] = ((0.0, 0.0, 0.0),) * len(POOL)
    shifts: tuple[tuple[float, ...], ...] = ((0.0, 0.0, 0.0),) * len(CAMERAS)
    turns: tuple[tuple[float, ...], ...] = ((0.0, 0.0, 0.0),) * len(CAMERAS)


def random_table_look(rng: np.random.Generator, amount: float = 1.0) -> TableLook:
    """A look that differs from the plain one by up to `amount` of what training varies.

    Args:
        rng: Draws it.
        amount: 0 (the plain look) to 1; more is beyond what training has seen.
    """

    def spread(most: float) -> tuple[float, ...]:
        return tuple((rng.uniform(-most, most, 3) * amount).tolist())

    # In this order, or a seed gives another look.
    light = 1.0 + float(rng.uniform(-LIGHT, LIGHT)) * amount
    sun = float(rng.uniform(-math.pi, math.pi)) * amount
    table = spread(TABLE_COLOUR)
    floor = spread(FLOOR_COLOUR)
    shell = spread(SHELL_COLOUR)
    things = tuple(spread(THING_COLOUR) for _ in POOL)
    shifts = tuple(spread(CAMERA_SHIFT[camera]) for camera in CAMERAS)
    turns = tuple(spread(CAMERA_TURN[camera]) for camera in CAMERAS)
    return TableLook(light, sun, table, floor, shell, things, shifts, turns)


@dataclass(frozen=True)
class _Plain:
    """What a look changes of a model, as it was built: a look is always taken from there."""

    diffuse: Array
    ambient: Array
    headlight: Array
    direction: Array
    materials: Array
    places: Array
    turns: Array

    @classmethod
    def of(cls, model: Any) -> _Plain:
        head = model.vis.headlight
        return cls(
            model.light_diffuse.copy(),
            head.ambient.copy(),
            head.diffuse.copy(),
            model.light_dir.copy(),
            model.mat_rgba.copy(),
            model.cam_pos.copy(),
            model.cam_quat.copy(),
        )


_PLAIN: WeakKeyDictionary[ArmWorld, _Plain] = WeakKeyDictionary()


def apply_look(world: ArmWorld, look: TableLook) -> None:
    """Give the table this look.

    `reset` keeps light, table and cameras, and gives the things plain colours again.
    """
    model = world.model
    plain = _PLAIN.get(world) or _PLAIN.setdefault(world, _Plain.of(model))
    model.light_diffuse[:] = plain.diffuse * look.light
    model.vis.headlight.ambient[:] = plain.ambient * look.light
    model.vis.headlight.diffuse[:] = plain.headlight * look.light
    cos = math.cos(look.sun)
    sin = math.sin(look.sun)
    model.light_dir[:, 0] = plain.direction[:, 0] * cos - plain.direction[:, 1] * sin
    model.light_dir[:, 1] = plain.direction[:, 0] * sin + plain.direction[:, 1] * cos
    for name, shift in (("table", look.table), ("floor", look.floor), ("shell", look.shell)):
        material = model.material(name).id
        model.mat_rgba[material, :3] = np.clip(plain.materials[material, :3] + shift, 0.0, 1.0)
    for name, shift, turn in zip(CAMERAS, look.shifts, look.turns):
        camera = model.camera(name).id
        model.cam_pos[camera] = plain.places[camera] + shift
        model.cam_quat[camera] = _times(plain.turns[camera], np.array([1.0, *turn]) * _HALF)
    for thing in world.scene.objects:
        colour = np.clip(np.array(RGB[thing.colour]) + look.things[thing.slot], 0.0, 1.0)
        world.paint(thing.name, (float(colour[0]), float(colour[1]), float(colour[2])))
    world.settle()


_HALF = np.array([1.0, 0.5, 0.5, 0.5])  # a small turn's quaternion: 1 and half of each angle


def _times(first: Array, second: Array) -> Array:
    """The product of two quaternions w, x, y, z, of length one."""
    w = first[0]
    vector = first[1:]
    product = np.concatenate(
        (
            [w * second[0] - vector @ second[1:]],
            w * second[1:] + second[0] * vector + np.cross(vector, second[1:]),
        )
    )
    unit: Array = product / np.linalg.norm(product)
    return unit
