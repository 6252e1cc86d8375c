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
# Training takes 0.01 at least by now (datasets/statistics.py), so this is for older checkpoints,
# and more would change what they are told of a small gripper's finger.
STILL_SPREAD = 1e-3
# A network that saw 3 deviations says anything about 100. What training did see is told as it was.
MAX_DEVIATIONS = 8.0
# rad, m, …: so much beyond the range of training is reported, even of what never moved there.
FAR_MARGIN = 0.05
TURN_RAD = 2 * math.pi  # what goes beyond is no rad, but degrees or ticks: the margin grows with it


def deviation(std: Any) -> NDArray[np.float64]:
    """What numbers are divided by: their standard deviation (any shape).

    It is 1 where that is a sensor's noise.
    """
    spread = np.asarray(std, np.float64)
    return np.where(spread >= STILL_SPREAD, spread, 1.0)


@dataclass(frozen=True)
class StateRange:
    """A number of the state as training saw it, in its unit."""

    name: str
    mean: float
    std: float
    low: float
    high: float

    @classmethod
    def of(cls, name: str, statistics: Mapping[str, Any]) -> StateRange:
        """From mean, std and, where they are known, min and max.

        Raises:
            ValueError: they are no such numbers.
        """
        try:
            mean = float(statistics["mean"])
            std = float(statistics["std"])
            # Where no range is known: three deviations hold nearly all of what is normal.
            low = float(statistics.get("min", mean - 3 * std))
            high = float(statistics.get("max", mean + 3 * std))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"the statistics of {name!r} are {statistics!r:.200}, without a number for "
                f"{error}; copy the checkpoint again"
            ) from error
        finite = all(map(math.isfinite, (mean, std, low, high)))
        if not (finite and std >= 0 and low <= high):
            raise ValueError(
                f"the statistics of {name!r} have mean {mean:g}, std {std:g}, min {low:g} and max "
                f"{high:g}, which no numbers have; copy the checkpoint again"
            )
        return cls(name, mean, std, low, high)

    def told(self, value: float) -> float:
        """Deviations from the mean: at most MAX_DEVIATIONS either way, or as many as training saw.

        Raises:
            ValueError: `value`, in the number's unit, is not finite.
        """
        if not math.isfinite(value):
            raise ValueError(
                f"the robot's {self.name} is {value}, no finite number; look at what publishes it"
            )
        unit = float(deviation(self.std))
        least = min((self.low - self.mean) / unit, -MAX_DEVIATIONS)
        most = max((self.high - self.mean) / unit, MAX_DEVIATIONS)
        return min(max((value - self.mean) / unit, least), most)

    def far(self, value: float) -> str:
        """A sentence where the value lies far outside the range of training; else "".

        Far is more than half of that range, and more than FAR_MARGIN.
        """
        largest = max(abs(self.low), abs(self.high))
        margin = max((self.high - self.low) / 2, FAR_MARGIN * max(1.0, largest / TURN_RAD))
        if self.low - margin <= value <= self.high + margin:
            return ""
        return (
            f"the robot's {self.name} is {value:.4g}, far outside what the policy saw in training ("
            f"{self.low:.4g} to {self.high:.4g}), so it may do anything; bring it back, or train "
            "with it there"
        )
