"""Are the frames of a LeRobot dataset whole? Asked before any time is spent on it.

No image is decoded for that. Every function raises ValueError: the file, the episode and frame
where there is one, what it holds, what is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.datasets.lerobot.episodes import EpisodeRow
from vla_ros.datasets.lerobot.features import is_list

# Frames and images are taken in their order, so a time only has to say that none is missing: a lost
# or a doubled one is a whole period off, one rounded to a millisecond 24 % of a period, at 240
# frames a second. And a rate that is 2 % another (0.3 ms a frame, at 60 a second) changes no action
# by more than its own noise.
SLACK_PERIODS = 0.25  # of a period, anywhere
DRIFT_SHARE = 0.02  # of the time that passed
ON_TIME_S = 1e-4  # off the rate, from which on a user is told: LeRobot's own tolerance


def column(table: Any, name: str, width: int, where: str) -> NDArray[Any]:
    """A feature of all frames of a table: N x `width`, or N where `width` is 1."""
    import pyarrow.compute as pc

    values = table[name]
    if is_list(values.type):
        lengths = pc.list_value_length(values).fill_null(0).to_numpy()
        wrong = np.flatnonzero(lengths != width)
        if len(wrong):
            raise ValueError(
                f"{where}: '{name}' of row {wrong[0]} has {lengths[wrong[0]]} numbers; "
                f"meta/info.json says {width}"
            )
        values = pc.list_flatten(values)
    elif width != 1:
        raise ValueError(f"{where}: '{name}' has 1 number a frame; meta/info.json says {width}")
    if values.null_count or len(values) != len(table) * width:
        raise ValueError(
            f"{where}: '{name}' has {values.null_count or 'some'} empty places; "
            "every frame needs it"
        )
    numbers: NDArray[Any] = values.to_numpy()
    if numbers.dtype.kind not in "fiub":
        raise ValueError(f"{where}: '{name}' holds {values.type}; numbers are right")
    return numbers.reshape(-1, width) if width > 1 else numbers


def check_frames(
    folder: Path,
    episodes: Sequence[EpisodeRow],
    columns: Mapping[str, NDArray[Any]],
    fps: float,
    tasks: int,
) -> float:
    """The counters of all frames: no gap, no frame off its time, no task without words.

    Args:
        folder: The dataset's, for sentences.
        episodes: All of them.
        columns: layout.COUNTERS, N each.
        fps: Frames a second.
        tasks: How many there are.

    Returns:
        How far, in s, the timestamps are off the rate at most.
    """
    starts = np.array([row.start for row in episodes])
    lengths = np.array([row.length for row in episodes])
    total = int(lengths.sum())
    if len(columns["index"]) != total:
        raise ValueError(
            f"{folder}: the data files hold {len(columns['index'])} frames, "
            f"the episodes have {total}"
        )
    # what each frame's counters have to be, N
    index = np.arange(total)
    episode = np.repeat(np.arange(len(episodes)), lengths)
    frame = index - np.repeat(starts, lengths)

    def where(at: int) -> str:
        return f"{folder}: episode {episode[at]}, frame {frame[at]}"

    counters = {"episode_index": episode, "frame_index": frame, "index": index}
    for name, right in counters.items():
        wrong = np.flatnonzero(columns[name] != right)
        if len(wrong):
            at = wrong[0]
            raise ValueError(
                f"{where(at)}: {name} is {columns[name][at]}; {right[at]} is right, "
                "so frames are missing or out of order"
            )
    times = columns["timestamp"].astype(np.float64)
    wrong = np.flatnonzero(~on_rate(times, frame, fps))
    if len(wrong):
        at = wrong[0]
        raise ValueError(
            f"{where(at)}: timestamp is {times[at]:.4f} s; "
            f"at {fps:g} frames a second it is {frame[at] / fps:.4f} s: "
            "the rate is another, or changes"
        )
    task = columns["task_index"]
    wrong = np.flatnonzero(~((task >= 0) & (task < tasks)))
    if len(wrong):
        at = wrong[0]
        raise ValueError(f"{where(at)}: task_index is {task[at]}; the dataset has {tasks} tasks")
    return float(np.abs(times - frame / fps).max())


def on_rate(times: NDArray[np.float64], frame: NDArray[np.int64], fps: float) -> NDArray[np.bool_]:
    """Which of `times` (s) fit the rate, and follow the time before by one period.

    `frame` counts from 0, anew with each episode.
    """
    fine: NDArray[np.bool_] = np.abs(times * fps - frame) <= SLACK_PERIODS + DRIFT_SHARE * frame
    # an episode's first frame follows nothing
    fine[1:] &= (frame[1:] == 0) | (np.abs(np.diff(times) * fps - 1) <= SLACK_PERIODS)
    return fine


def check_finite(
    folder: Path, episodes: Sequence[EpisodeRow], name: str, values: NDArray[Any]
) -> None:
    """No NaN and no infinity in a vector feature (N x D)."""
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        at = int(wrong[0][0])
        place = int(wrong[0][1])
        row = next(episode for episode in episodes if episode.start <= at < episode.end)
        raise ValueError(
            f"{folder}: episode {row.index}, frame {at - row.start}: number {place} of '{name}' is "
            f"{values[at, place]}; only finite numbers can be learnt"
        )
