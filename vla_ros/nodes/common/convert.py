"""Core types to messages; and back, by from_message.

Data fields travel as array.array: rclpy checks a list item by item.
"""

from __future__ import annotations

import sys
from array import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from sensor_msgs.msg import Image as ImageMessage

from vla_ros.core.pairing import cloud_stream
from vla_ros.core.types import NANOSECONDS, ActionChunk, Depth, Image, Instruction, Observation
from vla_ros.nodes.common.from_message import DEPTH_END as DEPTH_END
from vla_ros.nodes.common.from_message import MAX_BEAMS as MAX_BEAMS
from vla_ros.nodes.common.from_message import MAX_FIELDS as MAX_FIELDS
from vla_ros.nodes.common.from_message import READINGS as READINGS
from vla_ros.nodes.common.from_message import beam as beam
from vla_ros.nodes.common.from_message import chunk as chunk
from vla_ros.nodes.common.from_message import cloud as cloud
from vla_ros.nodes.common.from_message import cloud_layout as cloud_layout
from vla_ros.nodes.common.from_message import depth_image as depth_image
from vla_ros.nodes.common.from_message import instruction as instruction
from vla_ros.nodes.common.from_message import observation as observation
from vla_ros.nodes.common.from_message import rgb_image as rgb_image
from vla_ros.nodes.common.from_message import scan as scan
from vla_ros.nodes.common.from_message import stamp_ns as stamp_ns
from vla_ros_msgs.msg import ActionChunk as ActionChunkMessage
from vla_ros_msgs.msg import Instruction as InstructionMessage
from vla_ros_msgs.msg import Observation as ObservationMessage

BLACK = array("B", [0])


def depth_name(camera: str) -> str:
    """What the depth of a camera is called in an observation, and in its frames."""
    return f"{camera}{DEPTH_END}"


def paired_name(camera: str) -> str:
    """The frame_id of a frame that has a depth image of the same stamp, to be waited for."""
    return f"{camera}+depth"


def time_message(nanoseconds: int) -> Time:
    seconds, rest = divmod(max(0, nanoseconds), NANOSECONDS)
    return Time(sec=seconds, nanosec=rest)


def duration_message(nanoseconds: int) -> Duration:
    """Saturates at what the message can hold (68 years)."""
    seconds, rest = divmod(nanoseconds, NANOSECONDS)
    return Duration(sec=min(max(seconds, -(2**31)), 2**31 - 1), nanosec=rest)


def byte_array(values: np.ndarray) -> array:
    data = array("B")
    data.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return data


def float_array(values: Any) -> array:
    data = array("f")
    data.frombytes(np.ascontiguousarray(values, np.float32).tobytes())
    return data


def image_message(image: Image, stamp: int, frame_id: str) -> ImageMessage:
    """rgb8 (H x W x 3) as a message."""
    height, width = image.shape[:2]
    message = _without_pixels(height, width, stamp, frame_id)
    message.data = byte_array(image)
    return message


def blank_image_message(size: tuple[int, int], stamp: int, frame_id: str) -> ImageMessage:
    """Black, of `size` (H, W), to be written into through `rgb_image`."""
    message = _without_pixels(*size, stamp, frame_id)
    message.data = BLACK * (3 * size[0] * size[1])  # faster than from bytes
    return message


def _without_pixels(height: int, width: int, stamp: int, frame_id: str) -> ImageMessage:
    message = ImageMessage(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.stamp = time_message(stamp)
    message.header.frame_id = frame_id
    return message


def depth_message(depth: Depth, stamp: int, frame_id: str) -> ImageMessage:
    """Metres (H x W) as a message of 32FC1."""
    height, width = depth.shape
    message = ImageMessage(height=height, width=width, encoding="32FC1", step=4 * width)
    message.header.stamp = time_message(stamp)
    message.header.frame_id = frame_id
    message.is_bigendian = sys.byteorder == "big"
    message.data = byte_array(np.asarray(depth, np.float32))
    return message


def instruction_message(instruction: Instruction) -> InstructionMessage:
    message = InstructionMessage(instruction_id=instruction.instruction_id, text=instruction.text)
    message.header.stamp = time_message(instruction.stamp)
    return message


def observation_message(observation: Observation) -> ObservationMessage:
    message = ObservationMessage(
        instruction=instruction_message(observation.instruction),
        cameras=[
            *observation.images,
            *map(depth_name, observation.depths),
            *map(cloud_stream, observation.clouds),
        ],
        state_names=list(observation.state),
        skew=duration_message(observation.skew),
    )
    message.header.stamp = time_message(observation.stamp)
    message.images = [
        image_message(image, observation.stamp, "") for image in observation.images.values()
    ]
    for depth in observation.depths.values():
        message.images.append(depth_message(depth, observation.stamp, ""))
    for points in observation.clouds.values():
        message.images.append(depth_message(points, observation.stamp, ""))  # a point a row
    message.state = float_array(list(observation.state.values()))
    ages = [observation.ages.get(name, 0.0) for name in observation.state]
    message.state_ages = float_array(ages)
    return message


def chunk_message(chunk: ActionChunk) -> ActionChunkMessage:
    message = ActionChunkMessage(
        instruction_id=chunk.instruction_id,
        sequence=chunk.sequence,
        policy=chunk.policy,
        process=chunk.process,
        step=duration_message(chunk.step),
        latency=duration_message(chunk.latency),
        channels=list(chunk.channels),
    )
    message.header.stamp = time_message(chunk.stamp)
    message.values = float_array(chunk.values)
    return message
