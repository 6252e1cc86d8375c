"""How numbers are spread: what normalisation needs, from numpy alone, row by row or all at once.

Quantiles are numpy's (linear between neighbours). Standard deviations are of the population (ddof
0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
# kept for quantiles: their rank is then within 0.002 (3 sigma, at the median)
SAMPLE_ROWS = 1 << 16
MODES = ("mean_std", "min_max", "quantiles")
Stats = dict[str, NDArray[Any]]


def summarise(rows: NDArray[Any]) -> Stats:
    """min, max, mean, std and quantiles of each column of `rows` (N x D): D numbers each.

    And `count`, one number. Raises ValueError for rows of another shape and for NaN and infinity.
    """
    values = np.asarray(rows)
    _check(values, values.shape[-1] if values.ndim else 0)
    stats: Stats = {
        "min": values.min(0),
        "max": values.max(0),
        "mean": values.mean(0, dtype=np.float64),
        "std": values.std(0, dtype=np.float64),
        # an array as well: LeRobot reads all of them alike
        "count": np.array([len(values)]),
    }
    quantiles = np.quantile(values.astype(np.float64), list(QUANTILES.values()), axis=0)
    return stats | dict(zip(QUANTILES, quantiles))


def _check(rows: NDArray[Any], width: int) -> None:
    if rows.ndim != 2 or rows.shape[1] != width or not rows.size:
        raise ValueError(
            f"statistics are of rows x {width or 'columns'}, at least one row; this is {rows.shape}"
        )
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(
            f"row {row}, column {column} is {rows[row, column]}; statistics need finite numbers"
        )


class RunningStatistics:
    """The same over rows (N x `width`) that come in batches, in memory that does not grow.

    Mean and variance are merged batch by batch (Chan, Golub & LeVeque 1979). Quantiles are exact up
    to SAMPLE_ROWS rows; beyond, they are those of a uniform sample of so many (Vitter's algorithm
    R, 1985; fixed seed).
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self._width = width
        self._mean = np.zeros(width)
        self._squares = np.zeros(width)  # the sum of squared distances from the mean
        self._min: NDArray[Any] = np.zeros(width)
        self._max: NDArray[Any] = np.zeros(width)
        self._sample = np.empty((SAMPLE_ROWS, width))
        self._random = np.random.default_rng(0)  # fixed: the same rows have the same quantiles

    def update(self, rows: NDArray[Any]) -> None:
        """Add `rows`. Raises ValueError for another width, no rows, NaN or infinity."""
        _check(rows, self._width)
        values = rows.astype(np.float64)
        low = rows.min(0)
        high = rows.max(0)
        mean = values.mean(0)
        self._min = low if not self.count else np.minimum(self._min, low)
        self._max = high if not self.count else np.maximum(self._max, high)
        total = self.count + len(rows)
        apart = mean - self._mean
        self._squares += ((values - mean) ** 2).sum(0) + apart**2 * (self.count * len(rows) / total)
        self._mean += apart * (len(rows) / total)
        self._keep(values)
        self.count = total

    def _keep(self, values: NDArray[np.float64]) -> None:
        """Puts rows into the sample: all while there is room, then fewer and fewer."""
        free = max(0, SAMPLE_ROWS - self.count)
        self._sample[self.count : self.count + len(values[:free])] = values[:free]
        rest = values[free:]
        seen = self.count + len(values) - len(rest) + np.arange(len(rest))
        # several rows that draw the same slot: the last one stays, as if they had come one by one
        slots = (self._random.random(len(rest)) * (seen + 1)).astype(np.int64)
        kept = slots < SAMPLE_ROWS
        self._sample[slots[kept]] = rest[kept]

    def summary(self) -> Stats:
        """As `summarise`. Raises ValueError when there were no rows."""
        if not self.count:
            raise ValueError("there are no rows to give statistics of")
        sample = self._sample[: min(self.count, SAMPLE_ROWS)]
        stats: Stats = {
            "min": self._min,
            "max": self._max,
            "mean": self._mean.copy(),
            "std": np.sqrt(self._squares / self.count),
            "count": np.array([self.count]),
        }
        return stats | dict(zip(QUANTILES, np.quantile(sample, list(QUANTILES.values()), axis=0)))


