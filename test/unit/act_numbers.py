"""Weights, statistics and observations of a made-up ACT: the same wherever they are made, from their names alone.

LeRobot's environment fills its network with them (lerobot_act.py), and our tests fill ours.
"""

import zlib

import numpy as np

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
CAMERAS = ("front", "wrist")
SIZE = (48, 64)  # pixels, height and width
ROWS = 12
OBSERVATIONS = 3


def _generator(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


def weight(name, shape):
    """Of a parameter or buffer, by LeRobot's name of it; of a size that keeps a deep network's numbers near 1."""
    values = _generator(name).standard_normal(shape)
    if name.endswith("running_var"):
        return np.float32(0.5 + np.abs(values))
    fan = max(1, int(np.prod(shape[1:])))
    scale = 0.3 if len(shape) < 2 else (1.0 / fan) ** 0.5
    if "pos_embed" in name:
        scale = 2.0  # where a row is in the chunk must count, or all rows would be nearly the same
    around = 1.0 if len(shape) == 1 and name.endswith("weight") else 0.0
    return np.float32(around + scale * values)


def statistics():
    """Feature -> statistic -> array, as LeRobot's datasets have them."""
    found = {}
    for name in ("observation.state", "action"):
        generator = _generator(name)
        mean, std = 20.0 * generator.standard_normal(6), 5.0 + 10.0 * generator.random(6)
        found[name] = {"mean": mean, "std": std, "min": mean - 3.0 * std, "max": mean + 3.0 * std}
    for camera in CAMERAS:
        mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        flat = {"mean": mean, "std": std, "min": np.zeros(3), "max": np.ones(3)}
        found[f"observation.images.{camera}"] = {key: value[:, None, None] for key, value in flat.items()}
    return {name: {key: np.float32(value) for key, value in entry.items()} for name, entry in found.items()}


def observation(index):
    """Images (camera -> height x width x 3, uint8) and joints, deg."""
    generator = _generator(f"observation {index}")
    images = {camera: generator.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for camera in CAMERAS}
    return images, np.float32(30.0 * generator.standard_normal(6))
