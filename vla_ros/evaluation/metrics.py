"""What is counted: shares with their intervals, distances, times.

What nothing supports is None, not 0.

Intervals of shares are scipy's, what compares labels is scikit-learn's; both are imported where
they are used.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Z95 = 1.959963984540054  # of the normal distribution, two-sided 95 %
NEAR_DISTANCE = 0.1  # m or rad that a `Verdict` may be away from done and still count as near
PASSED_RATE = 0.5  # share of successes over which a scenario counts as passed


def rate(flags: Iterable[bool]) -> dict[str, Any]:
    """Truths among `flags`.

    Returns:
        `successes`, `trials`, `rate`, and `low` and `high`, the ends of Wilson's 95 % interval; the
        last three are None of nothing.
    """
    from scipy.stats import binomtest

    values = list(map(bool, flags))
    trials = len(values)
    if not trials:
        return {"successes": 0, "trials": 0, "rate": None, "low": None, "high": None}
    successes = sum(values)
    # Wilson's interval stays within 0 and 1 and keeps its width where all or none succeed
    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return {
        "successes": successes,
        "trials": trials,
        "rate": successes / trials,
        "low": float(interval.low),
        "high": float(interval.high),
    }


def distances(values: Sequence[float]) -> dict[str, Any]:
    """Mean and median of the final distances (m or rad), and the share below NEAR_DISTANCE.

    One that is infinite counts in the share alone.
    """
    measured = np.asarray(values, np.float64)
    finite = measured[np.isfinite(measured)]
    return {
        "mean": _mean(finite),
        "median": float(np.median(finite)) if len(finite) else None,
        "near": rate(measured < NEAR_DISTANCE),
    }


def paired(ours: Sequence[bool], theirs: Sequence[bool], z: float = Z95) -> dict[str, Any]:
    """How much more often ours succeeds than theirs on the same trials.

    The interval is Agresti and Min's (2005): the plain one with half a trial more in each of the
    four cells.

    Raises:
        ValueError: the two have different lengths.
    """
    if len(ours) != len(theirs):
        raise ValueError(
            f"{len(ours)} and {len(theirs)} results are no pairs; give one of each for every "
            "episode"
        )
    # trials that both win or both lose say nothing of which is better
    ours_done = np.asarray(ours, bool)
    theirs_done = np.asarray(theirs, bool)
    only_ours = int(np.sum(ours_done & ~theirs_done))
    only_theirs = int(np.sum(theirs_done & ~ours_done))
    out: dict[str, Any] = {"trials": len(ours), "only_ours": only_ours, "only_theirs": only_theirs}
    if not len(ours):
        return {**out, "difference": None, "low": None, "high": None}
    # two cells count here, and each gets half a trial more; all four make it two trials more
    won = only_ours + 0.5
    lost = only_theirs + 0.5
    trials = len(ours) + 2.0
    middle = (won - lost) / trials
    half = z / trials * math.sqrt(won + lost - (won - lost) ** 2 / trials)
    return {
        **out,
        "difference": (only_ours - only_theirs) / len(ours),
        "low": max(-1.0, middle - half),
        "high": min(1.0, middle + half),
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Number, mean, standard deviation (over n, not n - 1), smallest and largest."""
    if not values:
        return {"count": 0, "mean": None, "spread": None, "least": None, "most": None}
    return {
        "count": len(values),
        "mean": float(np.mean(values)),
        "spread": float(np.std(values)),
        "least": float(np.min(values)),
        "most": float(np.max(values)),
    }


def robustness(rates: Mapping[str, float]) -> dict[str, Any]:
    """Over scenarios' success rates: mean, spread, and the share of scenarios over PASSED_RATE."""
    failed = sorted(name for name, value in rates.items() if value <= PASSED_RATE)
    return {
        **spread(list(rates.values())),
        "passed": (len(rates) - len(failed)) / len(rates) if rates else None,
        "failed": failed,
    }


def percentiles(seconds: Sequence[float]) -> dict[str, Any]:
    """p50, p95, p99 and the largest of `seconds`, in milliseconds."""
    if not len(seconds):
        return {"count": 0, "p50_ms": None, "p95_ms": None, "p99_ms": None, "max_ms": None}
    low, middle, high = np.percentile(np.asarray(seconds) * 1e3, (50, 95, 99))
    return {
        "count": len(seconds),
        "p50_ms": float(low),
        "p95_ms": float(middle),
        "p99_ms": float(high),
        "max_ms": float(np.max(seconds)) * 1e3,
    }


