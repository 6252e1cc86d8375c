"""camera_ingest: checks a camera's images and hands on the newest, at the size the policy wants."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from vla_ros.core.compressed import rgb_of_message
from vla_ros.core.depth import DepthPair, DepthPairing, check_aligned, depth_of_message
from vla_ros.core.images import CameraHealth, as_mounted, check_stamp, resize, resize_depth
from vla_ros.core.policy_file import chosen_policy
from vla_ros.core.robot import load_robot
from vla_ros.core.types import to_nanoseconds
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.convert import (
    blank_image_message,
    depth_message,
    depth_name,
    paired_name,
    rgb_image,
    stamp_ns,
)
from vla_ros.nodes.common.from_bytes import reader_of
from vla_ros.nodes.common.passed import Passed
from vla_ros.nodes.common.qos import IMAGES, SENSOR
from vla_ros.nodes.common.run_node import run
from vla_ros.policies import file_spec
from vla_ros.policies.views import View, Views


class CameraIngest(ManagedNode):
    """Checks one camera's images and hands on the newest, at the size that the policy wants.

    Subscribed topics:
        the robot file's camera: its images, raw (sensor_msgs/Image) or, as its `transport` says,
            compressed (sensor_msgs/CompressedImage).
        the robot file's depth: of the same camera, where the policy wants it: raw or, as its
            `depth_transport` says, compressedDepth. An image then waits for its depth.

    Published topics:
        frame (sensor_msgs/Image): rgb8, cropped and turned as the robot file says, of the policy's
            size; the camera's stamp, and its name as frame_id. Of several cameras: CAMERA/frame.
        depth_frame (sensor_msgs/Image): 32FC1, m; the depth of the frame of the same stamp, which
            is the older one's of the two. Of several cameras: CAMERA/depth_frame.
        passed (std_msgs/Header): the stamp of what was just handed on, for `vla trace`; only while
            somebody listens.

    Parameters:
        `camera_ingest` in nodes/node_parameters.py.

    Faults:
        vision: for `fault_after` no image came, or only bad, frozen or black ones.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("camera_ingest", **options)
        self._newest = 0
        self._health: CameraHealth | None = None
        # steady ns: the last good image, the last bad one, black since
        self._good = self._bad = self._dark = 0
        self._badness = ""  # what was wrong with the last bad one
        self._depth_view: View | None = None
        # images as they are mounted, each with its height and width before
        self._pairing: DepthPairing[tuple[np.ndarray, tuple[int, ...]]] = DepthPairing(
            self.stats.drops
        )

    def configure(self) -> None:
        chosen = chosen_policy(self.params["policy"], self.params["policy_file"])
        views = Views(file_spec(chosen), chosen.images)
        robot = load_robot(self.params["robot_file"])
        self._camera = robot.camera(self.params["camera"])
        self._view = views.of(self._camera.name)
        views.check(views.cameras, robot.depth_cameras)  # the other cameras are others' business
        self._depth_view = views.depths.get(self._camera.name)
        before = self._health
        self._health = CameraHealth(
            to_nanoseconds(self.params["frozen_after"]), self.params["black_below"]
        )
        if before:
            self._health.remember(before)
        self._newest = 0
        self._frame = self.add_publisher(Image, robot.frame_topic(self._camera.name), IMAGES)
        self._passed = Passed(self, "frame")
        kind: type = Image
        read: Callable[[bytes], Any] | None = reader_of(Image)
        self._fitting = self._resize_to_come()
        if self._camera.transport == "compressed":
            kind = CompressedImage
            read = None  # a hundredth of the bytes
        self._topic = self.resolve_topic_name(self._camera.topic)
        on_image = partial(self._take, to_image=self._to_rgb)
        self.add_subscription(kind, self._camera.topic, on_image, SENSOR, read=read)
        self._name = self._camera.name
        self._pairing.clear()
        if self._depth_view:
            self._name = paired_name(self._camera.name)
            topic = robot.depth_frame_topic(self._camera.name)
            self._depth_frame = self.add_publisher(Image, topic, IMAGES)
            self._depth_topic = self.resolve_topic_name(self._camera.depth)
            depth_kind = Image if self._camera.depth_transport == "raw" else CompressedImage
            self.add_subscription(depth_kind, self._camera.depth, self._take_depth, SENSOR)
        self.add_timer(0.2, self._watch)

    def activate(self) -> None:
        self._good = time.monotonic_ns()
        self._bad = 0
        self._dark = 0
        self.problem = ""

    def _watch(self) -> None:
        """Reports a camera of which nothing good comes, as long as that lasts."""
        now = time.monotonic_ns()
        patience = to_nanoseconds(self.params["fault_after"])
        silent = now - self._good
        if not self.active:
            return
        if silent > patience and self._bad > self._good:
            self.problem = f"only bad images for {silent / 1e9:.1f} s: {self._badness}"
        elif silent > patience and self._pairing.waiting and self.now() - self._newest <= patience:
            self.problem = (
                f"no depth image that belongs to the camera's images for {silent / 1e9:.1f} s on "
                f"{self._depth_topic}; its stamps must be within half a period of theirs"
            )
        elif silent > patience:
            self.problem = (
                f"no image for {silent / 1e9:.1f} s on {self._topic}; is the camera's "
                "driver running?"
            )
        elif not self._lasts(self.problem):
            return
        self.report_fault("vision", self.problem)

    def _lasts(self, trouble: str) -> bool:
        """A frozen image has lasted already; a black one may be a moment's."""
        dark = time.monotonic_ns() - self._dark if self._dark else None
        return bool(trouble) and (dark is None or dark > to_nanoseconds(self.params["fault_after"]))

    def _take(self, message: Any, to_image: Callable[[Any], np.ndarray]) -> None:
        start = time.monotonic_ns()
        self.stats.tick("image", start)
        try:
            stamp = self._check_order(message)
            sent = to_image(message)
            image = as_mounted(sent, self._camera)
        except ValueError as error:
            self._refuse("bad image", error, start)
            return
        self._newest = stamp
        if self._depth_view is None:
            self._hand_on(image, stamp, start)
        else:
            self._join(self._pairing.add_image(stamp, (image, sent.shape)), start)

    def _take_depth(self, message: Any) -> None:
        start = time.monotonic_ns()
        self.stats.tick("depth image", start)
        try:
            stamp = self._check_stamp(message)
            depth = self._to_metres(message)
        except ValueError as error:
            self._refuse("bad depth image", error, start)
            return
        self._join(self._pairing.add_depth(stamp, depth), start)

    def _join(self, pair: DepthPair[tuple[np.ndarray, tuple[int, ...]]] | None, start: int) -> None:
        """Hands on an image with its depth; one of them alone waits, and is dropped in the end."""
        if pair is None:
            return
        image, shape = pair.image
        try:
            check_aligned(shape, pair.depth, self._camera.name)
            depth = as_mounted(pair.depth, self._camera)
        except ValueError as error:
            self._refuse("bad depth image", error, start)
            return
        self._hand_on(image, pair.stamp, start, depth)

    def _refuse(self, reason: str, error: ValueError, start: int) -> None:
        self._bad = start
        self._badness = str(error)[:200]
        self.reject(reason, error)

    def _check_stamp(self, message: Any) -> int:
        stamp = stamp_ns(message.header.stamp)
        check_stamp(
            stamp,
            self.now(),
            to_nanoseconds(self.params["max_future"]),
            to_nanoseconds(self.params["max_age"]),
        )
        return stamp

    def _check_order(self, message: Any) -> int:
        stamp = self._check_stamp(message)
        if self._newest > self.now() + to_nanoseconds(self.params["max_future"]):
            self._newest = 0  # the clock went back, so the camera may too
            self._pairing.clear()
        if stamp <= self._newest:
            raise ValueError(
                f"the stamp went back by {(self._newest - stamp) / 1e9:.3f} s; "
                "images must come in order"
            )
        return stamp

    def _to_rgb(self, message: Any) -> np.ndarray:
        """As rgb8, H x W x 3. Raises ValueError."""
        transport = self._camera.transport
        return rgb_of_message(message, transport, self.params["max_bytes"], self._fitting)

    def _resize_to_come(self) -> tuple[tuple[int, int], str] | None:
        """Of the image as it is sent; None where its own pixels are counted."""
        if self._camera.size or self._camera.crop or self._depth_view:
            return None
        height, width = self._view.size
        turned = self._camera.rotate in (90, 270)
        return ((width, height) if turned else (height, width)), self._view.resize

    def _to_metres(self, message: Any) -> np.ndarray:
        """Of a depth image, H x W. Raises ValueError."""
        transport = self._camera.depth_transport
        return depth_of_message(message, transport, self.params["max_bytes"])

    def _hand_on(
        self, image: np.ndarray, stamp: int, start: int, depth: np.ndarray | None = None
    ) -> None:
        # A fresh one for each, written into right away: the synchronizer may keep it as it is.
        message = blank_image_message(self._view.size, stamp, self._name)
        frame = rgb_image(message)
        resize(image, self._view.size, self._view.resize, out=frame)
        assert self._health is not None
        trouble = self._health.look(frame, stamp)
        self._good = time.monotonic_ns()
        self._dark = (self._dark or self._good) if "black" in trouble else 0
        if self._lasts(trouble):
            # handed on, an old image with a new stamp would be a new one to all
            self.stats.drop("frozen or black")
        else:
            self._frame.publish(message)
            self._passed.tell(stamp)
            if depth is not None and self._depth_view:
                fitted = resize_depth(depth, self._depth_view.size, self._depth_view.resize)
                name = depth_name(self._camera.name)
                self._depth_frame.publish(depth_message(fitted, stamp, name))
        if trouble and trouble != self.problem:
            self.get_logger().warning(trouble, throttle_duration_sec=5.0)
        self.problem = trouble
        self.stats.tick("frame", start)
        self.stats.latency(time.monotonic_ns() - start)


def main() -> None:
    run(CameraIngest)


if __name__ == "__main__":
    main()
