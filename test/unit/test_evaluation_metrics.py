"""The metrics against cases worked out by hand."""
from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the intervals are scipy's")
pytest.importorskip("sklearn", reason="what compares labels is scikit-learn's")

from vla_ros.evaluation import metrics


def test_a_rate_of_nothing_is_none_and_not_zero() -> None:
    assert metrics.rate([]) == {"successes": 0, "trials": 0, "rate": None, "low": None, "high": None}
    found = metrics.rate([True, False, True, True])
    assert (found["successes"], found["trials"], found["rate"]) == (3, 4, 0.75)


def test_a_rate_s_interval_is_wilson_s_of_95_per_cent_and_ends_at_0_and_1() -> None:
    found = metrics.rate([True] * 97 + [False] * 3)
    z = metrics.Z95  # an end is a share from which the measured one is z of its deviations away
    for end in (found["low"], found["high"]):
        assert abs(0.97 - end) == pytest.approx(z * math.sqrt(end * (1 - end) / 100))
    assert metrics.rate([False] * 7)["low"] == 0.0 and metrics.rate([True] * 7)["high"] == 1.0


def test_distances_near_is_below_and_not_at_a_tenth() -> None:
    found = metrics.distances([0.0, 0.09, 0.1, 0.61])
    assert found["mean"] == pytest.approx(0.2) and found["median"] == pytest.approx(0.095)
    assert found["near"]["successes"] == 2 and found["near"]["trials"] == 4
    lost = metrics.distances([0.0, math.inf])
    assert lost["mean"] == 0.0 and lost["near"]["rate"] == 0.5  # infinitely far is not near, and is in no mean
    assert metrics.distances([])["mean"] is None


def test_paired_by_hand() -> None:
    # 3 only ours, 1 only theirs, 6 alike: (3.5 - 1.5) / 12 = 1/6; half = 2/12 * sqrt(5 - 4/12)
    ours = [True] * 3 + [False] + [True] * 4 + [False] * 2
    theirs = [False] * 3 + [True] + [True] * 4 + [False] * 2
    found = metrics.paired(ours, theirs, z=2.0)
    half = 2 / 12 * math.sqrt(5 - 4 / 12)
    assert found["difference"] == pytest.approx(0.2) and (found["only_ours"], found["only_theirs"]) == (3, 1)
    assert (found["low"], found["high"]) == pytest.approx((1 / 6 - half, 1 / 6 + half))
    assert metrics.paired([], [])["difference"] is None
    with pytest.raises(ValueError, match="2 and 1 results"):
        metrics.paired([True, True], [True])


def test_robustness_a_half_is_not_over_a_half() -> None:
    found = metrics.robustness({"noise": 0.5, "blur": 0.51, "dim": 0.99})
    assert found["mean"] == pytest.approx(2 / 3) and found["passed"] == pytest.approx(2 / 3)
    assert found["failed"] == ["noise"] and found["spread"] == pytest.approx(np.std([0.5, 0.51, 0.99]))
    assert metrics.robustness({})["passed"] is None


def test_percentiles_in_milliseconds() -> None:
    found = metrics.percentiles([value / 1e3 for value in range(101)])
    assert (found["p50_ms"], found["p95_ms"], found["p99_ms"], found["max_ms"]) == pytest.approx((50, 95, 99, 100))
    assert metrics.percentiles([])["p99_ms"] is None


def test_coverage_and_groups() -> None:
    found = metrics.coverage([("a", True), ("a", False), ("b", False), ("c", True)], commands=8)
    assert (found["given"], found["done"], found["always"], found["rate"]) == (3, 2, 1, 0.25)
    assert found["done_of_given"] == pytest.approx(2 / 3)
    groups = metrics.groups([(1, True), (1, True), (2, True), (2, False)])
    assert groups["accuracy"] == 0.75 and groups["all"]["successes"] == 1 and groups["all"]["trials"] == 2
    # shares 1 and 0.5: standard deviation over n - 1 is sqrt(0.125), its error 0.25
    assert groups["low"] == pytest.approx(0.75 - metrics.Z95 * 0.25) and groups["high"] == 1.0
    assert metrics.groups([])["accuracy"] is None and metrics.groups([(1, True)])["low"] is None


def test_classification_by_hand() -> None:
    table = np.array([[1, 0, 1], [0, 0, 0], [0, 0, 1]])  # row: truth
    assert metrics.balanced_accuracy(table) == 0.75  # of the classes 0 and 2; 1 does not occur
    assert metrics.balanced_accuracy(10 * table) == 0.75
    assert metrics.balanced_accuracy(np.zeros((3, 3), int)) is None
    square, bar = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    square[:2, :2], bar[0] = True, True
    assert metrics.iou(square, bar) == pytest.approx(2 / 6)
    assert metrics.iou(square, ~square) == 0.0
    assert metrics.iou(np.zeros((4, 4), bool), np.zeros((4, 4), bool)) is None


def test_grounding_by_hand() -> None:
    attention = np.array([[0.1, 0.4], [0.2, 0.1]])
    at = np.array([[False, True], [False, True]])
    assert metrics.grounding(attention, 0.2, at) == (True, pytest.approx(0.5))
    assert metrics.grounding(attention, 0.2, ~at) == (False, pytest.approx(0.3))
    assert metrics.grounding(attention, 0.4, at)[0] is False  # nowhere as much as the best cell
    nothing = np.zeros((2, 2), bool)
    assert metrics.grounding(attention, 0.2, nothing) == (False, 0.2)
    assert metrics.grounding(attention / 4, 0.8, nothing) == (True, 0.8)


def test_retrieval_by_hand_and_a_tie_is_a_miss() -> None:
    rows, columns = metrics.retrieval(np.array([[0.9, 0.0, 0.1], [0.5, 0.3, 0.2], [0.1, 0.2, 0.2]]))
    assert rows == [True, False, False] and columns == [True, True, False]
    assert metrics.retrieval(np.zeros((2, 2))) == ([False, False], [False, False])
    assert metrics.retrieval(np.eye(3)) == ([True] * 3, [True] * 3)
