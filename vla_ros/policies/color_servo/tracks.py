"""Where the coloured objects are: blobs of many images gathered into a small map on the floor."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vla_ros.policies.color_servo.blobs import Blob, CameraPose, shape_likelihoods
from vla_ros.tasks.objects import SHAPES

Pose = tuple[float, float, float]  # x, y (m), yaw (rad)

SHAPE_MEMORY = 0.85  # how much of the older evidence about a shape stays with each image
SHAPE_WEIGHT = 0.3  # of one image; below 1 because images in a row look alike
FORGET_AFTER = 6  # images in which a track should have been seen and was not
SHAPE_RANGE = (0.33, 3.0)  # m: nearer, the fingers cover parts of the object


@dataclass
class ObjectTrack:
    """One object, gathered from many images."""

    colour: str
    x: float  # m, in odom
    y: float
    # log-likelihoods of SHAPES, summed up
    evidence: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(SHAPES)))
    missed: int = 0  # images that should have shown it, since it was last seen
    seen: int = 1  # images

    def chance(self, shape: str | None) -> float:
        """How likely the object has this shape (1 when any will do)."""
        if shape is None:
            return 1.0
        odds = np.exp(self.evidence - self.evidence.max())
        return float(odds[SHAPES.index(shape)] / odds.sum())


def to_robot(pose: Pose, x: float, y: float) -> tuple[float, float]:
    """A point of odom as (ahead, left) of the robot."""
    dx = x - pose[0]
    dy = y - pose[1]
    cos = math.cos(pose[2])
    sin = math.sin(pose[2])
    return dx * cos + dy * sin, -dx * sin + dy * cos


def to_odom(pose: Pose, ahead: float, left: float) -> tuple[float, float]:
    """A point (ahead, left) of the robot in odom."""
    cos = math.cos(pose[2])
    sin = math.sin(pose[2])
    return pose[0] + ahead * cos - left * sin, pose[1] + ahead * sin + left * cos


class Tracks:
    """The map of what was seen."""

    def __init__(self) -> None:
        self.tracks: list[ObjectTrack] = []

    def update(self, pose: Pose, blobs: list[Blob], camera: CameraPose, colour: str | None) -> None:
        """Takes in one image's blobs, seen from `pose`.

        Shapes are only worked out for `colour`, the one that is asked for: drawing outlines is what
        costs time.
        """
        free = list(self.tracks)
        for blob in blobs:
            x, y = to_odom(pose, blob.x, blob.y)
            reach = math.hypot(blob.x, blob.y)
            # further away, a pixel is more of the floor
            track = _nearest(free, blob.colour, (x, y), 0.12 + 0.1 * reach)
            if track is not None:
                free.remove(track)
                if not blob.clipped:
                    weight = 0.6 if reach < 0.8 else 0.35
                    track.x += weight * (x - track.x)
                    track.y += weight * (y - track.y)
                track.missed = 0
                track.seen += 1
            elif blob.clipped:
                continue  # its middle is not where it seems
            else:
                track = ObjectTrack(blob.colour, x, y)
                self.tracks.append(track)
            whole = SHAPE_RANGE[0] < reach < SHAPE_RANGE[1] and not blob.clipped
            if blob.colour == colour and whole:
                track.evidence = SHAPE_MEMORY * track.evidence
                track.evidence += SHAPE_WEIGHT * shape_likelihoods(blob, camera)
        for track in free:
            track.missed += _should_be_seen(to_robot(pose, track.x, track.y), camera)
        self.tracks = [track for track in self.tracks if track.missed < FORGET_AFTER]


def _nearest(
    tracks: list[ObjectTrack], colour: str, point: tuple[float, float], reach: float
) -> ObjectTrack | None:
    """The track of that colour nearest to a point of odom, closer than `reach` (m)."""
    nearest = None
    for track in tracks:
        distance = math.dist(point, (track.x, track.y))
        if track.colour == colour and distance < reach:
            nearest = track
            reach = distance
    return nearest


def _should_be_seen(point: tuple[float, float], camera: CameraPose) -> bool:
    """Well inside the image, not so near that the gripper hides it."""
    ahead, left = point
    if not 0.35 < ahead < 2.0:
        return False
    return abs(math.atan2(left, ahead - camera.forward)) < camera.hfov / 2 - math.radians(6)
