"""A policy drives many simulated robots at once and its images are kept: the expert labels what
*it* met (DAgger).

Ross et al., "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online
Learning", 2011.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from vla_ros.core.types import ActionChunk, to_nanoseconds
from vla_ros.models.config import VLAConfig
from vla_ros.models.stages import told
from vla_ros.models.vla import VLA
from vla_ros.policies.builtin import actions, look
from vla_ros.policies.progress import Progress
from vla_ros.sim.episode import OBEY_PERIOD_S, between_images, robot_state
from vla_ros.sim.projection import in_view
from vla_ros.sim.world import World
from vla_ros.training.image_dataset import Frames, make_world, scene_for, shoot, table
from vla_ros.training.labels import choose, padded, phrase

PERIOD = 0.08  # s between images
LATEST = 5  # commands to the driver until a chunk is obeyed, at most
# s of an instruction, and of standing still until the next
LONGEST = 22.0
SETTLE = 0.8


@dataclass
class Robot:
    """One world with the instruction that it follows."""

    world: World
    progress: Progress = field(default_factory=Progress)
    intent: tuple[int, int, int] = (-1, -1, -1)
    text: str = ""
    began: float = 0.0
    still: float = 0.0
    left: int = 0  # instructions until the next scene
    chunk: ActionChunk | None = None


def drive(
    model: VLA, size: tuple[int, int], count: int, seed: int, robots: int = 8, keep: float = 0.5
) -> Frames:
    """`count` images that the policy met while it followed training's instructions; a share `keep`
    of those met."""
    rng = np.random.default_rng(seed)
    frames = Frames.empty(count, size)
    fleet = [Robot(make_world(size)) for _ in range(robots)]
    progress = [robot.progress for robot in fleet]
    index = 0
    while index < count:
        images = []
        for robot in fleet:
            if robot.world.time - robot.began > LONGEST or robot.still > SETTLE or not robot.text:
                _instruct(robot, rng)
            place = min(index, count - 1)  # one that is not kept is written over
            _meet(robot, frames, place)
            images.append(frames.images[place].copy())
            index += rng.random() < keep
        output = look(model, images, read(model, [robot.text for robot in fleet]), progress)
        for robot, rows in zip(fleet, actions(told(output), progress)):
            _go(robot, rows, model, rng)
    for robot in fleet:
        robot.world.close()
    return frames


def _meet(robot: Robot, frames: Frames, place: int) -> None:
    """Put down what the robot sees, was told and has done by now."""
    one = robot.progress
    one.move(robot_state(robot.world))
    shoot(robot.world, frames, place)
    frames.gripper[place] = one.opening, one.command or 0.0
    frames.intent[place] = robot.intent
    frames.progress[place] = one.turned, one.travelled, one.carried, one.side


def read(model: VLA, texts: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Texts -> words, pooled and mask, as `look` wants them."""
    ids, mask = padded(texts)
    with torch.inference_mode():
        return (*model.encode_text(ids, mask), mask)


def _instruct(robot: Robot, rng: np.random.Generator) -> None:
    """The next instruction; after a few, the next scene. Now and then the robot is put somewhere
    else first."""
    if robot.left <= 0:
        scene_for(robot.world, rng)
        robot.progress.command = 1.0
        robot.left = int(rng.integers(1, 5))
        if rng.random() < 0.3:
            robot.world.place_gripper(0.0)
            robot.progress.command = 0.0
    elif rng.random() < 0.3:
        x, y = (float(value) for value in rng.uniform(-1.2, 1.2, 2))
        robot.world.place_robot(x, y, rng.uniform(-3.14, 3.14))
    objects = table(robot.world)
    kind, colour, shape, _ = choose(rng, objects, in_view(objects[:, 2], objects[:, 3]))
    robot.intent = (kind, colour, shape)
    robot.text = phrase(rng, kind, colour, shape)
    robot.progress.start()
    robot.left -= 1
    robot.began = robot.world.time
    robot.still = 0.0
    robot.chunk = None


def _go(robot: Robot, rows: np.ndarray, model: VLA, rng: np.random.Generator) -> None:
    robot.chunk = go_on(robot.world, robot.chunk, rows, model.config, rng)
    robot.still = robot.still + PERIOD if not rows[:, :2].any() else 0.0


def go_on(
    world: World,
    before: ActionChunk | None,
    rows: np.ndarray,
    config: VLAConfig,
    rng: np.random.Generator,
) -> ActionChunk:
    """The chunk of `rows` (T x C), obeyed until the next image; it arrives a little late, as on a
    real robot; until then the one before is obeyed."""
    seen = world.time
    late = int(rng.integers(1, LATEST + 1)) * OBEY_PERIOD_S
    newest = ActionChunk(
        to_nanoseconds(seen), 1, config.channels, rows, to_nanoseconds(config.step)
    )
    between_images(world, [*([(seen, before)] if before else []), (seen + late, newest)], PERIOD)
    return newest
