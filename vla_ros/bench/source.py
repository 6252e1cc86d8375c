"""The bench's cameras: steady-paced rgb8 images with moving content, made beforehand.

`python -m vla_ros.bench.source --frames 600 --rate 30 --out FILE` sends them once somebody listens,
says "streaming" and "done", writes the stamps that it sent, and stays until SIGINT.
"""

from __future__ import annotations

import argparse
import threading
import time
from array import array
from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from vla_ros.bench.common import CAMERAS, spin, write_json

IMAGES = 8  # different ones, in turn


def make_images(height: int, width: int) -> list[Image]:
    """A gradient with noise and a square that moves; the same ones each time."""
    rng = np.random.default_rng(0)
    gradient = np.linspace(40, 200, width, dtype=np.float32)[None, :, None]
    base = gradient + rng.normal(0, 8, (height, width, 3))  # height x width x RGB
    side = height // 6
    out = []
    for index in range(IMAGES):
        image = np.clip(base, 0, 255).astype(np.uint8)
        left = index * (width - side) // IMAGES
        image[height // 2 : height // 2 + side, left : left + side] = (220, 30, 30)
        message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        message.header.frame_id = "camera_optical_frame"
        # rclpy takes an array.array as it is, and checks bytes one by one
        data = array("B")
        data.frombytes(image.tobytes())
        message.data = data
        out.append(message)
    return out


def stream(node: Node, arguments: argparse.Namespace) -> None:
    """Stamps are taken right before each publish; all cameras' images have the same."""
    loose = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    qos = 10 if arguments.default_qos else loose
    publishers = []
    for topic in CAMERAS[: arguments.cameras]:
        publishers.append(node.create_publisher(Image, topic, qos))
    messages = make_images(arguments.height, arguments.width)
    while not all(publisher.get_subscription_count() for publisher in publishers):
        time.sleep(0.05)
    time.sleep(0.5)
    print("streaming", flush=True)
    stamps: list[int] = []
    start = time.monotonic()
    for index in range(arguments.frames):
        time.sleep(max(0.0, start + index / arguments.rate - time.monotonic()))
        message = messages[index % len(messages)]
        now = time.time_ns()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(now, 1_000_000_000)
        for publisher in publishers:
            publisher.publish(message)
        stamps.append(now)
    write_json(Path(arguments.out), {"stamps": stamps})
    print("done", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--cameras", type=int, default=1, choices=(1, 2))
    parser.add_argument(
        "--default-qos", action="store_true", help="reliable, depth 10, instead of a camera's"
    )
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    rclpy.init()
    node = Node("bench_camera")
    threading.Thread(target=stream, args=(node, arguments), daemon=True).start()
    spin(node)


if __name__ == "__main__":
    main()
