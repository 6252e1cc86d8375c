"""Reads a LeRobotDataset, v3.0 or v2.1, ours or LeRobot's, without LeRobot.

It is checked first, then read frame by frame.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
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
from vla_ros.datasets.lerobot.camera_images import CameraImages, VideoImages, make_images
from vla_ros.datasets.lerobot.episodes import EpisodeRow
from vla_ros.datasets.lerobot.features import ImageFeature, Vector
from vla_ros.datasets.statistics import Stats, summarise


@dataclass(frozen=True)
class Episode:
    """One run of frames, `start` up to but not including `end`, that carries out `task`."""

    index: int
    start: int
    end: int
    task: str
    success: bool | None = None  # None: not judged
    instruction_id: int = 0
    lost_frames: int = 0


@dataclass(frozen=True)
class DatasetFrame:
    """One frame, all of it."""

    images: Mapping[str, Image]  # camera -> height x width x 3, rgb8
    state: Mapping[str, float]  # all that was measured, in SI units
    action: NDArray[np.float32]  # A
    task: str
    episode: int
    index: int  # in the episode


class Dataset:
    """A dataset of `len` frames: numbers are in memory, images are decoded when asked for.

    Not for several threads at once; give each worker process its own.

    Attributes:
        names: Feature -> the names of its numbers.
        inputs: What a policy can be told: name -> feature and column.
        cameras: Camera -> (height, width) of its images.
        left_out: Feature -> why it is not read.
        notes: All that a user should know of how the dataset was read, a sentence each.
        episodes: In order, without gaps.
    """

    def __init__(self, folder: str | Path, cameras: Sequence[str] | None = None) -> None:
        """Checks all of it; videos are looked through, but not decoded.

        Args:
            folder: The dataset's.
            cameras: Those to read; None: all that can be.

        Raises:
            ValueError: In a sentence, for anything but a whole dataset of at least one episode,
                with actions, and for a camera that it does not have.
        """
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
        # s that a timestamp is off its frame's time at most
        off = check.check_frames(self.folder, self._rows, counters, self.fps, len(self.tasks))
        # of each frame, N
        self.task_index: NDArray[np.int64] = counters["task_index"].astype(np.int64)
        self._episode_of: NDArray[np.int64] = counters["episode_index"].astype(np.int64)
        self._values: dict[str, NDArray[np.float32]] = {}  # N x D, of the vectors read so far
        self._load()
        observed: dict[str, Vector] = {}
        for key in self._values:
            if key != layout.ACTION:
                observed[key] = self._vectors[key]
        self.inputs = chosen.inputs(observed)
        self._images = self._open_cameras(features.cameras, cameras)
        self.cameras = {name: images.size for name, images in self._images.items()}
        self.notes = self._notes(features.notes, off)
        self.episodes = list(map(self._episode, self._rows))

    def __len__(self) -> int:
        return len(self.task_index)

    @property
    def state(self) -> NDArray[np.float32]:
        """N x S; N x 0 where the dataset has none."""
        return self._values.get(layout.STATE, np.zeros((len(self), 0), np.float32))

    @property
    def action(self) -> NDArray[np.float32]:
        """N x A."""
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

    def column(self, feature: str) -> NDArray[Any]:
        """A feature of all frames in its own type, also a counter: N x D, or N where D is 1."""
        vector = self._vectors.get(feature) or Vector(feature, (feature,))
        return self._columns({feature: vector})[feature]

    @property
    def control_source(self) -> list[str] | None:
        """Who had the robot at each frame, N, or None where the dataset does not say."""
        if layout.CONTROL_SOURCE not in self.info["features"]:
            return None
        sources: list[str] = []
        for path in dict.fromkeys(row.data for row in self._rows):
            sources += tables.read_table(path, [layout.CONTROL_SOURCE])[0].to_pylist()
        return sources

    def marked(self, feature: str) -> NDArray[np.bool_] | None:
        """The frames where a feature of true and false is true, N; None where there is none."""
        if feature not in self._vectors:
            return None
        return self.vector(feature)[:, 0] > 0.5

    def stored(self, feature: str) -> NDArray[Any]:
        """As `vector`, in the type of number that the dataset has it in."""
        self.vector(feature)  # refuses what is none
        values = self._columns({feature: self._vectors[feature]})[feature]
        return values.reshape(-1, len(self.names[feature]))

    def is_video(self, camera: str) -> bool:
        """Whether its images are a video; else each is a PNG or JPEG."""
        return isinstance(self._camera(camera), VideoImages)

    def copy_video(self, episode: int, camera: str, out: Path) -> dict[str, Any] | None:
        """An episode's images as a video of its own, not encoded again.

        Returns:
            What `video.about` says of it; None, and no file, where that cannot be: the images are
            no video, or the episode does not begin where one can be cut.
        """
        images = self._camera(camera)
        return images.copy(episode, out) if isinstance(images, VideoImages) else None

    def statistics(self, feature: str) -> Stats:
        """Of all frames' numbers in a vector feature. Raises ValueError where it has none."""
        # from the numbers themselves: meta/stats.json is whatever its writer made of them
        return summarise(self.vector(feature))

    def task(self, index: int) -> str:
        """The words at frame `index`."""
        return self.tasks[int(self.task_index[index])]

    def frame(self, index: int) -> DatasetFrame:
        """Frame `index` of the dataset, 0 to len - 1. Raises IndexError."""
        episode = self._at(index)
        state: dict[str, float] = {}
        for name, (key, column) in self.inputs.items():
            state[name] = float(self._values[key][index, column])
        return DatasetFrame(
            {camera: self.image(index, camera) for camera in self.cameras},
            state,
            self.action[index],
            self.task(index),
            episode.index,
            index - episode.start,
        )

    def actions(self, index: int, steps: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The actions of frames `index` to `index + steps - 1`.

        Returns:
            steps x A, and which of them (steps) are padding: beyond the episode's end its last
            action is repeated.

        Raises:
            IndexError: There is no such frame.
            ValueError: For less than one step.
        """
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
        for images in self._images.values():
            images.close()

    def _at(self, index: int) -> Episode:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} is not one of {len(self)}")
        return self.episodes[int(self._episode_of[index])]

    def _camera(self, name: str) -> CameraImages:
        if name not in self._images:
            raise ValueError(
                f"{self.folder} has no camera '{name}'; it has {', '.join(self._images) or 'none'}"
            )
        return self._images[name]

    # -- reading -----------------------------------------------------------------------
    def _open_cameras(
        self, known: Mapping[str, ImageFeature], wanted: Sequence[str] | None
    ) -> dict[str, CameraImages]:
        for name in wanted or ():
            if name not in known:
                problem = (
                    f"{self.folder} has no camera '{name}'; it has {', '.join(known) or 'none'}"
                )
                why = self.left_out.get(layout.IMAGES + name) or self.left_out.get(name)
                raise ValueError(problem + (f" ('{name}': {why})" if why else ""))
        cameras: dict[str, CameraImages] = {}
        for name, camera in known.items():
            if wanted is None or name in wanted:
                cameras[name] = make_images(camera, self._rows, self.fps, self.folder)
        return cameras

    def _load(self) -> None:
        """Actions, and what a policy can be told, into memory."""
        # actions and the state first: without them the rest need not be read
        for key in [layout.ACTION, layout.STATE, *self._vectors]:
            if key in self._values or key not in self._vectors:
                continue
            if key != layout.ACTION and not chosen.measured(key):
                continue
            try:
                self._values[key] = self._finite(key)
            except ValueError as problem:
                # what nobody must have is left out where it cannot be read
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
        parts: dict[str, list[NDArray[Any]]] = defaultdict(list)  # a part for each file
        columns = [vector.column for vector in wanted.values()]
        files = dict.fromkeys(row.data for row in self._rows)  # each once, in order
        for path in files:
            table = tables.read_table(path, columns)
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
        """Those of the features, and what else a user should know. `off`: of the timestamps, s."""
        notes = list(notes)
        renamed: dict[str, None] = {}  # features, in order
        for name, (key, column) in self.inputs.items():
            if name != self.names[key][column]:
                renamed[key] = None
        for key in renamed:
            notes.append(
                f"'{key}' has names that other features have too, "
                f"so its numbers are called {key}.NAME"
            )
        outcomes = list(itertools.filterfalse(chosen.measured, self._vectors))
        outcomes.remove(layout.ACTION)  # no outcome either, and always there
        if outcomes:
            notes.append(f"{', '.join(outcomes)}: not observed, so no model is told of it")
        for key, why in self.left_out.items():
            notes.append(f"'{key}' is left out: {why}")
        if off > check.ON_TIME_S:
            notes.append(
                f"timestamps are up to {1000 * off:.1f} ms off {self.fps:g} frames a second; "
                "frames and images are taken in their order"
            )
        return notes

    def _episode(self, row: EpisodeRow) -> Episode:
        # other people's datasets do not say what `ours` has
        return Episode(
            row.index,
            row.start,
            row.end,
            self.task(row.start),
            row.ours.get(layout.SUCCESS),
            row.ours.get(layout.INSTRUCTION_ID) or 0,
            row.ours.get(layout.LOST) or 0,
        )
