"""Is this camera's image like those that were recorded? How bright, which way up, which colours?

An image is compared as a coarse grid of its brightness, without the slope that a window makes, and
by how red or blue its pixels are. What tells a turned image from an upright one is asked of the
recorded images first: where they do not agree among themselves, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.check_finding import DOUBTFUL, FITS, UNKNOWN, WRONG, CheckFinding
from vla_ros.core.types import Image
from vla_ros.policies.training_data import RecordedImages

GRID = (24, 32)  # cells: a hand or a cup is several, and a pixel's noise is averaged away
SIDE = 120  # pixels that are looked at along the shorter side: five a cell
# The recorded images are so much more like each other as they are than turned, or nothing is said:
# a table seen from above may look the same from both sides.
TELLS = 0.2
LIKE = 0.5  # a correlation: what is less alike is another view
ALIKE = 0.2  # two turns that differ by less: a scene whose left is like its right shows no more
TURNED_MORE = 0.2  # so much more alike than as it is
VIEW_MARGIN = 0.2  # less alike than the least alike of the recorded ones, by so much
# Of 255. Between two days in one room the mean brightness differs by 10 to 15.
BRIGHTNESS_MARGIN = 20.0
CONTRAST_FACTOR = 2.0
COLOUR_BINS = 41  # odd: grey has one of its own
# How far a colour's share must lie from its mirror image to tell red from blue, -1 (blue) to 1.
LEAST_COLOUR = 0.02
DARK = 30  # the sum of a pixel's three values below which it has no colour
TURNED = "turned by 180 degrees"
TURNS: dict[str, Callable[[NDArray[np.floating]], NDArray[np.floating]]] = {
    TURNED: lambda grid: grid[::-1, ::-1],
    "mirrored left to right": lambda grid: grid[:, ::-1],
    "mirrored top to bottom": lambda grid: grid[::-1],
}


@dataclass(frozen=True)
class _Look:
    """What is kept of an image."""

    grid: NDArray[np.floating]  # GRID, mean 0, length 1; 0: it shows nothing
    colours: NDArray[np.floating]  # COLOUR_BINS: how many pixels are how red (last) or blue (first)
    brightness: float  # 0 to 255
    contrast: float  # standard deviation


def check_image(camera: str, live: Image, recorded: RecordedImages) -> list[CheckFinding]:
    """An image of now against those of training.

    Args:
        camera: its name.
        live: height x width x 3, rgb8, of the recorded images' size.
        recorded: of the same camera, from at least one episode.
    """
    subject = f"camera {camera} now"
    now = _look(live)
    then = [_look(image) for image in recorded.images]
    if now.contrast < 1.0:
        text = f"its image is one colour, of brightness {now.brightness:.0f}"
        return [CheckFinding(WRONG, subject, text, "is its lens covered, or its exposure wrong?")]
    return [
        _orientation(subject, now, then, recorded.episodes),
        _colours(subject, now, then),
        *_brightness(subject, now, then),
    ]


def _look(image: Image) -> _Look:
    stride = max(1, min(image.shape[:2]) // SIDE)
    image = image[::stride, ::stride]
    light = image @ np.array([0.299, 0.587, 0.114])
    return _Look(_grid(light), _colour_shares(image), float(light.mean()), float(light.std()))


def _grid(light: NDArray[np.floating]) -> NDArray[np.floating]:
    """Mean brightness of each cell, without its mean and slope, of length 1."""
    cells = light
    for axis, count in enumerate(GRID):
        edges = np.linspace(0, cells.shape[axis], count + 1).astype(int)
        # An image with fewer pixels than cells repeats some.
        starts = np.minimum(edges[:-1], cells.shape[axis] - 1)
        sizes = np.maximum(np.diff(edges), 1)
        shape = [1, 1]
        shape[axis] = count
        cells = np.add.reduceat(cells, starts, axis=axis) / sizes.reshape(shape)
    rows, columns = np.mgrid[-1 : 1 : GRID[0] * 1j, -1 : 1 : GRID[1] * 1j]
    # A window to the left would look like one to the right, mirrored.
    for slope in (np.ones(GRID), rows, columns):
        cells = cells - slope * ((cells * slope).sum() / (slope**2).sum())
    length = float(np.sqrt((cells**2).sum()))
    return cells / length if length > 1e-6 else np.zeros(GRID)


def _colour_shares(image: Image) -> NDArray[np.floating]:
    pixels = image.reshape(-1, 3).astype(np.float64)
    total = pixels.sum(1)
    coloured = pixels[total >= DARK]
    redness = (coloured[:, 0] - coloured[:, 2]) / coloured.sum(1)
    counts, _ = np.histogram(redness, COLOUR_BINS, (-1.0, 1.0))
    return counts / max(1, counts.sum())


# -- which way up ------------------------------------------------------------------------
def _orientation(
    subject: str, now: _Look, then: list[_Look], episodes: NDArray[np.int64]
) -> CheckFinding:
    """Which way up it is, and whether it shows what the recorded ones show."""
    grids = np.stack([look.grid.ravel() for look in then])
    upright = float((grids @ now.grid.ravel()).max())
    own = _among_themselves(then, episodes, lambda grid: grid)
    common = bool(np.median(own) >= LIKE)  # else what they tell apart is chance
    turned: dict[str, float] = {}  # of those that the recorded images tell from upright ones
    for name, turn in TURNS.items():
        apart = own - _among_themselves(then, episodes, turn)
        if common and np.median(apart) >= TELLS:
            turned[name] = float((grids @ turn(now.grid).ravel()).max())
    best = max(turned.values(), default=-1.0)
    alike = [name for name, value in turned.items() if value > best - ALIKE]
    least = float(own.min())
    compare = "look at a recorded image and at one of now"
    if best >= LIKE and best - upright >= TURNED_MORE:
        return CheckFinding(
            WRONG,
            subject,
            f"it is {' or '.join(alike)}: so it is like the recorded images by {best:.2f}, and as "
            f"it is by {upright:.2f}",
            "change that camera's rotate in the robot file by 180"
            if TURNED in alike
            else "see the driver's flip parameters, and that it is the right camera",
        )
    if upright < least - VIEW_MARGIN:
        return CheckFinding(
            DOUBTFUL,
            subject,
            f"it is like the recorded images by {upright:.2f}; they are like each other by "
            f"{least:.2f} to {float(own.max()):.2f}",
            "were the camera, the table or the light moved? is it the right camera?",
        )
    text = f"it is like the recorded images by {upright:.2f}"
    if TURNED not in turned:
        if common:
            text += ", which look much the same upside down"
        else:
            text += ", which have too little in common to show which way up they are"
        return CheckFinding(UNKNOWN, subject, text, compare)
    if best >= upright:
        text += f", and {' or '.join(alike)} by {best:.2f}"
        return CheckFinding(UNKNOWN, subject, text, compare)
    return CheckFinding(FITS, subject, text)


def _among_themselves(
    then: list[_Look],
    episodes: NDArray[np.int64],
    turn: Callable[[NDArray[np.floating]], NDArray[np.floating]],
) -> NDArray[np.floating]:
    """How like each recorded image, turned, is to the most alike of other episodes, K.

    Those of the same episode are nearly the same image; with one episode alone its others have to
    do.
    """
    grids = np.stack([look.grid.ravel() for look in then])
    turned = np.stack([turn(look.grid).ravel() for look in then])
    alike = turned @ grids.T
    if len(then) > 1:
        np.fill_diagonal(alike, -1.0)
    if len(set(episodes.tolist())) > 1:
        alike[episodes[:, None] == episodes[None]] = -1.0
    best: NDArray[np.floating] = alike.max(1)
    return best


# -- colours and light -------------------------------------------------------------------
def _colours(subject: str, now: _Look, then: list[_Look]) -> CheckFinding:
    """Red and blue: how far all pixels would have to be moved to be as the recorded ones are."""
    recorded = np.mean([look.colours for look in then], axis=0)
    subject = f"colours of {subject.removesuffix(' now')}"
    tells = _distance(recorded, recorded[::-1])
    spread = float(np.median([_distance(look.colours, recorded) for look in then]))
    as_it_is = _distance(now.colours, recorded)
    swapped = _distance(now.colours[::-1], recorded)
    if tells < max(LEAST_COLOUR, 3.0 * spread):
        return CheckFinding(
            UNKNOWN,
            subject,
            "the recorded images are as red as blue, so their order is not seen",
            "hold something red before it, and look at its image",
        )
    # A lamp's colour moves all pixels to one side; half of the way to the mirror image is no lamp.
    if as_it_is >= 2.0 * swapped and as_it_is - swapped >= 0.5 * tells:
        return CheckFinding(
            WRONG,
            subject,
            f"red and blue are exchanged: so its colours are off by {swapped:.3f}, and as they are "
            f"by {as_it_is:.3f}",
            "correct the driver's encoding (rgb8 or bgr8), or the dataset's conversion",
        )
    if swapped < 2.0 * as_it_is:
        text = (
            f"its colours are off by {as_it_is:.3f}, and with red and blue exchanged by "
            f"{swapped:.3f}"
        )
        remedy = "hold something red before it, and look at its image"
        return CheckFinding(UNKNOWN, subject, text, remedy)
    return CheckFinding(FITS, subject, f"red and blue are as recorded, off by {as_it_is:.3f}")


def _distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Between two distributions of colour, of the whole scale from -1 to 1: what is moved, times
    how far."""
    return float(np.abs(np.cumsum(a - b)).sum()) * 2.0 / COLOUR_BINS


def _brightness(subject: str, now: _Look, then: list[_Look]) -> Iterator[CheckFinding]:
    light = [look.brightness for look in then]
    contrast = [look.contrast for look in then]
    if not min(light) - BRIGHTNESS_MARGIN <= now.brightness <= max(light) + BRIGHTNESS_MARGIN:
        much = "darker" if now.brightness < min(light) else "brighter"
        yield CheckFinding(
            DOUBTFUL,
            subject,
            f"it is {much} than anything recorded: {now.brightness:.0f} of 255, and it was "
            f"{min(light):.0f} to {max(light):.0f}",
            "change the light, or the camera's exposure",
        )
    low = min(contrast) / CONTRAST_FACTOR
    high = max(contrast) * CONTRAST_FACTOR
    if not low <= now.contrast <= high:
        yield CheckFinding(
            DOUBTFUL,
            subject,
            f"its contrast is {now.contrast:.0f}, and it was {min(contrast):.0f} to "
            f"{max(contrast):.0f}",
            "see the camera's gain and focus, and that the lens is clean",
        )
