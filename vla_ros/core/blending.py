"""The boundary between two action chunks: what the robot is told while it passes to the newer one.

Both answer the same instruction. `latest` takes the newest chunk at once. `linear` reaches it over
`blend_time` from what was planned before. `temporal_ensemble` is the mean of all chunks that cover
a moment, the i-th oldest with weight exp(-m i) (Zhao et al. 2023, "Learning Fine-Grained Bimanual
Manipulation with Low-Cost Hardware", section IV-A).

What holds, whatever came before (test/unit/test_blending.py):
- Every value lies between those that it is blended from; of a joint that wraps, on the shorter way
  from one to the other. A channel that is switched (the robot
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

from vla_ros.core.chunks import GRID_NS, MOST_ROWS, MOST_VALUES, row_at
from vla_ros.core.resampling import within_bounds
from vla_ros.core.robot_channels import Channel
from vla_ros.core.types import ActionChunk

BLENDINGS = ("latest", "linear", "temporal_ensemble")
MOST_CHUNKS = 64  # in a temporal ensemble
TEMPORAL_ENSEMBLE_COEFF = 0.01  # the paper's m, and its value
LONGEST_CHUNK_NS = 3_600_000_000_000  # a longer one is handed on as it is
REPEATING_NS = 1_000_000_000  # the same values for so long are no plan any more

Rows = NDArray[np.float32]  # rows x channels


class ChunkBlender:
    """Remembers the chunks of one instruction. Not for two threads at once."""

    def __init__(self, blending: str, blend_time: int, channels: Iterable[Channel]) -> None:
        """Blends chunks over `blend_time` ns for a robot with these channels.

        Raises:
            ValueError: a blending that there is not, or a time below 0.
        """
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
        self._planned: ActionChunk | None = None  # what was made of the last one
        self._same_since = 0  # ns on the ROS clock, from which every chunk has had the same values

    def blend(self, chunk: ActionChunk, now: int) -> ActionChunk:
        """What to tell the robot from `now` on.

        Args:
            chunk: the newest, which takes over at that moment. What would have been due before
                does not count: it is too late for it.
            now: ns on the ROS clock.

        Returns:
            `chunk` itself where nothing is to be blended, or where the gate has to see it as it is.
        """
        if self._blending == "latest":
            return chunk
        # As it will travel; a copy, since the policy may change its own.
        with np.errstate(over="ignore"):
            values = np.array(chunk.values, np.float32)
        if not self._sound(chunk, values):
            self.reset()
            return chunk
        newest = replace(chunk, values=values)
        planned = newest
        if self._planned is None or not self._goes_on(newest, now):
            self.reset()
        elif not self._repeats(newest, now):
            planned = self._blended(newest, self._planned, now)
        if not self._raw or not np.array_equal(self._raw[-1].values, values):
            self._same_since = now
        # A ramp begins at what was planned: only an ensemble needs the chunks behind that.
        running: list[ActionChunk] = []
        if self._blending == "temporal_ensemble":
            running = [before for before in self._raw if now < _end(before)]
        self._raw = [*running, newest][-MOST_CHUNKS:]
        self._planned = planned
        return planned

    def _sound(self, chunk: ActionChunk, values: Rows) -> bool:
        """Nothing in it for the gate to find."""
        # A channel that the robot has not, or one that is named twice.
        known = [self._robot[name] for name in chunk.channels if name in self._robot]
        if len(known) != len(set(chunk.channels)) or len(known) != len(chunk.channels):
            return False
        if not 0 < chunk.step * len(values) <= LONGEST_CHUNK_NS:
            return False
        low, high = np.array([channel.bounds for channel in known]).T
        return bool(((low <= values) & (values <= high)).all())  # NaN is in no range

    def _goes_on(self, newest: ActionChunk, now: int) -> bool:
        """Whether it may be blended with the chunk before.

        Both answer the same instruction, cover this moment, and want nearly the same.
        """
        before = self._raw[-1]
        if (before.instruction_id, before.channels) != (newest.instruction_id, newest.channels):
            return False
        if not before.stamp <= newest.stamp <= now < min(_end(before), _end(newest)):
            return False
        steps = newest.values[row_at(newest, now)] - before.values[row_at(before, now)]
        most = [self._robot[name].max_step for name in newest.channels]
        return bool((np.abs(steps) <= most).all())

    def _repeats(self, newest: ActionChunk, now: int) -> bool:
        """Whether the policy is stuck: the gate has to see its chunks as they are."""
        lasts = now - self._same_since > REPEATING_NS
        return lasts and np.array_equal(self._raw[-1].values, newest.values)

    def _blended(self, newest: ActionChunk, planned: ActionChunk, now: int) -> ActionChunk:
        """`newest` on a finer grid, and passed to from what was planned.

        A row holds until its end, so it is blended for that moment: nothing is later for it. The
        last row, which holds on, is the newest chunk's.
        """
        # Each row in so many parts, rounded up: -(-a // b) is the whole number not below a / b.
        most = min(MOST_ROWS // len(newest.values), MOST_VALUES // newest.values.size)
        parts = max(1, min(-(-newest.step // GRID_NS), most))
        step = newest.step // parts
        # Until the chunk and the passage are over, and one row more, which holds on.
        count = -(-(max(_end(newest), now + self._time) - newest.stamp) // step) + 1
        if count * len(newest.channels) > MOST_VALUES:  # the gate would refuse all of it
            return newest
        ends = newest.stamp + step * np.arange(1, count + 1)  # ns, of each row
        rows = np.minimum(np.arange(count) // parts, len(newest.values) - 1)
        wanted = newest.values[rows]  # count x channels
        before = self._beside(_rows_at(planned, ends - 1), wanted, newest)
        share = np.clip((ends - now) / max(self._time, 1), 0.0, 1.0)[:, None]
        # In float64: then equal ones stay equal, to the bit.
        values = (1.0 - share) * before + share * wanted
        if self._blending == "temporal_ensemble":
            # Older chunks do not hold up a velocity that is to stop, and count no more after the
            # newest one's end: there it is reached as in a ramp.
            stops = self._stop_by("zero", newest)
            alone = (wanted == 0.0) & stops | (ends > _end(newest))[:, None]
            values = np.where(alone, values, self._mean(wanted, ends, newest))
        # Half of a gripper's opening and half of its closing is neither.
        values = np.where(self._stop_by("hold_commanded", newest), wanted, values)
        for index, name in enumerate(newest.channels):
            channel = self._robot[name]
            values[:, index] = within_bounds(values[:, index], channel.turn, channel.bounds)
        return replace(newest, values=values.astype(np.float32), step=step)

    def _stop_by(self, on_stop: str, chunk: ActionChunk) -> NDArray[np.bool_]:
        """Which of the chunk's channels stop in this way."""
        return np.array([self._robot[name].on_stop == on_stop for name in chunk.channels])

    def _beside(self, rows: Rows, wanted: Rows, chunk: ActionChunk) -> NDArray[np.float64]:
        """Older rows as they are nearest to the newest chunk's, since a joint may have wrapped.

        All are count x channels, of the channels of `chunk`.
        """
        near = rows.astype(np.float64)
        for index, name in enumerate(chunk.channels):
            turn = self._robot[name].turn
            if turn:
                near[:, index] -= turn * np.round((near[:, index] - wanted[:, index]) / turn)
        return near

    def _mean(
        self, wanted: Rows, ends: NDArray[np.int64], newest: ActionChunk
    ) -> NDArray[np.float64]:
        """Of the newest chunk's rows and those of the older ones that run at these moments.

        `wanted`: count x channels; `ends`: when each row is over, ns. The oldest weighs most.
        """
        newest_weight = np.exp(-TEMPORAL_ENSEMBLE_COEFF * len(self._raw))
        total = newest_weight * wanted.astype(np.float64)
        weights = np.full((len(ends), 1), newest_weight)
        for rank, chunk in enumerate(self._raw):  # oldest first
            weight = np.exp(-TEMPORAL_ENSEMBLE_COEFF * rank) * (ends <= _end(chunk))[:, None]
            total = total + weight * self._beside(_rows_at(chunk, ends - 1), wanted, newest)
            weights = weights + weight
        mean: NDArray[np.float64] = total / weights
        return mean


def _end(chunk: ActionChunk) -> int:
    """When its last row is over, as the policy meant it (ns)."""
    return chunk.stamp + chunk.step * len(chunk.values)


def _rows_at(chunk: ActionChunk, times: NDArray[np.int64]) -> Rows:
    """The rows due at `times` (ns), like row_at: times x channels."""
    due = np.clip((times - chunk.stamp) // chunk.step, 0, len(chunk.values) - 1)
    rows: Rows = chunk.values[due]
    return rows
