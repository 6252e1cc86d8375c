"""Images from the simulator with the truth behind them, for the expert to label.

The robot is placed at random, or a policy drove it there (rollout.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.images import resize
from vla_ros.sim import scene as scenes
from vla_ros.sim.domain_randomization import Look, apply, random_look
from vla_ros.sim.world import World
from vla_ros.tasks.objects import COLOURS, OPENING_MAX, SHAPES
from vla_ros.training.stored_arrays import StoredArrays

MAX_OBJECTS = 6  # of a scene
# a number drawn from 0 to 1, below which the robot is placed so; at the fingers from the last on
ANYWHERE = 0.25
FAR = 0.55
AT_FINGERS = 0.8
SEEDS = 1_000_000  # training's scenes have seeds below, evaluation's from here on


@dataclass
class Frames(StoredArrays):
    """n images and the truth of each; `intent` and `progress` are for where a policy drove."""

    IMAGES: ClassVar[tuple[str, ...]] = ("images",)
    images: NDArray[np.uint8]  # n x H x W x 3
    objects: NDArray[np.float32]  # n x 6 x 4: colour, shape, ahead m, left m; NaN: none
    gripper: NDArray[np.float32]  # n x 2: opening, command, 0 … 1
    intent: NDArray[np.int8]  # n x 3: kind, colour, shape; -1: none
    progress: NDArray[np.float32]  # n x 4: turned, travelled, carried, side

    @classmethod
    def empty(cls, count: int, size: tuple[int, int]) -> Frames:
        """Black images without objects, to be filled; the gripper open, nobody driving."""
        return cls(
            np.zeros((count, *size, 3), np.uint8),
            np.full((count, MAX_OBJECTS, 4), np.nan, np.float32),
            np.ones((count, 2), np.float32),
            np.full((count, 3), -1, np.int8),
            np.zeros((count, 4), np.float32),
        )

    def __len__(self) -> int:
        return len(self.images)


def make_world(size: tuple[int, int]) -> World:
    """A world whose camera draws at twice the model's size.

    Halved, edges come out as from a real camera.
    """
    return World(0, 2 * size[1], 2 * size[0])


def table(world: World) -> NDArray[np.float32]:
    """The scene's objects as a row each: colour, shape, ahead (m), left (m)."""
    state = world.state()
    rows = np.full((MAX_OBJECTS, 4), np.nan, np.float32)
    cos = math.cos(state.yaw)
    sin = math.sin(state.yaw)
    for row, thing in zip(rows, state.objects):
        dx = thing.x - state.x
        dy = thing.y - state.y
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
    """`count` images, with the robot where a policy may come.

    Far and near, in front of an object, with one between the fingers, gripper open and shut.
    """
    rng = np.random.default_rng(seed)
    frames = Frames.empty(count, size)
    for index in range(count):
        if index % 4 == 0:
            scene_for(world, rng)
        _place(world, rng, frames, index)
        shoot(world, frames, index)
    return frames


def _place(world: World, rng: np.random.Generator, frames: Frames, index: int) -> None:
    """Robot, an object between the fingers perhaps, and gripper.

    `mode` says how near: anywhere below ANYWHERE, far below FAR, at the fingers from AT_FINGERS on.
    """
    mode = rng.random()
    thing = _any_object(world, rng)
    opening = 1.0 if rng.random() < 0.7 else float(rng.choice([0.0, rng.random()]))
    _stand(world, rng, thing, mode)
    at_fingers = mode >= AT_FINGERS
    gripped = rng.random() < (0.6 if at_fingers else 0.12)
    if gripped:  # the object, or another one while this is looked for
        held = thing if at_fingers else _any_object(world, rng)
        _hold(world, rng, held)
        opening = held.size / OPENING_MAX if rng.random() < 0.7 else 1.0
    elif at_fingers:  # or a shut gripper would be in the object
        opening = 1.0 if rng.random() < 0.8 else rng.uniform(0.8, 1.0)
    world.place_gripper(opening * OPENING_MAX)
    # now and then the command is not what the opening shows
    open_command = opening > 0.85 if rng.random() < 0.9 else rng.random() < 0.5
    frames.gripper[index, 1] = float(open_command)


def _any_object(world: World, rng: np.random.Generator) -> scenes.Placement:
    return world.scene.objects[rng.integers(len(world.scene.objects))]


def _stand(world: World, rng: np.random.Generator, thing: scenes.Placement, mode: float) -> None:
    """The robot anywhere, or with `thing` in front of it: far, near, at the fingers."""
    if mode < ANYWHERE:
        x, y = rng.uniform(-1.4, 1.4, 2).tolist()
        world.place_robot(x, y, rng.uniform(-math.pi, math.pi))
        return
    if mode < FAR:
        distance = rng.uniform(0.3, 1.7)  # m
        spread = 0.8  # rad
    elif mode < AT_FINGERS:
        distance = rng.uniform(0.17, 0.62)
        spread = 0.35
    else:
        distance = rng.uniform(0.17, 0.30)
        spread = 0.12
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
    cos = math.cos(state.yaw)
    sin = math.sin(state.yaw)
    world.place_object(
        held.name,
        state.x + ahead * cos - left * sin,
        state.y + ahead * sin + left * cos,
        # a block is held by either pair of its sides
        state.yaw + rng.choice([0.0, math.pi / 2]) + rng.normal(0, 0.05),
    )
