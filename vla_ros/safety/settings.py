"""The gate's own limits. Each is declared once, as a `Limit`, beside the rule that keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vla_ros.core.parameters import Parameter
from vla_ros.core.types import to_nanoseconds


@dataclass(frozen=True)
class Limit(Parameter):
    """A number that a rule compares with: a parameter of the gate's node, in `unit`.

    Attributes:
        stricter: whether less or more of it allows the robot less; a looser value is refused while
            the gate is armed.
        zero_is_off: 0 switches the limit off, and is the loosest value.
    """

    default: float
    live: bool = True
    stricter: Literal["less", "more"] = "less"
    zero_is_off: bool = False

    def __post_init__(self) -> None:
        self.check(self.default)
        if self.stricter not in ("less", "more"):
            raise ValueError(
                f"parameter '{self.name}': stricter is '{self.stricter}'; use less or more"
            )

    def looseness(self, value: float) -> float:
        """A number that is larger where `value` allows more."""
        if self.zero_is_off and value == 0.0:
            return math.inf
        return value if self.stricter == "less" else -value


MAX_FUTURE = Limit(
    "max_future",
    0.05,
    "an action whose image is further ahead of the clock is held, and so is what a sensor says",
    "s",
    0.0,
    1.0,
)


@dataclass(frozen=True)
class Settings:
    """What the gate was configured with: `settings[MAX_TILT]`, or `settings.ns(MAX_AGE)`.

    Attributes:
        period: between two ticks, ns.
        sources: name -> the longest silence of a node or topic, ns.
        policy_sources: those of `sources` that only the policy's motion rests on.
        lost: name -> the silence after which a person has to give the instruction again, ns.
        limits: a limit's name -> its value, in its unit; one that is missing has its default.
    """

    period: int = 20_000_000
    sources: Mapping[str, int] = field(default_factory=dict)
    policy_sources: frozenset[str] = frozenset()
    lost: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    # No part of what the settings are, so neither compared nor shown.
    _ns: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getitem__(self, limit: Limit) -> float:
        return self.limits.get(limit.name, limit.default)

    def ns(self, limit: Limit) -> int:
        """A limit that is given in seconds, in nanoseconds."""
        if limit.name not in self._ns:  # made once: the gate asks a thousand times a second
            self._ns[limit.name] = to_nanoseconds(self[limit])
        return self._ns[limit.name]
