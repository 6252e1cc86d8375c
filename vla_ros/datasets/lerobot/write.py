"""Writes demonstrations as a LeRobotDataset v3.0, without LeRobot; what is where: layout.py.

spec = DatasetSpec.of(observation, channels, fps=10, robot_type="sim")
with DatasetWriter(folder, spec) as writer:
    writer.add_frame(images, state, action)     # as often as there are frames
    writer.save_episode("go to the red block")
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.types import Image
from vla_ros.core.whole_file import rename_whole, write_whole
from vla_ros.datasets.lerobot import layout
from vla_ros.datasets.lerobot.append import FolderLock, check_same, clear_left, sampled_pixels
from vla_ros.datasets.lerobot.layout import DatasetSpec
from vla_ros.datasets.lerobot.read import Dataset
from vla_ros.datasets.lerobot.video import VideoSeries
from vla_ros.datasets.statistics import PixelStatistics, RunningStatistics, Stats, summarise

MIB = 1024**2
# Rows of episodes that are written at once: one at a time, most of the file would be headings.
ROWS_TOGETHER = 64


class ParquetSeries:
    """Tables that go into one file after another; files that are not finished end in .part.

    Args:
        folder: The dataset's.
        template: A file's place in it, with `chunk_index` and `file_index`.
        limit: Bytes that a file has at most.
        chunks_size: Files of a chunk.
    """

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
        # a table is never split: what does not fit any more begins the next file
        if self._writer is not None and self._sink.tell() + size >= self._limit:
            self.close()
        return self._next

    def write(self, table: Any) -> None:
        """Append a pyarrow table to the file that `place` named."""
        import pyarrow.parquet as pq

        if self._writer is None:
            path = self._path()
            path.parent.mkdir(parents=True, exist_ok=True)
            # a file of our own, because it tells how many bytes it has so far
            self._sink = open(f"{path}.part", "wb")  # noqa: SIM115
            self._writer = pq.ParquetWriter(self._sink, table.schema, compression="snappy")
        self._writer.write_table(table)

    def close(self) -> None:
        """Finish the file; the next table begins another."""
        if self._writer is None:
            return
        self._writer.close()
        self._sink.close()
        rename_whole(Path(f"{self._path()}.part"), self._path())
        self._writer = None
        self._next = layout.next_place(self._next, self._chunks_size)

    def go_on(self) -> None:
        """The next table begins the file after those that are there."""
        self._next = layout.place_after(self._folder, self._template, self._chunks_size)

    def _path(self) -> Path:
        return self._folder / self._template.format(
            chunk_index=self._next[0], file_index=self._next[1]
        )


class DatasetWriter:
    """Writes to a new or empty `folder`; what is saved can be read after `flush` or `finalize`.

    Args:
        folder: Made where it does not exist.
        spec: What every frame holds.
        codec: One of video.CODECS.
        append: `folder` may hold a dataset of the same spec, which goes on; what a recording that
            was killed had left of its last episode is taken away (append.py).
        lock: The folder's, of a caller who has called `clear_left` as well.
        flush_every: Flush after so many episodes as well, into files of their own: what a killed
            process had flushed stays good. 0: never.
        data_mb: MiB that a parquet file has at most.
        video_mb: MiB that a video has at most.
        chunks_size: Files of a chunk.

    Raises:
        ValueError: For a folder in use, a spec that does not fit, and frames that do not fit the
            spec.
    """

    def __init__(
        self,
        folder: str | Path,
        spec: DatasetSpec,
        *,
        codec: str = "libsvtav1",
        append: bool = False,
        lock: FolderLock | None = None,
        flush_every: int = 0,
        data_mb: float = layout.DATA_MB,
        video_mb: float = layout.VIDEO_MB,
        chunks_size: int = layout.CHUNKS_SIZE,
    ) -> None:
        self.folder = Path(folder)
        self.spec = spec
        self.episodes = 0
        self.frames = 0
        self._limits = {
            "chunks_size": chunks_size,
            "data_files_size_in_mb": data_mb,
            "video_files_size_in_mb": video_mb,
        }
        if min(self._limits.values()) <= 0:
            raise ValueError(
                f"the sizes of files and chunks are {self._limits}; give numbers above 0"
            )
        self._lock = lock
        if append and lock is None:
            self._lock = FolderLock(self.folder)
            clear_left(self.folder)
        if not append or not (self.folder / layout.INFO).is_file():
            append = False
            new_folder(self.folder)
        self._flush_every = flush_every
        self._data = ParquetSeries(self.folder, layout.DATA, data_mb * MIB, chunks_size)
        self._rows = ParquetSeries(self.folder, layout.EPISODES, data_mb * MIB, chunks_size)
        self._videos: dict[str, VideoSeries] = {}
        for name, size in spec.cameras.items():
            key = layout.IMAGES + name
            self._videos[key] = VideoSeries(
                self.folder, key, size, spec.fps, codec, video_mb * MIB, chunks_size
            )
        self._names = spec.vectors()
        self._tasks: dict[str, int] = {}  # words -> index, in the order of their first episodes
        self._waiting: list[dict[str, Any]] = []  # rows of episodes that no file has yet
        # of the whole dataset; an episode's own go into its row
        self._stats: dict[str, RunningStatistics] = {}
        for name, feature in spec.features().items():
            if feature["dtype"] not in ("video", "string"):
                self._stats[name] = RunningStatistics(feature["shape"][0])
        self._pixels: dict[str, PixelStatistics] = defaultdict(PixelStatistics)
        if append:
            self._go_on()
        self._begin()

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.finalize()

    def _go_on(self) -> None:
        """Takes over what the dataset in the folder has. Raises ValueError for another spec."""
        before = Dataset(self.folder)
        check_same(before.info, self.spec, self.folder)
        self.episodes = len(before.episodes)
        self.frames = len(before)
        for index, task in enumerate(before.tasks):
            self._tasks[task] = index
        for name, numbers in self._stats.items():
            numbers.update(before.column(name).reshape(self.frames, -1))
        for camera in self.spec.cameras:
            key = layout.IMAGES + camera
            self._pixels[key] = sampled_pixels(before, camera)
            self._videos[key].go_on(before.info["features"][key].get("info") or {})
        self._data.go_on()
        self._rows.go_on()
        before.close()

    def _begin(self) -> None:
        self.length = 0  # frames of the episode that is being recorded
        self._buffer: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
        self._marks: dict[str, list[bool | str]] = defaultdict(list)
        self._words: list[str | None] = []  # of each frame; None: the episode's
        self._seen: dict[str, PixelStatistics] = defaultdict(PixelStatistics)

    def add_frame(
        self,
        images: Mapping[str, Image],
        state: Mapping[str, float],
        action: Mapping[str, float],
        *,
        requested: Mapping[str, float] | None = None,
        marks: Mapping[str, bool | str] | None = None,
        task: str | None = None,
    ) -> None:
        """One more frame of this episode. Nothing of a frame that raises is kept.

        Args:
            images: Camera -> height x width x 3, uint8, rgb.
            state: Name -> SI units, with what the spec's `extra` names.
            action: Name -> SI units.
            requested: As `action`, of a spec with REQUESTED.
            marks: The spec's, but NEXT_SUCCESS, which `save_episode` knows.
            task: The words that held at this frame, "" for none; None: the episode's.

        Raises:
            ValueError: For an image of another shape, and a number that is missing or not finite.
        """
        where = f"episode {self.episodes}, frame {self.length}"
        for name, size in self.spec.cameras.items():
            image = images.get(name)
            if image is None or image.dtype != np.uint8 or image.shape != (*size, 3):
                held = "no image" if image is None else f"{image.shape} of {image.dtype}"
                raise ValueError(
                    f"{where}: camera '{name}' has {held}; {(*size, 3)} of uint8 is right"
                )
        rows: dict[str, NDArray[np.float32]] = {}
        for feature, names in self._names.items():
            values = state
            if feature in (layout.ACTION, layout.REQUESTED):
                values = action if feature == layout.ACTION else requested or {}
            rows[feature] = _row(names, values, f"{where}: {feature}")
        marked = _marked(self.spec.marks, marks or {}, where)
        # from here on nothing raises: the frame fits as a whole
        self._words.append(task)
        for mark, value in marked.items():
            self._marks[mark].append(value)
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
        """The frames since the last episode are one that carries out `task`.

        Args:
            task: The instruction's words, of the frames that were given none of their own.
            success: Whether it did; None: nobody judged it.
            instruction_id: The instruction's; 0: it has none.
            lost_frames: Frames that were filled with the image before.

        Raises:
            ValueError: For an episode without frames and a task without words.
        """
        if not self.length:
            raise ValueError(f"episode {self.episodes} has no frames; add some or drop it")
        if not task.strip():
            raise ValueError(
                f"episode {self.episodes} has the task {task!r}; give the instruction's words"
            )
        words = [task if said is None else said for said in self._words]  # of each frame
        spoken = list(dict.fromkeys(words))
        for text in spoken:
            self._tasks.setdefault(text, len(self._tasks))
        columns = self._columns(words, success is True)
        numbers: dict[str, NDArray[Any]] = {}  # length x D; words have no statistics
        for name, values in columns.items():
            if values.dtype != object:
                plain = values.astype(np.int64) if values.dtype == bool else values
                numbers[name] = plain.reshape(self.length, -1)
        stats: dict[str, Stats] = {}
        for name, values in numbers.items():
            stats[name] = summarise(values)
        for key, pixels in self._seen.items():
            stats[key] = pixels.summary()
        row: dict[str, Any] = {
            "episode_index": self.episodes,
            "tasks": spoken,
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
        for name, values in numbers.items():
            self._stats[name].update(values)
        for key, pixels in self._seen.items():
            self._pixels[key].merge(pixels)
        self.frames += self.length
        self.episodes += 1
        self._begin()
        if self._flush_every and self.episodes % self._flush_every == 0:
            self.flush()

    def _columns(self, words: list[str], success: bool) -> dict[str, NDArray[Any]]:
        """Feature -> length x D, or length where D is 1. `words`: of each frame."""
        count = np.arange(self.length)
        columns: dict[str, NDArray[Any]] = {}
        for name, rows in self._buffer.items():
            values = np.stack(rows)  # length x D
            # LeRobot has a feature of one number as a number, not as a list of one
            columns[name] = values[:, 0] if values.shape[1] == 1 else values
        for mark, dtype in self.spec.marks.items():
            if mark == layout.NEXT_SUCCESS:
                columns[mark] = success & (count == self.length - 1)
            else:
                columns[mark] = np.array(self._marks[mark], bool if dtype == "bool" else object)
        return columns | {
            "timestamp": (count / self.spec.fps).astype(np.float32),
            "frame_index": count,
            "episode_index": np.full(self.length, self.episodes),
            "index": self.frames + count,
            "task_index": np.array([self._tasks[text] for text in words]),
        }

    def _save_data(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        import pyarrow as pa

        arrays: dict[str, Any] = {}
        for name, values in columns.items():
            arrays[name] = pa.array(values.ravel())
            if values.ndim > 1:
                arrays[name] = pa.FixedSizeListArray.from_arrays(arrays[name], values.shape[1])
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
            for name, value in numbers.items():
                row[f"stats/{feature}/{name}"] = value.tolist()
        self._waiting.append(row)
        if len(self._waiting) >= ROWS_TOGETHER:
            self._write_rows()

    def _write_rows(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        # their length as JSON is near enough to what they take in the file
        chunk, file = self._rows.place(sum(map(len, map(json.dumps, self._waiting))))
        types = {layout.SUCCESS: pa.bool_()}  # else episodes that nobody judged decide for all
        columns: dict[str, Any] = {}
        for name in self._waiting[0]:
            values = [row[name] for row in self._waiting]
            columns[name] = pa.array(values, types.get(name))
        # a row says as well in which file it lies itself
        for name, value in (("chunk_index", chunk), ("file_index", file)):
            columns[f"meta/episodes/{name}"] = pa.array([value] * len(self._waiting), pa.int64())
        self._rows.write(pa.table(columns))
        self._waiting.clear()

    def flush(self) -> None:
        """Close all files and describe what is in them. The next episode begins new ones."""
        # videos first, which take longest: a process that is killed meanwhile has not yet named the
        # frames that belong to them
        for video in self._videos.values():
            video.close()
        self._write_rows()
        self._data.close()
        self._rows.close()
        if not self.episodes:
            return
        self._write_tasks()
        stats: dict[str, Any] = {}
        for name, numbers in self._stats.items():
            stats[name] = _as_lists(numbers.summary())
        for key, pixels in self._pixels.items():
            stats[key] = _as_lists(pixels.summary())
        _write_json(self.folder / layout.STATS, stats)
        # last: it says how much of the rest is there
        _write_json(self.folder / layout.INFO, self.info())

    def finalize(self) -> None:
        """Forget an episode that was not saved, and close.

        With no episode saved there is no dataset.
        """
        self.drop_episode()
        self.flush()
        self._lock = None

    def info(self) -> dict[str, Any]:
        """What meta/info.json says."""
        features = self.spec.features()
        for key, video in self._videos.items():
            # as the encoder made it: empty until the first episode is saved
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
        """A table whose pandas index is the words: LeRobot reads it with pandas."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table(
            {
                "task_index": pa.array(list(self._tasks.values()), pa.int64()),
                layout.TASK_COLUMN: pa.array(list(self._tasks), pa.string()),
            }
        )
        # What pandas itself would write beside the table, so that it is not needed here: which
        # column is the index, and that the index has no name.
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
        table = table.replace_schema_metadata({"pandas": json.dumps(pandas)})
        path = self.folder / layout.TASKS
        pq.write_table(table, f"{path}.part")
        rename_whole(Path(f"{path}.part"), path)


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
    for name in names:
        if name not in values:
            raise ValueError(f"{where} lacks '{name}'; it needs {', '.join(names)}")
    with np.errstate(over="ignore"):  # too large for float32: infinite, which is refused below
        row = np.array([values[name] for name in names], np.float32)
    for name, number in zip(names, row):
        if not np.isfinite(number):
            raise ValueError(f"{where}: '{name}' is {values[name]}; a frame holds finite numbers")
    return row


def _marked(
    wanted: Mapping[str, str], given: Mapping[str, bool | str], where: str
) -> dict[str, bool | str]:
    """The marks of a frame, in the spec's order. Raises ValueError for one that is missing."""
    marked: dict[str, bool | str] = {}
    for mark in wanted:
        if mark == layout.NEXT_SUCCESS:
            continue
        if mark not in given:
            raise ValueError(f"{where} lacks '{mark}'; it needs {', '.join(wanted)}")
        marked[mark] = given[mark]
    return marked


def _as_lists(stats: Stats) -> dict[str, Any]:
    """For JSON, which knows no arrays."""
    return {name: value.tolist() for name, value in stats.items()}


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(content, indent=4, ensure_ascii=False))
