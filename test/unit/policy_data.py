"""Datasets to check policies with: an SO-101 that moves blocks, its numbers and its images, made by numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vla_ros.core.policy_file import PolicyFile, PolicyNumber, write_policy_file
from vla_ros.core.robot import Robot, load_robot
from vla_ros.policies import file_spec
from vla_ros.policies.base import PolicySpec
from vla_ros.policies.training_data import RecordedImages, TrainingData

CONFIG = Path(__file__).parents[2] / "config"
ARM = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
NAMES = (*ARM, "gripper")
# deg. Elbow and wrist go through the same angles: their ranges do not tell them apart.
RANGES = {
    "shoulder_pan": (-60.0, 45.0),
    "shoulder_lift": (-80.0, 20.0),
    "elbow_flex": (-70.0, 70.0),
    "wrist_flex": (-70.0, 70.0),
    "wrist_roll": (-100.0, 60.0),
}
FPS = 30
LENGTH = 180  # frames of an episode
SIZE = (48, 64)


def smooth(random: np.random.Generator, low: float, high: float, length: int, points: int = 5) -> np.ndarray:
    """A way through random places, from rest to rest at each."""
    places = random.uniform(low, high, points)
    share = np.linspace(0.0, points - 1 - 1e-9, length)
    part = share % 1.0
    step = part**3 * (10.0 - 15.0 * part + 6.0 * part**2)
    index = share.astype(int)
    return places[index] + step * (places[index + 1] - places[index])


def lagging(command: np.ndarray, frames: float = 3.0) -> np.ndarray:
    """What a drive makes of it: it is behind by so many frames."""
    state = np.empty_like(command)
    now = command[0]
    for index, wanted in enumerate(command):
        now += (wanted - now) / frames
        state[index] = now
    return state


def numbers(episodes: int = 6, seed: int = 0, held: bool = True) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """State and actions, deg and 0 to 100; `held`: whether the gripper holds a block in each episode."""
    random = np.random.default_rng(seed)
    state: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    actions: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    for _ in range(episodes):
        for name, (low, high) in RANGES.items():
            command = smooth(random, low, high, LENGTH)
            actions[name].append(command)
            state[name].append(lagging(command) + random.normal(0.0, 0.1, LENGTH))
        grip = np.full(LENGTH, 85.0)
        grip[70:140] = 4.0
        place = lagging(grip, 4.0)
        if held:
            place = np.maximum(place, np.where(np.arange(LENGTH) < 140, 30.0, 0.0))  # the block's width
        actions["gripper"].append(grip)
        state["gripper"].append(place + random.normal(0.0, 0.2, LENGTH))
    joined = [{name: np.concatenate(parts) for name, parts in values.items()} for values in (state, actions)]
    return joined[0], joined[1]


def scene(random: np.random.Generator, moment: float) -> np.ndarray:
    """A wooden table before a wall with a window, an arm somewhere over it, and a block; SIZE x 3, rgb8."""
    height, width = SIZE
    rows, columns = np.mgrid[:height, :width]
    image = np.empty((*SIZE, 3))
    image[:] = (150.0, 110.0, 70.0)  # wood
    image[: height // 3] = (120.0, 125.0, 130.0)  # the wall
    image[2 : height // 4, 6:18] = (235.0, 240.0, 250.0)  # the window
    image[height // 2 :, 50:58] = (60.0, 45.0, 30.0)  # a box's edge
    image += 12.0 * np.sin(columns / 3.0)[..., None]
    arm = np.hypot(rows - 30.0, columns - (20.0 + 24.0 * moment)) < 7.0
    image[arm] = (40.0, 40.0, 45.0)
    row, column = random.integers(28, 40), random.integers(10, 44)
    image[row : row + 5, column : column + 5] = random.choice([(200.0, 40.0, 40.0), (40.0, 60.0, 200.0)])
    image += random.normal(0.0, 3.0, image.shape) + random.uniform(-6.0, 6.0)
    return np.clip(image, 0, 255).astype(np.uint8)


def images(episodes: int = 6, seed: int = 0) -> RecordedImages:
    random = np.random.default_rng(seed)
    taken = [scene(random, moment) for _ in range(episodes) for moment in (0.0, 0.5, 1.0)]
    return RecordedImages(taken, np.repeat(np.arange(episodes), 3), SIZE)


def dataset(
    state: Mapping[str, np.ndarray], actions: Mapping[str, np.ndarray], fps: float = FPS, **changes: Any
) -> TrainingData:
    frames = len(next(iter(actions.values())))
    data = TrainingData(
        "so101_pick", fps, np.arange(0, frames, LENGTH), dict(state), tuple(state), dict(actions), {"front": images()}
    )
    return replace(data, **changes)


def so101() -> Robot:
    """As its file; this one's gate lets it move as fast as the demonstrations."""
    robot = load_robot(CONFIG / "robots" / "so101.yaml")
    return replace(robot, channels=tuple(replace(channel, max_speed=4.0) for channel in robot.channels))


def policy(rate: float = float(FPS), horizon: int = 15, **options: Any) -> PolicyFile:
    """A policy on a server that fits so101.yaml and `dataset`: degrees, and a gripper from 0 to 100."""
    given = {
        "url": "ws://localhost:8000",
        "images": {"observation/front": "front"},
        "image_size": list(SIZE),
        "state": {"observation/state": list(NAMES)},
        "actions": list(NAMES),
        "units": dict.fromkeys(ARM, "deg"),
        **options,
    }
    return PolicyFile("remote", given, state=gripper(), actions=gripper(), rate=rate, horizon=horizon)


def spec_of(file: PolicyFile) -> PolicySpec:
    return file_spec(file)


def gripper(closed: float = 0.0, opened: float = 100.0) -> tuple[PolicyNumber, ...]:
    return (PolicyNumber("gripper", "gripper", closed=closed, open=opened),)


def write_policy(path: Path, file: PolicyFile) -> str:
    """The policy file of `policy`, on the disk. Returns its path."""
    ends = {"closed": 0, "open": 100}
    state = [{"name": "gripper", "from": "gripper", **ends}]
    actions = [{"name": "gripper", "to": "gripper", **ends}]
    keys = {"options": dict(file.options), "rate": file.rate, "horizon": file.horizon}
    return write_policy_file(path, file.policy, **keys, state=state, actions=actions)


def write(folder: Path, episodes: int = 3) -> Path:
    """The same as a LeRobot dataset on the disk."""
    from vla_ros.datasets.lerobot.layout import DatasetSpec
    from vla_ros.datasets.lerobot.write import DatasetWriter

    state, actions = numbers(episodes)
    random = np.random.default_rng(4)
    with DatasetWriter(folder, DatasetSpec(FPS, {"front": SIZE}, NAMES, NAMES, {}, "so101")) as writer:
        for episode in range(episodes):
            shown = [scene(random, moment) for moment in (0.0, 0.5, 1.0)]
            for frame in range(LENGTH):
                place = episode * LENGTH + frame
                now = {name: float(values[place]) for name, values in state.items()}
                next_ = {name: float(values[place]) for name, values in actions.items()}
                writer.add_frame({"front": shown[round(2 * frame / (LENGTH - 1))]}, now, next_)
            writer.save_episode("put the block into the box")
    return folder
