"""How a measured number is told to a network that learned it in deviations from its mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# rad, m, m/s, …: what spreads less in training stood still, and its spread is a sensor's noise. It
# stays in its unit, or 0.02 rad beside a noise of 1.6e-6 rad would be told as 12,000 deviations.
# Training takes 0.01 at least by now (training/statistics.py), so this is for older checkpoints,
# and more would change what they are told of a small gripper's finger.
STILL = 1e-3
# deviations; a network that saw 3 of them says anything about 100. What training did see is told as
# it was
MOST = 8.0
# rad, m, …: so much beyond the range of training is said, even of what never moved there
FAR = 0.05
TURN = 2 * math.pi  # what goes beyond is no rad, but degrees or ticks: FAR is as much more


def deviation(std: Any) -> NDArray[np.float64]:
    """What numbers are divided by: their standard deviation (any shape), or 1 where that is a
    sensor's noise."""
    spread = np.asarray(std, np.float64)
    return np.where(spread >= STILL, spread, 1.0)


@dataclass(frozen=True)
class Seen:
    """A number of the state as training saw it, in its unit."""

    name: str
    mean: float
    std: float
    low: float
    high: float

    @classmethod
    def of(cls, name: str, statistics: Mapping[str, Any]) -> Seen:
        """From mean, std and, where they are known, min and max. Raises ValueError for what are no
        such numbers."""
        try:
            mean = float(statistics["mean"])
            std = float(statistics["std"])
            low, high = (
                float(statistics.get("min", mean - 3 * std)),
                float(statistics.get("max", mean + 3 * std)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"the statistics of {name!r} are {statistics!r:.200}, without a number for "
                f"{error}; copy the checkpoint again"
            ) from error
        if not (all(map(math.isfinite, (mean, std, low, high))) and std >= 0 and low <= high):
            raise ValueError(
                f"the statistics of {name!r} have mean {mean:g}, std {std:g}, min {low:g} and max "
                f"{high:g}, which no numbers have; copy the checkpoint again"
            )
        return cls(name, mean, std, low, high)

    def told(self, value: float) -> float:
        """Deviations from the mean: at most MOST either way, or as many as training saw. Raises
        ValueError for a value that is no finite number."""
        if not math.isfinite(value):
            raise ValueError(
                f"the robot's {self.name} is {value}, no finite number; look at what publishes it"
            )
        least, most, one = (
            float((each - self.mean) / deviation(self.std)) for each in (self.low, self.high, value)
        )
        return min(max(one, min(least, -MOST)), max(most, MOST))

    def far(self, value: float) -> str:
        """A sentence where the value lies outside the range of training by more than half of it and
        FAR; else ""."""
        largest = max(abs(self.low), abs(self.high))
        margin = max((self.high - self.low) / 2, FAR * max(1.0, largest / TURN))
        if self.low - margin <= value <= self.high + margin:
            return ""
        return (
            f"the robot's {self.name} is {value:.4g}, far outside what the policy saw in training ("
            f"{self.low:.4g} to {self.high:.4g}), so it may do anything; bring it back, or train "
            "with it there"
        )
