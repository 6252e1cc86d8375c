"""Compressed images: what a JPEG or PNG says of itself, and how it becomes rgb8."""

from __future__ import annotations

import struct
from array import array
from typing import Any, NamedTuple

import cv2
import numpy as np

from vla_ros.core.encodings import DEPTH, LAYOUTS, check_size, convert, to_rgb8
from vla_ros.core.images import halvings
from vla_ros.core.types import Image

REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
JPEG_QUALITY = 95  # OpenCV's own
MAX_PIXELS = 1 << 25  # 100 MB as rgb8; a file of 140 kB can hold 144 million

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type; a palette's colours are RGB
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))  # markers without a length
_COMPRESSED_DEPTH_HEADER = 12  # bytes before the PNG: a kind and two numbers


class Header(NamedTuple):
    """What a file says of its image before it is decoded."""

    height: int
    width: int
    channels: int
    bits: int  # a sample


def rgb_of_message(
    message: Any,
    transport: str,
    max_bytes: int,
    fitting: tuple[tuple[int, int], str] | None = None,
) -> Image:
    """rgb8 (H x W x 3) of a message as it came.

    Args:
        message: sensor_msgs/Image, or CompressedImage where `transport` is `compressed`.
        transport: the robot file's.
        max_bytes: that its data may have.
        fitting: as in `decode`.

    Raises:
        ValueError: what is wrong with it, and what to do.
    """
    if transport == "compressed":
        return decode(message.data, message.format, max_bytes, fitting)
    return to_rgb8(
        message.data,
        message.encoding,
        message.height,
        message.width,
        message.step,
        bool(message.is_bigendian),
        max_bytes,
    )


def decode(
    data: array[int] | bytes,
    image_format: str,
    max_bytes: int,
    fitting: tuple[tuple[int, int], str] | None = None,
) -> Image:
    """rgb8 (H x W x 3) from JPEG or PNG, as the pixels lie in the file.

    Args:
        fitting: size and mode of the `resize` that comes next. Where that would halve a JPEG, it is
            decoded at a half, a quarter or an eighth at once: up to half of the time less, and some
            grey levels of difference at an edge.
        data: the file.
        image_format: CompressedImage's: "jpeg", or as image_transport writes it, "rgb8; jpeg
            compressed bgr8".
        max_bytes: that the file may have.

    Raises:
        ValueError: what is wrong with it, and what to do.
    """
    if not 0 < len(data) <= max_bytes:
        raise ValueError(
            f"the compressed image has {len(data)} bytes; 1 to {max_bytes} are accepted (max_bytes)"
        )
    data = bytes(data)
    named = f"the compressed image ('{image_format[:40]}', {len(data)} bytes)"
    original = image_format.partition(";")[0].strip()  # the raw image's encoding, where it is named
    depth = original in DEPTH or "compressedDepth" in image_format
    if depth or data.startswith(_PNG, _COMPRESSED_DEPTH_HEADER):
        raise ValueError(f"{named} is a depth image; give the topic of the camera's colour image")
    header = read_header(data, named)
    raw = LAYOUTS.get(original) if header.channels == 1 else None
    # A depth image whose format does not say so looks just like a grey one.
    known_grey = raw is not None and raw.channels == 1 and raw.sample_bytes == 2
    if header.channels == 1 and header.bits == 16 and not known_grey:
        raise ValueError(
            f"{named} has one channel of 16 bits, as a depth image has; give the topic of the "
            "camera's colour image. A grey image's format says so: 'mono16; png compressed'"
        )
    flags = cv2.IMREAD_COLOR
    code = cv2.COLOR_BGR2RGB
    # image_transport compresses a mosaic as it is, without colours.
    if raw and original.startswith("bayer_"):
        check_size(original, header.height, header.width)
        flags = cv2.IMREAD_GRAYSCALE
        code = raw.code
    elif fitting and data.startswith(_JPEG):
        flags = _reduced(header, *fitting)
    # No heed to what a file says of turning it: the raw image and the camera's calibration are not
    # turned either.
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ValueError(f"{named} is corrupt: {error}") from error
    if pixels is None:
        raise ValueError(f"{named} is corrupt")
    return convert(pixels, code)


def _reduced(header: Header, size: tuple[int, int], mode: str) -> int:
    """OpenCV's flag for the smallest that libjpeg makes of it without a row or column to spare."""
    factor = 1 << min(3, halvings((header.height, header.width), size, mode))
    while header.height % factor or header.width % factor:
        factor //= 2
    return REDUCED[factor]


def read_header(data: bytes, named: str = "the compressed image") -> Header:
    """Size and samples, without decoding.

    Raises:
        ValueError: more than MAX_PIXELS, or no JPEG or PNG. `named` begins the sentence.
    """
    if data.startswith(_PNG):
        header = _png_header(data)
    elif data.startswith(_JPEG):
        header = _jpeg_header(data)
    else:
        raise ValueError(
            f"{named} is neither JPEG nor PNG; choose one of them in the camera's driver"
        )
    if header is None:
        raise ValueError(f"{named} is corrupt: its header is not whole")
    if header.height == 0 or header.width == 0:
        raise ValueError(f"{named} is empty: {header.width}x{header.height} pixels")
    if header.height * header.width > MAX_PIXELS:
        raise ValueError(
            f"{named} holds {header.width}x{header.height} pixels; at most {MAX_PIXELS} are "
            "decoded; let the camera send fewer"
        )
    return header


def _png_header(data: bytes) -> Header | None:
    # The signature, 8 bytes, and the first chunk, whose 13 bytes stand between its length and name
    # and its checksum.
    if len(data) < 33 or data[12:16] != b"IHDR":
        return None
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    return Header(height, width, _PNG_CHANNELS.get(colour, 0), bits)


def _jpeg_header(data: bytes) -> Header | None:
    """The frame header (SOF).

    Bytes between segments are skipped, as libjpeg skips them: both must find the same.
    """
    at = data.find(b"\xff", 2)
    while 0 <= at < len(data):
        while at < len(data) and data[at] == 0xFF:  # any number of them may fill the space
            at += 1
        if at + 9 > len(data):
            return None
        marker = data[at]
        length = struct.unpack_from(">H", data, at + 1)[0]
        if marker in _JPEG_FRAMES:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, at + 3)
            return Header(height, width, channels, bits)
        at = data.find(b"\xff", at + 1 + (0 if marker in _JPEG_BARE else length))
    return None


def to_jpeg(pixels: Image, quality: int = JPEG_QUALITY) -> bytes:
    """An image (height x width x 3, rgb8) as JPEG; `quality` of 100.

    Raises:
        ValueError: it cannot be made into one.
    """
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    try:
        done, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error:  # as newer ones say it
        done = False
    if not done:
        height, width = pixels.shape[:2]
        raise ValueError(f"an image of {width} x {height} cannot be made into a JPEG")
    return bytes(jpeg)
