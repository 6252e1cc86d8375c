"""One camera's images of a LeRobot dataset: from videos, or PNGs or JPEGs in or by the parquet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_ros.core.types import Image
from vla_ros.datasets.lerobot import check
from vla_ros.datasets.lerobot.episodes import Clip, EpisodeRow
from vla_ros.datasets.lerobot.features import ImageFeature
from vla_ros.datasets.lerobot.video import copy_span

OPEN_VIDEOS = 8  # kept open
# row groups of the parquet, of up to some hundred images each, kept as they are encoded
KEPT_GROUPS = 4


class CameraImages(Protocol):
    """A camera's images, height x width x 3, rgb8."""

    size: tuple[int, int]  # height, width

    def one(self, episode: int, frame: int) -> Image:
        """Frame `frame` of that episode, both from 0 on."""
        ...

    def run(self, episode: int) -> Iterator[Image]:
        """All images of that episode, in order."""
        ...

    def close(self) -> None:
        """Let go of files and memory; what is asked for later is opened again."""
        ...


def make_images(
    camera: ImageFeature, episodes: Sequence[EpisodeRow], fps: float, folder: Path
) -> CameraImages:
    """Checked as a whole; `folder` is the dataset's. Raises ValueError, in a sentence."""
    if camera.video:
        return VideoImages(camera, episodes, fps)
    return StoredImages(camera, episodes, folder)


@dataclass(frozen=True)
class _Track:
    """A video's file: the times of its images, as they are shown, in units of `base` s."""

    path: Path
    size: tuple[int, int]
    base: float
    times: NDArray[np.int64]


class VideoImages:
    """Frame k of an episode is the k-th image from its beginning on.

    That is at most two decodings in what we record.
    """

    def __init__(self, camera: ImageFeature, episodes: Sequence[EpisodeRow], fps: float) -> None:
        """Reads the packets of all videos, and decodes nothing."""
        self._open: OrderedDict[Path, Any] = OrderedDict()
        self._rows = episodes
        files: dict[Path, list[tuple[EpisodeRow, Clip]]] = {}
        for row in episodes:
            if camera.key not in row.clips:
                raise ValueError(
                    f"meta/episodes has no place for '{camera.key}' of episode {row.index}; leave "
                    "that camera out, or record it again"
                )
            clip = row.clips[camera.key]
            files.setdefault(clip.path, []).append((row, clip))
        tracks = [_track(path, rows[0][0]) for path, rows in files.items()]
        self.size = camera.size or tracks[0].size
        # episode -> its video, and the number of its first image
        self._first: dict[int, tuple[_Track, int]] = {}
        for track in tracks:
            if track.size != self.size:
                raise ValueError(
                    f"{track.path} has images of {track.size[0]}x{track.size[1]} (height x width); "
                    f"meta/info.json says {self.size[0]}x{self.size[1]}"
                )
            for row, place in _places(track, files[track.path], fps):
                self._first[row.index] = track, place

    def one(self, episode: int, frame: int) -> Image:
        track, _ = self._first[episode]
        if track.path not in self._open:
            self._open[track.path] = _open_video(track.path)
        # the file that was asked longest ago is closed first
        self._open.move_to_end(track.path)
        while len(self._open) > OPEN_VIDEOS:
            self._open.popitem(last=False)[1].close()
        return next(self._decode(self._open[track.path], episode, frame))

    def run(self, episode: int) -> Iterator[Image]:
        # a container of its own: `one` would move the place that this has come to
        container = _open_video(self._first[episode][0].path)
        try:
            yield from self._decode(container, episode, 0)
        finally:
            container.close()

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def copy(self, episode: int, out: Path) -> dict[str, Any] | None:
        """An episode's images as a video of its own, as they are encoded.

        Returns:
            What `video.about` says of it; None, and no file, where the episode does not begin with
            an image that needs no other one.
        """
        track, first = self._first[episode]
        length = self._rows[episode].length
        span = (int(track.times[first]), int(track.times[first + length - 1]))
        about = copy_span(track.path, out, span, length)
        if about is None:
            out.unlink(missing_ok=True)  # without a packet it was never made
        return about

    def _decode(self, container: Any, episode: int, frame: int) -> Iterator[Image]:
        """The images of an episode from `frame` on."""
        track, first = self._first[episode]
        wanted = int(track.times[first + frame])
        left = self._rows[episode].length - frame
        stream = container.streams.video[0]
        # to the key frame before it, so what comes first is passed over
        container.seek(wanted, stream=stream, backward=True)
        for image in container.decode(stream):
            if image.pts >= wanted:
                yield image.to_ndarray(format="rgb24")
                left -= 1
                if not left:
                    return
        raise ValueError(f"{track.path} ends {left} images before episode {episode} does")


def _open_video(path: Path) -> Any:
    import av

    container = av.open(str(path))
    # threads for each file would outnumber the cores
    container.streams.video[0].codec_context.thread_count = 1
    return container


def _track(path: Path, row: EpisodeRow) -> _Track:
    import av

    if not path.is_file():
        raise ValueError(f"{path} is missing; episode {row.index} needs it")
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            times: list[int] = []
            for packet in container.demux(stream):
                if packet.pts is not None and packet.size:  # the last one is empty
                    times.append(packet.pts)
            times.sort()  # packets come as they are decoded, images as they are shown
            size = (stream.height, stream.width)
            return _Track(path, size, float(stream.time_base or 0), np.array(times, np.int64))
    except (av.FFmpegError, IndexError, OSError) as problem:
        raise ValueError(f"{path} cannot be read as a video: {str(problem)[:200]}") from None


