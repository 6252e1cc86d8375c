"""Makes a LeRobotDataset v3.0 of bags: evenly spaced frames, and how they were made, on record.

Frame k of an episode is what was known k / fps after its first one: each camera's and each number's
last message at or before that, unless it is older than `max_age_s`. Its action is what was
commanded last when the next frame came, as in what `vla record` writes. Where something is missing
or too old there is no frame, and the episode ends.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.compressed import rgb_of_message
from vla_ros.core.images import as_mounted
from vla_ros.core.robot import Robot
from vla_ros.core.types import NANOSECONDS, Image, Instruction, Observation, to_nanoseconds
from vla_ros.core.whole_file import write_whole
from vla_ros.datasets.bag_streams import NEVER_NS, Streams, check_topics, collect, latest
from vla_ros.datasets.bags import find_bags, read_messages
from vla_ros.datasets.lerobot.layout import DatasetSpec
from vla_ros.datasets.lerobot.write import DatasetWriter, new_folder
from vla_ros.datasets.recorder import SHORTEST_S

RECORD = "meta/resampling.json"
MAX_BYTES = 1 << 28  # of an image's message
LATEST = "the last message at or before the frame"
COMMANDED = "the last command at or before the next frame"
STANDS = "0 where the last command is older than max_age_s"
MEASURED = "where it was measured at the next frame"


@dataclass(frozen=True)
class Resampling:
    """How frames are made.

    Attributes:
        fps: Frames a second.
        max_age_s: An older image, state or velocity makes no frame.
        task: What was done, of all of it; empty: `task_topic` says it.
        task_topic: Where instructions are.
        measured: Channels without commands in the bag are taken where their joint was measured.
        bag_times: By when messages were recorded, not by their own stamps.
    """

    fps: int = 10
    max_age_s: float = 0.2
    task: str = ""
    task_topic: str = "/vla/instruction/accepted"
    measured: bool = False
    bag_times: bool = False


@dataclass
class FrameCounts:
    """What became of the bags' frames."""

    episodes: int = 0
    frames: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # why frames were dropped

    @property
    def dropped(self) -> int:
        """Frames."""
        return self.reasons.total()


class Run(NamedTuple):
    """Neighbouring frames of one instruction: `first` up to but not including `end`."""

    first: int
    end: int
    task: str
    instruction_id: int


