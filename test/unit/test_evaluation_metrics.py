"""The metrics against cases worked out by hand, and against scikit-learn where it has them."""
from __future__ import annotations

import math

import numpy as np
import pytest

from vla_ros.evaluation import metrics


def test_wilson_by_hand() -> None:
    # z = 2, 3 of 4: middle (0.75 + 4/8) / (1 + 4/4) = 0.625; half = 2/2 * sqrt(0.75*0.25/4 + 4/64) = 0.330719
    low, high = metrics.wilson(3, 4, z=2.0)
    assert (low, high) == pytest.approx((0.625 - math.sqrt(0.109375), 0.625 + math.sqrt(0.109375)))
    low, high = metrics.wilson(0, 4, z=2.0)
    assert low == 0.0 and high == pytest.approx(0.5)
    assert metrics.wilson(4, 4, z=2.0) == (pytest.approx(0.5), 1.0)


@pytest.mark.parametrize("successes, trials", [(1, 7), (3, 7), (97, 100), (250, 500)])
def test_wilson_s_ends_are_shares_that_are_just_as_far_off_as_z_allows(successes: int, trials: int) -> None:
    for end in metrics.wilson(successes, trials):
        assert abs(successes / trials - end) == pytest.approx(metrics.Z95 * math.sqrt(end * (1 - end) / trials))


@pytest.mark.parametrize("successes, trials", [(1, 0), (0, 0), (-1, 3), (4, 3)])
def test_wilson_of_impossible_counts(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match=f"{successes} successes of {trials}"):
        metrics.wilson(successes, trials)


def test_a_rate_of_nothing_is_none_and_not_zero() -> None:
    assert metrics.rate([]) == {"successes": 0, "trials": 0, "rate": None, "low": None, "high": None}
    found = metrics.rate([True, False, True, True])
    assert (found["successes"], found["trials"], found["rate"]) == (3, 4, 0.75)


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


def test_classification_against_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    assert metrics.accuracy(truth, said) == pytest.approx(sklearn.accuracy_score(truth, said))
    table = metrics.confusion(truth, said, 4)
    assert (table == sklearn.confusion_matrix(truth, said, labels=range(4))).all()
    assert metrics.balanced_accuracy(table) == pytest.approx(sklearn.balanced_accuracy_score(truth, said))
    for one in range(4):
        assert metrics.iou(truth == one, said == one) == pytest.approx(sklearn.jaccard_score(truth == one, said == one))


def test_classification_by_hand() -> None:
    assert metrics.accuracy([0, 1, 2, 2], [0, 1, 2, 1]) == 0.75 and metrics.accuracy([], []) is None
    with pytest.raises(ValueError, match="do not fit"):
        metrics.accuracy([0, 1], [0])
    table = metrics.confusion([0, 0, 2], [0, 2, 2], 3)  # row: truth
    assert table.tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 1]]
    assert metrics.balanced_accuracy(table) == 0.75  # of the classes 0 and 2; 1 does not occur
    square, bar = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    square[:2, :2], bar[0] = True, True
    assert metrics.iou(square, bar) == pytest.approx(2 / 6)
    assert metrics.iou(square, ~square) == 0.0 and metrics.iou(square & ~square, square & ~square) is None


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
