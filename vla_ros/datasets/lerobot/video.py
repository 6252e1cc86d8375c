"""One camera's videos of a dataset.

An episode is encoded as it comes, then copied behind those before it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from vla_ros.core.types import Image
from vla_ros.core.whole_file import rename_whole
from vla_ros.datasets.lerobot.layout import VIDEO, next_place, place_after

# A key frame every second frame, as LeRobot has it: any frame is two decodings away. LeRobot's
# faster preset, 12, shows small changes one frame late (in our room the worst frame has 37 dB, with
# 8 it has 40, at 4 ms for 240x320). The encoder gets one thread: the robot's nodes need theirs. No
# B-frames: packets are then in the order of their times.
CODECS = {
    "libsvtav1": {"g": "2", "crf": "30", "preset": "8", "svtav1-params": "lp=1"},
    "h264": {"g": "2", "crf": "23", "preset": "veryfast", "bf": "0", "threads": "1"},
}


@dataclass(frozen=True)
class Span:
    """Where an episode's frames are: seconds `start` to `end` of the file at (chunk, file)."""

    place: tuple[int, int]
    start: float
    end: float


@contextmanager
def scheduled_as_before() -> Iterator[None]:
    """Leaves the caller, and threads that are made within, scheduled as the caller was.

    Where it runs as root, as in a container, SVT-AV1 gives its threads and whoever opens it
    SCHED_FIFO with priority 99: the recorder would come before the gate, and before everything else
    on the robot.
    """
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    policy = os.sched_getscheduler(0)
    parameters = os.sched_getparam(0)
    before = _threads()
    try:
        yield
    finally:
        for thread in {*_threads() - before, threading.get_native_id()}:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setscheduler(thread, policy, parameters)


def _threads() -> set[int]:
    """The numbers of this process's."""
    return set(map(int, os.listdir("/proc/self/task")))


def about(stream: Any, fps: float) -> dict[str, Any]:
    """What meta/info.json says of a video stream."""
    return {
        "video.height": stream.height,
        "video.width": stream.width,
        "video.codec": stream.codec.canonical_name,
        "video.pix_fmt": stream.pix_fmt,
        "video.is_depth_map": False,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
    }


def copy_span(path: Path, out: Path, span: tuple[int, int], images: int) -> dict[str, Any] | None:
    """The images of a video that are shown from `span[0]` to `span[1]`, as one of their own.

    Packets are copied, not encoded again; the first one's time becomes 0.

    Args:
        path: The video.
        out: What is written.
        span: The times of the first and the last image, in the stream's units.
        images: How many there are.

    Returns:
        What `about` says of it; None where an image needs others before or behind the span: `out`
        is then of no use, or not there.
    """
    import av

    first, last = span
    copied = 0
    beyond = False
    with av.open(str(path)) as source, av.open(str(out), "w", format="mp4") as sink:
        stream = source.streams.video[0]
        copy = sink.add_stream_from_template(stream, opaque=True)
        source.seek(first, stream=stream, backward=True)
        for packet in source.demux(stream):
            # dts, not pts: packets come in the order in which they are decoded
            if packet.pts is None or packet.dts is None or packet.dts > last:
                break
            if not first <= packet.pts <= last:
                beyond = beyond or packet.pts > last
                continue
            # a B-frame may be made of an image beyond the span, which is decoded before it
            if beyond or (not copied and not packet.is_keyframe):
                break
            packet.pts -= first
            packet.dts -= first
            packet.stream = copy
            sink.mux(packet)
            copied += 1
        rate = stream.average_rate
        return about(stream, float(rate) if rate else 0.0) if copied == images else None


def encode(out: Path, images: Iterable[Image], fps: float, codec: str) -> dict[str, Any]:
    """Writes images (height x width x 3, rgb8) as a video; returns what `about` says of it.

    Raises ValueError for sides that are odd: yuv420p has colours for every second row and column.
    """
    import av

    with av.open(str(out), "w", format="mp4") as sink:
        rate = Fraction(fps).limit_denominator(1001)
        stream: Any = None
        for image in images:
            if stream is None:
                if image.shape[0] % 2 or image.shape[1] % 2:
                    raise ValueError(
                        f"{out}: the images are {image.shape[0]}x{image.shape[1]} (height x "
                        "width); video wants even sides"
                    )
                stream = sink.add_stream(codec, rate, options=dict(CODECS[codec]))
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "yuv420p"
                with scheduled_as_before():
                    stream.codec_context.open()
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        sink.mux(stream.encode(None))
        return about(stream, fps)


