"""Reads a LeRobotDataset, v3.0 or v2.1, ours or LeRobot's, without LeRobot: checked first, then
frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.types import Image
from vla_ros.datasets.lerobot import check, layout
from vla_ros.datasets.lerobot import episodes as tables
from vla_ros.datasets.lerobot import features as chosen
from vla_ros.datasets.lerobot.camera_images import make_images
from vla_ros.datasets.lerobot.episodes import EpisodeRow
from vla_ros.datasets.lerobot.features import Vector
from vla_ros.datasets.statistics import Stats, summarise


@dataclass(frozen=True)
class Episode:
    """One run of frames, `start` up to but not including `end`, that carries out `task`. `success`
    None: not judged."""

    index: int
    start: int
    end: int
    task: str
    success: bool | None = None
    instruction_id: int = 0
    lost_frames: int = 0


@dataclass(frozen=True)
class Frame:
    """`images`: camera -> height x width x 3, rgb8; `state` (all that was measured): name -> SI
    units; `action`: A."""

    images: Mapping[str, Image]
    state: Mapping[str, float]
    action: NDArray[np.float32]
    task: str
    episode: int
    index: int  # in the episode


class Dataset:
    """`len` frames. Numbers are in memory: `state` (N x S) and `action` (N x A), or any by
    `vector`; images are decoded when asked for. `names`: feature -> the names of its numbers;
    `inputs`: what a policy can be told, name -> feature and column; `left_out`: feature -> why it
    is not read; `notes`: all that a user should know of how the dataset was read, a sentence each.
    `cameras`: those to read; left out: all that can be. Not for several threads at once; give each
    worker process its own.

    Raises ValueError, in a sentence, for anything but a whole dataset of at least one episode, with
    actions.
    """

    def __init__(self, folder: str | Path, cameras: Sequence[str] | None = None) -> None:
        self.folder = Path(folder)
        self.info = tables.read_info(self.folder)
        self.fps = float(self.info["fps"])
        self.robot_type = str(self.info.get("robot_type"))
        self.tasks = tables.read_tasks(self.folder, self.info)
        self._rows = tables.read_episodes(self.folder, self.info)
        features = chosen.sort_out(
            self.info["features"],
            tables.read_schema(self._rows[0].data),
            self._has_video,
            self._width,
            str(self.folder / layout.INFO),
        )
        self.left_out = features.left_out
        self._vectors = features.vectors
        self.names = {key: vector.names for key, vector in self._vectors.items()}
        counters = self._columns({key: Vector(key, (key,)) for key in layout.COUNTERS})
        off = check.check_frames(self.folder, self._rows, counters, self.fps, len(self.tasks))
        # of each frame, N
        self.task_index: NDArray[np.int64] = counters["task_index"].astype(np.int64)
        self._episode_of: NDArray[np.int64] = counters["episode_index"].astype(np.int64)
        self._values: dict[str, NDArray[np.float32]] = {}
        self._load()
        self.inputs = chosen.inputs(
            {key: self._vectors[key] for key in self._values if key != layout.ACTION}
        )
        read = {
            name: camera
            for name, camera in features.cameras.items()
            if cameras is None or name in cameras
        }
        for name in cameras or ():
            if name not in read:
                why = self.left_out.get(layout.IMAGES + name) or self.left_out.get(name)
                raise ValueError(
                    f"{self.folder} has no camera '{name}'; it has "
                    f"{', '.join(features.cameras) or 'none'}"
                    + (f" ('{name}': {why})" if why else "")
                )
        self._images = {
            name: make_images(camera, self._rows, self.fps) for name, camera in read.items()
        }
        self.cameras = {name: one.size for name, one in self._images.items()}
        self.notes = self._notes(features.notes, off)
        self.episodes = [self._episode(row) for row in self._rows]

    def __len__(self) -> int:
        return len(self.task_index)

    @property
    def state(self) -> NDArray[np.float32]:
        """N x S; N x 0 where the dataset has none."""
        return self._values.get(layout.STATE, np.zeros((len(self), 0), np.float32))

    @property
    def action(self) -> NDArray[np.float32]:
        return self._values[layout.ACTION]

    def vector(self, feature: str) -> NDArray[np.float32]:
        """Any vector feature, N x D; `names[feature]` names its columns. Raises ValueError."""
        if feature not in self._vectors:
            why = self.left_out.get(feature)
            raise ValueError(
                f"{self.folder} has no '{feature}'; it has {', '.join(self._vectors)}"
                + (f" ('{feature}': {why})" if why else "")
            )
        if feature not in self._values:
            self._values[feature] = self._finite(feature)
        return self._values[feature]

    def statistics(self, feature: str) -> Stats:
        """Of all frames' numbers in a vector feature, computed from them: what meta/stats.json says
        is not asked."""
        return summarise(self.vector(feature))

    def task(self, index: int) -> str:
        """The words at frame `index`."""
        return self.tasks[int(self.task_index[index])]

    def frame(self, index: int) -> Frame:
        """Frame `index` of the dataset, 0 to len - 1. Raises IndexError."""
        episode = self._at(index)
        state = {
            name: float(self._values[key][index, column])
            for name, (key, column) in self.inputs.items()
        }
        return Frame(
            {camera: self.image(index, camera) for camera in self.cameras},
            state,
            self.action[index],
            self.task(index),
            episode.index,
            index - episode.start,
        )

    def actions(self, index: int, steps: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The actions of frames `index` to `index + steps - 1`, steps x A, and which of them
        (steps) are padding: beyond the episode's end its last action is repeated. Raises
        IndexError, ValueError."""
        if steps < 1:
            raise ValueError(f"a chunk has {steps} steps; give 1 or more")
        end = self._at(index).end
        wanted = np.arange(index, index + steps)
        return self.action[np.minimum(wanted, end - 1)], wanted >= end

    def image(self, index: int, camera: str) -> Image:
        """One image, height x width x 3, rgb8: at most two decodings in what we record."""
        episode = self._at(index)
        return self._camera(camera).one(episode.index, index - episode.start)

    def images(self, episode: int, camera: str) -> Iterator[Image]:
        """All images of an episode in their order: much faster than one by one."""
        yield from self._camera(camera).run(episode)

    def close(self) -> None:
        """Close the videos that are open; they open again when needed."""
        for one in self._images.values():
            one.close()

    def _at(self, index: int) -> Episode:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} is not one of {len(self)}")
        return self.episodes[int(self._episode_of[index])]

    def _camera(self, name: str) -> Any:
        if name not in self._images:
            raise ValueError(
                f"{self.folder} has no camera '{name}'; it has {', '.join(self._images) or 'none'}"
            )
        return self._images[name]

    # -- reading -----------------------------------------------------------------------
    def _load(self) -> None:
        """Actions, and what a policy can be told. What nobody must have is left out where it cannot
        be read."""
        for key in [layout.ACTION, layout.STATE, *self._vectors]:
            if (
                key in self._values
                or key not in self._vectors
                or not (key == layout.ACTION or chosen.measured(key))
            ):
                continue
            try:
                self._values[key] = self._finite(key)
            except ValueError as problem:
                if key in (layout.ACTION, layout.STATE):
                    raise
                self.left_out[key] = str(problem)

    def _finite(self, key: str) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):  # too large a number is infinite, and refused
            values = self._columns({key: self._vectors[key]})[key].astype(np.float32)
        values = values.reshape(-1, len(self.names[key]))
        check.check_finite(self.folder, self._rows, key, values)
        return values

    def _columns(self, wanted: Mapping[str, Vector]) -> dict[str, NDArray[Any]]:
        """These features of every frame."""
        parts: dict[str, list[NDArray[Any]]] = {key: [] for key in wanted}
        for path in dict.fromkeys(row.data for row in self._rows):
            table = tables.read_table(path, [vector.column for vector in wanted.values()])
            for key, vector in wanted.items():
                parts[key].append(check.column(table, vector.column, len(vector.names), str(path)))
        return {key: np.concatenate(part) for key, part in parts.items()}

    def _width(self, column: str) -> int:
        """How many numbers a frame there are in it, as the first frame has them."""
        first = tables.read_table(self._rows[0].data, [column])[column][0].as_py()
        return len(first) if isinstance(first, list) else 1

    def _has_video(self, key: str) -> bool:
        clip = self._rows[0].clips.get(key)
        return clip is not None and clip.path.is_file()

    def _notes(self, notes: list[str], off: float) -> list[str]:
        """Sentences."""
        notes = list(notes)
        renamed = dict.fromkeys(
            key for name, (key, column) in self.inputs.items() if name != self.names[key][column]
        )
        notes += [
            f"'{key}' has names that other features have too, so its numbers are called {key}.NAME"
            for key in renamed
        ]
        outcomes = [
            key for key in self._vectors if key != layout.ACTION and not chosen.measured(key)
        ]
        if outcomes:
            notes.append(f"{', '.join(outcomes)}: not observed, so no model is told of it")
        notes += [f"'{key}' is left out: {why}" for key, why in self.left_out.items()]
        if off > check.ON_TIME:
            notes.append(
                f"timestamps are up to {1000 * off:.1f} ms off {self.fps:g} frames a second; "
                "frames and "
                "images are taken in their order"
            )
        return notes

    def _episode(self, row: EpisodeRow) -> Episode:
        return Episode(
            row.index,
            row.start,
            row.end,
            self.task(row.start),
            row.ours.get(layout.SUCCESS),
            row.ours.get(layout.INSTRUCTION_ID) or 0,
            row.ours.get(layout.LOST) or 0,
        )
