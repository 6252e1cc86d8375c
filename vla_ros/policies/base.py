"""What a policy is, and what it asks of the nodes around it."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vla_ros.core.types import ActionChunk, Observation


@dataclass(frozen=True)
class PolicySpec:
    """What a policy wants: the nodes fit themselves to it.

    `image_size` is (height, width) in pixels; `resize` is `pad` (letterbox), `crop` (centre) or
    `stretch`. `steps` rows come `step` nanoseconds apart, one value for each of `channels`.
    """

    channels: tuple[str, ...]
    steps: int
    step: int
    image_size: tuple[int, int]
    resize: str = "pad"


class Policy(Protocol):
    """`predict` and `reset`; plain numpy in and out. `name` is the name and a hash of the content."""

    name: str

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec: ...

    def __init__(self, options: Mapping[str, Any]) -> None: ...

    def predict(self, observation: Observation) -> ActionChunk:
        """The next actions. May raise ValueError for words that it does not understand."""
        ...

    def reset(self) -> None:
        """Forget everything about the current instruction."""
        ...
