"""Small demonstrations to write and to break: pictures that tell episode and frame apart."""
from pathlib import Path

import numpy as np

from vla_ros.training.lerobot_layout import DatasetSpec
from vla_ros.training.lerobot_write import DatasetWriter

SPEC = DatasetSpec(10, {"front": (64, 96), "wrist": (48, 48)}, ("linear.x", "angular.z", "gripper_joint"),
                   ("linear.x", "angular.z"), {"odom": ("odom.x", "odom.y", "odom.yaw")}, "sim")
LENGTHS = (7, 4, 9)
TASKS = ("go to the red block", "turn left", "go to the red block")


def picture(episode, frame, size):
    """Waves that move on with the frame, of a brightness that says the episode; H x W x 3."""
    rows, columns = np.mgrid[:size[0], :size[1]]
    wave = 50 * np.sin(2 * np.pi * (columns + 8 * frame) / 48) + 40 * np.cos(2 * np.pi * rows / 48)
    return (wave[..., None] + 100 + [10 * episode, 20 * episode, 30 * episode]).astype(np.uint8)


def pictures(episode, frame, spec=SPEC):
    return {name: picture(episode, frame, size) for name, size in spec.cameras.items()}


def state(episode, frame):
    return {"linear.x": 0.1 * frame, "angular.z": -0.2 * episode, "gripper_joint": 0.05, "odom.x": 1.0 * episode,
            "odom.y": 0.1 * frame, "odom.yaw": 0.0}


def action(episode, frame):
    return {"linear.x": 0.01 * frame, "angular.z": 0.5 - episode}


def write(folder: Path, spec=SPEC, lengths=LENGTHS, tasks=TASKS, **options) -> Path:
    with DatasetWriter(folder, spec, **options) as writer:
        for episode, (length, task) in enumerate(zip(lengths, tasks)):
            for frame in range(length):
                writer.add_frame(pictures(episode, frame, spec), state(episode, frame), action(episode, frame))
            writer.save_episode(task, success=True if episode else None, generation=episode + 5)
    return folder
