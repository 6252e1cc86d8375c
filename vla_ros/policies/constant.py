"""`constant`: the same values for every observation; for bring-up and for measuring the pipeline."""
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vla_ros.core.types import ActionChunk, Observation, to_nanoseconds
from vla_ros.policies.base import PolicySpec


class Constant:
    """Options: `values` ({channel: value}, default linear.x and angular.z at 0), `image_size`."""

    name = "constant"

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        values = options.get("values", {"linear.x": 0.0, "angular.z": 0.0})
        for channel, value in values.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"policy 'constant': values.{channel} is {value!r}; give a finite number")
        height, width = options.get("image_size", (224, 224))
        return PolicySpec(tuple(values), steps=1, step=to_nanoseconds(0.1), image_size=(height, width))

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._spec = self.spec(options)
        values = options.get("values", dict.fromkeys(self._spec.channels, 0.0))
        self._row = np.array([[values[channel] for channel in self._spec.channels]], np.float32)

    def predict(self, observation: Observation) -> ActionChunk:
        return ActionChunk(observation.stamp, observation.command.generation, self._spec.channels,
                           self._row.copy(), self._spec.step, policy=self.name)

    def reset(self) -> None:
        """Nothing to forget."""
