"""Images from the simulator with the truth behind them, for the expert to label: placed at random,
or met."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.images import resize
from vla_ros.sim import scene as scenes
from vla_ros.sim.domain_randomization import Look, apply, random_look
from vla_ros.sim.world import World
from vla_ros.tasks.objects import COLOURS, OPENING_MAX, SHAPES

MOST = 6  # objects of a scene
SEEDS = 1_000_000  # training's scenes have seeds below, evaluation's from here on


@dataclass
class Frames:
    """n images. images n x H x W x 3; objects n x 6 x 4 (colour, shape, ahead m, left m; NaN:
    none); gripper n x 2 (opening, command, 0 … 1). Where a policy drove: intent n x 3 (kind,
    colour, shape; -1: none) and progress n x 4 (turned, travelled, carried, side)."""

    images: NDArray[np.uint8]
    objects: NDArray[np.float32]
    gripper: NDArray[np.float32]
    intent: NDArray[np.int8]
    progress: NDArray[np.float32]

    @classmethod
    def empty(cls, count: int, size: tuple[int, int]) -> Frames:
        """Black images without objects, to be filled; the gripper open, nobody driving."""
        return cls(
            np.zeros((count, *size, 3), np.uint8),
            np.full((count, MOST, 4), np.nan, np.float32),
            np.ones((count, 2), np.float32),
            np.full((count, 3), -1, np.int8),
            np.zeros((count, 4), np.float32),
        )

    def __len__(self) -> int:
        return len(self.images)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for one in fields(self):
            np.save(folder / f"{one.name}.npy", getattr(self, one.name))

    @classmethod
    def load(cls, folder: Path) -> Frames:
        """Images stay on disk until they are read."""
        return cls(
            **{
                one.name: np.load(
                    folder / f"{one.name}.npy",
                    allow_pickle=False,
                    mmap_mode="r" if one.name == "images" else None,
                )
                for one in fields(cls)
            }
        )

    @classmethod
    def joined(cls, parts: list[Frames]) -> Frames:
        return cls(
            **{
                one.name: np.concatenate([getattr(part, one.name) for part in parts])
                for one in fields(cls)
            }
        )


def make_world(size: tuple[int, int]) -> World:
    """A world whose camera draws at twice the model's size: halved, edges come out as from a real
    camera."""
    return World(0, 2 * size[1], 2 * size[0])


def table(world: World) -> NDArray[np.float32]:
    """The scene's objects as a row each: colour, shape, ahead (m), left (m)."""
    state = world.state()
    rows = np.full((MOST, 4), np.nan, np.float32)
    cos, sin = math.cos(state.yaw), math.sin(state.yaw)
    for row, thing in zip(rows, state.objects):
        dx, dy = thing.x - state.x, thing.y - state.y
        row[:] = (
            COLOURS.index(thing.colour),
            SHAPES.index(thing.shape),
            dx * cos + dy * sin,
            dy * cos - dx * sin,
        )
    return rows


def shoot(world: World, frames: Frames, index: int) -> None:
    """Take the image, the table and the gripper of this moment."""
    frames.images[index] = resize(world.render(), frames.images.shape[1:3])
    frames.objects[index] = table(world)
    frames.gripper[index, 0] = world.joint_states()["gripper_joint"] / OPENING_MAX


def scene_for(world: World, rng: np.random.Generator, plain: float = 0.25) -> None:
    """A new scene with a new look (a share `plain` of them as the room is built)."""
    world.reset(int(rng.integers(SEEDS)))
    apply(world, Look() if rng.random() < plain else random_look(rng))


def place_at_random(world: World, size: tuple[int, int], count: int, seed: int) -> Frames:
    """`count` images: far and near, in front of an object, with one between the fingers, gripper
    open and shut."""
    rng = np.random.default_rng(seed)
    frames = Frames.empty(count, size)
    for index in range(count):
        if index % 4 == 0:
            scene_for(world, rng)
        _place(world, rng, frames, index)
        shoot(world, frames, index)
    return frames


def _place(world: World, rng: np.random.Generator, frames: Frames, index: int) -> None:
    """Robot, an object between the fingers perhaps, and gripper; `mode` says how near to the object
    `thing`."""
    mode = rng.random()
    thing = _one(world, rng)
    opening = 1.0 if rng.random() < 0.7 else float(rng.choice([0.0, rng.random()]))
    _stand(world, rng, thing, mode)
    gripped = (mode >= 0.8 and rng.random() < 0.6) or (mode < 0.8 and rng.random() < 0.12)
    if gripped:  # the object, or another one while this is looked for
        held = thing if mode >= 0.8 else _one(world, rng)
        _hold(world, rng, held)
        opening = held.size / OPENING_MAX if rng.random() < 0.7 else 1.0
    elif mode >= 0.8:
        opening = 1.0 if rng.random() < 0.8 else rng.uniform(0.8, 1.0)
    world.place_gripper(opening * OPENING_MAX)
    told = opening > 0.85 if rng.random() < 0.9 else rng.random() < 0.5
    frames.gripper[index, 1] = float(told)


def _one(world: World, rng: np.random.Generator) -> scenes.Placement:
    return world.scene.objects[rng.integers(len(world.scene.objects))]


def _stand(world: World, rng: np.random.Generator, thing: scenes.Placement, mode: float) -> None:
    """The robot anywhere, or with `thing` in front of it: far, near, at the fingers."""
    if mode < 0.25:
        x, y = (float(value) for value in rng.uniform(-1.4, 1.4, 2))
        world.place_robot(x, y, rng.uniform(-math.pi, math.pi))
        return
    farthest, spread = (1.7, 0.8) if mode < 0.55 else (0.62, 0.35) if mode < 0.8 else (0.30, 0.12)
    distance = rng.uniform(0.3 if mode < 0.55 else 0.17, farthest)
    bearing = rng.normal(0, spread)
    heading = rng.uniform(-math.pi, math.pi)
    world.place_robot(
        thing.x - distance * math.cos(heading + bearing),
        thing.y - distance * math.sin(heading + bearing),
        heading,
    )


def _hold(world: World, rng: np.random.Generator, held: scenes.Placement) -> None:
    """The object between the fingers, a little askew."""
    state = world.state()
    ahead = rng.uniform(0.18, 0.28)
    left = rng.normal(0, 0.006)
    cos, sin = math.cos(state.yaw), math.sin(state.yaw)
    world.place_object(
        held.name,
        state.x + ahead * cos - left * sin,
        state.y + ahead * sin + left * cos,
        state.yaw + rng.choice([0.0, math.pi / 2]) + rng.normal(0, 0.05),
    )