class Grid:
    """A bag's frames before any image is looked at: T of them.

    Raises ValueError where the bag has no commands of a channel, or no words.
    """

    def __init__(self, path: Path, robot: Robot, streams: Streams, resampling: Resampling) -> None:
        self.path = path
        self.refused = streams.refused
        self._robot = robot
        self._resampling = resampling
        period = NANOSECONDS / resampling.fps
        starts: list[int] = []
        ends: list[int] = []
        for stamps in streams.images.values():
            starts.append(int(stamps.min()))
            ends.append(int(stamps.max()))
        for series in streams.state.values():
            starts.append(int(series.stamps[0]))
        # T, ns: from when all has been heard of, to the last image of all. Not to where the first
        # camera falls silent: what is lost behind that would not be counted.
        count = int((max(ends) - max(starts)) / period) + 1
        self.times = max(starts) + np.round(np.arange(max(0, count)) * period).astype(np.int64)
        self.early = int((max(starts) - min(starts)) / period)  # frames that would be before that
        self._next = self.times + round(period)
        self._max_age = to_nanoseconds(resampling.max_age_s)
        self.why: NDArray[Any] = np.full(len(self.times), "", object)  # no frame; "": it is one
        self.images: dict[str, NDArray[np.int64]] = {}  # camera -> the message of each frame
        self.ages: dict[str, NDArray[np.int64]] = {}  # camera -> of its images, ns
        self._choose_images(streams)
        self.state = self._sample_state(streams)
        self.methods: dict[str, str] = {}  # channel -> how its action was found
        self.action = self._sample_actions(streams)
        self.runs = list(self._find_runs(streams))  # the episodes

    def _find_runs(self, streams: Streams) -> Iterator[Run]:
        """What is too short for one is counted in `why`."""
        task, instruction_id = self._words(streams)
        for at in np.flatnonzero(task == ""):
            self.why[at] = self.why[at] or "no instruction"
        fine = self.why == ""
        first = 0
        while first < len(fine):
            if not fine[first]:
                first += 1
                continue
            end = first + 1
            while end < len(fine) and fine[end] and instruction_id[end] == instruction_id[first]:
                end += 1
            if end - first < SHORTEST_S * self._resampling.fps:
                self.why[first:end] = f"an episode of less than {SHORTEST_S:g} s"
            else:
                yield Run(first, end, task[first], int(instruction_id[first]))
            first = end

    def _mark(self, wrong: NDArray[np.bool_], reason: str) -> None:
        """The first reason stands."""
        for at in np.flatnonzero(wrong):
            self.why[at] = self.why[at] or reason

    def _choose_images(self, streams: Streams) -> None:
        for camera, stamps in streams.images.items():
            order = np.argsort(stamps, kind="stable")
            place, ages = latest(stamps[order], self.times)
            self.images[camera] = order[place]
            self.ages[camera] = ages
            self._mark(ages > self._max_age, f"camera '{camera}': no image within max_age_s")

    def _sample_state(self, streams: Streams) -> dict[str, NDArray[np.float64]]:
        """Name -> T, in the robot file's order; NaN where there is no frame."""
        state: dict[str, NDArray[np.float64]] = {}
        for source in self._robot.state:
            for name in source.names:
                series = streams.state.get(name)
                if series is None and not source.required:
                    continue
                if series is None:
                    raise ValueError(
                        f"{self.path}: no message on {source.topic} has '{source.names[name]}', "
                        f"which robot '{self._robot.name}' calls '{name}'"
                    )
                values, ages = series.at(self.times)
                self._mark(ages > self._max_age, f"{source.topic}: no '{name}' within max_age_s")
                state[name] = values
        return state

    def _sample_actions(self, streams: Streams) -> dict[str, NDArray[np.float64]]:
        """Channel -> T, at the next frame."""
        actions: dict[str, NDArray[np.float64]] = {}
        for channel in self._robot.channels:
            name = channel.name
            measured = streams.positions.get(name) or streams.state.get(name)
            commands = streams.commands.get(name)
            if commands is None and (measured is None or not self._resampling.measured):
                self._refuse(name, measured is not None)
            series = commands or measured
            assert series is not None
            values, ages = series.at(self._next)
            method = COMMANDED if commands else MEASURED
            if commands is not None and channel.is_velocity:
                # its driver has stopped it by then, as every driver of a base must
                values = np.where(ages > self._max_age, 0.0, values)
                method += f"; {STANDS}"
            elif commands is not None and measured is not None:
                before, _ = measured.at(self._next)
                if (ages == NEVER_NS).any():
                    method += "; before the first, where it was measured"
                values = np.where(ages == NEVER_NS, before, values)
            self._mark(~np.isfinite(values), f"channel '{name}': no command yet")
            actions[name] = values
            self.methods[name] = method
        return actions

    def _refuse(self, name: str, is_measured: bool) -> None:
        output = next(each for each in self._robot.outputs if name in each.channels)
        kind = "an action, whose goals no bag holds" if output.is_action else output.type
        remedy = "record them" + (" as a topic" if output.is_action else "")
        if is_measured:
            remedy = "--measured takes where it was measured at the next frame, for its action"
        raise ValueError(
            f"{self.path} has no commands of channel '{name}' ({output.topic}: {kind}); {remedy}"
        )

    def _words(self, streams: Streams) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """What is to be done at each frame, T, and a number that tells instructions apart."""
        count = len(self.times)
        if self._resampling.task:
            return np.full(count, self._resampling.task, object), np.zeros(count, np.int64)
        words = streams.words
        if not words:
            raise ValueError(
                f"{self.path} has no instruction on {self._resampling.task_topic}; say what was "
                "done with --task, or where it stands with --task-topic"
            )
        stamps, numbers, texts = zip(*words)
        place, _ = latest(np.array(stamps), self.times)
        # -1, before the first one, takes what is added at the end: none
        said = np.array([*map(str.strip, texts), ""], object)
        return said[place], np.array([*numbers, 0])[place]


