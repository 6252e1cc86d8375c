"""The moving average of the weights while they are trained: steadier than the last step's.

Polyak & Juditsky 1992. torch's `AveragedModel` is a second model: it would copy and average frozen
weights as well. What is evaluated often holds the model itself (a `VectorEnv` does), so the
averages must come into that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """The average of every trained weight, by name in `values`.

    The decay grows from 0.1 to `decay`, so that the random beginning is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values: dict[str, Tensor] = {}
        for name, value in model.named_parameters():
            if value.requires_grad:
                self.values[name] = value.detach().clone()

    def update(self, model: nn.Module, step: int) -> None:
        """After step 0, 1, …"""
        decay = min(self.decay, (step + 1) / (step + 10))
        with torch.no_grad():
            for name, value in model.named_parameters():
                if name in self.values:
                    self.values[name].lerp_(value, 1 - decay)

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """The model with the averages for its weights. Nothing may be trained meanwhile."""
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    def _swap(self, model: nn.Module) -> None:
        for name, value in model.named_parameters():
            if name in self.values:
                # storage is exchanged, nothing is copied: a large model costs no time
                value.data, self.values[name] = self.values[name], value.data
