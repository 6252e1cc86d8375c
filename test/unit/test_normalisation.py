"""How a measured number is told to a network."""
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.core.normalisation import (
    FAR_MARGIN,
    MAX_DEVIATIONS,
    STILL_SPREAD,
    StateRange,
    deviation,
)

FINITE = st.floats(-1e6, 1e6)
WILD = StateRange("joint", 0.1, 0.2, -0.3, 0.5)


def test_a_joint_that_stood_still_in_training_is_told_in_its_unit() -> None:
    still = StateRange.of("joint1", {"mean": 0.5, "std": 1.6e-6, "min": 0.499995, "max": 0.500005})
    assert still.told(0.52) == pytest.approx(0.02)  # not 12,266 deviations
    assert still.told(0.5) == 0.0 and still.far(0.52) == ""
    assert "the robot's joint1 is 0.8, far outside what the policy saw in training (0.5 to 0.5)" in still.far(0.8)


def test_what_moved_is_told_in_deviations() -> None:
    assert WILD.told(0.5) == pytest.approx(2.0) and WILD.told(-0.1) == pytest.approx(-1.0)
    assert deviation([0.0, STILL_SPREAD / 2, STILL_SPREAD, 0.3]).tolist() == [1.0, 1.0, STILL_SPREAD, 0.3]


@pytest.mark.parametrize(("value", "told"), [(1.5, 7.0), (1.7, MAX_DEVIATIONS), (50.0, MAX_DEVIATIONS), (-1e9, -MAX_DEVIATIONS)])
def test_it_is_told_so_many_deviations_at_most(value: float, told: float) -> None:
    assert WILD.told(value) == pytest.approx(told)


def test_what_training_saw_is_told_as_it_was() -> None:
    rare = StateRange.of("gripper", {"mean": 0.01, "std": 0.1, "min": 0.0, "max": 1.0})  # open in one frame of a hundred
    assert rare.told(1.0) == pytest.approx(9.9) == rare.told(7.0) and rare.told(-7.0) == -MAX_DEVIATIONS


@given(value=FINITE, mean=FINITE, std=st.floats(0, 1e6), reach=st.floats(0, 1e6))
def test_any_value_is_told_as_a_finite_number_that_grows_with_it(value: float, mean: float, std: float, reach: float
                                                                 ) -> None:
    seen = StateRange("x", mean, std, mean - reach, mean + reach)
    most = max(MAX_DEVIATIONS, reach / float(deviation(std)) + 1e-6)
    assert -most * 1.001 <= seen.told(value) <= most * 1.001 and seen.told(value) <= seen.told(value + 1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_told_to_nobody(value: float) -> None:
    with pytest.raises(ValueError, match=f"the robot's joint is {value}, no finite number"):
        WILD.told(value)


@pytest.mark.parametrize(("value", "far"), [(0.5, False), (0.89, False), (0.91, True), (-0.69, False), (-0.71, True)])
def test_far_is_half_of_the_range_beyond_it(value: float, far: bool) -> None:
    assert bool(WILD.far(value)) == far


def test_far_has_a_least_reach() -> None:
    still = StateRange("joint", 0.0, 0.0, 0.0, 0.0)
    assert not still.far(FAR_MARGIN) and still.far(FAR_MARGIN + 1e-6) and still.far(-FAR_MARGIN - 1e-6)


def test_without_a_range_three_deviations_are_one() -> None:
    assert StateRange.of("x", {"mean": 1.0, "std": 0.5}) == StateRange("x", 1.0, 0.5, -0.5, 2.5)


@pytest.mark.parametrize("broken", [{}, {"mean": 0.0}, {"mean": "a", "std": 1.0}, {"mean": 0.0, "std": None}, 3, [1.0],
                                    {"mean": 0.0, "std": -1.0}, {"mean": math.nan, "std": 1.0},
                                    {"mean": 0.0, "std": 1.0, "min": 2.0, "max": 1.0}], ids=str)
def test_statistics_that_are_none_are_one_sentence(broken: Any) -> None:
    with pytest.raises(ValueError, match=r"the statistics of 'joint1' .*copy the checkpoint again"):
        StateRange.of("joint1", broken)


def test_of_degrees_far_is_farther() -> None:
    still = StateRange("joint", 180.0, 0.29, 180.0, 180.0)
    assert not still.far(181.4) and still.far(181.5)


def test_what_training_divides_by_the_robot_does() -> None:
    from vla_ros.datasets.statistics import LEAST_DEVIATION, Normaliser

    spreads = np.array([LEAST_DEVIATION, 0.3, 4.0])  # no checkpoint that is made now has less
    told = [StateRange("x", 0.1, spread, 0.0, 0.2).told(0.12) for spread in spreads]
    assert np.allclose(Normaliser.of({"mean": np.full(3, 0.1), "std": spreads}).apply(np.full(3, 0.12)), told, rtol=1e-5)


@pytest.mark.parametrize(("std", "divisor"), [(0.0, 1.0), (0.9e-3, 1.0), (1e-3, 1e-3), (2e-3, 2e-3)])
def test_a_thousandth_of_a_unit_is_motion(std: float, divisor: float) -> None:
    assert float(deviation(std)) == divisor
