"""Reads a LeRobotDataset v3.0 (our own recordings or LeRobot's) without LeRobot: checked first, then frame by frame."""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.types import Image
from vla_ros.training import lerobot_check as check
from vla_ros.training import lerobot_layout as layout

OPEN_FILES = 8  # videos kept open


@dataclass(frozen=True)
class Episode:
    """One run of frames, `start` up to but not including `end`, that carries out `task`. `success` None: not judged."""

    index: int
    start: int
    end: int
    task: str
    success: bool | None = None
    generation: int = 0
    lost_frames: int = 0


@dataclass(frozen=True)
class Frame:
    """`images`: camera -> height x width x 3, rgb8; `state` (and every other vector): name -> SI units; `action`: A."""

    images: Mapping[str, Image]
    state: Mapping[str, float]
    action: NDArray[np.float32]
    task: str
    episode: int
    index: int  # in the episode


class Dataset:
    """`len` frames. Numbers are in memory: `state` (N x S) and `action` (N x A), or any by `vector`; pictures are
    decoded when asked for. Not for several threads at once; give each worker process its own.

    Raises ValueError, in a sentence, for anything but a whole v3.0 dataset of at least one episode: see lerobot_check.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.info = check.read_info(self.folder)
        self.fps = float(self.info["fps"])
        self.robot_type = str(self.info.get("robot_type"))
        features = self.info["features"]
        self.cameras = {key.removeprefix(layout.IMAGES): _size(key, feature) for key, feature in features.items()
                        if feature["dtype"] == "video"}
        self._keys = {key.removeprefix(layout.IMAGES): key for key in features if features[key]["dtype"] == "video"}
        self.names = {key: _names(key, feature) for key, feature in features.items()
                      if key not in layout.COUNTERS and feature["dtype"] in ("float32", "float64")}
        for key in (layout.STATE, layout.ACTION):
            if key not in self.names:
                raise ValueError(f"{self.folder / layout.INFO}: features lack '{key}'; a demonstration has state and "
                                 "action")
        self.stats = check.read_stats(self.folder)
        self.tasks = check.read_tasks(self.folder)
        self._rows = check.read_episodes(self.folder, self.info, list(self._keys.values()))
        columns = self._read_columns()
        check.check_frames(self.folder, self._rows, columns, self.fps, len(self.tasks))
        self._vectors = {key: columns[key].astype(np.float32).reshape(-1, len(names))
                         for key, names in self.names.items()}
        for key, values in self._vectors.items():
            check.check_finite(self.folder, self._rows, key, values)
        self._task_index: NDArray[np.int64] = columns["task_index"]
        self._episode_of: NDArray[np.int64] = columns["episode_index"]
        self._check_videos()
        self.episodes = [self._episode(row) for row in self._rows]
        self._open: OrderedDict[Path, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._task_index)

    @property
    def state(self) -> NDArray[np.float32]:
        return self._vectors[layout.STATE]

    @property
    def action(self) -> NDArray[np.float32]:
        return self._vectors[layout.ACTION]

    def vector(self, feature: str) -> NDArray[np.float32]:
        """Any vector feature, N x D; `names[feature]` names its columns. Raises ValueError."""
        if feature not in self._vectors:
            raise ValueError(f"{self.folder} has no '{feature}'; it has {', '.join(self._vectors)}")
        return self._vectors[feature]

    def task(self, index: int) -> str:
        """The words at frame `index`."""
        return self.tasks[int(self._task_index[index])]

    def frame(self, index: int) -> Frame:
        """Frame `index` of the dataset, 0 to len - 1. Raises IndexError."""
        episode = self._at(index)
        state = {name: float(value) for key, names in self.names.items() if key != layout.ACTION
                 for name, value in zip(names, self._vectors[key][index])}
        return Frame({camera: self.image(index, camera) for camera in self.cameras}, state, self.action[index],
                     self.task(index), episode.index, index - episode.start)

    def actions(self, index: int, steps: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The actions of frames `index` to `index + steps - 1`, steps x A, and which of them (steps) are padding:
        beyond the episode's end its last action is repeated. Raises IndexError, ValueError."""
        if steps < 1:
            raise ValueError(f"a chunk has {steps} steps; give 1 or more")
        end = self._at(index).end
        wanted = np.arange(index, index + steps)
        return self.action[np.minimum(wanted, end - 1)], wanted >= end

    def image(self, index: int, camera: str) -> Image:
        """One picture, height x width x 3, rgb8: at most two decodings in what we record."""
        episode = self._at(index)
        path = self._video_path(self._rows[episode.index], self._key(camera))
        if path not in self._open:
            self._open[path] = _open_video(path)
        self._open.move_to_end(path)
        while len(self._open) > OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        return next(self._decode(self._open[path], episode, camera, index - episode.start))

    def images(self, episode: int, camera: str) -> Iterator[Image]:
        """All pictures of an episode in their order: much faster than one by one."""
        container = _open_video(self._video_path(self._rows[episode], self._key(camera)))
        try:
            yield from self._decode(container, self.episodes[episode], camera, 0)
        finally:
            container.close()

    def close(self) -> None:
        """Close the videos that are open; they open again when needed."""
        while self._open:
            self._open.popitem()[1].close()

    def _at(self, index: int) -> Episode:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} is not one of {len(self)}")
        return self.episodes[int(self._episode_of[index])]

    def _key(self, camera: str) -> str:
        if camera not in self._keys:
            raise ValueError(f"{self.folder} has no camera '{camera}'; it has {', '.join(self._keys) or 'none'}")
        return self._keys[camera]

    def _decode(self, container: Any, episode: Episode, camera: str, first: int) -> Iterator[Image]:
        """The pictures of an episode from its frame `first` on."""
        begin = self._rows[episode.index][f"videos/{self._key(camera)}/from_timestamp"]
        wanted, left = begin + first / self.fps - check.TOLERANCE, episode.end - episode.start - first
        stream = container.streams.video[0]
        container.seek(max(0, round(wanted / stream.time_base)), stream=stream, backward=True)
        for picture in container.decode(stream):
            if picture.time >= wanted:
                yield picture.to_ndarray(format="rgb24")
                left -= 1
                if not left:
                    return
        raise ValueError(f"{container.name} ends {left} pictures before episode {episode.index} does")

    def _video_path(self, row: Mapping[str, Any], key: str) -> Path:
        return self.folder / str(self.info["video_path"]).format(
            video_key=key, chunk_index=row[f"videos/{key}/chunk_index"], file_index=row[f"videos/{key}/file_index"])

    def _read_columns(self) -> dict[str, NDArray[Any]]:
        """Every counter and vector of every frame."""
        widths = dict.fromkeys(layout.COUNTERS, 1) | {key: len(names) for key, names in self.names.items()}
        places = dict.fromkeys((row["data/chunk_index"], row["data/file_index"]) for row in self._rows)
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in widths}
        for chunk, file in places:
            path = self.folder / str(self.info["data_path"]).format(chunk_index=chunk, file_index=file)
            table = check.read_table(path, widths)
            for name, width in widths.items():
                parts[name].append(check.column(table, name, width, str(path)))
        return {name: np.concatenate(part) for name, part in parts.items()}

    def _check_videos(self) -> None:
        for camera, key in self._keys.items():
            files: dict[Path, list[Mapping[str, Any]]] = {}
            for row in self._rows:
                files.setdefault(self._video_path(row, key), []).append(row)
            for path, rows in files.items():
                check.check_video(path, rows, key, self.cameras[camera], self.fps)

    def _episode(self, row: Mapping[str, Any]) -> Episode:
        start, end = row["dataset_from_index"], row["dataset_to_index"]
        return Episode(row["episode_index"], start, end, self.task(start), row.get(layout.SUCCESS),
                       row.get(layout.GENERATION) or 0, row.get(layout.LOST) or 0)


