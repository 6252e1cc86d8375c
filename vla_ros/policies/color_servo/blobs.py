"""Coloured objects on a floor, as one camera sees them: segmentation, ground position, shape.

Shapes are told apart by drawing the outline that each would have at the same place and measuring
which one covers the patch best.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.types import Image
from vla_ros.tasks.objects import SHAPES

# Hue ranges in OpenCV's half degrees, both ends included; red wraps around.
HUES: dict[str, tuple[tuple[int, int], ...]] = {
    "red": ((0, 6), (172, 179)),
    "orange": ((8, 18),),
    "yellow": ((21, 36),),
    "green": ((42, 85),),
    "blue": ((98, 126),),
    "purple": ((130, 165),),
}
# of 255; greyer or darker is floor, wall or robot
MIN_SATURATION = 90
MIN_VALUE = 30
MIN_PIXELS = 6  # of a patch
# how much a better overlap of outlines counts, for a patch 16 pixels wide or more
FIT_WEIGHT = 30.0
CENTRE_HEIGHT = 0.035  # m, of an object's middle above the floor
FARTHEST_M = 6.0  # what seems further away is no object on this floor


@dataclass(frozen=True)
class CameraPose:
    """A camera on the robot: metres ahead of and above base_link, tilt below the horizon (rad)."""

    width: int
    height: int
    forward: float
    up: float
    tilt: float
    hfov: float

    @property
    def focal(self) -> float:
        """Pixels."""
        return self.width / 2 / math.tan(self.hfov / 2)

    @property
    def middle(self) -> tuple[float, float]:
        """The pixel (u, v) that the camera points at."""
        return (self.width - 1) / 2, (self.height - 1) / 2

    def on_floor(self, u: float, v: float, z: float = CENTRE_HEIGHT) -> tuple[float, float] | None:
        """Where the ray through pixel (u, v) reaches height `z`: (x, y) ahead and left, m.

        None where it never does.
        """
        right = (u - self.middle[0]) / self.focal
        down = (v - self.middle[1]) / self.focal
        forward = math.cos(self.tilt) - down * math.sin(self.tilt)
        fall = math.sin(self.tilt) + down * math.cos(self.tilt)
        if fall < 1e-3:  # at the horizon or above
            return None
        reach = (self.up - z) / fall
        return self.forward + reach * forward, -reach * right

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        """Pixels (n x 2) of points (n x 3, m, in base_link) in front of the camera."""
        ahead, left, above = (points - (self.forward, 0.0, self.up)).T
        depth = ahead * math.cos(self.tilt) - above * math.sin(self.tilt)
        down = -ahead * math.sin(self.tilt) - above * math.cos(self.tilt)
        pixels = np.stack([-left, down], axis=1) * (self.focal / depth)[:, None]
        centred: NDArray[np.float32] = (pixels + self.middle).astype(np.float32)
        return centred


@dataclass(frozen=True)
class Blob:
    """One coloured patch: where it is in the image, and on the floor."""

    colour: str
    left: int  # of the bounding box, pixels
    top: int
    mask: NDArray[np.uint8]  # height x width of the bounding box, 255 where the colour is
    pixels: int
    x: float  # m ahead of base_link
    y: float  # m left of it
    clipped: bool  # touches the image's edge: its outline says nothing about its shape


def _hue_table() -> NDArray[np.uint8]:
    """Hue -> the colour's number, from 1; 0: none of them."""
    table = np.zeros(256, np.uint8)
    for index, ranges in enumerate(HUES.values(), start=1):
        for low, high in ranges:
            table[low : high + 1] = index
    return table


_TABLE = _hue_table()


