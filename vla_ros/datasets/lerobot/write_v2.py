"""Writes a dataset in the layout of v2.1, which openpi and GR00T read: a file an episode.

GR00T asks for meta/modality.json beside it (modality.py). What is where: layout.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.whole_file import write_whole
from vla_ros.datasets.lerobot import layout, modality
from vla_ros.datasets.lerobot.read import Dataset, Episode
from vla_ros.datasets.lerobot.video import CODECS, encode
from vla_ros.datasets.lerobot.write import new_folder
from vla_ros.datasets.statistics import PixelStatistics, Stats, summarise

VERSION = "v2.1"
# v2.1 knows no quantiles
FIGURES = ("min", "max", "mean", "std", "count")
# of an episode's images, evenly out of all, that statistics are made of: decoding takes long
STATISTICS_IMAGES = 50
PLAIN_CODEC = "h264"  # of images that are no video yet: every reader of videos knows it


def write_v2(
    source: Dataset, out: Path, codec: str = "", say: Callable[[str], None] = lambda line: None
) -> None:
    """Writes all of `source` that is read from it into a new or empty folder.

    Numbers keep their type. Videos are copied, without a change, where they can be cut before each
    episode; else they are encoded again.

    Args:
        source: Any dataset that can be read.
        out: The folder.
        codec: One of video.CODECS: all images are encoded again with it.
        say: Hears what is left out, and what is encoded again, a sentence each.

    Raises:
        ValueError: For a folder in use, an unknown codec, and images that no video can hold.
    """
    if codec and codec not in CODECS:
        raise ValueError(f"codec is '{codec}'; use one of {', '.join(CODECS)}")
    new_folder(out)
    for note in source.notes:
        say(note)
    writer = _Writer(source, out, codec)
    for episode in source.episodes:
        writer.write(episode)
    if writer.encoded:
        say(f"the images of {', '.join(writer.encoded)} are encoded again, as {writer.codec}")
    writer.finish()


class _Writer:
    """Into `out`; what describes all of it is written last."""

    def __init__(self, source: Dataset, out: Path, codec: str) -> None:
        self.encoded: dict[str, None] = {}  # cameras
        self.codec = codec or PLAIN_CODEC
        self._source = source
        self._out = out
        self._copies = not codec
        self._columns: dict[str, NDArray[Any]] = {}  # N x D each
        for key in source.names:
            self._columns[key] = source.stored(key)
        self._videos: dict[str, dict[str, Any]] = {}  # camera -> what is said of its first one
        self._lines: dict[str, list[str]] = {"episodes": [], "episodes_stats": []}

    def write(self, episode: Episode) -> None:
        """One episode: its frames, its images and its two lines."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = self._rows(episode)
        stats: dict[str, Stats] = {}
        arrays: dict[str, Any] = {}
        for key, values in columns.items():
            rows = values.reshape(len(values), -1)
            # what no model learns may hold NaN
            if values.dtype != bool and np.isfinite(rows).all():
                stats[key] = summarise(rows)
            arrays[key] = pa.array(values.ravel())
            if values.ndim > 1:
                arrays[key] = pa.FixedSizeListArray.from_arrays(arrays[key], values.shape[1])
        path = self._path(layout.DATA_V2, episode)
        pq.write_table(pa.table(arrays), path)
        for camera in self._source.cameras:
            self._write_video(camera, episode)
            stats[layout.IMAGES + camera] = self._pixels(camera, episode)
        tasks = dict.fromkeys(self._source.task_index[episode.start : episode.end].tolist())
        self._add_line(
            "episodes",
            episode_index=episode.index,
            tasks=list(map(self._source.tasks.__getitem__, tasks)),
            length=episode.end - episode.start,
        )
        self._add_line(
            "episodes_stats",
            episode_index=episode.index,
            stats={key: _figures(numbers) for key, numbers in stats.items()},
        )

    def finish(self) -> None:
        """meta/, with info.json last: it says how much of the rest is there."""
        tasks: list[str] = []
        for index, task in enumerate(self._source.tasks):
            tasks.append(json.dumps({"task_index": index, "task": task}, ensure_ascii=False))
        for name, lines in (("tasks", tasks), *self._lines.items()):
            write_whole(self._meta(f"{name}.jsonl"), "\n".join(lines) + "\n")
        # GR00T refuses a dataset without it, and openpi passes it over
        groups = modality.modality(self._source.names, tuple(self._source.cameras))
        write_whole(self._meta("modality.json"), json.dumps(groups, indent=4, ensure_ascii=False))
        write_whole(self._meta("info.json"), json.dumps(self._info(), indent=4, ensure_ascii=False))

    def _meta(self, name: str) -> Path:
        folder = self._out / "meta"
        folder.mkdir(exist_ok=True)
        return folder / name

    def _path(self, template: str, episode: Episode, **more: str) -> Path:
        chunk = episode.index // layout.CHUNKS_SIZE
        name = template.format(episode_chunk=chunk, episode_index=episode.index, **more)
        path = self._out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _rows(self, episode: Episode) -> dict[str, NDArray[Any]]:
        """Every column of an episode; those of one number have one dimension, as LeRobot's."""
        span = slice(episode.start, episode.end)
        columns: dict[str, NDArray[Any]] = {}
        for key, values in self._columns.items():
            rows = values[span]
            columns[key] = rows[:, 0] if rows.shape[1] == 1 else rows
        count = np.arange(episode.end - episode.start)
        return columns | {
            "timestamp": (count / self._source.fps).astype(np.float32),
            "frame_index": count,
            "episode_index": np.full(len(count), episode.index),
            "index": episode.start + count,
            "task_index": self._source.task_index[span],
        }

    def _write_video(self, camera: str, episode: Episode) -> None:
        path = self._path(layout.VIDEO_V2, episode, video_key=layout.IMAGES + camera)
        held = self._source.copy_video(episode.index, camera, path) if self._copies else None
        if held is None:
            images = self._source.images(episode.index, camera)
            held = encode(path, images, self._source.fps, self.codec)
            self.encoded[camera] = None
        self._videos.setdefault(camera, held)

    def _pixels(self, camera: str, episode: Episode) -> Stats:
        # evenly, the first and the last among them: light changes from one end to the other
        count = min(STATISTICS_IMAGES, episode.end - episode.start)
        pixels = PixelStatistics()
        for index in np.linspace(episode.start, episode.end - 1, count).astype(int).tolist():
            pixels.update(self._source.image(index, camera))
        return pixels.summary()

    def _add_line(self, name: str, **content: Any) -> None:
        self._lines[name].append(json.dumps(content, ensure_ascii=False))

    def _info(self) -> dict[str, Any]:
        source = self._source
        features: dict[str, dict[str, Any]] = {}
        for camera, (height, width) in source.cameras.items():
            features[layout.IMAGES + camera] = {
                "dtype": "video",
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
                "info": {**self._videos[camera], "video.fps": source.fps},
            }
        for key, names in source.names.items():
            features[key] = {
                "dtype": str(self._columns[key].dtype),
                "shape": [len(names)],
                "names": list(names),
            }
        for counter, dtype in layout.COUNTERS.items():
            features[counter] = {"dtype": dtype, "shape": [1], "names": None}
        fps = source.fps
        episodes = len(source.episodes)
        return {
            "codebase_version": VERSION,
            "robot_type": source.robot_type,
            "total_episodes": episodes,
            "total_frames": len(source),
            "total_tasks": len(source.tasks),
            "total_videos": episodes * len(source.cameras),
            "total_chunks": -(-episodes // layout.CHUNKS_SIZE),  # rounded up
            "chunks_size": layout.CHUNKS_SIZE,
            "fps": int(fps) if fps == int(fps) else fps,
            "splits": {"train": f"0:{episodes}"},
            "data_path": layout.DATA_V2,
            "video_path": layout.VIDEO_V2 if source.cameras else None,
            "features": features,
        }


def _figures(stats: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Those that v2.1 knows, for JSON."""
    return {name: stats[name].tolist() for name in FIGURES}
