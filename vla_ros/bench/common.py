"""What the bench's own processes share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from vla_ros.core.robot import Robot
from vla_ros.core.whole_file import write_whole
from vla_ros.nodes.common.qos import LATEST
from vla_ros.nodes.common.reader import Reader
from vla_ros.nodes.gate.outputs import TYPES

CAMERA = "/camera/image_raw"
SECOND_CAMERA = "/second_camera/image_raw"
CAMERAS = (CAMERA, SECOND_CAMERA)
COMMANDS = "/cmd_vel"


def spin(node: Node) -> None:
    """As a tutorial ends: until SIGINT or SIGTERM."""
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # the way out
    node.destroy_node()
    rclpy.try_shutdown()


def listen(node: Node, robot: Robot) -> list[Reader]:
    """Takes what the gate sends besides COMMANDS, as a robot does; keep what it returns.

    A reader does not wake the process for what is not measured.
    """
    readers = []
    for output in robot.outputs:
        if output.topic != COMMANDS:
            readers.append(Reader(node, TYPES[output.type], output.topic, LATEST))
    return readers


def write_json(path: Path, data: Any) -> None:
    """Whole or not at all: whoever waits for the file may read it at once."""
    write_whole(path, json.dumps(data))
