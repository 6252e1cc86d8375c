"""Messages to core types and back.

Data fields travel as array.array: rclpy checks a list item by item.
"""

from __future__ import annotations

import math
import sys
from array import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from sensor_msgs.msg import Image as ImageMessage

from vla_ros.core.pairing import cloud_of, cloud_stream, is_cloud
from vla_ros.core.point_cloud import CloudField, CloudLayout
from vla_ros.core.robot_obstacles import Sensor
from vla_ros.core.types import (
    NANOSECONDS,
    ActionChunk,
    CloudPoints,
    Depth,
    Image,
    Instruction,
    Observation,
)
from vla_ros.safety.clouds import cloud_points, look_at_cloud
from vla_ros.safety.obstacles import Reading, blind, cone_angles, look, scan_angles
from vla_ros_msgs.msg import ActionChunk as ActionChunkMessage
from vla_ros_msgs.msg import Instruction as InstructionMessage
from vla_ros_msgs.msg import Observation as ObservationMessage

BLACK = array("B", [0])
DEPTH_END = "/depth"  # of a depth image's name; a camera's has no slash


def depth_name(camera: str) -> str:
    """What the depth of a camera is called in an observation, and in its frames."""
    return f"{camera}{DEPTH_END}"


def paired_name(camera: str) -> str:
    """The frame_id of a frame that has a depth image of the same stamp, to be waited for."""
    return f"{camera}+depth"


def stamp_ns(stamp: Any) -> int:
    """A Time or Duration message in ns."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


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


def rgb_image(message: ImageMessage) -> Image:
    """The pixels of one of our own rgb8 frames, H x W x 3, without a copy. Raises ValueError."""
    if message.encoding != "rgb8":
        raise ValueError(f"a frame is rgb8, not '{message.encoding[:40]}'")
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


def depth_message(depth: Depth, stamp: int, frame_id: str) -> ImageMessage:
    """Metres (H x W) as a message of 32FC1."""
    height, width = depth.shape
    message = ImageMessage(height=height, width=width, encoding="32FC1", step=4 * width)
    message.header.stamp = time_message(stamp)
    message.header.frame_id = frame_id
    message.is_bigendian = sys.byteorder == "big"
    message.data = byte_array(np.asarray(depth, np.float32))
    return message


def depth_image(message: ImageMessage) -> Depth:
    """Metres of one of our own 32FC1 frames, H x W; a copy only where they lie at an odd address.

    Raises ValueError.
    """
    if message.encoding != "32FC1":
        raise ValueError(f"a depth frame is 32FC1, not '{message.encoding[:40]}'")
    depth = np.frombuffer(message.data, np.float32).reshape(message.height, message.width)
    return np.require(depth, requirements="A")


def instruction_message(instruction: Instruction) -> InstructionMessage:
    message = InstructionMessage(instruction_id=instruction.instruction_id, text=instruction.text)
    message.header.stamp = time_message(instruction.stamp)
    return message


def instruction(message: InstructionMessage) -> Instruction:
    return Instruction(stamp_ns(message.header.stamp), message.instruction_id, message.text)


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


def observation(message: ObservationMessage) -> Observation:
    """Raises ValueError where the lists do not match."""
    counts = {len(message.state_names), len(message.state), len(message.state_ages)}
    if len(message.cameras) != len(message.images) or len(counts) > 1:
        raise ValueError(
            f"the observation has {len(message.cameras)} cameras and {len(message.images)} images, "
            f"{len(message.state_names)} state names, {len(message.state)} values and "
            f"{len(message.state_ages)} ages"
        )
    images: dict[str, Image] = {}
    depths: dict[str, Depth] = {}
    clouds: dict[str, CloudPoints] = {}
    for name, image in zip(message.cameras, message.images):
        if is_cloud(name):
            clouds[cloud_of(name)] = depth_image(image)
        elif name.endswith(DEPTH_END):
            depths[name.removesuffix(DEPTH_END)] = depth_image(image)
        else:
            images[name] = rgb_image(image)
    return Observation(
        stamp=stamp_ns(message.header.stamp),
        instruction=instruction(message.instruction),
        images=images,
        depths=depths,
        clouds=clouds,
        state=dict(zip(message.state_names, message.state.tolist())),
        skew=stamp_ns(message.skew),
        ages=dict(zip(message.state_names, message.state_ages.tolist())),
    )


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


def chunk(message: ActionChunkMessage) -> ActionChunk:
    """As it came: the gate's rules judge it. Values that do not fill rows keep one dimension."""
    values = np.array(message.values, np.float32)
    columns = len(message.channels)
    if columns and len(values) and len(values) % columns == 0:
        values = values.reshape(-1, columns)
    return ActionChunk(
        stamp=stamp_ns(message.header.stamp),
        instruction_id=message.instruction_id,
        channels=tuple(message.channels),
        values=values,
        step=stamp_ns(message.step),
        sequence=message.sequence,
        policy=message.policy,
        latency=stamp_ns(message.latency),
        process=message.process[:100],
    )


