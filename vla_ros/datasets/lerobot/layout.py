"""Where LeRobotDataset keeps what: paths, features, and what of ours goes in.

A dataset is a folder of parquet, mp4 and json. Rows of the parquet under data/ are frames, in
order; an episode is a run of rows and a run of video frames. v3.0, which we record: its row under
meta/episodes/ says which run; one file holds many episodes, until it is as large as info.json
allows, and a chunk is a folder of at most `chunks_size` files. v2.1, which we convert to, and v2.0
are read as well: a file an episode, `chunks_size` episodes a chunk, and episodes and tasks are
lines of JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_ros.core.types import Observation

VERSION = "v3.0"
READABLE = ("v2.0", "v2.1", VERSION)
INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
CHUNK_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
EPISODES = f"meta/episodes/{CHUNK_FILE}.parquet"
DATA = f"data/{CHUNK_FILE}.parquet"
VIDEO = f"videos/{{video_key}}/{CHUNK_FILE}.mp4"
# v2.0 and v2.1: a file an episode
EPISODES_V2 = "meta/episodes.jsonl"
TASKS_V2 = "meta/tasks.jsonl"
EPISODE_FILE = "episode_{episode_index:06d}"
DATA_V2 = f"data/chunk-{{episode_chunk:03d}}/{EPISODE_FILE}.parquet"
VIDEO_V2 = f"videos/chunk-{{episode_chunk:03d}}/{{video_key}}/{EPISODE_FILE}.mp4"
# files a chunk, MiB a file: LeRobot's own defaults
CHUNKS_SIZE = 1000
DATA_MB = 100
VIDEO_MB = 200

IMAGES = "observation.images."
STATE = "observation.state"
ACTION = "action"
# beginnings of what was measured; where a robot of ours stood in its room
OBSERVATION = "observation."
ODOM = "odom"
# where pandas keeps an index that has no name: LeRobot's tasks are one
TASK_COLUMN = "__index_level_0__"
# Every frame has these; LeRobot finds its way by them.
COUNTERS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
# Our columns of an episode.
SUCCESS = "vla_ros/success"
INSTRUCTION_ID = "vla_ros/instruction_id"
LOST = "vla_ros/lost_frames"
# Features of frames that were driven by a policy and a person in turns. `intervention` and
# `next.success` are called as LeRobot's own tools call them. What the gate was asked for is not
# `action.…`: LeRobot takes each feature of such a name for an output of the policy.
INTERVENTION = "intervention"  # a person's command was carried out
CONTROL_SOURCE = "control_source"  # who had the robot: policy or teleop
NEXT_SUCCESS = "next.success"  # on an episode's last frame, where it was said to have succeeded
HELD = "gate.held"  # the gate let nothing through: the action is its own standing still
REQUESTED = "gate.requested"  # what the gate was asked for, in the order of the action
DRIVEN_IN_TURNS = {INTERVENTION: "bool", CONTROL_SOURCE: "string", NEXT_SUCCESS: "bool"}
GATED = {**DRIVEN_IN_TURNS, HELD: "bool"}
# Files that LeRobot passes over: what an episode was recorded with, what was noted of it, and the
# episode under way, as long as it is.
CONTRACT = "meta/contract.json"
NOTES = "meta/notes.jsonl"
UNDER_WAY = "meta/under_way.json"


@dataclass(frozen=True)
class DatasetSpec:
    """What a frame holds.

    Raises ValueError for what LeRobot's layout or the video cannot hold.
    """

    fps: int
    cameras: Mapping[str, tuple[int, int]]  # name -> (height, width) in pixels, even
    state: tuple[str, ...]  # the names of its numbers, SI units
    action: tuple[str, ...]  # likewise
    # Further vectors, feature -> names. LeRobot's policies do not look at those, so that is where a
    # robot's place in its room goes.
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    robot_type: str = "unknown"
    # Features of one value a frame that no model is told: name -> "bool" or "string".
    marks: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.fps, bool) or not isinstance(self.fps, int) or not 1 <= self.fps <= 240:
            raise ValueError(
                f"fps is {self.fps!r}; LeRobot's layout wants a whole number of frames a second, "
                "1 to 240"
            )
        for name, size in self.cameras.items():
            # yuv420p has colours for every second row and column; a name is a folder's
            fits = len(size) == 2 and min(size) >= 16 and size[0] % 2 == 0 and size[1] % 2 == 0
            if not name or "/" in name or not fits:
                raise ValueError(
                    f"camera {name!r} has {size[0]}x{size[1]} pixels (height x width); video wants "
                    "even sides of 16 or more, and a name without '/'"
                )
        for mark, dtype in self.marks.items():
            if dtype not in ("bool", "string"):
                raise ValueError(f"the mark '{mark}' is {dtype}; it can be bool or string")
        for feature, names in self.vectors().items():
            if not names or len(set(names)) < len(names):
                raise ValueError(
                    f"'{feature}' has the names {list(names)}; give at least one, and each once"
                )
            if "/" in feature or feature in COUNTERS or feature.startswith(IMAGES):
                raise ValueError(
                    f"a feature of ours cannot be called '{feature}'; choose another name"
                )

    @classmethod
    def of(
        cls,
        observation: Observation,
        channels: Iterable[str],
        fps: int,
        robot_type: str,
        marks: Mapping[str, str] | None = None,
        requested: bool = False,
    ) -> DatasetSpec:
        """For frames like this one. `odom.x`, `odom.y`, ... become the feature `odom`.

        `requested`: frames have REQUESTED beside the action.
        """
        cameras: dict[str, tuple[int, int]] = {}
        for name, image in observation.images.items():
            cameras[name] = (image.shape[0], image.shape[1])
        pose: list[str] = []
        state: list[str] = []
        for name in observation.state:
            if name.startswith(f"{ODOM}."):
                pose.append(name)
            else:
                state.append(name)
        extra = {ODOM: tuple(pose)} if pose else {}
        driven = tuple(channels)
        if requested:
            extra[REQUESTED] = driven
        return cls(fps, cameras, tuple(state), driven, extra, robot_type, marks or {})

    def vectors(self) -> dict[str, tuple[str, ...]]:
        """Every float feature and the names of its numbers."""
        vectors = {STATE: tuple(self.state), ACTION: tuple(self.action)}
        for feature, names in self.extra.items():
            vectors[feature] = tuple(names)
        return vectors

    def features(self) -> dict[str, dict[str, Any]]:
        """As info.json lists them."""
        features: dict[str, dict[str, Any]] = {}
        for name, (height, width) in self.cameras.items():
            features[IMAGES + name] = {
                "dtype": "video",
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
            }
        for feature, names in self.vectors().items():
            features[feature] = {"dtype": "float32", "shape": [len(names)], "names": list(names)}
        for mark, dtype in self.marks.items():
            features[mark] = {"dtype": dtype, "shape": [1], "names": None}
        for counter, dtype in COUNTERS.items():
            features[counter] = {"dtype": dtype, "shape": [1], "names": None}
        return features


def next_place(place: tuple[int, int], chunks_size: int) -> tuple[int, int]:
    """(chunk, file) after `place`."""
    chunk, file = place
    return (chunk + 1, 0) if file + 1 >= chunks_size else (chunk, file + 1)


def place_after(folder: Path, template: str, chunks_size: int) -> tuple[int, int]:
    """(chunk, file) after the last one of a dataset's `template` that is there."""
    pattern = re.sub(r"\{\w+:03d\}", "*", template)
    places: list[tuple[int, int]] = []
    for path in folder.glob(pattern):
        chunk, file = re.findall(r"-(\d+)", str(path.relative_to(folder)))[-2:]
        places.append((int(chunk), int(file)))
    return next_place(max(places), chunks_size) if places else (0, 0)
