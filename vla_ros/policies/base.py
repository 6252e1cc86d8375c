"""What a policy is, and what it asks of the nodes around it."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from vla_ros.core.types import ActionChunk, Command, Image, Observation

Size = tuple[int, int]  # height, width in pixels


@dataclass(frozen=True)
class PolicySpec:
    """What a policy wants: the nodes fit themselves to it.

    `images` names the cameras that it looks through, each with its size; one that names none looks through the only
    camera there is, at `image_size`. Sizes are (height, width) in pixels; `resize` is `pad` (letterbox), `crop`
    (centre) or `stretch`. `state` names the numbers that it must be told beside the images. `steps` rows come `step`
    nanoseconds apart, one value for each of `channels`.
    """

    channels: tuple[str, ...]
    steps: int
    step: int
    image_size: Size
    resize: str = "pad"
    images: Mapping[str, Size] = field(default_factory=dict)
    state: tuple[str, ...] = ()

    @property
    def looks(self) -> str:
        """What it looks at, in words."""
        return f"{_listed(self.images) if self.images else _sized(self.image_size)} ({self.resize})"

    def size_of(self, camera: str) -> Size:
        """Of the camera's images. Raises ValueError for a camera that it does not look through."""
        if self.images and camera not in self.images:
            raise ValueError(f"the policy looks through {_listed(self.images)}, and this camera is '{camera}'; give "
                             "the camera that name, or the policy that camera")
        return self.images.get(camera, self.image_size)

    def check(self, images: Mapping[str, Image]) -> None:
        """Raises ValueError, with both lists, where cameras that it names are not there at their sizes."""
        has = {name: image.shape[:2] for name, image in images.items()}
        if any(has.get(name) != tuple(size) for name, size in self.images.items()):
            raise ValueError(f"the policy looks through {_listed(self.images)}, and the observation has "
                             f"{_listed(has) or 'no image'}; name the cameras as the policy does (camera of "
                             "camera_ingest, cameras of synchronizer), or give the policy these")

    def only(self, images: Mapping[str, Image]) -> Image:
        """The image, of a policy with one. Raises ValueError where it is not there, or which of several is open."""
        self.check(images)
        name = next(iter(self.images or images), None)
        if name is None or (len(images) > 1 and not self.images):
            raise ValueError(f"the policy looks through one camera and does not say which, and there are "
                             f"{', '.join(images) or 'none'}; start one, or name it to the policy")
        image = images[name]
        if image.shape[:2] != tuple(self.size_of(name)):
            raise ValueError(f"the policy wants images of {_sized(self.size_of(name))}, and {name}'s have "
                             f"{_sized(image.shape[:2])} pixels; give camera_ingest the same policy and options")
        return image

    def sees_as(self, other: PolicySpec) -> bool:
        """Can it take over from `other`, whose images go on coming?"""
        if self.resize != other.resize:
            return False
        if self.images and other.images:
            return all(other.images.get(name) == size for name, size in self.images.items())
        ours, its = ([*(one.images or {"": one.image_size}).values()] for one in (self, other))
        return ours == its and len(ours) == 1

    def blank(self) -> Observation:
        """An observation of the shapes that it wants: black images, and a robot that stands where it began."""
        sizes = self.images or {"camera": self.image_size}
        images = {name: np.zeros((*size, 3), np.uint8) for name, size in sizes.items()}
        state = dict.fromkeys(("odom.x", "odom.y", "odom.yaw", *self.state), 0.0)
        return Observation(0, Command(0, 0, "go forward"), images, state)


def _sized(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def _listed(images: Mapping[str, Size]) -> str:
    return ", ".join(f"{name} of {_sized(size)}" for name, size in images.items())


class Policy(Protocol):
    """`predict` and `reset`; plain numpy in and out. `name` is the name and a hash of the content.

    One that has `warnings`, sentences about the current instruction, has them told to the operator, each once."""

    name: str

    @classmethod
    def spec(cls, options: Mapping[str, Any]) -> PolicySpec: ...

    def __init__(self, options: Mapping[str, Any]) -> None: ...

    def predict(self, observation: Observation) -> ActionChunk:
        """The next actions. May raise ValueError for words that it does not understand."""
        ...

    def reset(self) -> None:
        """Forget everything about the current instruction."""
        ...