def coverage(results: Iterable[tuple[Hashable, bool]], commands: int) -> dict[str, Any]:
    """How much of all that can be asked for was asked for and done.

    Args:
        results: a command and whether it was done, for each episode.
        commands: how many distinct commands there are.

    Returns:
        Of the commands: how many were given, how many done at least once (`done`; `rate` of all,
        `done_of_given`) and how many always.
    """
    by_command = _by_key(results)
    ever = sum(map(any, by_command.values()))
    return {
        "commands": commands,
        "given": len(by_command),
        "done": ever,
        "rate": ever / commands if commands else None,
        "done_of_given": ever / len(by_command) if by_command else None,
        "always": sum(map(all, by_command.values())),
    }


def groups(results: Iterable[tuple[Hashable, bool]]) -> dict[str, Any]:
    """How far paraphrases are followed; those of one command in one scene are a group.

    Args:
        results: the group and whether the paraphrase was followed, for each episode.

    Returns:
        `accuracy`, the mean of the groups' shares, with `low` and `high`; `all`, the share of
        groups in which every paraphrase was followed.
    """
    by_group = list(_by_key(results).values())
    shares = [sum(followed) / len(followed) for followed in by_group]
    middle = _mean(shares)
    low = None
    high = None
    if middle is not None and len(shares) > 1:
        # from the spread of the groups: paraphrases of one group are not independent trials
        half = Z95 * float(np.std(shares, ddof=1)) / math.sqrt(len(shares))
        low = max(0.0, middle - half)
        high = min(1.0, middle + half)
    return {
        "groups": len(shares),
        "paraphrases": sum(map(len, by_group)),
        "accuracy": middle,
        "low": low,
        "high": high,
        "all": rate(map(all, by_group)),
    }


def _by_key(results: Iterable[tuple[Hashable, bool]]) -> dict[Hashable, list[bool]]:
    by_key: dict[Hashable, list[bool]] = {}
    for key, done in results:
        by_key.setdefault(key, []).append(bool(done))
    return by_key


def balanced_accuracy(table: np.ndarray) -> float | None:
    """Mean recall over the classes that occur; None of nothing.

    Args:
        table: classes x classes; counts truths by row, predictions by column.
    """
    from sklearn.metrics import recall_score

    # one sample a cell that is not empty, with the cell's count as its weight
    truth, predicted = np.nonzero(table)
    if not len(truth):
        return None
    weights = table[truth, predicted]
    occurring = np.unique(truth)  # a class that never occurs has no recall
    recall = recall_score(
        truth, predicted, labels=occurring, average="macro", sample_weight=weights
    )
    return float(recall)


def iou(truth: np.ndarray, predicted: np.ndarray) -> float | None:
    """Intersection over union of two masks; None where both are empty."""
    from sklearn.metrics import jaccard_score

    if not (truth.any() or predicted.any()):
        return None
    return float(jaccard_score(truth.ravel(), predicted.ravel()))


def retrieval(similarity: np.ndarray) -> tuple[list[bool], list[bool]]:
    """Is the right object each instruction's best, and the right instruction each object's best?

    Args:
        similarity: n x n, of instruction i and object j, which belong together where i = j.

    Returns:
        For each instruction, and for each object. A tie is a miss.
    """
    right = np.diag(similarity)  # n
    as_good_in_row = (similarity >= right[:, np.newaxis]).sum(axis=1)
    as_good_in_column = (similarity >= right[np.newaxis, :]).sum(axis=0)
    # 1: none is as good but the right one itself
    return (as_good_in_row == 1).tolist(), (as_good_in_column == 1).tolist()


def grounding(attention: np.ndarray, nowhere: float, cells: np.ndarray) -> tuple[bool, float]:
    """Is the largest attention of all in one of the target's cells, and how much is in them?

    Args:
        attention: rows x columns.
        nowhere: the attention on nothing in the image.
        cells: rows x columns, bool, the target's. Where it has none (out of view), the right place
            is nowhere.
    """
    if not cells.any():  # out of view
        return bool(nowhere > attention.max()), float(nowhere)
    best = float(attention.max())
    return bool(best > nowhere and attention[cells].max() == best), float(attention[cells].sum())


def _mean(values: Sequence[float] | np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None
