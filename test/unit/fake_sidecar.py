"""Stands for LeRobot's Python in the tests: announces itself as the sidecar does, and answers, or fails, as told.

fake_sidecar.py BEHAVIOUR FOLDER -I SCRIPT REQUEST; FOLDER holds what should outlive it: how often it was started.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from vla_ros.bench.faults.faulty_sidecar import IMAGE_SIZE as SIZE
from vla_ros.bench.faults.faulty_sidecar import write_checkpoint, write_environment
from vla_ros.core.types import Observation
from vla_ros.policies.lerobot import sidecar_main
from vla_ros.policies.lerobot.policy import LeRobot
from vla_ros.policies.remote.server import PolicyServer


def checkpoint(place: Path, **changes: Any) -> Path:
    """One that sees two moments and a state."""
    features = {
        "observation.images.front": {"type": "VISUAL", "shape": [3, *SIZE]},
        "observation.state": {"type": "STATE", "shape": [2]},
    }
    two = {"n_obs_steps": 2, "horizon": 16, "n_action_steps": 4, "input_features": features}
    return write_checkpoint(place, **{**two, **changes})


def fake_environment(place: Path, behaviour: str) -> Path:
    """A folder like LeRobot's environment, whose Python runs the fake."""
    return write_environment(place, f"{sys.executable} {__file__} {behaviour} {place}")


class Fake:
    """Rows of its resets, and of what it is told of its first number; the second question shows the behaviour."""

    name = "lerobot fake@12345678"

    def __init__(self, behaviour: str, starts: int, spec: Any) -> None:
        self.behaviour = behaviour if starts == 1 else "good"
        self.spec = spec
        self.resets = -1  # the server's own, with its first instruction
        self.asked = 0
        self.metadata = {"type": "diffusion", "starts": starts}

    def reset(self) -> None:
        self.resets += 1

    def predict(self, observation: Observation) -> Any:
        self.asked += 1
        width = len(self.spec.channels)
        rows = np.full((self.spec.steps, width), float(self.resets))
        rows[:, 1] = [next(iter(moment.state.values())) for moment in (*observation.history, observation, observation, observation)]
        if self.asked < 2:
            return rows
        if self.behaviour == "dies":
            os._exit(3)
        if self.behaviour == "hangs":
            time.sleep(60.0)
        if self.behaviour == "late" and self.asked == 2:
            time.sleep(0.6)
            return rows + 100.0
        if self.behaviour == "fails":
            raise RuntimeError("the policy says no")
        if self.behaviour == "short":
            return rows[:1]
        if self.behaviour == "wide":
            return np.zeros((self.spec.steps, width + 1))
        if self.behaviour == "nan":
            return rows * np.nan
        return rows


def main() -> None:
    behaviour, folder, request = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[5])
    count = folder / "starts"
    starts = int(count.read_text()) + 1 if count.exists() else 1
    count.write_text(str(starts))
    sidecar_main.end_with(request["parent"])
    if behaviour == "silent":
        time.sleep(60.0)
    if behaviour == "crashes":
        raise SystemExit(3)
    if behaviour == "problem":
        print(json.dumps({"problem": "the weights are upside down; turn them"}), flush=True)
        raise SystemExit(2)
    if behaviour == "babbles":
        print("Loading weights", flush=True)
        time.sleep(60.0)
    spec = LeRobot.spec(request["options"])
    key = os.environ[request["key"]]
    server = PolicyServer(Fake(behaviour, starts, spec), spec, "127.0.0.1", 0, key, lambda text: None)
    print(json.dumps({"port": server.port}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
