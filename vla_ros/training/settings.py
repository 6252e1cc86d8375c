"""The numbers of a training."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

PRECISIONS = ("no", "bf16", "fp16")


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW with warm-up, and a cosine from `learning_rate` down to `floor` times it at `steps`.

    Attributes:
        warmup: steps.
        clip: the norm that gradients are clipped to.
        precision: one of PRECISIONS.
        accumulate: batches that make a step.
        average: decay of the weights' moving average (0: none).
        ahead: batches that a thread makes before they are needed (0: none, for batches that depend
            on the weights).
    """

    steps: int
    learning_rate: float = 1e-4
    warmup: int = 100
    floor: float = 0.02
    weight_decay: float = 1e-4
    clip: float = 1.0
    precision: str = "no"
    accumulate: int = 1
    average: float = 0.0
    seed: int = 0
    log_every: int = 100
    checkpoint_every: int = 500
    evaluate_every: int = 0  # 0: at the end alone
    ahead: int = 3

    def __post_init__(self) -> None:
        for name, least in (
            ("steps", 1),
            ("accumulate", 1),
            ("log_every", 1),
            ("checkpoint_every", 1),
            ("warmup", 0),
            ("evaluate_every", 0),
            ("ahead", 0),
            ("seed", 0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}; give a whole number from {least} up")
        for name, low, high in (("learning_rate", 0.0, 1.0), ("clip", 0.0, math.inf)):
            if not low < getattr(self, name) <= high:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; give more than {low:g} and at most {high:g}"
                )
        for name in ("floor", "weight_decay", "average"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; give 0 or more, below 1")
        if self.checkpoint_every % self.log_every:  # what is kept has been looked at
            raise ValueError(
                f"checkpoint_every is {self.checkpoint_every}, and log_every {self.log_every}; "
                "give a multiple of it"
            )
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}; it is one of {', '.join(PRECISIONS)}"
            )

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, …

        A function of the step alone, so that no schedule has to be resumed. The cosine begins with
        the first step, not after the warm-up as transformers' schedules have it.
        """
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))
        return self.learning_rate * warm * (cosine * (1 - self.floor) + self.floor)

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        numbers = asdict(self)
        # these change nothing that is learnt
        for name in ("log_every", "checkpoint_every", "evaluate_every", "ahead"):
            del numbers[name]
        return numbers
