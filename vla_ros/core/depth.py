"""Depth images: what their bytes mean (REP 118), in metres; and which belongs to which image."""

from __future__ import annotations

import struct
from array import array
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import cv2
import numpy as np

from vla_ros.core.compressed import read_header
from vla_ros.core.encodings import DEPTH
from vla_ros.core.types import Depth

MM_PER_M = 1000.0
KINDS = {"16UC1": "u2", "32FC1": "f4"}
# compressedDepth: a kind, 0 for inverse depth, and the two numbers of its quantisation; then a PNG.
_HEADER = struct.Struct("<iff")
WAITING = 4  # images, and depth images, that wait for one another: 50 MB each at most
KEPT_STAMPS = 4  # they say how far apart the images are
FARTHEST_APART_NS = 50_000_000  # of a pair, however slow the camera is: a hand moves 5 cm meanwhile

T = TypeVar("T")


def depth_of(
    data: array[int] | bytes,
    encoding: str,
    height: int,
    width: int,
    step: int,
    big_endian: bool,
    max_bytes: int,
) -> Depth:
    """Metres of a sensor_msgs/Image, H x W; NaN where nothing was measured.

    Unknown is 0 in 16UC1 (mm), and NaN and infinities in 32FC1 (m); a distance below zero is none.

    Args:
        data, encoding, height, width, step, big_endian: the message's fields.
        max_bytes: that it may have.

    Raises:
        ValueError: the fields do not fit together, or it is no depth image.
    """
    if encoding not in DEPTH:
        raise ValueError(
            f"encoding '{encoding[:40]}' is no depth image; give a topic of {' or '.join(DEPTH)}"
        )
    if height == 0 or width == 0:
        raise ValueError(f"the depth image is empty: {width}x{height} pixels")
    if len(data) > max_bytes:
        raise ValueError(
            f"the depth image has {len(data)} bytes; at most {max_bytes} are accepted (max_bytes)"
        )
    sample = np.dtype((">" if big_endian else "<") + KINDS[encoding])
    row = width * sample.itemsize
    if step < row:
        raise ValueError(f"step is {step}, but {width} pixels of {encoding} need {row} bytes a row")
    if len(data) != step * height:
        raise ValueError(
            f"data has {len(data)} bytes, but step {step} x height {height} is {step * height}"
        )
    # A padded row may end between two samples.
    rows = np.frombuffer(data, np.uint8).reshape(height, step)[:, :row]
    return _metres(np.ascontiguousarray(rows).view(sample))


def decode_depth(data: array[int] | bytes, image_format: str, max_bytes: int) -> Depth:
    """Metres of a sensor_msgs/CompressedImage of image_transport's `compressedDepth`.

    Args:
        data: the file: 12 bytes and a PNG of 16 bits a pixel.
        image_format: "16UC1; compressedDepth png", "32FC1; compressedDepth", …
        max_bytes: that the file may have.

    Raises:
        ValueError: what is wrong with it, and what to do.
    """
    if not _HEADER.size < len(data) <= max_bytes:
        raise ValueError(
            f"the compressed depth image has {len(data)} bytes; {_HEADER.size + 1} to {max_bytes} "
            "are accepted (max_bytes)"
        )
    named = f"the compressed depth image ('{image_format[:40]}', {len(data)} bytes)"
    encoding, _, transport = image_format.partition(";")
    encoding = encoding.strip()
    if encoding not in DEPTH or "compressedDepth" not in transport:
        raise ValueError(
            f"{named} is not '16UC1; compressedDepth png' or '32FC1; compressedDepth png'; give "
            "the topic that ends in compressedDepth"
        )
    if "rvl" in transport:
        raise ValueError(f"{named} is packed as RVL; set its format to png in the camera's driver")
    data = bytes(data)
    kind, scale, offset = _HEADER.unpack_from(data)
    file = data[_HEADER.size :]
    header = read_header(file, named)
    if (header.channels, header.bits) != (1, 16):
        raise ValueError(
            f"{named} holds {header.channels} channels of {header.bits} bits; one of 16 is right"
        )
    try:
        samples = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(f"{named} is corrupt: {error}") from error
    if samples is None or samples.dtype != np.uint16 or samples.ndim != 2:
        raise ValueError(f"{named} is corrupt")
    if encoding == "16UC1":
        return _metres(samples)
    if kind != 0 or not 0.0 < scale < np.inf or not np.isfinite(offset):
        raise ValueError(
            f"{named} has the header {kind}, {scale:g}, {offset:g}; a kind of 0 and two numbers, "
            "the first more than 0, are right"
        )
    steps = samples.astype(np.float32)
    # The distance is inverted, so that near ones are told apart finely; 0 is unknown.
    with np.errstate(divide="ignore", over="ignore"):
        metres = np.float32(scale) / (steps - np.float32(offset))
    metres[samples == 0] = np.nan
    return _metres(metres)


