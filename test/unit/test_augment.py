"""Images as another camera might have taken them: how far they may differ, and what they stay."""
from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from vla_ros.training.augment import Augment

SIZE = (24, 32)
MANY = 400


def changed(level: float, seed: int = 1, count: int = MANY) -> torch.Tensor:
    return Augment(SIZE)(torch.full((count, 3, *SIZE), level), np.random.default_rng(seed))


@pytest.mark.parametrize("level", [0.0, 0.02, 0.98, 1.0])
def test_pixels_stay_between_0_and_1(level: float) -> None:
    pixels = changed(level)
    assert float(pixels.min()) >= 0.0 and float(pixels.max()) <= 1.0


def test_exposures_differ_by_an_eighth_and_colours_by_a_25th() -> None:
    """Standard deviations: 0.12 of an image's exposure and 0.04 of a colour's; with an offset of 0.03 at half of white."""
    means = changed(0.5).mean((2, 3)).numpy()
    grey = means.mean(1)
    assert np.std(np.log(grey / 0.5)) == pytest.approx(np.hypot(np.hypot(0.12, 0.04 / 3**0.5), 0.03 / 0.5), rel=0.1)
    assert np.std(means / grey[:, None]) == pytest.approx(0.04 * (2 / 3)**0.5, rel=0.15)


def test_some_images_have_no_noise_and_the_others_at_most_3_hundredths() -> None:
    noise = changed(0.5).std((2, 3)).mean(1).numpy()
    assert np.mean(noise > 1e-4) == pytest.approx(0.6, abs=0.08) and noise.max() < 0.033


def test_what_is_drawn_comes_from_the_generator_alone() -> None:
    assert torch.equal(changed(0.5, 3, 5), changed(0.5, 3, 5)) and not torch.equal(changed(0.5, 3, 5), changed(0.5, 4, 5))