def _places(
    track: _Track, rows: Sequence[tuple[EpisodeRow, Clip]], fps: float
) -> Iterator[tuple[EpisodeRow, int]]:
    """Each episode of a video, and the number of its first image."""
    rows = sorted(rows, key=lambda place: (place[1].start or 0.0, place[0].index))
    # Where the file has just the images of its episodes they are counted off: the seconds at which
    # episodes are said to begin are sums of many, and drift by whole images.
    counted = len(track.times) == sum(row.length for row, _ in rows)
    times = (track.times - track.times[0] if counted else track.times) * track.base  # s
    before = 0
    for number, (row, clip) in enumerate(rows):
        first = before
        if clip.start is not None and not counted and len(times):
            first = int(np.abs(times - clip.start).argmin())
        shown = times[first : first + row.length]
        if clip.start is not None:
            begin = clip.start
        else:
            begin = shown[0] if len(shown) else 0.0
        fine = check.on_rate(shown - shown[:1], np.arange(len(shown)), fps)
        slack = check.SLACK_PERIODS
        if counted:
            # each episode before this one may have moved its beginning as much again
            slack = slack * (1 + number) + check.DRIFT_SHARE * first
        fine[:1] &= np.abs(shown[:1] - begin) * fps <= slack
        wrong = np.flatnonzero(~fine)
        if len(wrong) or len(shown) < row.length:
            at = int(wrong[0]) if len(wrong) else len(shown)
            raise ValueError(
                f"{track.path} has no image at {begin + at / fps:.4f} s, for episode {row.index}, "
                f"frame {at}: it has {len(times)} images and is cut short, or of another rate"
            )
        yield row, first
        before += row.length


class StoredImages:
    """Features of the dtype `image`.

    One by one they cost the reading of a row group each: convert them to video, with LeRobot, where
    training waits for them.
    """

    def __init__(self, camera: ImageFeature, episodes: Sequence[EpisodeRow], folder: Path) -> None:
        self._key = camera.key
        self._folder = folder
        self._rows = episodes
        self._groups: OrderedDict[tuple[Path, int], Any] = OrderedDict()
        self._begin: dict[Path, int] = {}  # file -> the number of its first frame
        self._ends: dict[Path, NDArray[np.int64]] = {}  # after how many rows its groups end
        for row in episodes:
            if row.data not in self._begin:
                self._begin[row.data] = row.start
                self._ends[row.data] = _group_ends(row.data)
        first = self.one(0, 0)  # info.json may not say how large they are
        self.size = (first.shape[0], first.shape[1])
        if camera.size not in (None, self.size):
            raise ValueError(
                f"'{camera.key}' has images of {self.size[0]}x{self.size[1]} (height x width); "
                f"meta/info.json says {camera.size}"
            )

    def one(self, episode: int, frame: int) -> Image:
        row = self._rows[episode]
        place = row.start + frame - self._begin[row.data]
        ends = self._ends[row.data]
        group = int(np.searchsorted(ends, place, side="right"))
        start = int(ends[group - 1]) if group else 0
        cell = self._group(row.data, group)[place - start]
        return self._image(cell, f"{row.data}: '{self._key}' of episode {episode}, frame {frame},")

    def run(self, episode: int) -> Iterator[Image]:
        for frame in range(self._rows[episode].length):
            yield self.one(episode, frame)

    def close(self) -> None:
        self._groups.clear()

    def _group(self, path: Path, group: int) -> Any:
        import pyarrow.parquet as pq

        key = path, group
        if key not in self._groups:
            with pq.ParquetFile(path) as file:
                self._groups[key] = file.read_row_group(group, columns=[self._key])[self._key]
        self._groups.move_to_end(key)
        while len(self._groups) > KEPT_GROUPS:
            self._groups.popitem(last=False)
        return self._groups[key]

    def _image(self, cell: Any, where: str) -> Image:
        held = cell.as_py()
        data = held
        if isinstance(held, dict):
            data = held.get("bytes") or held.get("path")
        if isinstance(data, str):
            data = self._file(data, where)
        if not data:
            raise ValueError(f"{where} has no bytes; save the dataset again, with its images in it")
        # ANYDEPTH: else 16 bits, as depth has them, would silently become 8
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error:  # more pixels than are allowed
            image = None
        if image is None or image.dtype != np.uint8:
            if image is None:
                problem = "that are no PNG or JPEG"
            else:
                problem = f"with {image.dtype} pixels, as depth has"
            raise ValueError(
                f"{where} is {len(data)} bytes {problem}; images in colour of 8 bits are right"
            )
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def _file(self, name: str, where: str) -> bytes:
        """The bytes of a file that a path of the parquet names."""
        folder = self._folder.resolve()
        path = (folder / name).resolve()
        # a dataset from elsewhere reads no other files of this machine
        if folder not in path.parents:
            raise ValueError(f"{where} is '{name[:200]}', outside the dataset; copy its images in")
        try:
            return path.read_bytes()
        except OSError as problem:
            raise ValueError(f"{where} is '{name[:200]}': {problem.strerror}") from None


def _group_ends(path: Path) -> NDArray[np.int64]:
    """After how many rows each row group ends."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        groups = range(file.num_row_groups)
        return np.cumsum([file.metadata.row_group(group).num_rows for group in groups])