def depth_of_message(message: Any, transport: str, max_bytes: int) -> Depth:
    """Metres of a message as it came, H x W.

    Args:
        message: sensor_msgs/Image, or CompressedImage where `transport` is `compressed`.
        transport: the robot file's `depth_transport`.
        max_bytes: that its data may have.

    Raises:
        ValueError: what is wrong with it, and what to do.
    """
    if transport == "compressed":
        return decode_depth(message.data, message.format, max_bytes)
    return depth_of(
        message.data,
        message.encoding,
        message.height,
        message.width,
        message.step,
        bool(message.is_bigendian),
        max_bytes,
    )


def _metres(samples: np.ndarray) -> Depth:
    """float32 metres of whole millimetres, or of metres; NaN where it is no distance."""
    if samples.dtype.kind == "u":
        metres = samples.astype(np.float32)
        metres /= np.float32(MM_PER_M)
    else:
        metres = samples.astype(np.float32)  # a copy, in this machine's order of bytes
    with np.errstate(invalid="ignore"):
        measured = (metres > 0.0) & (metres < np.inf)
    metres[~measured] = np.nan
    return metres


def check_aligned(shape: tuple[int, ...], depth: Depth, camera: str) -> None:
    """Raises ValueError where a depth image is of another size than its colour image's `shape`."""
    if depth.shape != tuple(shape[:2]):
        raise ValueError(
            f"the depth image is {depth.shape[0]} x {depth.shape[1]} and the colour image "
            f"{shape[0]} x {shape[1]} (height x width, camera '{camera}'); let the driver align "
            "depth to colour, and give that topic"
        )


@dataclass(frozen=True)
class DepthPair(Generic[T]):
    """An image and the depth image that belongs to it; `stamp` is the older one's, ns."""

    stamp: int
    image: T
    depth: Depth


class DepthPairing(Generic[T]):
    """Joins a camera's images and depth images by their stamps. No clock; bounded.

    What belongs together has the same stamp; or, unless `exact`, the nearest that lies within half
    of the shorter period of the two, and within FARTHEST_APART_NS. Each is used once, in the order
    of their stamps. An image that waits while WAITING newer ones come is dropped, as one that a
    newer pair overtook; `drops` counts them.
    """

    def __init__(self, drops: Counter[str], exact: bool = False) -> None:
        self._drops = drops
        self._exact = exact
        # By arrival: a clock that steps back pushes the stamps from before out.
        self._images: deque[tuple[int, Any]] = deque()
        self._depths: deque[tuple[int, Depth]] = deque()
        self._image_stamps: deque[int] = deque(maxlen=KEPT_STAMPS)
        self._depth_stamps: deque[int] = deque(maxlen=KEPT_STAMPS)

    @property
    def waiting(self) -> int:
        """Images that wait for their depth."""
        return len(self._images)

    def clear(self) -> None:
        """Forgets what waits."""
        self._images.clear()
        self._depths.clear()
        self._image_stamps.clear()
        self._depth_stamps.clear()

    def add_image(self, stamp: int, image: T) -> DepthPair[T] | None:
        """Takes an image; a pair, where its depth is there already."""
        self._image_stamps.append(stamp)
        self._images.append((stamp, image))
        nearest = self._nearest(self._depths, stamp)
        if nearest is None:
            self._shed(self._images, len(self._images) - WAITING, "image without depth")
            return None
        return self._join(len(self._images) - 1, nearest)

    def add_depth(self, stamp: int, depth: Depth) -> DepthPair[T] | None:
        """Takes a depth image; a pair, where its image is there already."""
        self._depth_stamps.append(stamp)
        self._depths.append((stamp, depth))
        nearest = self._nearest(self._images, stamp)
        if nearest is None:
            self._shed(self._depths, len(self._depths) - WAITING, "depth without image")
            return None
        return self._join(nearest, len(self._depths) - 1)

    def _nearest(self, others: deque[tuple[int, Any]], stamp: int) -> int | None:
        """Which of `others` belongs to `stamp`; None: none does yet."""
        if not others:
            return None
        apart, place = min((abs(other - stamp), i) for i, (other, _) in enumerate(others))
        return place if apart <= self._tolerance() else None

    def _tolerance(self) -> float:
        """How far apart a pair's stamps may be, ns."""
        if self._exact:
            return 0
        gaps: list[int] = []
        for stamps in (self._image_stamps, self._depth_stamps):
            known = list(stamps)
            own = [after - before for before, after in zip(known, known[1:]) if after > before]
            if not own:
                return 0  # nothing is known of its period
            gaps += own
        return min(min(gaps) / 2, FARTHEST_APART_NS)

    def _join(self, place: int, depth_place: int) -> DepthPair[T]:
        """The pair; what came before either of them will not be paired any more."""
        stamp, image = self._images[place]
        depth_stamp, depth = self._depths[depth_place]
        self._shed(self._images, place, "image without depth")
        self._shed(self._depths, depth_place, "depth without image")
        self._images.popleft()
        self._depths.popleft()
        return DepthPair(min(stamp, depth_stamp), image, depth)

    def _shed(self, waiting: deque[tuple[int, Any]], count: int, reason: str) -> None:
        """Drops the first `count`."""
        for _ in range(count):
            waiting.popleft()
            self._drops[reason] += 1
