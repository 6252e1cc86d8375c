"""The moving average of the weights, by hand."""
from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from vla_ros.training.ema import ExponentialMovingAverage


def averaged(step: int, before: float, weight: float, decay: float = 0.9) -> float:
    """The average that was `before`, after a step that left `weight`."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, before)
    averages = ExponentialMovingAverage(model, decay)
    torch.nn.init.constant_(model.weight, weight)
    averages.update(model, step)
    return averages.values["weight"].item()


@pytest.mark.parametrize(("step", "stays"), [(0, 0.1), (1, 2 / 11), (80, 0.9), (81, 0.9), (10_000, 0.9)])
def test_a_tenth_of_the_average_stays_at_first_and_later_as_much_as_the_decay_says(step: int, stays: float) -> None:
    assert averaged(step, 1.0, 0.0) == pytest.approx(stays)
    assert averaged(step, 2.0, 4.0) == pytest.approx(2.0 * stays + 4.0 * (1.0 - stays))


def test_inside_the_model_has_the_averages_and_outside_its_own_weights() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 1.0)
    averages = ExponentialMovingAverage(model, 0.9)
    torch.nn.init.constant_(model.weight, 5.0)
    with averages.inside(model):
        assert model.weight.item() == 1.0
    assert model.weight.item() == 5.0 and averages.values["weight"].item() == 1.0
