"""What is counted: shares with their intervals, distances, times. Pure numpy; what nothing supports is None, not 0."""
from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Z95 = 1.959963984540054  # of the normal distribution, two-sided 95 %
NEAR = 0.1  # m or rad that a `Verdict` may be away from done and still count as near
PASSED = 0.5  # share of successes over which a scenario counts as passed


def wilson(successes: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927). Raises ValueError for counts that are none."""
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes of {trials} trials have no interval; give 0 to n of n > 0")
    share, extra = successes / trials, z * z / trials
    middle = (share + extra / 2) / (1 + extra)
    half = z / (1 + extra) * math.sqrt(share * (1 - share) / trials + extra / (4 * trials))
    low = 0.0 if successes == 0 else middle - half
    return low, 1.0 if successes == trials else middle + half


def rate(flags: Iterable[bool]) -> dict[str, Any]:
    """Truths among `flags`: `successes`, `trials`, `rate`, `low`, `high` (95 %; None of nothing)."""
    values = [bool(flag) for flag in flags]
    if not values:
        return {"successes": 0, "trials": 0, "rate": None, "low": None, "high": None}
    low, high = wilson(sum(values), len(values))
    done, trials = sum(values), len(values)
    return {"successes": done, "trials": trials, "rate": done / trials, "low": low, "high": high}


def distances(values: Sequence[float]) -> dict[str, Any]:
    """Mean and median of the final distances (m or rad from done), and the share below NEAR."""
    finite = [value for value in values if math.isfinite(value)]
    return {"mean": _mean(finite), "median": float(np.median(finite)) if finite else None,
            "near": rate(value < NEAR for value in values)}


def paired(ours: Sequence[bool], theirs: Sequence[bool], z: float = Z95) -> dict[str, Any]:
    """How much more often ours succeeds than theirs on the same trials, with Agresti and Min's interval (2005): the
    plain one with half a trial more in each of the four cells. Raises ValueError for different lengths."""
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} and {len(theirs)} results are no pairs; give one of each for every episode")
    only_ours = sum(a and not b for a, b in zip(ours, theirs))
    only_theirs = sum(b and not a for a, b in zip(ours, theirs))
    out: dict[str, Any] = {"trials": len(ours), "only_ours": only_ours, "only_theirs": only_theirs}
    if not ours:
        return {**out, "difference": None, "low": None, "high": None}
    won, lost, trials = only_ours + 0.5, only_theirs + 0.5, len(ours) + 2.0
    middle = (won - lost) / trials
    half = z / trials * math.sqrt(won + lost - (won - lost) ** 2 / trials)
    return {**out, "difference": (only_ours - only_theirs) / len(ours), "low": max(-1.0, middle - half),
            "high": min(1.0, middle + half)}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Number, mean, standard deviation (of these values: over n, not n - 1), smallest and largest."""
    if not values:
        return {"count": 0, "mean": None, "spread": None, "least": None, "most": None}
    return {"count": len(values), "mean": float(np.mean(values)), "spread": float(np.std(values)),
            "least": float(np.min(values)), "most": float(np.max(values))}


def robustness(rates: Mapping[str, float]) -> dict[str, Any]:
    """Over scenarios' success rates: mean, spread, and the share of scenarios over PASSED."""
    passed = sorted(name for name, value in rates.items() if value > PASSED)
    return {**spread(list(rates.values())), "passed": len(passed) / len(rates) if rates else None,
            "failed": sorted(set(rates) - set(passed))}


def percentiles(seconds: Sequence[float]) -> dict[str, Any]:
    """p50, p95, p99 and the largest of times in seconds, given in milliseconds."""
    if not len(seconds):
        return {"count": 0, "p50_ms": None, "p95_ms": None, "p99_ms": None, "max_ms": None}
    low, middle, high = np.percentile(np.asarray(seconds) * 1e3, (50, 95, 99))
    return {"count": len(seconds), "p50_ms": float(low), "p95_ms": float(middle), "p99_ms": float(high),
            "max_ms": float(np.max(seconds)) * 1e3}


