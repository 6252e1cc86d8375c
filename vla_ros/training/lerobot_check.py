"""Is a folder a whole LeRobotDataset v3.0? Asked before any time is spent on it; no picture is decoded for the answer.

Every function raises ValueError: the file, the episode and frame where there is one, what was found, what is right.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.training import lerobot_layout as layout

TOLERANCE = 1e-4  # s that a frame's time may be off the rate: LeRobot's own
INFO_KEYS = ("codebase_version", "fps", "features", "total_episodes", "total_frames", "data_path")
Row = Mapping[str, Any]


def read_info(folder: Path) -> dict[str, Any]:
    """meta/info.json, of a version that is known, with at least one episode."""
    info = _json(folder / layout.INFO)
    version = info.get("codebase_version")
    if version != layout.VERSION:
        raise ValueError(f"{folder / layout.INFO}: codebase_version is {version!r}; this reads {layout.VERSION}, and "
                         "LeRobot converts older ones")
    missing = [key for key in INFO_KEYS if key not in info]
    if missing:
        raise ValueError(f"{folder / layout.INFO} lacks '{missing[0]}'; it needs {', '.join(INFO_KEYS)}")
    fps, episodes = info["fps"], info["total_episodes"]
    if isinstance(fps, bool) or not isinstance(fps, (int, float)) or not 0 < fps < 1e4:
        raise ValueError(f"{folder / layout.INFO}: fps is {fps!r}; give frames a second")
    if not episodes:
        raise ValueError(f"{folder} has {episodes} episodes; there is nothing to learn from")
    for counter in layout.COUNTERS:
        if counter not in info["features"]:
            raise ValueError(f"{folder / layout.INFO}: features lack '{counter}'; every frame has it")
    return info


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: either {path.parents[1]} is no dataset, or its recording never "
                         "ended") from None
    except (OSError, ValueError) as problem:
        raise ValueError(f"{path} cannot be read as JSON: {problem}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; a JSON object is right")
    return content


def read_stats(folder: Path) -> dict[str, dict[str, NDArray[Any]]]:
    """meta/stats.json: feature -> statistic -> array."""
    return {feature: {name: np.array(value) for name, value in numbers.items()}
            for feature, numbers in _json(folder / layout.STATS).items()}


def read_table(path: Path, needed: Iterable[str]) -> Any:
    """The columns `needed` of a parquet file, as a pyarrow Table."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in needed if name not in file.schema_arrow.names]
            if missing:
                found = ", ".join(file.schema_arrow.names[:9])
                raise ValueError(f"{path} has no column '{missing[0]}'; it has {found}, ...")
            return file.read(list(needed))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    except (pa.ArrowException, OSError) as problem:  # ArrowInvalid is a ValueError whose sentence names no file
        raise ValueError(f"{path} cannot be read as parquet: {str(problem)[:200]}") from None


def read_tasks(folder: Path) -> list[str]:
    """Task index -> words."""
    path = folder / layout.TASKS
    column = "task" if "task" in _columns(path) else layout.TASK_COLUMN
    table = read_table(path, ["task_index", column])
    tasks = dict(zip(table["task_index"].to_pylist(), table[column].to_pylist()))
    if sorted(tasks) != list(range(len(tasks))) or not all(isinstance(task, str) for task in tasks.values()):
        raise ValueError(f"{path}: the task indices are {sorted(tasks)[:10]}; 0, 1, 2, ... with words each is right")
    return [tasks[index] for index in range(len(tasks))]


