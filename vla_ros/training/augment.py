"""Images as another camera might have taken them: exposure, white balance, offset, noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

NOISE_SHEETS = 4  # of noise, made once: drawing it anew would cost more than training's step
# of a factor on all colours, of one on each, and of the range
EXPOSURE_DEVIATION = 0.12
BALANCE_DEVIATION = 0.04
OFFSET_DEVIATION = 0.03
MAX_NOISE_DEVIATION = 0.03  # of the range
NOISY_SHARE = 0.6  # share of the images with noise


class Augment:
    """Images B x 3 x H x W in 0 … 1 -> the same as another camera might have taken them."""

    def __init__(self, size: tuple[int, int], seed: int = 0) -> None:
        self._noise = torch.randn(
            NOISE_SHEETS, 3, *size, generator=torch.Generator().manual_seed(seed)
        )

    def __call__(self, pixels: Tensor, rng: np.random.Generator) -> Tensor:
        """Images of their own; what is drawn comes from `rng`."""
        count = len(pixels)
        exposure = rng.normal(0, EXPOSURE_DEVIATION, (count, 1, 1, 1))
        balance = rng.normal(0, BALANCE_DEVIATION, (count, 3, 1, 1))
        gain = np.exp(exposure + balance)  # so that half as bright is as likely as twice
        offset = rng.normal(0, OFFSET_DEVIATION, (count, 1, 1, 1))
        amount = rng.uniform(0, MAX_NOISE_DEVIATION, (count, 1, 1, 1))
        amount *= rng.random((count, 1, 1, 1)) < NOISY_SHARE
        sheet = self._noise[torch.from_numpy(rng.integers(0, NOISE_SHEETS, count))]
        changed = pixels * _tensor(gain) + _tensor(offset)
        return changed.addcmul_(sheet, _tensor(amount)).clamp_(0, 1)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
