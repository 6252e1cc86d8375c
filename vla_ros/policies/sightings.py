"""What a model that says where it looks sees around the robot: each thing, and where it stands.

The model is asked for every colour and shape at once; what it finds stands where its `target` is.
Of two things that look alike it is shown one at a time: to see where each stands, with the other
painted over; to drive, with the other in another colour, as it has to steer around that one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vla_ros.policies.progress import POSE, SURE_IMAGES
from vla_ros.policies.steps import canonical
from vla_ros.tasks.choice import Sighting
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.objects import COLOURS, SHAPES

if TYPE_CHECKING:
    from torch import Tensor

    from vla_ros.core.types import Image
    from vla_ros.models.vla import VLA

PAIRS = tuple(product(COLOURS, SHAPES))
POSE_OF = itemgetter(*POSE)
SAME_PLACE_M = 0.2  # two things nearer to each other are one, seen as two
PART_SHARE = 3  # times as many cells has the thing whose part it may be
MOVED_M = 0.3  # from one image to the next, by an error or a push: it is still the same thing
# of the built-in model's grid, that one thing covers at most: far away, and times its distance
ALONE_CELLS = 4
ALONE_CELLS_M = 5.0
# as OpenCV counts them, 0 to 179: a model takes none of them for the colour that is asked for
BLUE_HUE = 114
OTHER_HUE = {"blue": 60, "purple": 60}
PAINT_AROUND = 3  # pixels from which painted cells get their colour

Cells = NDArray[np.bool_]  # rows x columns, of the model's grid


@dataclass(frozen=True)
class Seen:
    """A thing in one image, and the cells of the image where it is."""

    thing: Sighting
    cells: Cells


class Eyes:
    """The plain model, which says more than its engines: what stands in each cell."""

    def __init__(self, model: VLA, encode_text: Callable[[str], Mapping[str, Tensor]]) -> None:
        """`encode_text`: what the model reads in words, of one row."""
        self._model = model
        self._encode_text = encode_text
        self._read: tuple[Tensor, ...] = ()  # words, pooled and mask of PAIRS

    def look(self, image: Image) -> tuple[Seen, ...]:
        """What is there, in an image as the model takes it."""
        import torch

        seen = []
        with torch.inference_mode():
            vision = self._encode([image])
            places, nowhere = self._ask(vision, range(len(PAIRS)))
            separate = self._patches(vision)
            for index, (colour, shape) in enumerate(PAIRS):
                if nowhere[index] >= 0.5:
                    continue
                alone = separate[index]
                spots = [places[index]]
                if len(alone) > 1:
                    shown = [paint_over(image, other_cells(alone, cells)) for cells in alone]
                    spots, _ = self._ask(self._encode(shown), [index] * len(shown))
                for spot, cells in zip(spots, alone):
                    seen.append(Seen(Sighting(colour, shape, *spot), cells))
        return tuple(whole(seen))

    def _encode(self, images: Sequence[Image]) -> Tensor:
        import torch

        return self._model.encode_image(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))

    def _ask(
        self, vision: Tensor, questions: Sequence[int]
    ) -> tuple[list[list[float]], list[float]]:
        """Where each of PAIRS asked for is (ahead and left, m), and how likely it is nowhere."""
        import torch

        if not self._read:
            read = [self._encode_text(canonical(Intent("face", *pair))) for pair in PAIRS]
            names = ("words", "pooled", "mask")
            self._read = tuple(torch.cat([row[name] for row in read]) for name in names)
        rows = list(questions)
        words, pooled, mask = (tensor[rows] for tensor in self._read)
        # nothing that it is told of the robot changes what it sees
        state = torch.zeros(len(rows), len(self._model.config.state))
        output = self._model.decode_action(vision, words, pooled, mask, state)
        assert output.attention is not None and output.auxiliary is not None
        nowhere = output.attention.softmax(-1)[:, -1]
        return output.auxiliary.target.tolist(), nowhere.tolist()

    def _patches(self, vision: Tensor) -> list[list[Cells]]:
        """The patches of each of PAIRS."""
        assert self._model.auxiliary is not None
        colour, shape = self._model.auxiliary.stands(vision)
        grid = self._model.vision.grid
        colours = colour[0].argmax(-1).reshape(grid).numpy()
        shapes = shape[0].argmax(-1).reshape(grid).numpy()
        found = []
        for index in range(len(PAIRS)):
            there = (colours == index // len(SHAPES)) & (shapes == index % len(SHAPES))
            found.append(patches(there))
        return found


def patches(cells: Cells) -> list[Cells]:
    """Those that do not touch each other, at the corners neither."""
    import cv2  # here: a machine that only measures models has none

    count, labels = cv2.connectedComponents(cells.astype(np.uint8), connectivity=8)
    return [labels == label for label in range(1, count)]  # 0 is the rest of the image


def with_edges(cells: Cells) -> Cells:
    """Those cells, and the ones around them that may show the thing's edges."""
    import cv2  # here: a machine that only measures models has none

    return cv2.dilate(cells.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def other_cells(alike: Sequence[Cells], kept: Cells) -> Cells:
    """All of those patches but the one, with their edges."""
    return with_edges(np.any(alike, axis=0) & ~kept) & ~kept


def paint_over(image: Image, cells: Cells) -> Image:
    """The image with these cells in the colours around them: what was there is gone."""
    import cv2  # here: a machine that only measures models has none

    side = image.shape[0] // cells.shape[0]  # pixels of a cell
    hidden = np.kron(cells, np.ones((side, side), np.uint8)).astype(np.uint8)
    return cv2.inpaint(np.ascontiguousarray(image), hidden, PAINT_AROUND, cv2.INPAINT_TELEA)


def recolour(image: Image, cells: Cells, colour: str) -> Image:
    """The image with what is in these cells in another colour than that: still in the way."""
    import cv2  # here: a machine that only measures models has none

    rows, columns = (pixels // side for pixels, side in zip(image.shape[:2], cells.shape))
    there = np.kron(cells, np.ones((rows, columns), np.uint8)) > 0
    hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV)
    hsv[there, 0] = OTHER_HUE.get(colour, BLUE_HUE)
    return np.where(there[..., None], cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), image)