class _Images:
    """Decodes those images of a bag that its episodes show, in one pass."""

    def __init__(self, grid: Grid, robot: Robot) -> None:
        self._cameras = {camera.topic: camera for camera in robot.cameras}
        self._messages = read_messages(grid.path, set(self._cameras))
        # camera -> message -> the frames that will still ask for it
        self._wanted: dict[str, Counter[int]] = {}
        self._kept: dict[str, dict[int, Image]] = {}
        for name, places in grid.images.items():
            self._wanted[name] = Counter()
            for run in grid.runs:
                self._wanted[name].update(places[run.first : run.end].tolist())
            self._kept[name] = {}
        self._counts: Counter[str] = Counter()  # camera -> messages so far
        self.damaged: Counter[str] = Counter()

    def get(self, camera: str, place: int) -> Image | None:
        """The image of a camera's message number `place`; None where it cannot be decoded.

        Each frame of each run asks once.
        """
        kept = self._kept[camera]
        while place not in kept and self._counts[camera] <= place:
            self._read_on()
        self._wanted[camera][place] -= 1
        # a full camera image is a megabyte: none is kept longer than it may be asked for
        return kept.get(place) if self._wanted[camera][place] else kept.pop(place, None)

    def _read_on(self) -> None:
        topic, _, message = next(self._messages)
        camera = self._cameras[topic]
        place = self._counts[camera.name]
        self._counts[camera.name] += 1
        if not self._wanted[camera.name][place]:
            return
        try:
            image = rgb_of_message(message, camera.transport, MAX_BYTES)
            self._kept[camera.name][place] = np.ascontiguousarray(as_mounted(image, camera))
        except ValueError as problem:
            self.damaged[f"{topic}: {str(problem)[:200]}"] += 1


class _Converter:
    """One bag after another into one dataset."""

    def __init__(self, out: Path, robot: Robot, resampling: Resampling, codec: str) -> None:
        self.counts = FrameCounts()
        self.refused: Counter[str] = Counter()
        self.methods: dict[str, str] = {}
        self.ages: dict[str, list[NDArray[np.int64]]] = {}  # camera -> of written frames, ns
        self.commanded: dict[str, tuple[float, float]] = {}  # channel -> least and most
        self._out = out
        self._robot = robot
        self._resampling = resampling
        self._codec = codec
        self._writer: DatasetWriter | None = None

    def add(self, grid: Grid) -> None:
        """A bag's episodes."""
        self.methods.update(grid.methods)
        # A second pass: which images are needed is only known once all stamps are, and a bag's
        # images would not fit into memory.
        images = _Images(grid, self._robot)
        for run in grid.runs:
            self._write(grid, run, images)
        self.counts.reasons.update(filter(None, grid.why.tolist()))
        if grid.early:
            self.counts.reasons["before all had been heard of"] += grid.early
        self.refused += grid.refused + images.damaged

    def finish(self) -> None:
        """Closes the dataset, where there is one."""
        if self._writer is not None:
            self._writer.finalize()
            self.counts.episodes = self._writer.episodes
            self.counts.frames = self._writer.frames

    def _write(self, grid: Grid, run: Run, images: _Images) -> None:
        lost = 0
        shown: dict[str, Image] = {}
        for at in range(run.first, run.end):
            filled = False
            for camera, places in grid.images.items():
                image = images.get(camera, int(places[at]))
                filled = filled or image is None
                if image is not None:
                    shown[camera] = image
            lost += filled
            if len(shown) < len(grid.images):  # nothing to fill the first frames with
                grid.why[at] = "an image that cannot be decoded"
                continue
            state = {name: float(values[at]) for name, values in grid.state.items()}
            action = {name: float(values[at]) for name, values in grid.action.items()}
            self._open(shown, state, action).add_frame(shown, state, action)
        if self._writer is None or not self._writer.length:
            return
        self._writer.save_episode(run.task, None, run.instruction_id, lost)
        for camera, ages in grid.ages.items():
            self.ages.setdefault(camera, []).append(ages[run.first : run.end])
        for name, values in grid.action.items():
            low, high = self.commanded.get(name, (np.inf, -np.inf))
            part = values[run.first : run.end]
            self.commanded[name] = (min(low, float(part.min())), max(high, float(part.max())))

    def beyond_bounds(self) -> Iterator[str]:
        """A sentence for each channel that was sent where the robot file lets nothing go."""
        for channel in self._robot.channels:
            low, high = self.commanded.get(channel.name, channel.bounds)
            if low < channel.bounds[0] or high > channel.bounds[1]:
                yield (
                    f"'{channel.name}' was sent to {low:.4g} to {high:.4g}{channel.unit_mark}, "
                    f"beyond its bounds {channel.bounds[0]:g} to {channel.bounds[1]:g}; are its "
                    "scale and sent_unit right?"
                )

    def _open(
        self, images: Mapping[str, Image], state: Mapping[str, float], action: Mapping[str, float]
    ) -> DatasetWriter:
        """Made for frames like the first one."""
        if self._writer is None:
            seen = Observation(0, Instruction(0, 0, ""), images, state)
            spec = DatasetSpec.of(seen, action, self._resampling.fps, self._robot.name)
            self._writer = DatasetWriter(self._out, spec, codec=self._codec)
        return self._writer