def coverage(results: Iterable[tuple[Hashable, bool]], commands: int) -> dict[str, Any]:
    """Of `commands` distinct commands: how many were given, and how many ever (`rate` of all) and always done."""
    by_command: dict[Hashable, list[bool]] = {}
    for command, done in results:
        by_command.setdefault(command, []).append(bool(done))
    ever = sum(any(found) for found in by_command.values())
    return {"commands": commands, "given": len(by_command), "done": ever, "rate": ever / commands if commands else None,
            "done_of_given": ever / len(by_command) if by_command else None,
            "always": sum(all(found) for found in by_command.values())}


def groups(results: Iterable[tuple[Hashable, bool]]) -> dict[str, Any]:
    """Paraphrases of one command in one scene are a group: the mean of the groups' shares, its interval from their
    spread (paraphrases of a group are not independent), and the share of groups in which every one was followed."""
    by_group: dict[Hashable, list[bool]] = {}
    for group, done in results:
        by_group.setdefault(group, []).append(bool(done))
    shares = [sum(found) / len(found) for found in by_group.values()]
    half = Z95 * float(np.std(shares, ddof=1)) / math.sqrt(len(shares)) if len(shares) > 1 else None
    middle = _mean(shares)
    return {"groups": len(shares), "paraphrases": sum(len(found) for found in by_group.values()), "accuracy": middle,
            "low": None if half is None or middle is None else max(0.0, middle - half),
            "high": None if half is None or middle is None else min(1.0, middle + half),
            "all": rate(all(found) for found in by_group.values())}


def accuracy(truth: ArrayLike, predicted: ArrayLike) -> float | None:
    """Share of labels that agree."""
    true, said = np.asarray(truth), np.asarray(predicted)
    if true.shape != said.shape:
        raise ValueError(f"labels {true.shape} and predictions {said.shape} do not fit; give one for each")
    return float((true == said).mean()) if true.size else None


def confusion(truth: ArrayLike, predicted: ArrayLike, classes: int) -> np.ndarray:
    """Counts, classes x classes: row the truth, column the prediction."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (np.asarray(truth).ravel(), np.asarray(predicted).ravel()), 1)
    return table


def balanced_accuracy(table: np.ndarray) -> float | None:
    """Mean over the classes that occur of the share of their members that were recognised."""
    occurs = table.sum(1) > 0
    return float((np.diag(table)[occurs] / table.sum(1)[occurs]).mean()) if occurs.any() else None


def iou(truth: np.ndarray, predicted: np.ndarray) -> float | None:
    """Intersection over union of two masks; None where both are empty."""
    union = int(np.logical_or(truth, predicted).sum())
    return int(np.logical_and(truth, predicted).sum()) / union if union else None


def retrieval(similarity: np.ndarray) -> tuple[list[bool], list[bool]]:
    """similarity[i, j] of instruction i and object j, which belong together where i = j: is the right object each
    instruction's best, and the right instruction each object's best? A tie is a miss."""
    right = np.diag(similarity)
    rows = [int((row >= value).sum()) == 1 for row, value in zip(similarity, right)]  # itself alone
    columns = [int((column >= value).sum()) == 1 for column, value in zip(similarity.T, right)]
    return rows, columns


def grounding(attention: np.ndarray, nowhere: float, cells: np.ndarray) -> tuple[bool, float]:
    """attention and cells (bool), rows x columns: is the largest attention of all in one of the target's cells, and how
    much is in them? Where the target has no cell (out of view), the right place is nowhere."""
    if not cells.any():
        return bool(nowhere > attention.max()), float(nowhere)
    best = float(attention.max())
    return bool(best > nowhere and attention[cells].max() == best), float(attention[cells].sum())


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
