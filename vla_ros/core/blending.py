"""The boundary between two action chunks of one instruction: what the robot is told while it passes
to the newer one.

`latest` takes the newest chunk at once. `linear` reaches it over `blend_time` from what was planned
before. `temporal_ensemble` is the mean of all chunks that cover a moment, the i-th oldest with
weight exp(-m i) (Zhao et al. 2023, "Learning Fine-Grained Bimanual Manipulation with Low-Cost
Hardware", section IV-A).

What holds, whatever came before (test/unit/test_blending.py):
- Every value lies between those that it is blended from. A channel that is switched (the robot
  file's `on_stop: hold_commanded`) is the newest chunk's.
- A velocity that the newest chunk wants at zero is zero `blend_time` after that chunk took over, in
  every mode.
- With `linear` every channel is the newest chunk's from then on; with `temporal_ensemble` older
  ones count until they end.
- The gate finds what it would have found: a chunk with a value that is not finite or outside its
  bounds, one that jumps away from the chunk before, and a policy that repeats itself are handed on
  as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.chunks import row_at
from vla_ros.core.robot import Channel
from vla_ros.core.types import ActionChunk

BLENDINGS = ("latest", "linear", "temporal_ensemble")
GRID = 20_000_000  # ns; rows of a blended chunk are at most so far apart: the gate's period
# of a blended chunk by refining; in a temporal ensemble
MOST_ROWS = 1000
MOST_CHUNKS = 64
FORGETTING = 0.01  # m; the paper's own value
LONGEST = 3_600_000_000_000  # ns; a longer chunk is handed on as it is
REPEATING = 1_000_000_000  # ns; the same values for so long are no plan any more

Rows = NDArray[np.float32]  # rows x channels


class ChunkBlender:
    """Remembers the chunks of one instruction. Not for two threads at once."""

    def __init__(self, blending: str, blend_time: int, channels: Iterable[Channel]) -> None:
        """`blend_time` in ns; `channels` are the robot's. Raises ValueError for a blending that
        there is not."""
        if blending not in BLENDINGS:
            raise ValueError(
                f"unknown chunk_blending '{blending}'; use one of {', '.join(BLENDINGS)}"
            )
        if blend_time < 0:
            raise ValueError(f"blend_time is {blend_time} ns; give 0 or more")
        self._blending = blending
        self._time = blend_time
        self._robot = {channel.name: channel for channel in channels}
        self.reset()

    def reset(self) -> None:
        """Forget every chunk: the next one begins afresh."""
        self._raw: list[ActionChunk] = []  # as the policy gave them, oldest first
        self._told: ActionChunk | None = None  # what was made of the last one
        self._same_since = 0

    def blend(self, chunk: ActionChunk, now: int) -> ActionChunk:
        """What to tell the robot from `now` (ns on the ROS clock) on, the moment at which `chunk`
        takes over. What would have been due before `now` does not count: it is too late for it."""
        if self._blending == "latest":
            return chunk
        with np.errstate(over="ignore"):
            # as it will travel; a copy: the policy may change its own
            values = np.array(chunk.values, np.float32)
        if not self._sound(chunk, values):
            self.reset()
            return chunk
        newest = told = replace(chunk, values=values)
        if self._told is None or not self._goes_on(newest, now):
            self.reset()
        elif not self._repeats(newest, now):
            told = self._blended(newest, self._told, now)
        if not self._raw or not np.array_equal(self._raw[-1].values, values):
            self._same_since = now
        running = (
            [one for one in self._raw if now < _end(one)]
            if self._blending == "temporal_ensemble"
            else []
        )
        self._raw = [*running, newest][-MOST_CHUNKS:]
        self._told = told
        return told

    def _sound(self, chunk: ActionChunk, values: Rows) -> bool:
        """Nothing in it for the gate to find."""
        known = [self._robot[name] for name in chunk.channels if name in self._robot]
        if len(known) != len(set(chunk.channels)) or len(known) != len(chunk.channels):
            return False
        if not 0 < chunk.step * len(values) <= LONGEST:
            return False
        low, high = np.array([channel.bounds for channel in known]).T
        return bool(((low <= values) & (values <= high)).all())  # NaN is in no range

    def _goes_on(self, newest: ActionChunk, now: int) -> bool:
        """It and the chunk before answer the same instruction, cover this moment, and want nearly
        the same."""
        before = self._raw[-1]
        if (before.instruction_id, before.channels) != (newest.instruction_id, newest.channels):
            return False
        if not before.stamp <= newest.stamp <= now < min(_end(before), _end(newest)):
            return False
        step = newest.values[row_at(newest, now)] - before.values[row_at(before, now)]
        return bool(
            (np.abs(step) <= [self._robot[name].max_step for name in newest.channels]).all()
        )

    def _repeats(self, newest: ActionChunk, now: int) -> bool:
        return now - self._same_since > REPEATING and np.array_equal(
            self._raw[-1].values, newest.values
        )

    def _blended(self, newest: ActionChunk, told: ActionChunk, now: int) -> ActionChunk:
        """On a finer grid. A row holds until its end, so it is blended for that moment: nothing is
        later for it. The last row, which holds on, is the newest chunk's."""
        parts = max(1, min(-(-newest.step // GRID), MOST_ROWS // len(newest.values)))
        step = newest.step // parts
        count = -(-(max(_end(newest), now + self._time) - newest.stamp) // step) + 1
        ends = newest.stamp + step * np.arange(1, count + 1)  # ns
        # count x channels
        wanted = newest.values[np.minimum(np.arange(count) // parts, len(newest.values) - 1)]
        before = _planned(told, ends - 1)
        share = np.clip((ends - now) / max(self._time, 1), 0.0, 1.0)[:, None]
        # in float64: then equal ones stay equal, to the bit
        values = (1.0 - share) * before + share * wanted
        if self._blending == "temporal_ensemble":
            stops = np.array([self._robot[name].on_stop == "zero" for name in newest.channels])
            alone = (wanted == 0.0) & stops | (ends > _end(newest))[:, None]
            values = np.where(alone, values, self._mean(wanted, ends))
        switched = np.array(
            [self._robot[name].on_stop == "hold_commanded" for name in newest.channels]
        )
        values = np.where(switched, wanted, values)
        return replace(newest, values=values.astype(np.float32), step=step)

    def _mean(self, wanted: Rows, ends: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of the newest chunk's rows and those of the older ones that run at these moments."""
        last = np.exp(-FORGETTING * len(self._raw))
        total = last * wanted.astype(np.float64)
        weights = np.full((len(ends), 1), last)
        for age, one in enumerate(self._raw):
            weight = np.exp(-FORGETTING * age) * (ends <= _end(one))[:, None]
            total = total + weight * _planned(one, ends - 1)
            weights = weights + weight
        mean: NDArray[np.float64] = total / weights
        return mean


def _end(chunk: ActionChunk) -> int:
    """When its last row is over, as the policy meant it (ns)."""
    return chunk.stamp + chunk.step * len(chunk.values)


def _planned(chunk: ActionChunk, times: NDArray[np.int64]) -> Rows:
    """The rows due at `times` (ns), like row_at."""
    rows: Rows = chunk.values[
        np.clip((times - chunk.stamp) // chunk.step, 0, len(chunk.values) - 1)
    ]
    return rows
