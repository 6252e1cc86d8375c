"""Robot files for the tests: the simulated robot's, with other cameras or another state."""
from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml

SIM = Path(__file__).parents[2] / "config" / "robots" / "sim.yaml"
EYE = {"camera": {"topic": "image"}}
JPEG = {"camera": {"topic": "image/compressed", "transport": "compressed"}}
TWO = {"front": {"topic": "front/image"}, "wrist": {"topic": "wrist/image"}}


def robot_file(**parts: Any) -> str:
    """The path of sim.yaml with `parts` in place of its own; its only camera is on `image`. None: the part is left out."""
    data = {**yaml.safe_load(SIM.read_text(encoding="utf-8")), "cameras": EYE, **parts}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix="robot_", delete=False) as file:
        yaml.safe_dump({key: value for key, value in data.items() if value is not None}, file, sort_keys=False)
    return file.name
