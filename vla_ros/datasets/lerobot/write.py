"""Writes demonstrations as a LeRobotDataset v3.0, without LeRobot. What is where:
lerobot_layout.py.

    with DatasetWriter(folder, DatasetSpec.of(observation, channels, fps=10, robot_type="sim")) as
    writer:
        writer.add_frame(images, state, action)     # as often as there are frames
        writer.save_episode("go to the red block")
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.types import Image
from vla_ros.datasets.lerobot import layout
from vla_ros.datasets.lerobot.layout import DatasetSpec
from vla_ros.datasets.lerobot.video import VideoSeries
from vla_ros.datasets.statistics import PixelStatistics, RunningStatistics, Stats, summarise

MIB = 1024**2
ROWS_TOGETHER = 64


class ParquetSeries:
    """Tables that go into one file after another, each at most `limit` bytes; unfinished files end
    in .part."""

    def __init__(self, folder: Path, template: str, limit: float, chunks_size: int) -> None:
        self._folder = folder
        self._template = template
        self._limit = limit
        self._chunks_size = chunks_size
        self._writer: Any = None
        self._sink: Any = None
        self._next = (0, 0)

    def place(self, size: int) -> tuple[int, int]:
        """(chunk, file) that a table of about `size` bytes goes to."""
        if self._writer is not None and self._sink.tell() + size >= self._limit:
            self.close()
        return self._next

    def write(self, table: Any) -> None:
        import pyarrow.parquet as pq

        if self._writer is None:
            path = self._path()
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sink = open(f"{path}.part", "wb")  # noqa: SIM115
            self._writer = pq.ParquetWriter(self._sink, table.schema, compression="snappy")
        self._writer.write_table(table)

    def close(self) -> None:
        """Finish the file; the next table begins another."""
        if self._writer is None:
            return
        self._writer.close()
        self._sink.close()
        os.replace(f"{self._path()}.part", self._path())
        self._writer, self._next = None, layout.next_place(self._next, self._chunks_size)

    def _path(self) -> Path:
        return self._folder / self._template.format(
            chunk_index=self._next[0], file_index=self._next[1]
        )


class DatasetWriter:
    """Writes to a new or empty `folder`. What is saved can be read after `flush` or `finalize`;
    with `flush_every` n, after every n episodes as well, in files of their own: what a killed
    process had flushed stays good.

    Raises ValueError for a folder in use, a spec that does not fit, and frames that do not fit the
    spec.
    """

    def __init__(
        self,
        folder: str | Path,
        spec: DatasetSpec,
        *,
        codec: str = "libsvtav1",
        flush_every: int = 0,
        data_mb: float = layout.DATA_MB,
        video_mb: float = layout.VIDEO_MB,
        chunks_size: int = layout.CHUNKS_SIZE,
    ) -> None:
        self.folder = Path(folder)
        self.spec = spec
        self.episodes = self.frames = 0
        self._limits = {
            "chunks_size": chunks_size,
            "data_files_size_in_mb": data_mb,
            "video_files_size_in_mb": video_mb,
        }
        if min(self._limits.values()) <= 0:
            raise ValueError(
                f"the sizes of files and chunks are {self._limits}; give numbers above 0"
            )
        new_folder(self.folder)
        self._flush_every = flush_every
        self._data = ParquetSeries(self.folder, layout.DATA, data_mb * MIB, chunks_size)
        self._rows = ParquetSeries(self.folder, layout.EPISODES, data_mb * MIB, chunks_size)
        self._videos = {
            layout.IMAGES + name: VideoSeries(
                self.folder,
                layout.IMAGES + name,
                size,
                spec.fps,
                codec,
                video_mb * MIB,
                chunks_size,
            )
            for name, size in spec.cameras.items()
        }
        self._names = spec.vectors()
        self._tasks: dict[str, int] = {}
        # rows of episodes: one at a time, most of the file would be headings
        self._waiting: list[dict[str, Any]] = []
        self._stats = {
            name: RunningStatistics(feature["shape"][0])
            for name, feature in spec.features().items()
            if feature["dtype"] != "video"
        }
        self._pixels = {key: PixelStatistics() for key in self._videos}
        self._begin()

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.finalize()

    def _begin(self) -> None:
        self.length = 0  # frames of the episode that is being recorded
        self._buffer: dict[str, list[NDArray[np.float32]]] = {name: [] for name in self._names}
        self._seen = {key: PixelStatistics() for key in self._videos}

    def add_frame(
        self, images: Mapping[str, Image], state: Mapping[str, float], action: Mapping[str, float]
    ) -> None:
        """`images`: camera -> height x width x 3, uint8; `state` (with what `extra` names) and
        `action`: name -> value. Nothing of a frame that raises ValueError is kept."""
        where = f"episode {self.episodes}, frame {self.length}"
        for name, size in self.spec.cameras.items():
            image = images.get(name)
            if image is None or image.dtype != np.uint8 or image.shape != (*size, 3):
                found = "no image" if image is None else f"{image.shape} of {image.dtype}"
                raise ValueError(
                    f"{where}: camera '{name}' has {found}; {(*size, 3)} of uint8 is right"
                )
        rows = {
            feature: _row(
                names, action if feature == layout.ACTION else state, f"{where}: {feature}"
            )
            for feature, names in self._names.items()
        }
        for feature, row in rows.items():
            self._buffer[feature].append(row)
        for name in self.spec.cameras:
            key = layout.IMAGES + name
            self._videos[key].add(images[name])
            self._seen[key].update(images[name])
        self.length += 1

    def drop_episode(self) -> None:
        """Forget the frames since the last episode."""
        for video in self._videos.values():
            video.drop()
        self._begin()

    def save_episode(
        self, task: str, success: bool | None = None, instruction_id: int = 0, lost_frames: int = 0
    ) -> None:
        """The frames since the last episode are one that carries out `task`. `success` None: nobody
        judged it."""
        if not self.length:
            raise ValueError(f"episode {self.episodes} has no frames; add some or drop it")
        if not task.strip():
            raise ValueError(
                f"episode {self.episodes} has the task {task!r}; give the instruction's words"
            )
        columns = self._columns(self._tasks.setdefault(task, len(self._tasks)))
        stats = {
            name: summarise(values.reshape(self.length, -1)) for name, values in columns.items()
        }
        stats |= {key: pixels.summary() for key, pixels in self._seen.items()}
        row: dict[str, Any] = {
            "episode_index": self.episodes,
            "tasks": [task],
            "length": self.length,
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + self.length,
        }
        row |= self._save_data(columns) | self._save_videos()
        row |= {
            layout.SUCCESS: success,
            layout.INSTRUCTION_ID: instruction_id,
            layout.LOST: lost_frames,
        }
        self._save_row(row, stats)
        for name, values in columns.items():
            self._stats[name].update(values.reshape(self.length, -1))
        for key, pixels in self._seen.items():
            self._pixels[key].merge(pixels)
        self.frames += self.length
        self.episodes += 1
        self._begin()
        if self._flush_every and self.episodes % self._flush_every == 0:
            self.flush()

    def _columns(self, task: int) -> dict[str, NDArray[Any]]:
        """Feature -> length x D, or length where D is 1."""
        count = np.arange(self.length)
        columns: dict[str, NDArray[Any]] = {
            name: np.stack(rows) for name, rows in self._buffer.items()
        }
        columns = {
            name: rows[:, 0] if rows.shape[1] == 1 else rows for name, rows in columns.items()
        }
        return columns | {
            "timestamp": (count / self.spec.fps).astype(np.float32),
            "frame_index": count,
            "episode_index": np.full(self.length, self.episodes),
            "index": self.frames + count,
            "task_index": np.full(self.length, task),
        }

    def _save_data(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        import pyarrow as pa

        arrays = {
            name: pa.array(values)
            if values.ndim == 1
            else pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
            for name, values in columns.items()
        }
        table = pa.table(arrays)
        chunk, file = self._data.place(table.nbytes)
        self._data.write(table)
        return {"data/chunk_index": chunk, "data/file_index": file}

    def _save_videos(self) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for key, video in self._videos.items():
            span = video.end_episode()
            row |= {
                f"videos/{key}/chunk_index": span.place[0],
                f"videos/{key}/file_index": span.place[1],
                f"videos/{key}/from_timestamp": span.start,
                f"videos/{key}/to_timestamp": span.end,
            }
        return row

    def _save_row(self, row: dict[str, Any], stats: Mapping[str, Stats]) -> None:
        for feature, numbers in stats.items():
            row |= {f"stats/{feature}/{name}": value.tolist() for name, value in numbers.items()}
        self._waiting.append(row)
        if len(self._waiting) >= ROWS_TOGETHER:
            self._write_rows()

    def _write_rows(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        chunk, file = self._rows.place(sum(len(json.dumps(row)) for row in self._waiting))
        types = {layout.SUCCESS: pa.bool_()}  # else episodes that nobody judged decide for all
        columns = {
            name: pa.array([row[name] for row in self._waiting], types.get(name))
            for name in self._waiting[0]
        }
        for name, value in (("chunk_index", chunk), ("file_index", file)):
            columns[f"meta/episodes/{name}"] = pa.array([value] * len(self._waiting), pa.int64())
        self._rows.write(pa.table(columns))
        self._waiting.clear()

    def flush(self) -> None:
        """Close all files and describe what is in them. The next episode begins new ones."""
        self._write_rows()
        for close in (
            self._data.close,
            self._rows.close,
            *(video.close for video in self._videos.values()),
        ):
            close()
        if not self.episodes:
            return
        self._write_tasks()
        stats = {name: numbers.summary() for name, numbers in self._stats.items()}
        stats |= {name: pixels.summary() for name, pixels in self._pixels.items()}
        _write_json(
            self.folder / layout.STATS,
            {
                feature: {name: value.tolist() for name, value in numbers.items()}
                for feature, numbers in stats.items()
            },
        )
        # last: it says how much of the rest is there
        _write_json(self.folder / layout.INFO, self.info())

    def finalize(self) -> None:
        """Forget an episode that was not saved, and close. With no episode saved there is no
        dataset."""
        self.drop_episode()
        self.flush()

    def info(self) -> dict[str, Any]:
        """What meta/info.json says."""
        features = self.spec.features()
        for key, video in self._videos.items():
            features[key]["info"] = video.info
        return {
            "codebase_version": layout.VERSION,
            "robot_type": self.spec.robot_type,
            "total_episodes": self.episodes,
            "total_frames": self.frames,
            "total_tasks": len(self._tasks),
            **self._limits,
            "fps": self.spec.fps,
            "splits": {"train": f"0:{self.episodes}"},
            "data_path": layout.DATA,
            "video_path": layout.VIDEO if self._videos else None,
            "features": features,
        }

    def _write_tasks(self) -> None:
        """A table whose pandas index is the words: LeRobot reads it with pandas, which is not
        needed here."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table(
            {
                "task_index": pa.array(list(self._tasks.values()), pa.int64()),
                layout.TASK_COLUMN: pa.array(list(self._tasks), pa.string()),
            }
        )
        column = {
            "metadata": None,
            "name": "task_index",
            "field_name": "task_index",
            "pandas_type": "int64",
            "numpy_type": "int64",
        }
        index = {
            "metadata": None,
            "name": None,
            "field_name": layout.TASK_COLUMN,
            "pandas_type": "unicode",
            "numpy_type": "object",
        }
        pandas = {
            "index_columns": [layout.TASK_COLUMN],
            "column_indexes": [],
            "columns": [column, index],
            "creator": {"library": "pyarrow", "version": pa.__version__},
            "pandas_version": "2.0.0",
        }
        path = self.folder / layout.TASKS
        pq.write_table(
            table.replace_schema_metadata({"pandas": json.dumps(pandas)}), f"{path}.part"
        )
        os.replace(f"{path}.part", path)


def new_folder(folder: Path) -> None:
    """Make it. Raises ValueError where something is in it already, or it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        used = any(folder.iterdir())
    except OSError as problem:
        raise ValueError(
            f"cannot write to {folder}: {problem.strerror}; give another folder"
        ) from None
    if used:
        raise ValueError(f"{folder} is not empty; a dataset begins in a folder of its own")


def _row(names: tuple[str, ...], values: Mapping[str, float], where: str) -> NDArray[np.float32]:
    """The numbers of one feature, D. Raises ValueError."""
    missing = [name for name in names if name not in values]
    if missing:
        raise ValueError(f"{where} lacks '{missing[0]}'; it needs {', '.join(names)}")
    with np.errstate(over="ignore"):
        row = np.array([values[name] for name in names], np.float32)
    for name, number in zip(names, row):
        if not np.isfinite(number):
            raise ValueError(f"{where}: '{name}' is {values[name]}; a frame holds finite numbers")
    return row


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=4, ensure_ascii=False), encoding="utf-8")
    os.replace(part, path)
