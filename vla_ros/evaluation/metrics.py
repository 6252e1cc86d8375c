"""What is counted: shares with their intervals, distances, times. What nothing supports is None,
not 0.

Intervals of shares are scipy's, what compares labels is scikit-learn's; both are imported where
they are used.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Z95 = 1.959963984540054  # of the normal distribution, two-sided 95 %
NEAR = 0.1  # m or rad that a `Verdict` may be away from done and still count as near
PASSED = 0.5  # share of successes over which a scenario counts as passed


def rate(flags: Iterable[bool]) -> dict[str, Any]:
    """Truths among `flags`: `successes`, `trials`, `rate`, `low`, `high` (Wilson's 95 % interval;
    None of nothing)."""
    from scipy.stats import binomtest

    values = [bool(flag) for flag in flags]
    trials = len(values)
    if not trials:
        return {"successes": 0, "trials": 0, "rate": None, "low": None, "high": None}
    successes = sum(values)
    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return {
        "successes": successes,
        "trials": trials,
        "rate": successes / trials,
        "low": float(interval.low),
        "high": float(interval.high),
    }


def distances(values: Sequence[float]) -> dict[str, Any]:
    """Mean and median of the final distances (m or rad from done), and the share below NEAR."""
    finite = [value for value in values if math.isfinite(value)]
    return {
        "mean": _mean(finite),
        "median": float(np.median(finite)) if finite else None,
        "near": rate(value < NEAR for value in values),
    }


def paired(ours: Sequence[bool], theirs: Sequence[bool], z: float = Z95) -> dict[str, Any]:
    """How much more often ours succeeds than theirs on the same trials, with Agresti and Min's
    interval (2005): the plain one with half a trial more in each of the four cells. Raises
    ValueError for different lengths."""
    if len(ours) != len(theirs):
        raise ValueError(
            f"{len(ours)} and {len(theirs)} results are no pairs; give one of each for every "
            "episode"
        )
    only_ours = sum(a and not b for a, b in zip(ours, theirs))
    only_theirs = sum(b and not a for a, b in zip(ours, theirs))
    out: dict[str, Any] = {"trials": len(ours), "only_ours": only_ours, "only_theirs": only_theirs}
    if not ours:
        return {**out, "difference": None, "low": None, "high": None}
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
    """Number, mean, standard deviation (of these values: over n, not n - 1), smallest and
    largest."""
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
    """Over scenarios' success rates: mean, spread, and the share of scenarios over PASSED."""
    passed = sorted(name for name, value in rates.items() if value > PASSED)
    return {
        **spread(list(rates.values())),
        "passed": len(passed) / len(rates) if rates else None,
        "failed": sorted(set(rates) - set(passed)),
    }


def percentiles(seconds: Sequence[float]) -> dict[str, Any]:
    """p50, p95, p99 and the largest of times in seconds, given in milliseconds."""
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
    """Of `commands` distinct commands: how many were given, and how many ever (`rate` of all) and
    always done."""
    by_command: dict[Hashable, list[bool]] = {}
    for command, done in results:
        by_command.setdefault(command, []).append(bool(done))
    ever = sum(any(found) for found in by_command.values())
    return {
        "commands": commands,
        "given": len(by_command),
        "done": ever,
        "rate": ever / commands if commands else None,
        "done_of_given": ever / len(by_command) if by_command else None,
        "always": sum(all(found) for found in by_command.values()),
    }


def groups(results: Iterable[tuple[Hashable, bool]]) -> dict[str, Any]:
    """Paraphrases of one command in one scene are a group: the mean of the groups' shares, its
    interval from their spread (paraphrases of a group are not independent), and the share of groups
    in which every one was followed."""
    by_group: dict[Hashable, list[bool]] = {}
    for group, done in results:
        by_group.setdefault(group, []).append(bool(done))
    shares = [sum(found) / len(found) for found in by_group.values()]
    half = Z95 * float(np.std(shares, ddof=1)) / math.sqrt(len(shares)) if len(shares) > 1 else None
    middle = _mean(shares)
    return {
        "groups": len(shares),
        "paraphrases": sum(len(found) for found in by_group.values()),
        "accuracy": middle,
        "low": None if half is None or middle is None else max(0.0, middle - half),
        "high": None if half is None or middle is None else min(1.0, middle + half),
        "all": rate(all(found) for found in by_group.values()),
    }


def balanced_accuracy(table: np.ndarray) -> float | None:
    """Mean recall over the classes that occur; `table` (classes x classes) counts truths by row,
    predictions by column. None of nothing."""
    from sklearn.metrics import recall_score

    truth, predicted = np.nonzero(table)
    if not len(truth):
        return None
    return float(
        recall_score(
            truth,
            predicted,
            labels=np.unique(truth),
            average="macro",
            sample_weight=table[truth, predicted],
        )
    )


def iou(truth: np.ndarray, predicted: np.ndarray) -> float | None:
    """Intersection over union of two masks; None where both are empty."""
    from sklearn.metrics import jaccard_score

    if not (truth.any() or predicted.any()):
        return None
    return float(jaccard_score(truth.ravel(), predicted.ravel()))


def retrieval(similarity: np.ndarray) -> tuple[list[bool], list[bool]]:
    """similarity[i, j] of instruction i and object j, which belong together where i = j: is the
    right object each instruction's best, and the right instruction each object's best? A tie is a
    miss."""
    right = np.diag(similarity)
    rows = [int((row >= value).sum()) == 1 for row, value in zip(similarity, right)]  # itself alone
    columns = [int((column >= value).sum()) == 1 for column, value in zip(similarity.T, right)]
    return rows, columns


def grounding(attention: np.ndarray, nowhere: float, cells: np.ndarray) -> tuple[bool, float]:
    """attention and cells (bool), rows x columns: is the largest attention of all in one of the
    target's cells, and how much is in them? Where the target has no cell (out of view), the right
    place is nowhere."""
    if not cells.any():
        return bool(nowhere > attention.max()), float(nowhere)
    best = float(attention.max())
    return bool(best > nowhere and attention[cells].max() == best), float(attention[cells].sum())


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
