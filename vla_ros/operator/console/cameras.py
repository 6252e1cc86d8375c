"""A camera's newest image as JPEG, of the page's size: made once for all viewers, when one asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from sensor_msgs.msg import CompressedImage, Image

from vla_ros.core.compressed import read_header, rgb_of_message, to_jpeg
from vla_ros.core.images import as_mounted, resize
from vla_ros.core.robot_cameras import Camera
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.from_bytes import reader_of
from vla_ros.nodes.common.qos import SENSOR
from vla_ros.nodes.common.reader import Reader

UNWATCHED_S = 5.0  # after the last viewer asked, the camera's topic is left
MAX_BYTES = 34_000_000  # camera_ingest's max_bytes
FILL = "stretch"  # how `resize` fits an image into a size of its own shape


class PageImage(NamedTuple):
    """`sequence` grows with every image; `taken` on the steady clock, s."""

    sequence: int
    jpeg: bytes
    taken: float


class CameraFeed:
    """Subscribes while somebody watches, and looks at no image that nobody asked for.

    Viewers ask: a slow one asks less often, and one that never reads asks once.

    Args:
        node: the subscription's.
        camera: of the robot file.
        width: of the JPEG at most, pixels.
        quality: of the JPEG, 1 to 100.
        period: between two images at least, s.
        complain: is told what is wrong with an image.
    """

    def __init__(
        self,
        node: ManagedNode,
        camera: Camera,
        width: int,
        quality: int,
        period: float,
        complain: Callable[[str], None],
    ) -> None:
        self._node = node
        self._camera = camera
        self._width = width
        self._quality = quality
        self._period = period
        self._complain = complain
        self._asked = -UNWATCHED_S  # steady s
        self._looked = -period
        self._reader: Reader | None = None
        self._newest: PageImage | None = None
        # Held while a message is taken and made into JPEG: by one viewer's request for all.
        self._busy = threading.Lock()

    def look_after(self) -> None:
        """Subscribes or leaves, in the thread that runs the node's callbacks."""
        watched = time.monotonic() - self._asked < UNWATCHED_S
        if watched and self._reader is None:
            compressed = self._camera.transport == "compressed"
            kind: type = CompressedImage if compressed else Image
            read = None if compressed else reader_of(Image)
            self._reader = Reader(self._node, kind, self._camera.topic, SENSOR, read=read)
        elif not watched:
            self.leave()

    def leave(self) -> None:
        """Unsubscribes; an image of before is not shown to who looks next."""
        with self._busy:
            if self._reader is not None:
                self._node.destroy_subscription(self._reader.subscription)
            self._reader = None
            self._newest = None

    def due(self) -> bool:
        """Whether `refresh` may find a newer image; says that somebody watches."""
        now = time.monotonic()
        self._asked = now
        return now - self._looked >= self._period

    def newest(self) -> PageImage | None:
        """None: none came since somebody watches."""
        return self._newest

    def refresh(self) -> None:
        """Takes what came, and makes a JPEG of it; does nothing where another thread is at it."""
        if not self._busy.acquire(blocking=False):
            return
        try:
            self._looked = time.monotonic()  # also where nothing came: viewers ask on
            if self._reader is None:
                return
            for message in self._reader.take():  # one at most: the queue keeps the newest
                sequence = self._newest.sequence + 1 if self._newest else 1
                jpeg = self._jpeg(message)
                self._newest = PageImage(sequence, jpeg, self._looked)
        except ValueError as error:
            self._complain(f"camera {self._camera.name}: {error}")
        finally:
            self._busy.release()

    def _jpeg(self, message: Any) -> bytes:
        camera = self._camera
        fitting = None
        if camera.transport == "compressed" and not camera.crop and not camera.rotate:
            data = bytes(message.data)
            header = read_header(data)
            if data.startswith(b"\xff\xd8") and header.width <= 1.5 * self._width:
                return data  # as it came: a page scales it
            fitting = self._size(header.height, header.width), FILL
        rgb = rgb_of_message(message, camera.transport, MAX_BYTES, fitting)
        pixels = as_mounted(rgb, camera)
        size = self._size(*pixels.shape[:2])
        if size != pixels.shape[:2]:
            pixels = resize(pixels, size, FILL)
        return to_jpeg(pixels, self._quality)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width on the page: never larger than it came, for a page scales as well."""
        if width <= self._width:
            return height, width
        return max(1, round(height * self._width / width)), self._width