def _open_video(path: Path) -> Any:
    import av
    container = av.open(str(path))
    container.streams.video[0].codec_context.thread_count = 1  # threads for each file would outnumber the cores
    return container


def _size(key: str, feature: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width): LeRobot's datasets have them first, or after the channels."""
    shape = [int(side) for side in feature["shape"]]
    if len(shape) != 3 or 3 not in (shape[0], shape[2]):
        raise ValueError(f"meta/info.json: '{key}' has the shape {shape}; height x width x 3 is right")
    return (shape[0], shape[1]) if shape[2] == 3 else (shape[1], shape[2])


def _names(key: str, feature: Mapping[str, Any]) -> tuple[str, ...]:
    """One name a number; where the dataset gives none, `key.0`, `key.1`, ..."""
    shape, names = [int(side) for side in feature["shape"]], feature.get("names")
    if len(shape) != 1 or shape[0] < 1:
        raise ValueError(f"meta/info.json: '{key}' has the shape {shape}; a vector is right")
    if isinstance(names, Mapping) and len(names) == 1:  # {"motors": [...]}
        names = next(iter(names.values()))
    if isinstance(names, list) and len(names) == shape[0]:
        return tuple(map(str, names))
    return tuple(f"{key}.{place}" for place in range(shape[0]))