MAX_FIELDS = 100
MAX_BEAMS = 20_000  # more would cost the gate its period


def scan(sensor: Sensor, message: Any) -> Reading:
    """What a sensor_msgs/LaserScan saw; blind where its numbers contradict each other."""
    count = len(message.ranges)
    stamp = stamp_ns(message.header.stamp)
    if count > MAX_BEAMS:
        return blind(stamp, f"a scan of {count} beams is too large; at most {MAX_BEAMS}")
    try:
        angles = scan_angles(count, message.angle_min, message.angle_max, message.angle_increment)
    except ValueError as error:
        return blind(stamp, str(error))
    return look(
        sensor, stamp, np.array(message.ranges, float), angles, message.range_min, message.range_max
    )


def beam(sensor: Sensor, message: Any) -> Reading:
    """The same of a sensor_msgs/Range, whose one range may be anywhere in its field of view."""
    stamp = stamp_ns(message.header.stamp)
    try:
        angles = cone_angles(message.field_of_view)
    except ValueError as error:
        return blind(stamp, str(error))
    return look(
        sensor,
        stamp,
        np.full(len(angles), message.range),
        angles,
        message.min_range,
        message.max_range,
    )


def cloud_layout(message: Any) -> CloudLayout:
    """How a sensor_msgs/PointCloud2 lays its points out."""
    fields: list[CloudField] = []
    for field in message.fields[:MAX_FIELDS]:
        fields.append(CloudField(field.name, field.offset, field.datatype, field.count))
    return CloudLayout(
        message.width,
        message.height,
        message.point_step,
        message.row_step,
        message.is_bigendian,
        fields,
    )


def cloud(sensor: Sensor, message: Any) -> Reading:
    """The same of a sensor_msgs/PointCloud2."""
    stamp = stamp_ns(message.header.stamp)
    try:
        return look_at_cloud(sensor, stamp, cloud_points(message.data, cloud_layout(message)))
    except ValueError as error:
        return blind(stamp, str(error))


# Frames that stand still, by the names of REP 105 and of simulators
FIXED_FRAMES = ("odom", "map", "world")


def odometry_state(message: Any) -> dict[str, float]:
    """The numbers of a nav_msgs/Odometry.

    The twist is in `child_frame_id`, as the message's definition says; empty: the base. A twist in
    the pose's own frame, as some drivers publish it, is turned into the base's.

    Returns:
        The pose in its frame (m, rad) and the speed in the base's (m/s, rad/s).

    Raises:
        ValueError: a twist in another frame that stands still, what is not finite, and a quaternion
            whose squared length is not 1 within 0.01 (tf2's tolerance).
    """
    pose = message.pose.pose
    twist = message.twist.twist
    x, y, z, w = unit_quaternion(pose.orientation, "odometry")
    values = {
        "odom.x": pose.position.x,
        "odom.y": pose.position.y,
        "odom.yaw": math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)),
        "linear.x": twist.linear.x,
        "angular.z": twist.angular.z,
    }
    frame = message.header.frame_id.lstrip("/")
    child = message.child_frame_id.lstrip("/")
    if child and (child == frame or child.rpartition("/")[2] in FIXED_FRAMES):
        if frame not in ("", child):
            raise ValueError(
                f"odometry's twist is in '{child[:40]}', its pose in '{frame[:40]}'; give the "
                "twist in the robot's base (child_frame_id), as nav_msgs/Odometry is defined"
            )
        # the base's x axis
        ahead = 1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)
        up = 2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)  # its z axis
        values["linear.x"] = _along(ahead, twist.linear)
        values["angular.z"] = _along(up, twist.angular)
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"odometry says {value} for {name}; a number is right")
    return values


def unit_quaternion(q: Any, whose: str) -> tuple[float, float, float, float]:
    """x, y, z and w of a Quaternion. Raises ValueError where it is none within tf2's tolerance."""
    length = math.sqrt(q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w)
    if not abs(length * length - 1.0) <= 0.01:
        raise ValueError(
            f"{whose}'s orientation x={q.x:g}, y={q.y:g}, z={q.z:g}, w={q.w:g} has length "
            f"{length:g}; a quaternion's is 1 (w left out, or a yaw in its place?)"
        )
    return q.x / length, q.y / length, q.z / length, q.w / length


def _along(axis: tuple[float, float, float], vector: Any) -> float:
    return float(axis[0] * vector.x + axis[1] * vector.y + axis[2] * vector.z)
