"""What a model is made of: one dataclass that rejects what does not fit together."""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vla_ros.models import FUSION, HEADS, LANGUAGE, VISION


@dataclass(frozen=True)
class VLAConfig:
    """The parts by name, their options, and what the model sees, is told and drives.

    `width` is D, the width at which vision and language meet. `low` and `high` bound each channel (SI units); rows of a
    chunk are `step` seconds apart. `state` names the numbers beside the picture, in order. `auxiliary` adds the heads that
    only training asks (objects in cells, where the target is, which task).
    """

    vision: str = "small"
    language: str = "small"
    fusion: str = "grounded"
    head: str = "decoder"
    width: int = 96
    image_size: tuple[int, int] = (120, 160)  # H, W pixels
    channels: tuple[str, ...] = ("linear.x", "angular.z", "gripper")
    low: tuple[float, ...] = (-0.5, -0.5, 0.0)
    high: tuple[float, ...] = (0.5, 0.5, 1.0)
    steps: int = 8
    step: float = 0.1  # s
    state: tuple[str, ...] = ()
    auxiliary: bool = False
    vision_options: Mapping[str, Any] = field(default_factory=dict)
    language_options: Mapping[str, Any] = field(default_factory=dict)
    fusion_options: Mapping[str, Any] = field(default_factory=dict)
    head_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, registry in (("vision", VISION), ("language", LANGUAGE), ("fusion", FUSION), ("head", HEADS)):
            if getattr(self, name) not in registry:
                raise ValueError(f"{name} is {getattr(self, name)!r}; known are: {', '.join(sorted(registry))}")
        if not len(self.channels) == len(self.low) == len(self.high) or not self.channels:
            raise ValueError(f"{len(self.channels)} channels, {len(self.low)} lows and {len(self.high)} highs do not fit; "
                             "give one low and one high for each channel, at least one")
        for channel, low, high in zip(self.channels, self.low, self.high):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"channel {channel} has low {low} and high {high}; give finite bounds, low below high")
        for name in ("width", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1")
        if not 0 < self.step <= 10:
            raise ValueError(f"step is {self.step} s; give more than 0 and at most 10")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VLAConfig:
        """From what `to_dict` gave, also by way of JSON. Raises ValueError for a name that is not a field."""
        known = {one.name for one in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"the config has {unknown[0]!r}, which is no field; fields are: {', '.join(sorted(known))}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
