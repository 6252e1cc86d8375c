"""What every protocol does with numbers: the robot's on their way out, rows on their way in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.types import Observation


def state_array(observation: Observation, names: Sequence[str]) -> NDArray[np.float32]:
    """The robot's numbers of these names, float32."""
    return np.array([observation.state[name] for name in names], np.float32)


def moments_of(observation: Observation) -> tuple[Observation, ...]:
    """Its history and itself, oldest first."""
    return (*observation.history, observation)


def joined(arrays: Sequence[NDArray[np.floating]], server: str) -> NDArray[np.floating]:
    """Arrays of rows side by side, T x all their columns.

    Raises RuntimeError where they have different lengths; `server` begins the sentence.
    """
    if len(set(map(len, arrays))) > 1:
        raise RuntimeError(f"{server} gave actions of different lengths")
    return np.concatenate(arrays, axis=1)
