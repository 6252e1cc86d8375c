"""What a LeRobot dataset says about itself under meta/: one table of episodes for all versions.

Every function raises ValueError: the file, the row where there is one, what it holds, what is
right.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_ros.datasets.lerobot import layout

# what of meta/info.json is read, so what must be in it
INFO_KEYS = ("codebase_version", "fps", "features", "total_episodes", "total_frames", "data_path")
PLACE_COLUMNS = ("chunk_index", "file_index")
OUR_COLUMNS = (layout.SUCCESS, layout.INSTRUCTION_ID, layout.LOST)


@dataclass(frozen=True)
class Clip:
    """Where an episode's images are."""

    path: Path  # a video
    start: float | None  # s, from which on; None: from the first image


@dataclass(frozen=True)
class EpisodeRow:
    """Episode `index`: the frames `start` up to but not including `end`, in the file `data`."""

    index: int
    start: int
    end: int
    data: Path
    # video feature -> where it is; without those that the table does not know
    clips: Mapping[str, Clip]
    # the columns that only our recordings have
    ours: Mapping[str, Any] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Frames."""
        return self.end - self.start


def read_info(folder: Path) -> dict[str, Any]:
    """meta/info.json, of a version that is known, with at least one episode."""
    path = folder / layout.INFO
    info = _json(path)
    version = info.get("codebase_version")
    if version not in layout.READABLE:
        raise ValueError(
            f"{path}: codebase_version is {version!r}; this reads {', '.join(layout.READABLE)}; "
            "LeRobot converts others"
        )
    missing = [key for key in INFO_KEYS if key not in info]
    if missing:
        raise ValueError(f"{path} lacks '{missing[0]}'; it needs {', '.join(INFO_KEYS)}")
    fps = info["fps"]
    features = info["features"]
    if isinstance(fps, bool) or not isinstance(fps, (int, float)) or not 0 < fps < 1e4:
        raise ValueError(f"{path}: fps is {fps!r}; give frames a second")
    if not info["total_episodes"]:
        raise ValueError(
            f"{folder} has {info['total_episodes']} episodes; there is nothing to learn from"
        )
    if not isinstance(features, dict):
        raise ValueError(
            f"{path}: features are a {type(features).__name__}; "
            "an object, feature by feature, is right"
        )
    for counter in layout.COUNTERS:
        if counter not in features:
            raise ValueError(f"{path}: features lack '{counter}'; every frame has it")
    return info


def one_file_an_episode(info: Mapping[str, Any]) -> bool:
    """Is the layout v2.1's?"""
    # its paths tell, not its version: that may still be the one from which it was converted
    return "{episode_index" in str(info["data_path"])


def read_tasks(folder: Path, info: Mapping[str, Any]) -> list[str]:
    """Task index -> words."""
    if one_file_an_episode(info):
        path = folder / layout.TASKS_V2
        indices: list[Any] = []
        words: list[Any] = []
        for row in _json_lines(path):
            indices.append(row.get("task_index"))
            words.append(row.get("task"))
    else:
        path = folder / layout.TASKS
        column = "task" if "task" in column_names(path) else layout.TASK_COLUMN
        table = read_table(path, ["task_index", column])
        indices = table["task_index"].to_pylist()
        words = table[column].to_pylist()
    tasks: dict[int, str] = {}
    for index, task in zip(indices, words):
        if isinstance(index, int) and isinstance(task, str):
            tasks[index] = task
    if set(tasks) != set(range(len(indices))):
        raise ValueError(
            f"{path}: the task indices are {str(indices[:10])[:80]}; "
            "0, 1, 2, ... with words each is right"
        )
    return [tasks[index] for index in range(len(tasks))]