def find_blobs(image: Image, camera: CameraPose) -> list[Blob]:
    """Every coloured patch of an rgb8 image that stands on the floor, largest first."""
    import cv2

    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    labels = cv2.LUT(np.ascontiguousarray(hsv[..., 0]), _TABLE)
    vivid = cv2.inRange(hsv, np.array((0, MIN_SATURATION, MIN_VALUE)), np.array((180, 255, 255)))
    labels = cv2.bitwise_and(labels, vivid)
    blobs = []
    counts = np.bincount(labels.ravel(), minlength=len(HUES) + 1)
    for index, colour in enumerate(HUES, start=1):
        if counts[index] >= MIN_PIXELS:
            mask = cv2.inRange(labels, index, index)
            _, parts, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
            for part in range(1, len(stats)):
                blob = _blob(colour, part, parts, stats[part], centres[part], camera)
                if blob is not None:
                    blobs.append(blob)
    return sorted(blobs, key=lambda blob: -blob.pixels)


def _blob(
    colour: str, part: int, parts: Any, row: Any, centre: Any, camera: CameraPose
) -> Blob | None:
    left, top, width, height, pixels = map(int, row)
    if pixels < MIN_PIXELS:
        return None
    point = camera.on_floor(float(centre[0]), float(centre[1]))
    if point is None or math.hypot(*point) > FARTHEST_M:
        return None
    clipped = left <= 0 or top <= 0 or left + width >= camera.width or top + height >= camera.height
    mask = (parts[top : top + height, left : left + width] == part).astype(np.uint8)
    return Blob(colour, left, top, mask, pixels, *point, clipped)


def shape_likelihoods(blob: Blob, camera: CameraPose) -> NDArray[np.float64]:
    """Log-likelihood of each of SHAPES, by how well its outline covers the patch."""
    import cv2

    if blob.clipped:
        return np.zeros(len(SHAPES))
    height, width = blob.mask.shape
    fine = 4 if width < 24 else 1  # a drawn outline is half a pixel too wide: much of a small patch
    seen = cv2.resize(blob.mask, None, fx=fine, fy=fine, interpolation=cv2.INTER_NEAREST)
    border = 4 * fine
    seen = cv2.copyMakeBorder(seen, border, border, border, border, cv2.BORDER_CONSTANT)
    centre = np.array([border + (width * fine - 1) / 2, border + (height * fine - 1) / 2])
    fits = np.zeros(len(SHAPES))
    for index, shape in enumerate(SHAPES):
        for solid in _SOLIDS[shape]:
            outline = fine * cv2.convexHull(camera.project(solid + (blob.x, blob.y, 0.0)))[:, 0]
            # the outlines compare shapes, not places: laid over the patch's middle
            outline += centre - (outline.min(axis=0) + outline.max(axis=0)) / 2
            drawn = np.zeros_like(seen)
            cv2.fillConvexPoly(drawn, np.round(outline * 16).astype(np.int32), 1, shift=4)
            both = cv2.countNonZero(cv2.bitwise_and(seen, drawn))
            either = cv2.countNonZero(seen) + cv2.countNonZero(drawn) - both
            fits[index] = max(fits[index], both / either)
    likelihoods: NDArray[np.float64] = FIT_WEIGHT * min(1.0, width / 16) * fits
    return likelihoods


def _solids() -> dict[str, list[NDArray[np.float64]]]:
    """Points (n x 3, metres) whose hull is each shape's; a block is tried at several yaws."""
    turn = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    foot = np.column_stack([0.031 * ring, np.zeros(24)])
    cylinder = np.concatenate([foot, foot + (0.0, 0.0, 0.082)])
    circles = []  # of a ball with radius 1 around 0
    for level in np.linspace(-1, 1, 9):
        circles.append(np.column_stack([ring * math.sqrt(1 - level**2), np.full(24, level)]))
    ball = 0.037 * np.concatenate(circles) + (0, 0, 0.037)
    corners = np.array(list(itertools.product((-1, 1), (-1, 1), (0, 2)))) * 0.0315
    blocks = []
    for yaw in np.radians([0, 15, 30, 45, 60, 75]):  # at 90 degrees it looks like at 0
        cos = math.cos(yaw)
        sin = math.sin(yaw)
        rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        blocks.append(corners @ rotation.T)
    return {"block": blocks, "ball": [ball], "cylinder": [cylinder]}


_SOLIDS = _solids()
