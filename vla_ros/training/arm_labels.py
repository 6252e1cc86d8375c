"""Batches of the arm's frames as tensors, and the texts that mean what was said."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.models.language.lexicon import LENGTH, TABLE
from vla_ros.models.table import (
    NO_COLOUR,
    NO_SHAPE,
    OBJECT_TASKS,
    SCENE_ROWS,
    SCENE_SIZE,
    STRIDE,
    TASKS,
    UNCLEAR,
    WRIST_SIZE,
    said_of,
)
from vla_ros.sim.arm.world import CAMERAS
from vla_ros.tasks.arm.intent import PLACES, PUT_KINDS, ArmIntent, Named
from vla_ros.tasks.arm.phrases import TABLE_SLOTS, UNSEEN_TABLE_PAIRS, say_arm
from vla_ros.tasks.arm.table import GRASPABLE, SHAPES
from vla_ros.tasks.objects import COLOURS
from vla_ros.tasks.phrases import SLOTS
from vla_ros.training.arm_frames import NOBODY, ArmFrames

Array = NDArray[np.float64]
TEXTS_LOOKED_AT = 4_000  # for the words that training uses
# Camera -> the first row and the size of what its eye looks at, pixels.
CROPS = {
    "scene": (SCENE_ROWS[0], (SCENE_ROWS[1] - SCENE_ROWS[0], SCENE_SIZE[1])),
    "wrist": (0, WRIST_SIZE),
}


class ArmBatch(NamedTuple):
    """B images with M instructions each, image by image; N cells, T rows. NaN: does not count."""

    scene: Tensor  # B x 3 x 96 x 96, 0 … 1
    wrist: Tensor  # B x 3 x 64 x 64
    state: Tensor  # BM x 9
    said: Tensor  # BM x 5
    rows: Tensor  # BM x T x 7: angles from where they are (rad), gripper
    scene_thing: Tensor  # BM x (N + 1): how likely each cell, or nowhere, is the thing's
    scene_goal: Tensor
    wrist_thing: Tensor
    wrist_place: Tensor
    scene_cells: Tensor  # B x 11 x N: how likely each colour, and each shape, has its middle there
    wrist_cells: Tensor
    offsets: Tensor  # BM x 6
    turn: Tensor  # BM x 2
    gripped: Tensor  # BM
    joints: Tensor  # BM x 6, rad
    ids: Tensor  # texts x L, as `texts` gives them
    mask: Tensor
    meant: Tensor  # texts x 5


def corners(camera: str, places: NDArray[np.float32]) -> tuple[NDArray[np.int64], Array]:
    """The four cells around each place (… x 2, pixels), and how much of it is each one's.

    Returns:
        … x 4 numbers of cells, and … x 4 shares, 0 where the place is not in the image.
    """
    first, (height, width) = CROPS[camera]
    grid = (height // STRIDE, width // STRIDE)
    across = np.clip(places[..., 0] / STRIDE - 0.5, 0, grid[1] - 1)
    down = np.clip((places[..., 1] - first) / STRIDE - 0.5, 0, grid[0] - 1)
    missing = np.isnan(across) | (places[..., 1] < first) | (places[..., 1] >= first + height)
    across = np.where(missing, 0.0, across)
    down = np.where(missing, 0.0, down)
    left = np.minimum(across.astype(int), grid[1] - 2)
    top = np.minimum(down.astype(int), grid[0] - 2)
    right_share = across - left
    lower_share = down - top
    cells = []
    shares = []
    for lower in (0, 1):
        for right in (0, 1):
            cells.append((top + lower) * grid[1] + left + right)
            vertical = lower_share if lower else 1.0 - lower_share
            horizontal = right_share if right else 1.0 - right_share
            shares.append(np.where(missing, 0.0, vertical * horizontal))
    return np.stack(cells, -1), np.stack(shares, -1)


def count_of(camera: str) -> int:
    """How many cells the camera's eye has."""
    _, (height, width) = CROPS[camera]
    return (height // STRIDE) * (width // STRIDE)


def where(camera: str, places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Places n x 2 (pixels; NaN: not seen) -> n x (N + 1)."""
    cells, shares = corners(camera, places)
    likely = np.zeros((len(places), count_of(camera) + 1), np.float32)
    np.add.at(likely, (np.arange(len(places))[:, None], cells), shares)
    likely[:, -1] = shares.sum(-1) == 0.0
    return likely


def stands(
    camera: str, places: NDArray[np.float32], things: NDArray[np.int8]
) -> NDArray[np.float32]:
    """Which colour and shape has its middle in which cell.

    Args:
        camera: Whose image.
        places: B x 6 x 2, pixels.
        things: B x 6 x 2, colour and shape.

    Returns:
        B x N x 11: of 6 colours and none, of 3 shapes and none.
    """
    cells, shares = corners(camera, places)  # B x 6 x 4
    likely = np.zeros((len(places), count_of(camera), NO_COLOUR + NO_SHAPE + 2), np.float32)
    image = np.arange(len(places))[:, None, None]
    colour = np.maximum(things[..., :1], 0).astype(int)
    shape = np.maximum(things[..., 1:], 0).astype(int) + NO_COLOUR + 1
    for column in (colour, shape):
        np.add.at(likely, (image, cells, np.broadcast_to(column, cells.shape)), shares)
    for first, last in ((0, NO_COLOUR), (NO_COLOUR + 1, NO_COLOUR + 1 + NO_SHAPE)):
        total = likely[..., first:last].sum(-1)
        crowded = np.maximum(total, 1.0)[..., None]  # two things in a cell
        likely[..., first:last] /= crowded
        likely[..., last] = np.maximum(0.0, 1.0 - total)
    return likely


def batch_of(
    frames: ArmFrames,
    rows: NDArray[np.int64],
    images: dict[str, NDArray[np.uint8]],
    texts: tuple[Tensor, Tensor, Tensor],
) -> ArmBatch:
    """The frames of these rows as tensors, with `images` of theirs."""
    said = frames.said[rows].astype(int)
    many = said.shape[1]
    seen = frames.seen[rows]
    things = frames.things[rows]
    roles = frames.roles[rows].astype(int)
    gazes = {}
    for number, camera in enumerate(CAMERAS):
        for column, role in enumerate(("thing", "place")):
            row = roles[:, :, column]
            places = np.take_along_axis(seen[:, number], np.maximum(row, 0)[..., None], 1)
            places = np.where(row[..., None] == NOBODY, np.nan, places)
            gazes[f"{camera}_{role}"] = _tensor(where(camera, places.reshape(-1, 2)))
    state = np.repeat(frames.state[rows], many, 0)
    return ArmBatch(
        _pixels(images["scene"]),
        _pixels(images["wrist"]),
        _tensor(state),
        torch.from_numpy(said.reshape(-1, 5)),
        _tensor(frames.rows[rows].reshape(-1, *frames.rows.shape[2:])),
        gazes["scene_thing"],
        _tensor(where("scene", frames.goal[rows].reshape(-1, 2))),
        gazes["wrist_thing"],
        gazes["wrist_place"],
        _tensor(stands("scene", seen[:, 0], things).swapaxes(1, 2)),
        _tensor(stands("wrist", seen[:, 1], things).swapaxes(1, 2)),
        _tensor(frames.offsets[rows].reshape(-1, 6)),
        _tensor(frames.turn[rows].reshape(-1, 2)),
        _tensor(frames.gripped[rows].reshape(-1)),
        _tensor(state[:, :6]),
        texts[0],
        texts[1],
        texts[2],
    )


def _tensor(values: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def _pixels(images: NDArray[np.uint8]) -> Tensor:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255.0
    return pixels.contiguous(memory_format=torch.channels_last)


# -- words -----------------------------------------------------------------------------
def texts(rng: np.random.Generator, count: int, unclear: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids and mask (L wide) of `count` instructions and `unclear` texts that are none; meanings."""
    said = []
    meanings = []
    for _ in range(count):
        intent = _any_intent(rng)
        said.append(say_arm(rng, intent))
        meanings.append(said_of(intent))
    for _ in range(unclear):
        said.append(nonsense(rng))
        meanings.append((UNCLEAR, -1, -1, -1, -1))
    ids = np.zeros((len(said), LENGTH), np.int64)
    for row, text in enumerate(said):
        numbers = TABLE.encode(text)
        ids[row, : len(numbers)] = numbers
    tensor = torch.from_numpy(ids)
    return tensor, tensor > 0, torch.tensor(meanings)


def _any_intent(rng: np.random.Generator) -> ArmIntent:
    kind = TASKS[int(rng.choice(len(TASKS), p=_TEXT_SHARES))]
    if kind not in TASKS[:OBJECT_TASKS]:
        return ArmIntent(kind)
    thing = _any_thing(rng, SHAPES if kind == "reach" else GRASPABLE)
    if kind not in PUT_KINDS:
        return ArmIntent(kind, thing)
    wanted = PLACES.get(kind)
    while True:
        place = _any_thing(rng, (wanted,) if wanted else SHAPES)
        if place != thing:
            return ArmIntent(kind, thing, place)


# Those about things more often.
_TEXT_WEIGHTS = np.array([1.0 if task in TASKS[:OBJECT_TASKS] else 0.4 for task in TASKS])
_TEXT_SHARES = _TEXT_WEIGHTS / _TEXT_WEIGHTS.sum()


def _any_thing(rng: np.random.Generator, shapes: tuple[str, ...]) -> Named:
    """Of all pairs but those that training never names."""
    while True:
        colour = COLOURS[rng.integers(len(COLOURS))]
        shape = shapes[rng.integers(len(shapes))]
        if (colour, shape) not in UNSEEN_TABLE_PAIRS:
            return Named(colour, None if rng.random() < 0.08 else shape)


def _trained_words(slots: Sequence[str]) -> frozenset[str]:
    words: list[str] = []
    for slot in slots:
        trained, _ = TABLE_SLOTS.get(slot) or SLOTS[slot]
        words += trained.split()
    return frozenset(words)


_COLOUR_WORDS = _trained_words(COLOURS)
_THING_WORDS = _COLOUR_WORDS | _trained_words((*SHAPES, "object")) | {"the"}


def nonsense(rng: np.random.Generator) -> str:
    """Words that say nothing that is learned.

    A thing without a verb, a verb without a thing or without a colour, two things, words in any
    order, and a push. All are words of training: what is new must not look like nonsense.
    """
    way = rng.integers(6)
    thing = _any_thing(rng, GRASPABLE)
    if way == 0:
        return f"the {thing.colour} {thing.shape or 'object'}"
    if way == 1:
        return say_arm(rng, ArmIntent("push", thing))
    text = say_arm(rng, _any_object_intent(rng))
    if way == 2:
        return _without(text, _THING_WORDS)
    if way == 3:
        return _without(text, _COLOUR_WORDS)
    if way == 4:
        other = _any_thing(rng, GRASPABLE)
        return f"{text} and the {other.colour} {other.shape or 'object'}"
    words = np.array(_every_trained_word())
    return " ".join(words[rng.integers(len(words), size=rng.integers(2, 7))])


@cache
def _every_trained_word() -> tuple[str, ...]:
    """Of the phrases of training, sorted: a set's order differs from run to run."""
    rng = np.random.default_rng(0)
    words: set[str] = set()
    for _ in range(TEXTS_LOOKED_AT):
        words.update(say_arm(rng, _any_intent(rng)).split())
    return tuple(sorted(words))


def _any_object_intent(rng: np.random.Generator) -> ArmIntent:
    while True:
        intent = _any_intent(rng)
        if intent.thing is not None:
            return intent


def _without(text: str, words: frozenset[str]) -> str:
    kept = " ".join(word for word in text.split() if word not in words)
    return kept or "the"
