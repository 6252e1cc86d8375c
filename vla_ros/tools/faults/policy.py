"""A policy that turns the robot well until it is told to break, and the inference node that runs it.

Run as a module in place of vla_ros.nodes.inference; the runtime's own registry does not know it. "spin" is good work.
"break KIND after S" is S seconds of good work, then the fault; KIND is a line in BREAKS.
"""
from __future__ import annotations

import math
import re
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vla_ros.core.types import ActionChunk, Observation, to_nanoseconds
from vla_ros.nodes import inference
from vla_ros.policies import POLICIES
from vla_ros.policies.base import PolicySpec
from vla_ros.tools.faults.robot import note

CHANNELS = ("linear.x", "angular.z")
ROOM = 256 << 20  # bytes that the process may still take when its memory "is full"


def hang(good: ActionChunk) -> ActionChunk:
    while True:
        time.sleep(3600.0)


def error(good: ActionChunk) -> ActionChunk:
    raise RuntimeError("the policy broke on purpose")


def memory(good: ActionChunk) -> ActionChunk:
    """As a model does that leaks: takes all there is. The limit protects the machine, not the process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    hoard = []
    while True:
        hoard.append(np.ones(1 << 20, np.uint8))


def values(row: Any, channels: tuple[str, ...] = CHANNELS) -> Callable[[ActionChunk], ActionChunk]:
    return lambda good: replace(good, values=np.array(row, np.float32), channels=channels)


BREAKS: dict[str, Callable[[ActionChunk], Any]] = {
    "hang": hang,
    "error": error,
    "memory": memory,
    "nothing": lambda good: None,
    "flat": values([0.0, 0.5]),
    "columns": values([[0.0, 0.5, 0.5]]),
    "rows": values(np.zeros((0, 2))),
    "channels": values([[0.0, 0.5]], ("linear.x", "wings")),
    "twice": values([[0.0, 0.5]], ("angular.z", "angular.z")),
    "nan": values([[0.0, math.nan]]),
    "infinity": values([[0.0, math.inf]]),
    "huge": values([[0.0, 1e30]]),
}


class Broken:
    name = "broken"

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        return PolicySpec(CHANNELS, 1, to_nanoseconds(0.1), (224, 224))

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._generation = -1
        self._since = 0.0
        self._noted = False

    def reset(self) -> None:
        """Helps nothing: what is broken stays broken until the next instruction."""

    def predict(self, observation: Observation) -> Any:
        # Just under the operating limit of 0.5 rad/s, and never the same twice
        turn = 0.48 + 0.015 * math.sin(observation.stamp / 1e9)
        good = ActionChunk(observation.stamp, observation.command.generation, CHANNELS,
                           np.array([[0.0, turn]], np.float32), to_nanoseconds(0.1))
        if observation.command.generation != self._generation:
            self._generation, self._since, self._noted = observation.command.generation, time.monotonic(), False
        found = re.fullmatch(r"break (\w+) after ([\d.]+)", observation.command.text)
        if found is None or time.monotonic() - self._since < float(found[2]):
            if found is None and observation.command.text != "spin":
                raise ValueError(f"'{observation.command.text}' is not known; say 'spin'")
            return good
        if not self._noted:
            self._noted = True
            note("policy")
        return BREAKS[found[1]](good)


def main() -> None:
    POLICIES["broken"] = "vla_ros.tools.faults.policy:Broken"
    inference.main()


if __name__ == "__main__":
    main()
