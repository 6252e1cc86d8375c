"""What makes it harder to see and to act: named conditions with amounts.

Each changes what it says and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from vla_ros.core.types import Image
from vla_ros.sim.domain_randomization import Look, apply, random_look
from vla_ros.sim.render import load_mujoco
from vla_ros.sim.world import World

REFERENCE_WIDTH_PIXELS = 320  # of the image in whose pixels `blur` is given


@dataclass(frozen=True)
class Scenario:
    """Conditions of an episode; the defaults are the plain ones.

    Attributes:
        what: for people.
        noise: standard deviation of Gaussian noise on the camera's image (of 255).
        blur: standard deviation, pixels of an image 320 wide.
        delay: s from an image to its chunk.
        drop: share of images lost.
        look: the room's light and colours and the camera's place.
        varied: draws a look at random instead, of so many times training's range.
        objects: how many there are, instead of 4 to 6.
    """

    what: str
    noise: float = 0.0
    blur: float = 0.0
    delay: float = 0.08
    drop: float = 0.0
    look: Look = field(default_factory=Look)
    varied: float = 0.0
    objects: int | None = None

    def __post_init__(self) -> None:
        for name in ("noise", "blur", "delay", "drop", "varied"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ValueError(
                    f"a scenario's {name} is {getattr(self, name)}; give a finite number from 0 on"
                )
        if self.drop >= 1.0:
            raise ValueError(
                f"a scenario's drop is {self.drop}; no image would arrive; give less than 1"
            )

    def prepare(self, world: World, seed: int) -> None:
        """Give the world its look. The plain scenario gives it the plain one."""
        # 11 to 13: look, noise and lost images are drawn apart, so that none shifts another's draws
        rng = np.random.default_rng((seed, 11))
        apply(world, random_look(rng, self.varied) if self.varied else self.look)
        # or the first image would be from where the camera was
        load_mujoco().mj_forward(world.model, world.data)

    def lens(self, seed: int) -> Callable[[Image], Image] | None:
        """What happens to the camera's images, the same for the same seed; None: nothing."""
        if not self.noise and not self.blur:
            return None
        rng = np.random.default_rng((seed, 12))

        def change(image: Image) -> Image:
            return noised(blurred(image, self.blur), self.noise, rng)

        return change

    def dropper(self, seed: int) -> Callable[[], bool] | None:
        """Says for each image whether it is lost; None: none is."""
        if not self.drop:
            return None
        rng = np.random.default_rng((seed, 13))
        return lambda: bool(rng.random() < self.drop)


def noised(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Gaussian noise of this standard deviation (of 255) on every pixel and colour."""
    if not amount:
        return image
    noisy = image + rng.normal(0.0, amount, image.shape)
    return np.clip(noisy + 0.5, 0, 255).astype(np.uint8)  # + 0.5: rounded, as astype cuts off


def blurred(image: Image, amount: float) -> Image:
    """Out of focus: a Gaussian of this standard deviation, in pixels of an image 320 wide."""
    if not amount:
        return image
    deviation = amount * image.shape[1] / REFERENCE_WIDTH_PIXELS
    # (0, 0): OpenCV chooses the kernel's size by the deviation
    return np.asarray(cv2.GaussianBlur(image, (0, 0), deviation), np.uint8)


PLAIN = "plain"
SCENARIOS: dict[str, Scenario] = {
    PLAIN: Scenario("the room as it is built, a chunk 0.08 s after its image"),
    "dim": Scenario("half the light", look=Look(light=0.5)),
    "bright": Scenario("half as much light again", look=Look(light=1.5)),
    "other_sun": Scenario("the light comes from the other side", look=Look(sun=np.pi)),
    "noise": Scenario("camera noise of 20 of 255", noise=20.0),
    "blur": Scenario("a blur of 2 pixels in 320", blur=2.0),
    "latency": Scenario("a chunk comes 0.24 s after its image, not 0.08 s", delay=0.24),
    "dropped_frames": Scenario("half the images are lost", drop=0.5),
    "moved_camera": Scenario(
        "the camera 2 cm higher and to the left, 2 degrees further down",
        look=Look(camera=(0.0, 0.02, 0.02), tilt=float(np.radians(2.0))),
    ),
    "distractors": Scenario("9 objects in the room, not 4 to 6", objects=9),
    "new_scenes": Scenario(
        "light, floor, wall, colours and camera mount drawn for each scene, from training's range",
        varied=1.0,
    ),
    "stranger_scenes": Scenario(
        "the same, from half as much again as training's range", varied=1.5
    ),
}


def choose(names: Sequence[str]) -> list[str]:
    """The names, `all` for all but the plain one, `none` for none.

    Raises:
        ValueError: there is no such scenario.
    """
    known = list(SCENARIOS)
    known.remove(PLAIN)  # the plain room is what they are compared with
    if list(names) == ["none"]:
        return []
    if list(names) == ["all"]:
        return known
    for name in names:
        if name not in known:
            listed = ", ".join(known)
            raise ValueError(f"unknown scenario '{name}'; known are: {listed}, all, none")
    return list(names)
