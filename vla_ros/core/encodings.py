"""Raw image encodings: what the bytes of a sensor_msgs/Image mean, and how they become rgb8.

The names are those of sensor_msgs/image_encodings.hpp; doc/cameras.md says what each is taken for.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

import cv2
import numpy as np

from vla_ros.core.types import Image

# Distances, which no colour policy can use; a grey image in 16 bits is mono16.
DEPTH = ("16UC1", "32FC1")


class Layout(NamedTuple):
    """How the samples of an encoding lie in memory.

    Attributes:
        channels: samples of a pixel that stand together; the Y plane's alone where planes follow
            one another.
        code: how cv2.cvtColor makes RGB of them; None where they are.
        multiple: pixels that share a colour: height and width hold a whole number of them.
        smallest: pixels in height and width that OpenCV needs.
        planes: bytes of all planes over those of the first.
    """

    channels: int
    code: int | None
    sample_bytes: int = 1
    multiple: tuple[int, int] = (1, 1)
    smallest: int = 1
    planes: float = 1


_GREY = Layout(1, cv2.COLOR_GRAY2RGB)
_BGR = Layout(3, cv2.COLOR_BGR2RGB)
_BGRA = Layout(4, cv2.COLOR_BGRA2RGB)
_RGB = Layout(3, None)
_RGBA = Layout(4, cv2.COLOR_RGBA2RGB)
_UYVY = Layout(2, cv2.COLOR_YUV2RGB_UYVY, multiple=(1, 2))
_YUYV = Layout(2, cv2.COLOR_YUV2RGB_YUYV, multiple=(1, 2))
# OpenCV names a mosaic by the second and third pixel of its second row, ROS by its first 2 x 2.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
LAYOUTS = {
    "rgb8": _RGB,
    "bgr8": _BGR,
    "rgba8": _RGBA,
    "bgra8": _BGRA,
    "mono8": _GREY,
    "8UC1": _GREY,
    "8UC3": _BGR,
    "8UC4": _BGRA,  # OpenCV's own types, in OpenCV's own order
    "rgb16": _RGB._replace(sample_bytes=2),
    "bgr16": _BGR._replace(sample_bytes=2),
    "rgba16": _RGBA._replace(sample_bytes=2),
    "bgra16": _BGRA._replace(sample_bytes=2),
    "mono16": _GREY._replace(sample_bytes=2),
    "uyvy": _UYVY,
    "yuv422": _UYVY,
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,
    "nv12": Layout(1, cv2.COLOR_YUV2RGB_NV12, multiple=(2, 2), planes=1.5),
    "nv21": Layout(1, cv2.COLOR_YUV2RGB_NV21, multiple=(2, 2), planes=1.5),
    "nv24": Layout(1, cv2.COLOR_YUV2RGB_YUYV, planes=3),  # by way of YUYV, see `_nv24`
    **{
        f"bayer_{pattern}{8 * sample_bytes}": Layout(1, code, sample_bytes, smallest=3)
        for sample_bytes in (1, 2)
        for pattern, code in _BAYER.items()
    },
}


def check_layout(
    encoding: str, height: int, width: int, step: int, length: int, max_bytes: int
) -> int:
    """Bytes from one row to the next (of the first plane).

    Args:
        encoding, height, width, step: the fields of a sensor_msgs/Image.
        length: bytes of its data.
        max_bytes: that it may have.

    Raises:
        ValueError: the fields do not fit together, or are not understood.
    """
    if encoding in DEPTH:
        raise ValueError(
            f"encoding '{encoding}' is a depth image; give the topic of the camera's colour image. "
            "A grey image in 16 bits is mono16"
        )
    if encoding not in LAYOUTS:
        known = ", ".join(LAYOUTS)
        raise ValueError(f"encoding '{encoding[:40]}' is not known; use one of {known}")
    layout = LAYOUTS[encoding]
    check_size(encoding, height, width)
    if length > max_bytes:
        raise ValueError(
            f"the image has {length} bytes; at most {max_bytes} are accepted (max_bytes)"
        )
    row = width * layout.channels * layout.sample_bytes
    if layout.planes > 1 and step == row * layout.planes and length == step * height:
        # Some drivers count all planes into a row: then data is step x height, as Image.msg has it.
        step = row
    if step < row:
        raise ValueError(f"step is {step}, but {width} pixels of {encoding} need {row} bytes a row")
    expected = step * height * layout.planes
    if length != expected:
        planes = f" x {layout.planes:g} (all planes)" if layout.planes > 1 else ""
        raise ValueError(
            f"data has {length} bytes, but step {step} x height {height}{planes} is {expected:.0f}"
        )
    return step


def check_size(encoding: str, height: int, width: int) -> None:
    """Raises ValueError for a size (pixels) that an image of this encoding cannot have."""
    layout = LAYOUTS[encoding]
    if height == 0 or width == 0:
        raise ValueError(f"the image is empty: {width}x{height} pixels")
    rows, columns = layout.multiple
    if height % rows or width % columns:
        sides = "width and height" if rows > 1 else "a width"
        raise ValueError(
            f"the image is {width}x{height} pixels, but {encoding} needs {sides} divisible by 2"
        )
    if min(height, width) < layout.smallest:
        raise ValueError(
            f"the image is {width}x{height} pixels, but {encoding} needs at least "
            f"{layout.smallest}x{layout.smallest} to tell the colours"
        )


def to_rgb8(
    data: array[int] | bytes,
    encoding: str,
    height: int,
    width: int,
    step: int,
    big_endian: bool,
    max_bytes: int,
) -> Image:
    """The image, height x width x 3; rgb8 itself is a view of `data`.

    `big_endian` matters to samples of 16 bits only. Of those the higher byte is kept. The rest is
    as in `check_layout`.

    Raises:
        ValueError: the fields do not fit together, or are not understood.
    """
    step = check_layout(encoding, height, width, step, len(data), max_bytes)
    layout = LAYOUTS[encoding]
    rows = np.frombuffer(data, np.uint8).reshape(-1, step)
    if encoding == "nv24":
        # The second plane has a U and a V for each pixel: twice as long a row.
        chroma = rows[height:].reshape(height, 2 * step)[:, : 2 * width]
        return _nv24(rows[:height, :width], chroma)
    # Without the bytes that pad a row.
    samples = rows[:, : width * layout.channels * layout.sample_bytes]
    if layout.sample_bytes == 2:
        pairs = samples.reshape(height, width * layout.channels, 2)
        samples = np.ascontiguousarray(pairs[..., 0 if big_endian else 1])
    if layout.channels > 1:
        samples = samples.reshape(height, width, layout.channels)
    return samples if layout.code is None else convert(samples, layout.code)


def convert(pixels: np.ndarray, code: int) -> Image:
    """cv2.cvtColor, for a single pixel too: OpenCV 4.5 cannot read one that has channels."""
    if pixels.shape[:2] == (1, 1):
        return convert(np.repeat(pixels, 2, axis=0), code)[:1]
    return cv2.cvtColor(pixels, code)


def _nv24(luma: np.ndarray, chroma: np.ndarray) -> Image:
    """rgb8 of `luma` (H x W) and `chroma` (H x 2 W, U and V in turn).

    OpenCV has no NV24, but knows YUYV, in which two pixels share a colour: each is written twice.
    """
    height, width = luma.shape
    twice = np.stack((luma, chroma[:, 0::2], luma, chroma[:, 1::2]), axis=-1)  # H x W x 4
    yuyv = twice.reshape(height, 2 * width, 2)
    return cv2.cvtColor(yuyv, cv2.COLOR_YUV2RGB_YUYV)[:, ::2]
