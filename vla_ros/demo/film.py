"""The demo's film: images drawn and written in a thread of their own, which delays nobody."""

from __future__ import annotations

import math
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_ros.demo.overlay import CAMERA_HEIGHT, SIZE, WIDTH, Moment, draw

FPS = 15.0  # every other image of a camera of 30
# to the thing named: near enough to see it well, far enough to see the room
STILL_DISTANCE_M = 0.7
QUEUE_IMAGES = 4  # a quarter of a second; what does not fit is dropped


class Film:
    """`add` camera images as they arrive; the film keeps real time and drops what comes too fast.

    The best still of a robot on its way to what the words name is kept for `save_still`.

    Args:
        path: The video, an .mp4.
        decode: Turns what `add` got into pixels (480 x 640 x 3, rgb8), in the film's thread. A
            ValueError becomes `problem`, and the film goes on.

    Raises:
        ValueError: The video cannot be written.
    """

    def __init__(
        self, path: Path, decode: Callable[[Any], NDArray[np.uint8]] = lambda image: image
    ) -> None:
        self.path = path
        self.frames = 0
        self.dropped = 0
        self.problem = ""
        self.still: NDArray[np.uint8] | None = None
        self._still_score = -math.inf
        self._decode = decode
        self._queue: queue.Queue[tuple[float, Any, Moment] | None] = queue.Queue(
            maxsize=QUEUE_IMAGES
        )
        self._next = 0.0  # s, when the next image is wanted
        self._start: float | None = None  # s, of the first image
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FPS, SIZE)
        if not self._writer.isOpened():
            raise ValueError(
                f"cannot write a video to {path}; is the folder writable, and OpenCV built with "
                "FFmpeg?"
            )
        self._thread = threading.Thread(target=self._work, name="film", daemon=True)
        self._thread.start()

    def wants(self, now: float) -> bool:
        """Whether it is time for another image; `now` in seconds, on a steady clock."""
        return now >= self._next

    def add(self, now: float, image: Any, moment: Moment) -> None:
        """Never waits: a film that lags loses an image, the robot loses nothing."""
        # In step with the camera's images, one of two; after a gap, from now on: not a burst.
        self._next = max(self._next + 1.0 / FPS, now - 1.0 / FPS)
        try:
            self._queue.put_nowait((now, image, moment))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what is left and close the file."""
        if self._thread.is_alive():
            self._queue.put(None)  # the end, behind what still waits
            self._thread.join()
        self._writer.release()

    def save_still(self, path: Path) -> bool:
        """The best still as PNG; False where nothing was filmed."""
        return self.still is not None and bool(cv2.imwrite(str(path), self.still))

    def _work(self) -> None:
        if hasattr(os, "setpriority"):  # the robot's nodes come first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while (item := self._queue.get()) is not None:
            try:
                self._write(*item)
            except ValueError as problem:
                self.problem = str(problem)

    def _write(self, now: float, image: Any, moment: Moment) -> None:
        camera = self._decode(image)  # H x W x 3, rgb8
        if camera.shape != (CAMERA_HEIGHT, WIDTH, 3):
            camera = cv2.resize(
                camera, (WIDTH, CAMERA_HEIGHT), interpolation=cv2.INTER_AREA
            ).astype(np.uint8)
        image = cv2.cvtColor(draw(camera, moment), cv2.COLOR_RGB2BGR)
        if self._start is None:
            self._start = now
        # as often as real time asks: a gap in the camera is a gap in the film, not a leap
        while self.frames <= (now - self._start) * FPS:
            self._writer.write(image)
            self.frames += 1
        score = still_score(moment)
        if self.still is None or score > self._still_score:
            self.still = image.astype(np.uint8)
            self._still_score = score


def still_score(moment: Moment) -> float:
    """Higher for a better still: on the way, at a good distance from what the words name."""
    emitted = dict(zip(moment.channels, moment.emitted))
    on_the_way = moment.state == "ACTIVE" and emitted.get("linear.x", 0.0) > 0.1
    score = 10.0 if on_the_way else 0.0
    if moment.target is None:
        return score - 5.0
    distance, bearing = moment.target
    return score - abs(distance - STILL_DISTANCE_M) - 2.0 * abs(bearing)


def image_pixels(message: Any) -> NDArray[np.uint8]:
    """A sensor_msgs/Image in rgb8 -> height x width x 3."""
    if message.encoding != "rgb8" or message.step < 3 * message.width:
        raise ValueError(f"the camera sends '{message.encoding}'; the film takes rgb8")
    # A row may be longer than its pixels: `step` bytes.
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    return rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
