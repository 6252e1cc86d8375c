"""A robot file's cameras: where their images come from, and how they are mounted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vla_ros.core.robot_fields import check_keys, named_entries, topic_name
from vla_ros.core.shown import shown
from vla_ros.core.types import LONGEST_SIDE, Size, is_size

TRANSPORTS = ("raw", "compressed")
KEYS = {"transport", "depth", "depth_transport", "size", "rotate", "crop"}  # topic beside them
TURNS_DEG = (0, 90, 180, 270)
MAX_CAMERAS = 16  # a process each


@dataclass(frozen=True)
class Camera:
    """A camera, and how it is mounted. First `crop`, then `rotate`, then the policy's size.

    Attributes:
        topic: its images, as they are named on the robot.
        transport: `raw`: the topic carries sensor_msgs/Image; `compressed`:
            sensor_msgs/CompressedImage.
        depth: the topic of its depth images, aligned with its colour.
        depth_transport: `raw`: that topic carries sensor_msgs/Image; `compressed`: compressedDepth
            in sensor_msgs/CompressedImage.
        size: [height, width] of what it sends, pixels; an image of another size is refused.
        rotate: clockwise, degrees: 0, 90, 180 or 270.
        crop: [x, y, width, height] of what is kept, pixels of the image as it is sent.
    """

    name: str
    topic: str
    transport: str = "raw"
    depth: str = ""
    size: Size | None = None
    rotate: int = 0
    crop: tuple[int, int, int, int] | None = None
    depth_transport: str = "raw"


def parse_cameras(data: Any) -> tuple[Camera, ...]:
    """The `cameras` part of a robot file. Raises ValueError with a sentence."""
    entries = named_entries(data, "cameras", MAX_CAMERAS)
    return tuple(_camera(name, fields) for name, fields in entries.items())


def _camera(name: str, fields: Any) -> Camera:
    where = f"camera '{name}'"
    check_keys(fields, where, {"topic"}, KEYS)
    transport = _transport(fields, "transport", where)
    depth_transport = _transport(fields, "depth_transport", where)
    if "depth_transport" in fields and "depth" not in fields:
        raise ValueError(f"{where}: depth_transport is given without depth; give depth's topic too")
    rotate = fields.get("rotate", 0)
    if isinstance(rotate, bool) or rotate not in TURNS_DEG:
        raise ValueError(
            f"{where}: rotate is {shown(rotate)}; use one of {', '.join(map(str, TURNS_DEG))}"
        )
    depth = topic_name(fields["depth"], f"{where}: depth") if "depth" in fields else ""
    size = _size(fields["size"], where) if "size" in fields else None
    crop = _crop(fields["crop"], size, where) if "crop" in fields else None
    topic = topic_name(fields["topic"], f"{where}: topic")
    if topic == depth:
        raise ValueError(f"{where}: depth is '{depth}', as its topic; give that of its depth")
    return Camera(name, topic, transport, depth, size, int(rotate), crop, depth_transport)


def _transport(fields: Any, key: str, where: str) -> str:
    value = fields.get(key, "raw")
    if value not in TRANSPORTS:
        raise ValueError(f"{where}: {key} is {shown(value)}; use one of {', '.join(TRANSPORTS)}")
    return str(value)


def _size(value: Any, where: str) -> Size:
    if not is_size(value):
        raise ValueError(
            f"{where}: size is {shown(value)}; give [height, width] in pixels, each from 1 to "
            f"{LONGEST_SIDE}"
        )
    return value[0], value[1]


def _crop(value: Any, size: Size | None, where: str) -> tuple[int, int, int, int]:
    whole = isinstance(value, list) and len(value) == 4
    # To Python, true is the number 1.
    if not whole or not all(type(number) is int for number in value):
        raise ValueError(f"{where}: crop is {shown(value)}; give [x, y, width, height] in pixels")
    x, y, width, height = value
    if min(x, y) < 0 or not 0 < min(width, height) <= max(width, height) <= LONGEST_SIDE:
        raise ValueError(
            f"{where}: crop is {shown(value)}; x and y are 0 or more, width and height from 1 to "
            f"{LONGEST_SIDE}"
        )
    if size and (y + height > size[0] or x + width > size[1]):
        raise ValueError(
            f"{where}: crop {value} reaches outside size [{size[0]}, {size[1]}] (height, width)"
        )
    return x, y, width, height
