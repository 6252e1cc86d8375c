"""Camera images: how old, how large, and is the camera well?

Their bytes are read in encodings.py and compressed.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TypeVar

import cv2
import numpy as np

from vla_ros.core.robot_cameras import Camera
from vla_ros.core.types import NANOSECONDS, RESIZE_MODES, Depth, Image

# A small resize gains nothing from a pool that fights the other nodes for cores.
cv2.setNumThreads(1)


def check_stamp(stamp: int, now: int, max_future: int, max_age: int) -> None:
    """Raises ValueError for a stamp (ns) that is zero, ahead of the clock or too old to act on."""
    if stamp <= 0:
        raise ValueError(f"the stamp is {stamp}; the camera driver must stamp its images")
    if stamp - now > max_future:
        raise ValueError(
            f"the stamp is {(stamp - now) / NANOSECONDS:.3f} s in the future; "
            "synchronise the camera's clock with this machine's"
        )
    if now - stamp > max_age:
        raise ValueError(
            f"the image is {(now - stamp) / NANOSECONDS:.3f} s old; "
            "synchronise the camera's clock or look for a slow driver"
        )


Pixels = TypeVar("Pixels", Image, Depth)
TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def as_mounted(image: Pixels, camera: Camera) -> Pixels:
    """An image (H x W x 3, or H x W) as the robot file has its camera: cropped, then turned.

    Raises:
        ValueError: it is of another size than the file says, or smaller than its crop.
    """
    height, width = image.shape[:2]
    if camera.size not in (None, (height, width)):
        # The crop would be of something else.
        raise ValueError(
            f"the image is {height} x {width}, and the robot file says "
            f"{' x '.join(map(str, camera.size or ()))} (height x width, camera '{camera.name}')"
        )
    if camera.crop:
        left, top, wide, high = camera.crop
        if left + wide > width or top + high > height:
            raise ValueError(
                f"the image is {height} x {width} and crop {list(camera.crop)} reaches outside it "
                f"(camera '{camera.name}')"
            )
        image = image[top : top + high, left : left + wide]
    return cv2.rotate(image, TURNS[camera.rotate]) if camera.rotate else image


def side_by_side(images: Sequence[Image], size: tuple[int, int]) -> Image:
    """Images fitted into equal shares of one of `size` (height, width), from left to right."""
    out = np.empty((*size, 3), np.uint8)
    width = size[1] // len(images)
    for place, image in enumerate(images):
        resize(image, (size[0], width), out=out[:, place * width : (place + 1) * width])
    return out


def resize(
    image: Image, size: tuple[int, int], mode: str = "pad", out: Image | None = None
) -> Image:
    """An image of another size.

    Args:
        image: H x W x 3.
        size: height and width that it is to have.
        mode: how its shape is fitted in: `pad` (letterbox), `crop` (centre) or `stretch`.
        out: of that size: written to, padding included, and returned.

    Raises:
        ValueError: a mode that there is not.
    """
    out = np.empty((*size, 3), np.uint8) if out is None else out
    image, inner = _fitted(image, out, mode, 0)
    _scale(image, inner)
    return out


def resize_depth(depth: Depth, size: tuple[int, int], mode: str = "pad") -> Depth:
    """A depth image of another size, as `resize` has its colours; padding is NaN.

    Each pixel is the one that lies under its centre. An average across an edge would be a distance
    where nothing is.

    Raises:
        ValueError: a mode that there is not.
    """
    out = np.empty(size, np.float32)
    depth, inner = _fitted(depth, out, mode, np.nan)
    rows = _under(inner.shape[0], depth.shape[0])
    inner[:] = depth[rows[:, None], _under(inner.shape[1], depth.shape[1])]
    return out


def _under(count: int, source_count: int) -> np.ndarray:
    """Which of the source's pixels lie under the centres of `count` pixels."""
    return (2 * np.arange(count) + 1) * source_count // (2 * count)


def _fitted(image: Pixels, out: Pixels, mode: str, padding: float) -> tuple[Pixels, Pixels]:
    """The part of `image` that is kept, and the part of `out` that it fills; the rest is padded."""
    if mode not in RESIZE_MODES:
        raise ValueError(f"resize is '{mode}'; use one of {', '.join(RESIZE_MODES)}")
    height, width = out.shape[:2]
    source_height, source_width = image.shape[:2]
    scales = (height / source_height, width / source_width)
    inner = out  # the part of it that the image fills
    if mode == "crop":
        keep_height = max(1, round(height / max(scales)))
        keep_width = max(1, round(width / max(scales)))
        top = (source_height - keep_height) // 2
        left = (source_width - keep_width) // 2
        image = image[top : top + keep_height, left : left + keep_width]
    elif mode == "pad":
        inner_height = max(1, round(source_height * min(scales)))
        inner_width = max(1, round(source_width * min(scales)))
        top = (height - inner_height) // 2
        left = (width - inner_width) // 2
        bottom = top + inner_height
        right = left + inner_width
        out[:top] = out[bottom:] = out[:, :left] = out[:, right:] = padding
        inner = out[top:bottom, left:right]
    return image, inner


@cache
def halvings(shape: tuple[int, int], size: tuple[int, int], mode: str) -> int:
    """How often `resize` halves an image of this height and width before it interpolates."""
    nothing = np.broadcast_to(np.uint8(0), (*shape, 3))
    image, inner = _fitted(nothing, np.empty((*size, 3), np.uint8), mode, 0)
    height, width = image.shape[:2]
    count = 0
    while height > 2 * inner.shape[0] and width > 2 * inner.shape[1]:
        height //= 2
        width //= 2
        count += 1
    return count


def _scale(image: Image, out: Image) -> None:
    """Halved by averaging as often as it fits, then interpolated.

    So a thin coloured edge does not flicker from frame to frame, in a fifth of the time that
    averaging over fractions of pixels takes.
    """
    height, width = out.shape[:2]
    while image.shape[0] > 2 * height and image.shape[1] > 2 * width:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
    if image.shape == out.shape or image.size == 3:
        np.copyto(out, image)  # a single pixel fills all: OpenCV 4.5 cannot read an image of one
    elif out.size == 3:
        out[:] = cv2.resize(image, (1, 1), interpolation=cv2.INTER_LINEAR)  # nor write into one
    else:
        # Where it is exactly half, that is an average too.
        cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)


class CameraHealth:
    """Notices a camera that is frozen (the same image for `frozen_after` ns) or black.

    Black is an image whose mean, of 255, is less than `black_below`.
    """

    def __init__(self, frozen_after: int, black_below: float) -> None:
        self._frozen_after = frozen_after
        self._black_below = black_below
        self._last: bytes = b""
        self._changed = 0

    def remember(self, before: CameraHealth) -> None:
        """Goes on from what `before` saw last.

        A camera that was frozen before its node was restarted is still frozen.
        """
        self._last = before._last
        self._changed = before._changed

    def look(self, image: Image, stamp: int) -> str:
        """A sentence about what is wrong with the image, or an empty string."""
        sample = image[::8, ::8]
        content = sample.tobytes()
        # A clock that went back starts it anew.
        if content != self._last or not 0 < self._changed <= stamp:
            self._last = content
            self._changed = stamp
        if sample.mean() < self._black_below:
            return f"the image is black (mean {sample.mean():.1f} of 255)"
        still = stamp - self._changed
        if still >= self._frozen_after:
            return (
                f"the image has not changed for {still / NANOSECONDS:.1f} s; is the camera frozen?"
            )
        return ""
