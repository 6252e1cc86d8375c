"""The floor: the bare hops that the suite needs, with its messages, QoS and profile.

Nothing is done in them:
camera =(full size)=> ingest -(frame)-> synchronizer -(observation)-> inference -(chunk)-> gate ->
robot. Each process hands on a message made beforehand, with the stamp of the one that came. What
the suite takes above this is its own work.

`python -m vla_ros.bench.lower_bound ROLE --height 224 --width 224`
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from sensor_msgs.msg import Image

from vla_ros.bench.common import CAMERA, COMMANDS, spin
from vla_ros.core.types import ActionChunk, Instruction, Observation
from vla_ros.nodes.common.convert import chunk_message, image_message, observation_message
from vla_ros.nodes.common.qos import IMAGES, LATEST, SENSOR
from vla_ros_msgs.msg import ActionChunk as ActionChunkMessage
from vla_ros_msgs.msg import Observation as ObservationMessage


# What each role hands on; their sizes are what the suite's own messages have.
def frame(height: int, width: int) -> Any:
    return image_message(np.full((height, width, 3), 127, np.uint8), 0, "camera_optical_frame")


def observation(height: int, width: int) -> Any:
    state = dict.fromkeys(
        ("odom.x", "odom.y", "odom.yaw", "linear.x", "angular.z", "gripper_joint"), 0.0
    )
    images = {"camera": np.full((height, width, 3), 127, np.uint8)}
    return observation_message(Observation(0, Instruction(0, 1, "go forward"), images, state))


def chunk(height: int, width: int) -> Any:
    values = np.zeros((1, 2), np.float32)
    return chunk_message(
        ActionChunk(0, 1, ("linear.x", "angular.z"), values, 100_000_000, 1, "constant")
    )


def command(height: int, width: int) -> Any:
    return TwistStamped()


# role -> what comes in, from where, what goes out, to where
Hop = tuple[type, str, Callable[[int, int], Any], str]
ROLES: dict[str, Hop] = {
    "ingest": (Image, CAMERA, frame, "/floor/frame"),
    "synchronizer": (Image, "/floor/frame", observation, "/floor/observation"),
    "inference": (ObservationMessage, "/floor/observation", chunk, "/floor/chunk"),
    "gate": (ActionChunkMessage, "/floor/chunk", command, COMMANDS),
}

QOS = {CAMERA: SENSOR, "/floor/frame": IMAGES, "/floor/observation": IMAGES}


class Relay(Node):
    """Hands on its own message, with the stamp of the one that came."""

    def __init__(self, role: str, height: int, width: int) -> None:
        super().__init__(f"floor_{role}")
        kind, source, make, target = ROLES[role]
        self._message = make(height, width)  # beforehand: making it is not what is to be measured
        self._publisher = self.create_publisher(
            type(self._message), target, QOS.get(target, LATEST)
        )
        self.create_subscription(kind, source, self._on_message, QOS.get(source, LATEST))

    def _on_message(self, message: Any) -> None:
        self._message.header.stamp = message.header.stamp
        self._publisher.publish(self._message)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--height", type=int, default=224)
    parser.add_argument("--width", type=int, default=224)
    arguments = parser.parse_args()
    rclpy.init()
    spin(Relay(arguments.role, arguments.height, arguments.width))


if __name__ == "__main__":
    main()