def read_episodes(folder: Path, info: Row, cameras: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of meta/episodes, in order; they follow each other without gaps."""
    needed = ["episode_index", "length", "tasks", "dataset_from_index", "dataset_to_index", "data/chunk_index",
              "data/file_index"]
    needed += [f"videos/{key}/{part}" for key in cameras
               for part in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")]
    ours = (layout.SUCCESS, layout.GENERATION, layout.LOST)
    files = sorted((folder / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise ValueError(f"{folder / 'meta' / 'episodes'} holds no parquet file; the episodes are missing")
    rows: list[dict[str, Any]] = []
    for path in files:
        table = read_table(path, [*needed, *(name for name in ours if name in _columns(path))])
        rows += table.to_pylist()
    if len(rows) != info["total_episodes"]:
        raise ValueError(f"{folder}: meta/info.json counts {info['total_episodes']} episodes, meta/episodes has "
                         f"{len(rows)}")
    start = 0
    for index, row in enumerate(rows):
        found = row["episode_index"], row["dataset_from_index"], row["dataset_to_index"], row["length"]
        if row["length"] < 1 or found != (index, start, start + row["length"], row["length"]):
            raise ValueError(f"{folder}: row {index} of meta/episodes is episode {found[0]}, frames {found[1]} to "
                             f"{found[2]}, length {found[3]}; episode {index} from frame {start} on is right")
        start += row["length"]
    if start != info["total_frames"]:
        raise ValueError(f"{folder}: meta/info.json counts {info['total_frames']} frames, the episodes have {start}")
    return rows


def _columns(path: Path) -> list[str]:
    import pyarrow.parquet as pq
    try:
        return list(pq.read_schema(path).names)
    except (OSError, ValueError):
        return []  # read_table says it


def column(table: Any, name: str, width: int, where: str) -> NDArray[Any]:
    """A feature of all frames of a table: N x `width`, or N where `width` is 1."""
    import pyarrow as pa
    import pyarrow.compute as pc
    values = table[name]
    if pa.types.is_nested(values.type):
        lengths = pc.list_value_length(values).fill_null(0).to_numpy()
        wrong = np.flatnonzero(lengths != width)
        if len(wrong):
            raise ValueError(f"{where}: '{name}' of row {wrong[0]} has {lengths[wrong[0]]} numbers; meta/info.json "
                             f"says {width}")
        values = pc.list_flatten(values)
    elif width != 1:
        raise ValueError(f"{where}: '{name}' has 1 number a frame; meta/info.json says {width}")
    if values.null_count or len(values) != len(table) * width:
        raise ValueError(f"{where}: '{name}' has {values.null_count or 'some'} empty places; every frame needs it")
    numbers: NDArray[Any] = values.to_numpy()
    if numbers.dtype.kind not in "fiu":
        raise ValueError(f"{where}: '{name}' holds {values.type}; numbers are right")
    return numbers.reshape(-1, width) if width > 1 else numbers


def check_frames(folder: Path, episodes: Sequence[Row], columns: Mapping[str, NDArray[Any]], fps: float,
                 tasks: int) -> None:
    """The counters of all frames: no gap, no frame off its time, no task without words."""
    starts = np.array([row["dataset_from_index"] for row in episodes])
    lengths = np.array([row["length"] for row in episodes])
    total = int(lengths.sum())
    if len(columns["index"]) != total:
        raise ValueError(f"{folder}: the data files hold {len(columns['index'])} frames, the episodes have {total}")
    episode = np.repeat(np.arange(len(episodes)), lengths)
    frame = np.arange(total) - np.repeat(starts, lengths)
    for name, right in (("episode_index", episode), ("frame_index", frame), ("index", np.arange(total))):
        wrong = np.flatnonzero(columns[name] != right)
        if len(wrong):
            at = wrong[0]
            raise ValueError(f"{folder}: episode {episode[at]}, frame {frame[at]}: {name} is {columns[name][at]}; "
                             f"{right[at]} is right, so frames are missing or out of order")
    times = columns["timestamp"].astype(np.float64)
    wrong = np.flatnonzero(~(np.abs(times - frame / fps) <= TOLERANCE + 1e-6 * frame / fps))
    if len(wrong):
        at = wrong[0]
        raise ValueError(f"{folder}: episode {episode[at]}, frame {frame[at]}: timestamp is {times[at]:.4f} s; at "
                         f"{fps:g} frames a second it is {frame[at] / fps:.4f} s: the rate is another, or changes")
    wrong = np.flatnonzero((columns["task_index"] < 0) | (columns["task_index"] >= tasks))
    if len(wrong):
        at = wrong[0]
        raise ValueError(f"{folder}: episode {episode[at]}, frame {frame[at]}: task_index is "
                         f"{columns['task_index'][at]}; meta/tasks.parquet has {tasks} tasks")


def check_finite(folder: Path, episodes: Sequence[Row], name: str, values: NDArray[Any]) -> None:
    """No NaN and no infinity in a vector feature (N x D)."""
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        at, place = int(wrong[0][0]), int(wrong[0][1])
        row = next(row for row in episodes if row["dataset_from_index"] <= at < row["dataset_to_index"])
        raise ValueError(f"{folder}: episode {row['episode_index']}, frame {at - row['dataset_from_index']}: number "
                         f"{place} of '{name}' is {values[at, place]}; only finite numbers can be learnt")


def check_video(path: Path, rows: Sequence[Row], key: str, size: tuple[int, int], fps: float) -> None:
    """A video has its size, its rate and every frame of the episodes (`rows`) that lie in it. Reads packets only."""
    import av
    if not path.is_file():
        raise ValueError(f"{path} is missing; episode {rows[0]['episode_index']} needs it")
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            height, width, base = stream.height, stream.width, float(stream.time_base or 0)
            times = sorted(packet.pts * base for packet in container.demux(stream)
                           if packet.pts is not None and packet.size)
    except (av.FFmpegError, IndexError, OSError) as problem:
        raise ValueError(f"{path} cannot be read as a video: {str(problem)[:200]}") from None
    if (height, width) != size:
        raise ValueError(f"{path} has pictures of {height}x{width} (height x width); meta/info.json says "
                         f"{size[0]}x{size[1]}")
    found = np.array([*times, np.inf])
    for row in rows:
        wanted = row[f"videos/{key}/from_timestamp"] + np.arange(row["length"]) / fps
        next_one = found[np.minimum(np.searchsorted(found, wanted - TOLERANCE), len(times))]
        wrong = np.flatnonzero(~(np.abs(next_one - wanted) <= TOLERANCE))
        if len(wrong):
            raise ValueError(f"{path} has no picture at {wanted[wrong[0]]:.4f} s, for episode {row['episode_index']}, "
                             f"frame {wrong[0]}: it has {len(times)} pictures and is cut short, or of another rate")
