"""What the bench's own processes share."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

CAMERA, COMMANDS = "/camera/image_raw", "/cmd_vel"


def spin(node: Node) -> None:
    """As a tutorial ends: until SIGINT or SIGTERM."""
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # the way out
    node.destroy_node()
    rclpy.try_shutdown()


def write_json(path: Path, data: Any) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(data))
    part.replace(path)