class VideoSeries:
    """One video after another; those that are not closed yet end in .part.

    Args:
        folder: The dataset's.
        key: The camera's feature.
        size: (height, width) in pixels.
        fps: Frames a second.
        codec: One of CODECS.
        limit: Bytes that a file has at most.
        chunks_size: Files of a chunk.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        size: tuple[int, int],
        fps: int,
        codec: str,
        limit: float,
        chunks_size: int,
    ) -> None:
        if codec not in CODECS:
            raise ValueError(f"codec is '{codec}'; use one of {', '.join(CODECS)}")
        self._folder = folder
        self._key = key
        self._size = size
        self._fps = fps
        self._codec = codec
        self._limit = limit
        self._chunks_size = chunks_size
        self._episode = folder / "videos" / key / "episode.part"
        self._encoder: Any = None
        self._stream: Any = None
        self._place = (0, 0)
        self._output: Any = None
        self._copy: Any = None  # the output's stream
        self._frames = 0  # of the output
        self._bytes = 0
        self.info: dict[str, Any] = {}  # of the first file, as meta/info.json has it

    def add(self, image: Image) -> None:
        """Encode one more frame (height x width x 3, rgb8) of this episode."""
        import av

        if self._encoder is None:
            # errors only: it has twenty lines to say about every episode
            os.environ.setdefault("SVT_LOG", "1")
            self._episode.parent.mkdir(parents=True, exist_ok=True)
            self._encoder = av.open(str(self._episode), "w", format="mp4")
            self._stream = self._encoder.add_stream(
                self._codec, self._fps, options=dict(CODECS[self._codec])
            )
            self._stream.height, self._stream.width = self._size
            self._stream.pix_fmt = "yuv420p"
            with scheduled_as_before():
                self._stream.codec_context.open()
        self._encoder.mux(self._stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))

    def drop(self) -> None:
        """Forget this episode's frames."""
        if self._encoder is not None:
            self._finish()
            self._episode.unlink()

    def end_episode(self) -> Span:
        """Append this episode's frames to the file, or to the next one where this one is full."""
        self._finish()
        size = self._episode.stat().st_size
        if self._output is not None and self._bytes + size >= self._limit:
            self.close()
        start = self._frames
        self._append()
        self._bytes += size
        self._episode.unlink()
        return Span(self._place, start / self._fps, self._frames / self._fps)

    def go_on(self, info: dict[str, Any]) -> None:
        """The next episode begins the file after those that are there; `info`: of the first."""
        template = VIDEO.replace("{video_key}", self._key)
        self._place = place_after(self._folder, template, self._chunks_size)
        self.info = info

    def close(self) -> None:
        """Finish the file; the next episode begins another."""
        if self._output is None:
            return
        self._output.close()
        path = self._path()
        rename_whole(Path(f"{path}.part"), path)
        self._output = None
        self._frames = 0
        self._bytes = 0
        self._place = next_place(self._place, self._chunks_size)

    def _path(self) -> Path:
        return self._folder / VIDEO.format(
            video_key=self._key, chunk_index=self._place[0], file_index=self._place[1]
        )

    def _finish(self) -> None:
        self._encoder.mux(self._stream.encode(None))
        self._encoder.close()
        self._encoder = None
        self._stream = None

    def _append(self) -> None:
        """Packets are copied, not encoded again; only their times move."""
        import av

        with av.open(str(self._episode)) as source:
            stream = source.streams.video[0]
            if self._output is None:
                path = self._path()
                path.parent.mkdir(parents=True, exist_ok=True)
                self._output = av.open(
                    f"{path}.part", "w", format="mp4", options={"movflags": "faststart"}
                )
                # as it is: no encoder is asked
                self._copy = self._output.add_stream_from_template(stream, opaque=True)
                self.info = self.info or about(stream, self._fps)
            assert stream.time_base is not None
            tick = round(Fraction(1, self._fps) / stream.time_base)
            for packet in source.demux(stream):
                if packet.dts is None:  # the end
                    continue
                # without B-frames an image is shown when it is decoded
                packet.dts = self._frames * tick
                packet.pts = packet.dts
                packet.stream = self._copy
                self._output.mux(packet)
                self._frames += 1
