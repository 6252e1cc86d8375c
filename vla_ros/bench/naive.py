"""The plain pipeline, as one would write it from a tutorial: what the suite is compared with.

Five rclpy nodes in five processes, full-size images at every hop, the default QoS (reliable, depth
10), rclpy.spin, and callbacks that do the work. Nothing here is slow on purpose. It is even kinder
than most tutorials: image bytes are set as array.array, which rclpy takes as it is; `msg.data =
image.tobytes()` is checked byte by byte and would cost tens of milliseconds more at every hop. The
command is a TwistStamped with the image's stamp, so that it can be measured.

`python -m vla_ros.bench.naive ROLE [two]`, two: of two cameras.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from functools import partial

import numpy as np
import rclpy
from cv_bridge import CvBridge
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vla_ros.bench.common import CAMERA, COMMANDS, SECOND_CAMERA, spin
from vla_ros_msgs.msg import Observation

SECOND_IMAGE = "/plain/second_image"
DEPTH = 10  # messages, with everything else of the default QoS


class CameraRelay(Node):
    """Full-size images as rgb8."""

    def __init__(self, source: str = CAMERA, target: str = "/plain/image") -> None:
        super().__init__("plain_camera")
        self._bridge = CvBridge()
        self._publisher = self.create_publisher(Image, target, DEPTH)
        self.create_subscription(Image, source, self._on_image, DEPTH)

    def _on_image(self, message: Image) -> None:
        image = self._bridge.imgmsg_to_cv2(message, "rgb8")
        height, width = image.shape[:2]
        out = Image(
            header=message.header, height=height, width=width, encoding="rgb8", step=3 * width
        )
        data = array("B")
        data.frombytes(np.ascontiguousarray(image).tobytes())
        out.data = data
        self._publisher.publish(out)


class TextRelay(Node):
    """The words in lower case."""

    def __init__(self) -> None:
        super().__init__("plain_text")
        self._publisher = self.create_publisher(String, "/plain/text", DEPTH)
        self.create_subscription(String, "/plain/instruction", self._on_text, DEPTH)

    def _on_text(self, message: String) -> None:
        self._publisher.publish(String(data=message.data.strip().lower()))


class NaiveSynchronizer(Node):
    """The latest text goes with every image."""

    def __init__(self) -> None:
        super().__init__("plain_synchronizer")
        self._text = ""
        self._publisher = self.create_publisher(Observation, "/plain/observation", DEPTH)
        self.create_subscription(Image, "/plain/image", self._on_image, DEPTH)
        self.create_subscription(String, "/plain/text", self._on_text, DEPTH)

    def _on_text(self, message: String) -> None:
        self._text = message.data

    def _on_image(self, message: Image) -> None:
        if self._text:
            out = Observation(header=message.header, cameras=["camera"], images=[message])
            out.instruction.text = self._text
            self._publisher.publish(out)


class PairSynchronizer(NaiveSynchronizer):
    """And with every pair of images of one stamp, whichever comes last."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[str, Image] = {}  # camera -> its newest
        self.create_subscription(Image, SECOND_IMAGE, partial(self._on_one, "second"), DEPTH)

    def _on_image(self, message: Image) -> None:
        self._on_one("camera", message)

    def _on_one(self, camera: str, message: Image) -> None:
        self._waiting[camera] = message
        images = [self._waiting.get(name) for name in ("camera", "second")]
        stamps = {str(image.header.stamp) for image in images if image}
        if self._text and all(images) and len(stamps) == 1:
            out = Observation(header=message.header, cameras=["camera", "second"], images=images)
            out.instruction.text = self._text
            self._publisher.publish(out)


class NaivePolicy(Node):
    """The same command for every observation.

    It looks at the image as an array, as any policy must.
    """

    def __init__(self) -> None:
        super().__init__("plain_policy")
        self._publisher = self.create_publisher(TwistStamped, "/plain/action", DEPTH)
        self.create_subscription(Observation, "/plain/observation", self._on_observation, DEPTH)

    def _on_observation(self, message: Observation) -> None:
        image = message.images[0]
        image = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
        out = TwistStamped(header=message.header)
        out.twist.linear.x = 0.1 if image.shape[2] == 3 else 0.0
        self._publisher.publish(out)


class Safety(Node):
    """Clamps, and sends on."""

    def __init__(self) -> None:
        super().__init__("plain_safety")
        self._publisher = self.create_publisher(TwistStamped, COMMANDS, DEPTH)
        self.create_subscription(TwistStamped, "/plain/action", self._on_action, DEPTH)

    def _on_action(self, message: TwistStamped) -> None:
        message.twist.linear.x = min(max(message.twist.linear.x, -0.5), 0.5)
        message.twist.angular.z = min(max(message.twist.angular.z, -0.5), 0.5)
        self._publisher.publish(message)


ROLES: dict[str, Callable[[], Node]] = {
    "camera": CameraRelay,
    "text": TextRelay,
    "synchronizer": NaiveSynchronizer,
    "policy": NaivePolicy,
    "safety": Safety,
}
OF_TWO_CAMERAS: dict[str, Callable[[], Node]] = {
    **ROLES,
    "second_camera": partial(CameraRelay, SECOND_CAMERA, SECOND_IMAGE),
    "synchronizer": PairSynchronizer,
}


def main() -> None:
    rclpy.init()
    spin((OF_TWO_CAMERAS if "two" in sys.argv[2:] else ROLES)[sys.argv[1]]())


if __name__ == "__main__":
    main()
