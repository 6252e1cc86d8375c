"""A policy drives many simulated robots at once: the expert labels what *it* met (DAgger).

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
from vla_ros.training.labels import choose, padded, sentence

PERIOD_S = 0.08  # between images
MAX_LATE_COMMANDS = 5  # to the driver, until a chunk is obeyed
LONGEST_INSTRUCTION_S = 22.0
STANDSTILL_S = 0.8  # until the next instruction
# of the instructions; the gripper shut, or the robot somewhere else first
SHUT_SHARE = 0.3
MOVED_SHARE = 0.3


@dataclass
class RolloutWorld:
    """One world with the instruction that it follows."""

    world: World
    progress: Progress = field(default_factory=Progress)
    intent: tuple[int, int, int] = (-1, -1, -1)
    text: str = ""
    began: float = 0.0  # s, the world's time
    still: float = 0.0  # s
    left: int = 0  # instructions until the next scene
    chunk: ActionChunk | None = None


def drive(
    model: VLA, size: tuple[int, int], count: int, seed: int, robots: int = 8, keep: float = 0.5
) -> Frames:
    """`count` images that the policy met while it followed training's instructions.

    Args:
        size: height and width of the images.
        robots: how many drive at once: the model is asked for all of them together.
        keep: share of the images met that is kept.
    """
    rng = np.random.default_rng(seed)
    frames = Frames.empty(count, size)
    fleet = [RolloutWorld(make_world(size)) for _ in range(robots)]
    progress = [robot.progress for robot in fleet]
    index = 0
    while index < count:
        images = []
        texts = []
        for robot in fleet:
            late = robot.world.time - robot.began > LONGEST_INSTRUCTION_S
            if late or robot.still > STANDSTILL_S or not robot.text:
                _instruct(robot, rng)
            place = min(index, count - 1)  # one that is not kept is written over
            _meet(robot, frames, place)
            images.append(frames.images[place].copy())
            texts.append(robot.text)
            index += rng.random() < keep
        output = look(model, images, read(model, texts), progress)
        for robot, rows in zip(fleet, actions(told(output), progress)):
            _go(robot, rows, model, rng)
    for robot in fleet:
        robot.world.close()
    return frames


def _meet(robot: RolloutWorld, frames: Frames, place: int) -> None:
    """Put down what the robot sees, was told and has done by now."""
    progress = robot.progress
    progress.move(robot_state(robot.world))
    shoot(robot.world, frames, place)
    frames.gripper[place] = progress.opening, progress.command or 0.0
    frames.intent[place] = robot.intent
    frames.progress[place] = progress.turned, progress.travelled, progress.carried, progress.side


def read(model: VLA, texts: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Texts -> words, pooled and mask, as `look` wants them."""
    ids, mask = padded(texts)
    with torch.inference_mode():
        return (*model.encode_text(ids, mask), mask)


def _instruct(robot: RolloutWorld, rng: np.random.Generator) -> None:
    """The next instruction; after a few, the next scene.

    Now and then the robot is put somewhere else first, or it would only ever be where the last
    instruction left it.
    """
    if robot.left <= 0:
        scene_for(robot.world, rng)
        robot.progress.command = 1.0
        robot.left = int(rng.integers(1, 5))
        if rng.random() < SHUT_SHARE:
            robot.world.place_gripper(0.0)
            robot.progress.command = 0.0
    elif rng.random() < MOVED_SHARE:
        x, y = rng.uniform(-1.2, 1.2, 2).tolist()  # m, within the room's walls
        robot.world.place_robot(x, y, rng.uniform(-3.14, 3.14))
    objects = table(robot.world)
    kind, colour, shape, _ = choose(rng, objects, in_view(objects[:, 2], objects[:, 3]))
    robot.intent = (kind, colour, shape)
    robot.text = sentence(kind, colour, shape)
    robot.progress.start()
    robot.left -= 1
    robot.began = robot.world.time
    robot.still = 0.0
    robot.chunk = None


def _go(robot: RolloutWorld, rows: np.ndarray, model: VLA, rng: np.random.Generator) -> None:
    robot.chunk = go_on(robot.world, robot.chunk, rows, model.config, rng)
    robot.still = robot.still + PERIOD_S if not rows[:, :2].any() else 0.0


def go_on(
    world: World,
    before: ActionChunk | None,
    rows: np.ndarray,
    config: VLAConfig,
    rng: np.random.Generator,
) -> ActionChunk:
    """Obey the chunk of `rows` (T x C) until the next image, and return it.

    It arrives a little late, as on a real robot; until then the one `before` is obeyed.
    """
    seen = world.time
    late = int(rng.integers(1, MAX_LATE_COMMANDS + 1)) * OBEY_PERIOD_S  # s
    newest = ActionChunk(
        to_nanoseconds(seen), 1, config.channels, rows, to_nanoseconds(config.step)
    )
    due = [(seen + late, newest)]  # by when they arrive
    if before is not None:
        due.insert(0, (seen, before))
    between_images(world, due, PERIOD_S)
    return newest
