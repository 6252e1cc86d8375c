"""`constant`: the same values for every observation.

For bring-up and for measuring the pipeline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vla_ros.core.shown import shown
from vla_ros.core.types import Observation, to_nanoseconds
from vla_ros.policies.base import PolicySpec, Rows
from vla_ros.policies.options import check_options


def parse_target(text: str) -> dict[str, float]:
    """Channel -> value of a text like "joint_1=0.1, joint_2=-1.2"; none of an empty one.

    Raises:
        ValueError: what is no such text.
    """
    target: dict[str, float] = {}
    for entry in text.split(",") if text.strip() else ():
        channel, equals, value = (part.strip() for part in entry.partition("="))
        try:
            target[channel] = float(value)
        except ValueError:
            equals = ""
        if not channel or not equals or not math.isfinite(target[channel]):
            raise ValueError(
                f"target has {shown(entry.strip())}; give channel=value, a finite number"
            )
    return target


class Constant:
    """Options: `values` ({channel: value}, default linear.x and angular.z at 0).

    It looks at nothing: the image that it asks for goes through the pipeline, of whatever size the
    policy file says. Other values for some channels may be given while it runs (`aim`).
    """

    name = "constant"  # without a hash: its values are in every row

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec:
        """Its channels are those of `values`. Raises ValueError for what are no finite numbers."""
        check_options("constant", options, ("values",))
        values = options.get("values", {"linear.x": 0.0, "angular.z": 0.0})
        if not isinstance(values, Mapping):
            raise ValueError(
                f"policy 'constant': values is {shown(values)}; give a mapping of channel: value"
            )
        for channel, value in values.items():
            # true and false are numbers to Python, and a slip here
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise ValueError(
                    f"policy 'constant': values.{channel} is {value!r}; give a finite number"
                )
        return PolicySpec(
            tuple(values),
            steps=1,
            step=to_nanoseconds(0.1),  # a single row: nothing follows it
            images={"camera": (224, 224)},
            any_size=True,
        )

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._spec = self.spec(options)
        self._values = options.get("values", dict.fromkeys(self._spec.channels, 0.0))
        self.aim({})

    def aim(self, target: Mapping[str, float]) -> None:
        """Other values from now on for the channels in `target`; its own for the others."""
        values = {**self._values, **target}
        row = [values[channel] for channel in self._spec.channels]
        self._row = np.array([row], np.float32)  # 1 x C; replaced whole: another thread may predict

    def predict(self, observation: Observation) -> Rows:
        """The values, 1 x C."""
        return self._row

    def reset(self) -> None:
        """Nothing to forget."""
