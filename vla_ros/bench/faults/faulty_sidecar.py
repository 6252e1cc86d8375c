"""Stands for LeRobot's process beside the policy `lerobot`: turns a base well, breaks as told.

"host KIND after S" is S seconds of good answers, then the fault; KIND is a key of BREAKS. The
checkpoint has no weights, and the environment's Python runs this module in place of LeRobot.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_ros.bench.faults.faulty_server import (
    CHANNELS,
    RATE_HZ,
    ROWS,
    TIMEOUT_S,
    BreakingPoint,
    good_rows,
)
from vla_ros.core.types import Observation
from vla_ros.policies.base import PolicySpec, Rows
from vla_ros.policies.lerobot import sidecar_main
from vla_ros.policies.lerobot.environment import MODULES
from vla_ros.policies.lerobot.policy import LeRobot
from vla_ros.policies.remote.server import PolicyServer

IMAGE_SIZE = (8, 12)  # height, width: as little as there can be
HANG_S = 3600.0


def write_checkpoint(place: Path, **changes: Any) -> Path:
    """A folder as LeRobot leaves it, but for its weights, which no stand-in reads."""
    place.mkdir()
    config = {
        "type": "diffusion",
        "n_obs_steps": 1,
        "horizon": ROWS,
        "n_action_steps": ROWS,
        "input_features": {
            "observation.images.front": {"type": "VISUAL", "shape": [3, *IMAGE_SIZE]},
        },
        "output_features": {"action": {"type": "ACTION", "shape": [len(CHANNELS)]}},
        **changes,
    }
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (place / "model.safetensors").write_bytes(b"")
    for file in ("policy_preprocessor.json", "policy_postprocessor.json"):
        steps = {"name": "p", "steps": [{"registry_name": "device_processor"}]}
        (place / file).write_text(json.dumps(steps), encoding="utf-8")
    return place


def write_environment(place: Path, command: str) -> Path:
    """A folder like LeRobot's environment, whose Python is `command`, a line of sh."""
    for module in MODULES:
        package = place / "lib" / "python3.12" / "site-packages" / module
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
    python = place / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return place


def prepare(folder: Path) -> None:
    """What the policy `lerobot` needs, into the faults' folder."""
    write_checkpoint(folder / "checkpoint")
    write_environment(folder / "lerobot", f"{sys.executable} -m {__name__}")


def policy_options(folder: Path) -> Mapping[str, Any]:
    """What the policy `lerobot` must be told to start this."""
    return {
        "checkpoint": str(folder / "checkpoint"),
        "actions": list(CHANNELS),
        "rate": RATE_HZ,
        "sidecar": {"env": str(folder / "lerobot"), "timeout": TIMEOUT_S},
    }


class FaultyPolicy:
    """Answers well until the words say otherwise."""

    name = "lerobot stand-in@0"

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        return LeRobot.spec(options)

    def __init__(self) -> None:
        self._breaks = BreakingPoint("host")

    def predict(self, observation: Observation) -> Rows:
        kind = self._breaks.due(observation.instruction.text)
        if kind:
            BREAKS[kind]()
        return good_rows()

    def reset(self) -> None:
        """It remembers nothing."""


def die() -> None:
    """As of a segmentation fault in a driver; who watches it starts it again."""
    os._exit(1)


def hang() -> None:
    """Never answers, and does not hang up."""
    time.sleep(HANG_S)


BREAKS = {"dead": die, "hang": hang}


def main() -> None:
    """Called as LeRobot's Python is: -I SCRIPT REQUEST."""
    request = json.loads(sys.argv[-1])
    sidecar_main.end_with(request["parent"])
    spec = FaultyPolicy.spec(request["options"])
    key = os.environ[request["key"]]
    server = PolicyServer(FaultyPolicy(), spec, "127.0.0.1", 0, key, lambda text: None)
    print(json.dumps({"port": server.port}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