def convert_bags(
    source: Path,
    out: Path,
    robot: Robot,
    resampling: Resampling,
    *,
    codec: str = "libsvtav1",
    say: Callable[[str], None] = lambda line: None,
) -> FrameCounts:
    """Writes a dataset of all bags in `source`, and RECORD beside it: how its frames were made.

    Args:
        source: A bag, or a folder of bags; no episode goes beyond its bag.
        out: A new or empty folder.
        robot: Whose; says which topics are what.
        resampling: How frames are made.
        codec: One of video.CODECS.
        say: Hears what is left out, a sentence each.

    Raises:
        ValueError: For what is no whole bag, topics that are not in it, and bags of which no
            episode can be made. The bags are read before the first image is written; where one
            fails later, the episodes before that are kept.
    """
    if not robot.cameras:
        raise ValueError(f"robot '{robot.name}' has no camera in its file; name it under `cameras`")
    if not 1 <= resampling.fps <= 240:
        raise ValueError(f"fps is {resampling.fps}; give frames a second, 1 to 240")
    bags = find_bags(source)
    for path in bags:  # all of them before any is converted
        check_topics(path, robot)
    new_folder(out)
    asked = "" if resampling.task else resampling.task_topic
    grids: list[Grid] = []
    for path in bags:
        streams = collect(path, robot, asked, resampling.bag_times)
        grids.append(Grid(path, robot, streams, resampling))
    converter = _Converter(out, robot, resampling, codec)
    problem = ""
    for number, grid in enumerate(grids):
        try:
            converter.add(grid)
        except ValueError as error:  # such as images of another size than those before
            problem = f"{grid.path}: {error}"
            bags = bags[: number + 1]
            break
    converter.finish()
    counts = converter.counts
    for reason, number in counts.reasons.most_common():
        say(f"{number} frames dropped: {reason}")
    for reason, number in converter.refused.most_common():
        say(f"{number} messages passed over: {reason}")
    for channel, method in converter.methods.items():
        if not method.startswith(COMMANDED):
            say(f"the action of '{channel}' is {method}: its commands are not in the bag")
    for sentence in converter.beyond_bounds():
        say(sentence)
    if not counts.episodes:
        raise ValueError(
            problem
            or f"no episode of at least {SHORTEST_S:g} s can be made of {source}: "
            + ("; ".join(counts.reasons) or "its cameras and its state never overlap")
        )
    record = _record(robot, resampling, bags, converter)
    write_whole(out / RECORD, json.dumps(record, indent=4, ensure_ascii=False))
    if problem:
        raise ValueError(f"{problem}; the {counts.episodes} episodes before it are whole in {out}")
    return counts


def _record(
    robot: Robot, resampling: Resampling, bags: list[Path], converter: _Converter
) -> dict[str, Any]:
    """What nobody can find out later: how the frames were made."""
    features: dict[str, Any] = {}
    for camera in robot.cameras:
        ages = np.concatenate(converter.ages[camera.name]) / NANOSECONDS  # s
        features[f"observation.images.{camera.name}"] = {
            "topic": camera.topic,
            "method": LATEST,
            "median_age_s": round(float(np.median(ages)), 4),
            "largest_age_s": round(float(ages.max()), 4),
        }
    features["observation.state"] = {
        "topics": sorted({source.topic for source in robot.state}),
        "method": LATEST,
    }
    features["action"] = {
        "topics": {output.topic: list(output.channels) for output in robot.outputs},
        "methods": converter.methods,
    }
    counts = converter.counts
    return {
        "bags": [path.name for path in bags],
        "robot": robot.name,
        "fps": resampling.fps,
        "max_age_s": resampling.max_age_s,
        "clock": "when recorded" if resampling.bag_times else "the messages' own stamps",
        "features": features,
        "frames": {"written": counts.frames, "dropped": dict(counts.reasons)},
        "messages_passed_over": dict(converter.refused),
    }