class PixelStatistics:
    """Of rgb8 images, each channel for itself, exactly, from 256 counts.

    Above 160 pixels a side from every second, third, ... pixel.
    """

    def __init__(self) -> None:
        self.images = 0
        self.counts = np.zeros((3, 256), np.int64)  # of each level, in each channel

    def update(self, image: NDArray[np.uint8]) -> None:
        """Add one image, height x width x 3."""
        stride = max(1, -(-max(image.shape[:2]) // 160))  # rounded up
        thin = image[::stride, ::stride]
        for channel in range(3):
            self.counts[channel] += np.bincount(thin[..., channel].ravel(), minlength=256)
        self.images += 1

    def merge(self, other: PixelStatistics) -> None:
        """Add the images that another one was given."""
        self.images += other.images
        self.counts += other.counts

    def summary(self) -> Stats:
        """In [0, 1], 3 x 1 x 1 each; `count` is images. Raises ValueError when there were none."""
        if not self.images:
            raise ValueError("there are no images to give statistics of")
        levels = np.arange(256) / 255.0
        total = self.counts.sum(1)
        mean = self.counts @ levels / total
        present = self.counts > 0
        stats: Stats = {
            "min": levels[present.argmax(1)],
            "max": levels[255 - present[:, ::-1].argmax(1)],
            "mean": mean,
            "std": np.sqrt((self.counts * (levels - mean[:, None]) ** 2).sum(1) / total),
        }
        for name, share in QUANTILES.items():
            stats[name] = np.array([_quantile(row, share) for row in self.counts]) / 255.0
        for name, value in stats.items():
            stats[name] = value.reshape(3, 1, 1)  # as images lie in torch: channels first
        stats["count"] = np.array([self.images])
        return stats


def _quantile(counts: NDArray[np.int64], share: float) -> float:
    """Of the values 0, 1, ..., each taken `counts` times: numpy's, without spreading them out."""
    upto = np.cumsum(counts)
    rank = share * (upto[-1] - 1)
    below, above = np.searchsorted(upto, [np.floor(rank), np.ceil(rank)], side="right")
    return float(below + (above - below) * (rank - np.floor(rank)))


# The least that a number is taken to vary: less is play of a joint, noise of an encoder or drift of
# an estimate, not motion that a policy could have learnt from. 0.01 rad is half a degree, the play
# of a hobby servo; 0.01 m how well a base knows its place; 0.01 m/s and rad/s what drives report of
# a robot that stands; 0.01 of a gripper's way from closed (0) to open (1) is a grip's play.
LEAST_DEVIATION = 0.01
TURN = 2 * np.pi


def least_deviation(stats: Mapping[str, Any]) -> float:
    """What the deviation of a feature's numbers is at least taken for.

    A joint that stood still (a deviation of 1.6e-6) and is met 0.02 rad off is then told as 2, not
    as 12,266. What is told at most, of a joint that stands 2 rad off, is for the one who runs the
    policy to clip.

    Args:
        stats: The feature's; `min` and `max` are looked at, D numbers each.

    Returns:
        LEAST_DEVIATION in SI units, in which joints, speeds and grippers stay within a turn, or so.
        Where the numbers go further they are degrees, per cents or ticks of an encoder, or metres
        of a large room, and the least grows with them: 0.29 for 180 degrees.
    """
    ends = np.array([stats["min"], stats["max"]], float)
    largest = float(np.abs(ends).max())
    return LEAST_DEVIATION * max(1.0, largest / TURN)


@dataclass(frozen=True)
class Normaliser:
    """`apply`: SI units to about one; `undo`: back. Of any array whose last axis is D long."""

    offset: NDArray[np.float32]  # D
    scale: NDArray[np.float32]  # D

    @classmethod
    def of(cls, stats: Mapping[str, Any], mode: str = "mean_std") -> Normaliser:
        """From a feature's statistics; a number that never changes stays in its units, around 0.

        Args:
            stats: The feature's, D numbers each.
            mode: `mean_std`: mean 0, deviation 1; `min_max` and `quantiles` (1 % to 99 %): -1 to 1.

        Raises:
            ValueError: For another mode.
        """
        if mode not in MODES:
            raise ValueError(f"normalisation is '{mode}'; use one of {', '.join(MODES)}")
        if mode == "mean_std":
            offset = np.asarray(stats["mean"], float)
            scale = np.asarray(stats["std"], float)
        else:
            ends = ("min", "max") if mode == "min_max" else ("q01", "q99")
            low = np.asarray(stats[ends[0]], float)
            high = np.asarray(stats[ends[1]], float)
            offset = (low + high) / 2
            scale = (high - low) / 2
        scale = np.where(scale > 1e-6, scale, 1.0)
        return cls(offset.astype(np.float32), scale.astype(np.float32))

    def apply(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """SI units (… x D) as the model is told them."""
        return ((values - self.offset) / self.scale).astype(np.float32)

    def undo(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """What the model says (… x D) in SI units."""
        return (values * self.scale + self.offset).astype(np.float32)
