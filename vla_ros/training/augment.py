"""Images as another camera might have taken them: exposure, white balance, offset, noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SHEETS = 4  # of noise, made once: drawing it anew would cost more than training's step
# standard deviations, of a factor or of the range
EXPOSURE = 0.12
BALANCE = 0.04
OFFSET = 0.03
NOISE = 0.03  # the largest
NOISY = 0.6  # share of the images with noise


class Augment:
    """pixels B x 3 x H x W in 0 … 1 -> the same, changed; what is drawn comes from the generator
    given."""

    def __init__(self, size: tuple[int, int], seed: int = 0) -> None:
        self._noise = torch.randn(SHEETS, 3, *size, generator=torch.Generator().manual_seed(seed))

    def __call__(self, pixels: Tensor, rng: np.random.Generator) -> Tensor:
        count = len(pixels)
        gain = np.exp(
            rng.normal(0, EXPOSURE, (count, 1, 1, 1)) + rng.normal(0, BALANCE, (count, 3, 1, 1))
        )
        offset = rng.normal(0, OFFSET, (count, 1, 1, 1))
        amount = rng.uniform(0, NOISE, (count, 1, 1, 1)) * (rng.random((count, 1, 1, 1)) < NOISY)
        sheet = self._noise[torch.from_numpy(rng.integers(0, SHEETS, count))]
        changed = pixels * _tensor(gain) + _tensor(offset)
        return changed.addcmul_(sheet, _tensor(amount)).clamp_(0, 1)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