def read_episodes(folder: Path, info: Mapping[str, Any]) -> list[EpisodeRow]:
    """The episodes, 0, 1, 2, ...; their frames follow each other without gaps."""
    old = one_file_an_episode(info)
    table = layout.EPISODES_V2 if old else "meta/episodes"
    raw = _json_lines(folder / table) if old else _v3(folder)
    if len(raw) != info["total_episodes"]:
        raise ValueError(
            f"{folder}: meta/info.json counts {info['total_episodes']} episodes, "
            f"{table} has {len(raw)}; where a recording was cut off, `vla record --append` mends it"
        )
    for row in raw:
        for name in ("episode_index", "length"):
            if isinstance(row.get(name), bool) or not isinstance(row.get(name), int):
                raise ValueError(
                    f"{folder}: a row of {table} has {name} {row.get(name)!r}; "
                    "a whole number is right"
                )
    raw.sort(key=lambda row: row["episode_index"])  # the table may have them in any order
    episodes: list[EpisodeRow] = []
    start = 0
    for index, row in enumerate(raw):
        length = row["length"]
        # v2.1 does not say where an episode's frames begin: behind those before
        given = (
            row["episode_index"],
            row.get("dataset_from_index", start),
            row.get("dataset_to_index", start + length),
        )
        if length < 1 or given != (index, start, start + length):
            raise ValueError(
                f"{folder}: {table} has episode {given[0]}, frames {given[1]} to {given[2]}, "
                f"length {length}; episode {index} from frame {start} on is right"
            )
        data, clips = _v2_places(folder, info, index) if old else places_of(folder, info, row)
        ours = {key: row.get(key) for key in OUR_COLUMNS}
        episodes.append(EpisodeRow(index, start, start + length, data, clips, ours))
        start += length
    if start != info["total_frames"]:
        raise ValueError(
            f"{folder}: meta/info.json counts {info['total_frames']} frames, "
            f"the episodes have {start}"
        )
    return episodes


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of meta/episodes, as they are, without the statistics in them."""
    columns = [
        "episode_index",
        "length",
        "dataset_from_index",
        "dataset_to_index",
        "data/chunk_index",
        "data/file_index",
    ]
    for name in column_names(path):  # most of them are statistics
        if name in OUR_COLUMNS or name.startswith("videos/"):
            columns.append(name)
    rows: list[dict[str, Any]] = read_table(path, columns).to_pylist()
    return rows


def _v3(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise ValueError(
            f"{folder / 'meta' / 'episodes'} holds no parquet file; the episodes are missing"
        )
    rows: list[dict[str, Any]] = []
    for path in files:
        rows += rows_of(path)
    return rows


def places_of(
    folder: Path, info: Mapping[str, Any], row: Mapping[str, Any]
) -> tuple[Path, dict[str, Clip]]:
    """Where an episode of v3.0 lies, by its row: its frames, and its images by feature."""
    template = info.get("video_path") or layout.VIDEO
    clips: dict[str, Clip] = {}
    for key in info["features"]:
        place = _place(row, f"videos/{key}")
        start = row.get(f"videos/{key}/from_timestamp")
        # most features have no video, and a camera may have none in this episode
        known = all(isinstance(number, int) for number in place.values())
        if known and isinstance(start, (int, float)):
            video = _filled(template, "video_path", video_key=key, **place)
            clips[key] = Clip(folder / video, start)
    place = _place(row, "data")
    return folder / _filled(info["data_path"], "data_path", **place), clips


def _place(row: Mapping[str, Any], of: str) -> dict[str, Any]:
    return {name: row.get(f"{of}/{name}") for name in PLACE_COLUMNS}


def _v2_places(folder: Path, info: Mapping[str, Any], episode: int) -> tuple[Path, dict[str, Clip]]:
    size = info.get("chunks_size", layout.CHUNKS_SIZE)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(
            f"{folder / layout.INFO}: chunks_size is {size!r}; give the episodes a chunk"
        )
    place = {
        "episode_chunk": episode // size,
        "episode_index": episode,
        "total_episodes": info["total_episodes"],
    }
    template = info.get("video_path") or layout.VIDEO_V2
    clips: dict[str, Clip] = {}
    # of every feature: whether it has such a file is asked where that matters
    for key in info["features"]:
        video = _filled(template, "video_path", video_key=key, **place)
        clips[key] = Clip(folder / video, None)
    return folder / _filled(info["data_path"], "data_path", **place), clips


def _filled(template: Any, name: str, **place: Any) -> str:
    """A path of info.json, `name` there, with its places filled in."""
    try:
        return str(template).format(**place)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as problem:
        raise ValueError(
            f"meta/info.json: {name} is {str(template)[:100]!r} ({problem!r}); "
            f"it can name {', '.join(place)}"
        ) from None


# -- files -----------------------------------------------------------------------------
def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(
            f"{path} is missing: either {path.parents[1]} is no dataset, "
            "or its recording never ended"
        ) from None
    except (OSError, ValueError) as problem:
        raise ValueError(f"{path} cannot be read as text: {problem}") from None


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as problem:  # the latter: nested thousands deep
        raise ValueError(f"{where} cannot be read as JSON: {problem}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{where} holds a {type(content).__name__}; a JSON object is right")
    return content


def _json(path: Path) -> dict[str, Any]:
    return _object(_text(path), str(path))


def _json_lines(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    # not splitlines: that splits at U+2028 as well, which may stand in a JSON string
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            rows.append(_object(line, f"{path}, line {number},"))
    return rows


def column_names(path: Path) -> list[str]:
    """Of a parquet file; none where it is no such file: `read_table` says that."""
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (OSError, ValueError):
        return []


def read_schema(path: Path) -> Any:
    """The names and types of a parquet file's columns, as a pyarrow Schema."""
    with _parquet(path) as file:
        return file.schema_arrow


def read_table(path: Path, needed: Iterable[str]) -> Any:
    """The columns `needed` of a parquet file, as a pyarrow Table."""
    with _parquet(path) as file:
        present = file.schema_arrow.names
        for name in needed:
            if name not in present:
                raise ValueError(
                    f"{path} has no column '{name}'; it has {', '.join(present[:9])}, ..."
                )
        return file.read(list(needed))


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    except (pa.ArrowException, OSError) as problem:
        # ArrowInvalid is a ValueError whose sentence names no file
        raise ValueError(f"{path} cannot be read as parquet: {str(problem)[:200]}") from None