def whole(view: Sequence[Seen]) -> list[Seen]:
    """Without what is only a part of another thing: its edge may look like another shape."""
    kept = []
    for seen in view:
        part = False
        for other in view:
            smaller = PART_SHARE * seen.cells.sum() <= other.cells.sum()
            touches = (with_edges(seen.cells) & other.cells).any()
            if smaller and touches and like(seen.thing, other.thing):
                part = True
        if not part:
            kept.append(seen)
    return kept


def fused(seen: Seen) -> bool:
    """Does it cover more of the image than one thing can? Then two that look alike stand there."""
    return bool(seen.cells.sum() > max(ALONE_CELLS, ALONE_CELLS_M / seen.thing.distance))


def like(thing: Sighting, other: Sighting) -> bool:
    """Has it the other's colour or the other's shape, and not both?"""
    return (thing.colour == other.colour) != (thing.shape == other.shape)


def gap(one: Sighting, other: Sighting) -> float:
    """Between two places, m."""
    return math.dist((one.ahead, one.left), (other.ahead, other.left))


def placed(thing: Sighting, measured: Mapping[str, float]) -> tuple[float, float]:
    """Where it stands by odometry (POSE, m and rad), m."""
    x, y, yaw = POSE_OF(measured)
    return (
        x + thing.ahead * math.cos(yaw) - thing.left * math.sin(yaw),
        y + thing.ahead * math.sin(yaw) + thing.left * math.cos(yaw),
    )


class OneOfAlike:
    """A thing of which there are several, known by where it stands."""

    def __init__(self, thing: Sighting, measured: Mapping[str, float]) -> None:
        self._name = thing.name
        self._place = placed(thing, measured)  # by odometry, m

    def shown(self, image: Image, view: Sequence[Seen], measured: Mapping[str, float]) -> Image:
        """The image with all that look like it in another colour, but itself."""
        alike = []
        kept = None
        nearest = MOVED_M
        for seen in view:
            if seen.thing.name != self._name:
                continue
            alike.append(seen)
            apart = math.dist(placed(seen.thing, measured), self._place)
            if apart < nearest:
                nearest = apart
                kept = seen
        if kept is not None:
            self._place = placed(kept.thing, measured)  # it may have been pushed a little
        hidden = len(alike) - (kept is not None)
        if not hidden:
            return image
        # where its own is out of view, the model must not take another one for it
        mine = np.zeros_like(alike[0].cells) if kept is None else kept.cells
        others = other_cells([seen.cells for seen in alike], mine)
        return recolour(image, others, self._name.split()[0])


@dataclass
class _Place:
    """Where a thing stands by odometry, m, and how many images showed it, and it `fused`."""

    name: str
    x: float
    y: float
    images: int = 1
    fused: int = 0


class Sightings:
    """The things seen since a step began, kept where they stand by odometry.

    A thing counts from SURE_IMAGES images on.
    """

    def __init__(self) -> None:
        self._places: list[_Place] = []

    def note(self, view: Sequence[Seen], measured: Mapping[str, float]) -> None:
        """What an image showed, and odometry (POSE, m and rad) at that image."""
        before = list(self._places)
        for seen in view:
            # of what the image's sides cut off, too little is seen to be sure of its shape
            if seen.cells[:, [0, -1]].any():
                continue
            now = _Place(seen.thing.name, *placed(seen.thing, measured), fused=fused(seen))
            same = [place for place in before if place.name == now.name]
            known = min(same, key=lambda place: _way(place, now), default=None)
            if known is None or _way(known, now) > MOVED_M:
                self._places.append(now)
                continue
            before.remove(known)  # of two alike the other one is not taken for it, too
            known.x = now.x
            known.y = now.y
            known.images += 1
            known.fused += now.fused

    def is_fused(self, thing: Sighting, measured: Mapping[str, float]) -> bool:
        """Did half of the images or more show that thing as two in one?"""
        here = placed(thing, measured)
        same = [place for place in self._places if place.name == thing.name]
        place = min(same, key=lambda place: math.dist(here, (place.x, place.y)))
        return 2 * place.fused >= place.images

    def things(self, measured: Mapping[str, float]) -> list[Sighting]:
        """Those that count, as they stand from odometry's pose now."""
        x, y, yaw = POSE_OF(measured)
        kept: list[Sighting] = []
        # What was taken for another thing in a few images stands in that one's place.
        for place in sorted(self._places, key=attrgetter("images"), reverse=True):
            dx = place.x - x
            dy = place.y - y
            ahead = dx * math.cos(yaw) + dy * math.sin(yaw)
            left = dy * math.cos(yaw) - dx * math.sin(yaw)
            colour, shape = place.name.split()
            thing = Sighting(colour, shape, ahead, left)
            apart = min((gap(thing, other) for other in kept), default=math.inf)
            if place.images >= SURE_IMAGES and apart > SAME_PLACE_M:
                kept.append(thing)
        return kept


def _way(place: _Place, other: _Place) -> float:
    return math.dist((place.x, place.y), (other.x, other.y))
