"""How the room looks and how the camera is mounted: varied without a new model, for training and for robustness scenarios."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vla_ros.sim import scene as scenes
from vla_ros.sim.world import World

Colour = tuple[float, float, float]
PLAIN_FLOOR, PLAIN_WALL = (1.0, 1.0, 1.0), (0.82, 0.82, 0.80)


@dataclass(frozen=True)
class Look:
    """The room's light and colours and the camera's place; the default is the room as it is built.

    `light` scales all lights; `sun` turns the main one about the vertical (rad); `floor` and `wall` are colours (the floor's
    multiplies its pattern); `shift` moves each object's colour (one row an object's slot); the camera moves by `camera` (m: ahead, left,
    up) and tilts down by `tilt` (rad) more.
    """

    light: float = 1.0
    sun: float = 0.0
    floor: Colour = PLAIN_FLOOR
    wall: Colour = PLAIN_WALL
    shift: tuple[Colour, ...] = ()
    camera: Colour = (0.0, 0.0, 0.0)
    tilt: float = 0.0


def random_look(rng: np.random.Generator, amount: float = 1.0) -> Look:
    """A look that differs from the plain one by up to `amount` of what training varies."""
    def spread(size: float, count: int = 3) -> np.ndarray:
        return rng.uniform(-size * amount, size * amount, count)

    grey = rng.uniform(-0.25, 0.1) * amount
    return Look(light=float(1 + spread(0.35, 1)[0]), sun=float(spread(math.pi, 1)[0]),
                floor=_colour(1 + grey + spread(0.08)), wall=_colour(np.array(PLAIN_WALL) + rng.uniform(-0.2, 0.12) * amount + spread(0.06)),
                shift=tuple(_triple(spread(0.05)) for _ in scenes.slots()),
                camera=_triple(spread(0.008)), tilt=float(spread(math.radians(0.8), 1)[0]))


def _triple(values: np.ndarray) -> Colour:
    return float(values[0]), float(values[1]), float(values[2])


def _colour(values: np.ndarray) -> Colour:
    return _triple(np.clip(values, 0.0, 1.0))


def apply(world: World, look: Look) -> None:
    """Give the world this look until the next `reset`, which keeps light, room and camera and gives objects plain colours."""
    model = world.model
    if not hasattr(world, "plain"):
        world.plain = (model.light_diffuse.copy(), model.vis.headlight.ambient.copy(), model.vis.headlight.diffuse.copy(),
                       model.light_dir.copy(), model.cam_pos.copy(), model.cam_quat.copy())
    diffuse, ambient, head, direction, place, turn = world.plain
    model.light_diffuse[:] = diffuse * look.light
    model.vis.headlight.ambient[:], model.vis.headlight.diffuse[:] = ambient * look.light, head * look.light
    cos, sin = math.cos(look.sun), math.sin(look.sun)
    model.light_dir[:, 0] = direction[:, 0] * cos - direction[:, 1] * sin
    model.light_dir[:, 1] = direction[:, 0] * sin + direction[:, 1] * cos
    model.mat_rgba[model.material("floor").id, :3] = look.floor
    model.mat_rgba[model.material("wall").id, :3] = look.wall
    front = model.camera("front").id
    model.cam_pos[front] = place[front] + np.array(look.camera)
    half = -look.tilt / 2  # about the camera's own x axis
    w, x, y, z = turn[front]
    c, s = math.cos(half), math.sin(half)
    model.cam_quat[front] = (w * c - x * s, x * c + w * s, y * c + z * s, z * c - y * s)
    for placed in world.scene.objects:
        shift = look.shift[placed.slot] if look.shift else (0.0, 0.0, 0.0)
        colour = np.clip(np.array(scenes.COLOURS[placed.colour]) + shift, 0.0, 1.0)
        model.geom_rgba[world._object_geom[placed.slot], :3] = colour
