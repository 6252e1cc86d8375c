"""What messages say, as core types. Any object with ROS 2's fields will do: from a topic or a bag.

No ROS here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vla_ros.core.pairing import cloud_of, is_cloud
from vla_ros.core.point_cloud import CloudField, CloudLayout
from vla_ros.core.robot_obstacles import Sensor
from vla_ros.core.types import (
    NANOSECONDS,
    POLICY,
    ActionChunk,
    CloudPoints,
    Depth,
    Image,
    Instruction,
    Observation,
)
from vla_ros.safety.clouds import cloud_points, look_at_cloud
from vla_ros.safety.obstacles import Reading, blind, cone_angles, look, scan_angles

DEPTH_END = "/depth"  # of a depth image's name; a camera's has no slash
MAX_FIELDS = 100
MAX_BEAMS = 20_000  # more would cost the gate its period


def stamp_ns(stamp: Any) -> int:
    """A Time or Duration message in ns."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def control_source(report: Any) -> str:
    """Who has the robot, by a SafetyReport; one that does not say it is of before takeovers."""
    return getattr(report, "control_source", "") or POLICY


def rgb_image(message: Any) -> Image:
    """The pixels of one of our own rgb8 frames, H x W x 3, without a copy. Raises ValueError."""
    if message.encoding != "rgb8":
        raise ValueError(f"a frame is rgb8, not '{message.encoding[:40]}'")
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


def depth_image(message: Any) -> Depth:
    """Metres of one of our own 32FC1 frames, H x W; a copy only where they lie at an odd address.

    Raises ValueError.
    """
    if message.encoding != "32FC1":
        raise ValueError(f"a depth frame is 32FC1, not '{message.encoding[:40]}'")
    depth = np.frombuffer(message.data, np.float32).reshape(message.height, message.width)
    return np.require(depth, requirements="A")


def instruction(message: Any) -> Instruction:
    return Instruction(stamp_ns(message.header.stamp), message.instruction_id, message.text)


def observation(message: Any) -> Observation:
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


def chunk(message: Any) -> ActionChunk:
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


# A range sensor's type -> what makes a reading of its message.
READINGS = {
    "sensor_msgs/msg/LaserScan": scan,
    "sensor_msgs/msg/Range": beam,
    "sensor_msgs/msg/PointCloud2": cloud,
}
