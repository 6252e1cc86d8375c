"""Labels of an image for several instructions: words, the expert's actions, where to look."""

from __future__ import annotations

import math
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.models.language.lexicon import CART, LENGTH, encode
from vla_ros.policies.progress import FEATURE_LIMIT, SCALES
from vla_ros.policies.steps import canonical
from vla_ros.sim.expert import AMOUNT, CARRY_M, ID, Situation, at_fingers, decide, finished, rollout
from vla_ros.sim.projection import HALF_WIDTH, in_view, project
from vla_ros.tasks.objects import COLOURS, SHAPES
from vla_ros.tasks.phrases import KINDS, OBJECT_KINDS, UNSEEN_PAIRS, intent_of
from vla_ros.training.image_dataset import Frames

STATE = tuple(SCALES)
UNCLEAR = len(KINDS)  # the task of words that are no instruction
KIND_SHARES = {
    "go_to": 0.17,
    "face": 0.16,
    "grab": 0.23,
    "push": 0.17,
    "turn_left": 0.05,
    "turn_right": 0.05,
    "turn_around": 0.05,
    "forward": 0.04,
    "back": 0.04,
    "open": 0.02,
    "close": 0.02,
    "stop": 0.03,
}
_KIND_STEPS = np.cumsum(list(KIND_SHARES.values())) / sum(KIND_SHARES.values())
# colour and shape by their indices
UNSEEN_INDICES = {(COLOURS.index(colour), SHAPES.index(shape)) for colour, shape in UNSEEN_PAIRS}
_PAIRS = sorted(set(product(range(len(COLOURS)), range(len(SHAPES)))) - UNSEEN_INDICES)
# What nonsense is made of. Without shapes: no pair may look like it that training never names.
_LOOSE_WORDS = [word for word in CART.words[1:] if word not in SHAPES]
NO_COLOUR = len(COLOURS)
NO_SHAPE = len(SHAPES)
HALF_OBJECT_M = 0.036  # of an object
# m ahead and left of the robot, far behind it: where a target is that is not there
NOWHERE = (-9.0, 0.0)
IGNORED = -100  # the class that cross entropy leaves out


class Batch(NamedTuple):
    """B images with M instructions each, as tensors; the order is image by image.

    Of an image N cells are labelled, T rows of an action, S numbers of state.
    """

    pixels: Tensor  # B x 3 x H x W, 0 … 1
    ids: Tensor  # BM x L
    mask: Tensor  # BM x L
    state: Tensor  # BM x S
    actions: Tensor  # BM x T x 3
    done: Tensor  # BM
    where: Tensor  # BM x (N + 1), how likely each cell, or nowhere, is the target's
    target: Tensor  # BM x 2, m
    seen: Tensor  # BM, whether the target is in the image
    contact: Tensor  # BM, whether it is between the fingers
    words: Tensor  # BM x 3: task, colour, shape
    cells: Tensor  # B x N x 2: colour, shape
    unasked: Tensor  # B x N, whether an object is there that training never asks for


def choose(
    rng: np.random.Generator, objects: NDArray[np.float32], seen: NDArray[np.bool_]
) -> tuple[int, int, int, int]:
    """An instruction that training may give here.

    Args:
        objects: rows of `image_dataset.table`.
        seen: which of them are in view.

    Returns:
        Kind, colour and shape by index (-1: any), and the target's row (-1: none there).
    """
    kind = int(np.searchsorted(_KIND_STEPS, rng.random()))
    if kind >= len(OBJECT_KINDS):
        return kind, -1, -1, -1
    # Those in view and near ones more often: near is where it is decided whether a grip holds.
    distance = np.hypot(objects[:, 2], objects[:, 3])
    steps = np.cumsum(np.nan_to_num((0.25 + seen) / (0.3 + distance)))
    for _ in range(20):
        drawn = objects[np.searchsorted(steps, rng.random() * steps[-1])]
        colour = int(drawn[0])
        shape = int(drawn[1])
        chance = rng.random()
        # something that is not there, perhaps: another shape of a colour that is, or anything
        if chance < 0.06:
            shape = int(rng.integers(len(SHAPES)))
        elif chance < 0.12:
            colour = int(rng.integers(len(COLOURS)))
            shape = int(rng.integers(len(SHAPES)))
        if (colour, shape) in UNSEEN_INDICES:
            continue
        # "the green object", but where that may mean one of a pair that training never asks for
        if rng.random() < 0.12 and not _unseen_of(objects, colour):
            shape = -1
        return kind, colour, shape, find(objects, seen, colour, shape)
    return ID["stop"], -1, -1, -1


def _unseen_of(objects: NDArray[np.float32], colour: int) -> bool:
    """Is one of this colour of a pair that training never asks for?"""
    shapes = objects[objects[:, 0] == colour, 1]
    return not UNSEEN_INDICES.isdisjoint((colour, int(shape)) for shape in shapes)


def find(objects: NDArray[np.float32], seen: NDArray[np.bool_], colour: int, shape: int) -> int:
    """The row of the object that is meant, -1 where there is none.

    Of several it is the nearest in view, else the nearest.
    """
    rows = np.flatnonzero((objects[:, 0] == colour) & ((objects[:, 1] == shape) | (shape < 0)))
    if not len(rows):
        return -1
    if len(rows) == 1:
        return int(rows[0])
    return int(rows[np.argmin(np.hypot(objects[rows, 2], objects[rows, 3]) + 10.0 * ~seen[rows])])


@cache
def sentence(kind: int, colour: int, shape: int) -> str:
    """What the policy tells the model of it: kind, colour and shape by index, -1 for any."""
    colour_word = COLOURS[colour] if colour >= 0 else None
    shape_word = SHAPES[shape] if shape >= 0 else None
    return canonical(intent_of(KINDS[kind], colour_word, shape_word))


def nonsense(rng: np.random.Generator) -> str:
    """Words that say nothing.

    An object without a verb, a verb without an object or with two, an object without a colour, any
    words.
    """
    colour, shape = _PAIRS[rng.integers(len(_PAIRS))]
    text = sentence(int(rng.integers(len(OBJECT_KINDS))), colour, shape)
    way = rng.integers(5)
    if way == 0:  # no verb
        return f"the {COLOURS[colour]} {SHAPES[shape]}"
    if way == 1:
        return _without(text, set(COLOURS))
    if way == 2:  # two objects
        shuffled = rng.permutation(len(_PAIRS))
        others = [_PAIRS[index] for index in shuffled if _PAIRS[index][0] != colour]
        other_colour, other_shape = others[0]
        return f"{text} the {COLOURS[other_colour]} {SHAPES[other_shape]}"
    if way == 3:
        return _without(text, {"the", *COLOURS, *SHAPES})
    count = int(rng.integers(3, 8))
    return " ".join(_LOOSE_WORDS[index] for index in rng.integers(len(_LOOSE_WORDS), size=count))


def _without(text: str, words: set[str]) -> str:
    return " ".join(word for word in text.split() if word not in words)


def imagined(
    rng: np.random.Generator, kind: NDArray[np.int64], contact: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """How far the robot might have come since each instruction.

    Returns:
        n x 4: turned (rad), travelled (m), carried (m), and the side where the target was last.
    """
    count = len(kind)
    progress = np.zeros((count, 4), np.float32)
    amount = AMOUNT[kind]  # rad or m; 0 where the kind has none
    counted = amount != 0.0
    turns = counted & (np.abs(amount) > 1.0)  # no drive is of more than 1 m, no turn of less
    drives = counted & ~turns
    late = rng.random(count) < 0.7  # the others were given just now
    progress[:, 0] = np.where(late, rng.normal(0, 1.5, count), 0.0)
    progress[:, 1] = np.where(late, rng.normal(0.3, 0.6, count), 0.0)
    # of what was asked for: also a little the wrong way, and too far
    share = rng.uniform(-0.1, 1.15, count) * late
    progress[turns, 0] = (share * amount)[turns]
    progress[turns, 1] = rng.normal(0, 0.02, turns.sum())
    progress[drives, 1] = (share * amount)[drives]
    progress[drives, 0] = rng.normal(0, 0.05, drives.sum())
    carried = np.where(rng.random(count) < 0.3, rng.uniform(0, 1.5 * CARRY_M, count), 0.0)
    # with something between the fingers it is carried more often than not
    carries = contact & (rng.random(count) < 0.8)
    progress[:, 2] = np.where(carries, rng.uniform(0, 1.5 * CARRY_M, count), carried)
    progress[:, 3] = np.where(rng.random(count) < 0.7, 1.0, -1.0)
    return progress


def label(
    rng: np.random.Generator,
    frames: Frames,
    rows: NDArray[np.int64],
    many: int,
    grid: tuple[int, int],
    steps: int,
    step: float,
    pixels: NDArray[np.uint8],
) -> tuple[Batch, list[str]]:
    """A batch of the images `rows` with `many` instructions each.

    Args:
        frames: of which `rows` are labelled.
        many: instructions of an image.
        grid: rows and columns of the cells.
        steps: rows of an action's chunk, `step` s apart.
        pixels: the images, as they shall be seen; B x H x W x 3.

    Returns:
        The batch, and the instructions' words.
    """
    shown, intents, before, pixels = _flipped(rng, frames, rows, pixels)
    asked, texts = _instructions(rng, shown, intents, many)
    now = _situation(rng, asked, shown, frames.gripper[rows], intents, before)
    chunk = rollout(now, steps, step)  # BM x T x 3
    chunk[..., 2] = chunk[..., 2] > 0.5  # the gripper is open or shut, nothing between
    target = np.column_stack([now.ahead, now.left])
    seen = in_view(now.ahead, now.left)
    words = np.where(asked[:, :3] < 0, [UNCLEAR, NO_COLOUR, NO_SHAPE], asked[:, :3])
    ids, mask = padded(texts)
    stands, unasked = cells(shown, grid)
    return Batch(
        torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255,
        ids,
        mask,
        torch.from_numpy(_state(now)),
        _floats(chunk),
        _floats(finished(now, decide(now))),
        torch.from_numpy(where(target, seen, grid)),
        _floats(target),
        torch.from_numpy(seen),
        _floats(at_fingers(now.ahead, now.left) & seen),
        torch.from_numpy(words),
        torch.from_numpy(stands),
        torch.from_numpy(unasked),
    ), texts


def _floats(values: NDArray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _instructions(
    rng: np.random.Generator, shown: NDArray[np.float32], intents: NDArray[np.int8], many: int
) -> tuple[NDArray[np.int64], list[str]]:
    """BM x 4, kind, colour, shape and target's row, as `choose` gives them; and their words.

    An image's first instruction is the one that the robot followed there, if there was one.
    """
    asked = []
    texts = []
    for row, seen in enumerate(in_view(shown[..., 2], shown[..., 3])):
        for index in range(many):
            kind, colour, shape = intents[row].tolist()
            if index or kind < 0:
                kind, colour, shape, target = choose(rng, shown[row], seen)
            else:
                target = find(shown[row], seen, colour, shape) if colour >= 0 else -1
            asked.append((kind, colour, shape, target))
            texts.append(sentence(kind, colour, shape))
    return np.array(asked), texts


def _situation(
    rng: np.random.Generator,
    asked: NDArray[np.int64],
    shown: NDArray[np.float32],
    gripper: NDArray[np.float32],
    intents: NDArray[np.int8],
    before: NDArray[np.float32],
) -> Situation:
    """The moment as each instruction has it: BM.

    How far the robot came is imagined, but where it followed an instruction.
    """
    kinds = asked[:, 0]
    targets = asked[:, 3]
    many = len(asked) // len(shown)
    rows = np.arange(len(asked))
    present = targets >= 0
    others = np.repeat(shown[..., 2:], many, 0).astype(float)  # BM x 6 x 2, m
    target = np.where(present[:, None], others[rows, targets], NOWHERE)
    others[rows[present], targets[present]] = np.nan  # the target is none of the others
    progress = imagined(rng, kinds, at_fingers(target[:, 0], target[:, 1]))
    followed = intents[:, 0] >= 0
    progress[::many][followed] = before[followed]
    opening, command = np.repeat(gripper, many, 0).astype(float).T
    return Situation(
        kinds, target[:, 0], target[:, 1], others, opening, command, *progress.astype(float).T
    )


def _state(now: Situation) -> NDArray[np.float32]:
    """What the model is told, each over its scale, in the order of STATE: BM x S."""
    values = [now.opening, now.command, now.turned, now.travelled, now.carried, now.side]
    scales = np.array(list(SCALES.values()), np.float32)
    scaled = np.column_stack(values).astype(np.float32) / scales
    return np.clip(scaled, -FEATURE_LIMIT, FEATURE_LIMIT)


def _flipped(
    rng: np.random.Generator, frames: Frames, rows: NDArray[np.int64], pixels: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.float32], NDArray[np.uint8]]:
    """Objects, intents, progress and pixels, half of them as in a mirror."""
    # who turns around turns left, so a mirror would show what the expert does not do
    mirrored = (rng.random(len(rows)) < 0.5) & (frames.intent[rows, 0] != ID["turn_around"])
    return mirror(
        mirrored, frames.objects[rows], frames.intent[rows], frames.progress[rows], pixels
    )


def mirror(
    mirrored: NDArray[np.bool_],
    objects: NDArray[np.float32],
    intents: NDArray[np.int8],
    progress: NDArray[np.float32],
    pixels: NDArray[np.uint8],
) -> tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.float32], NDArray[np.uint8]]:
    """All of them anew, those `mirrored` as in a mirror: left becomes right.

    So do the instructions that were followed and the side where the target was last.
    """
    objects = objects.copy()
    intents = intents.copy()
    progress = progress.copy()
    objects[mirrored, :, 3] *= -1
    progress[mirrored, 0] *= -1
    progress[mirrored, 3] *= -1
    left = intents[:, 0] == ID["turn_left"]
    right = intents[:, 0] == ID["turn_right"]
    intents[mirrored & left, 0] = ID["turn_right"]
    intents[mirrored & right, 0] = ID["turn_left"]
    pixels = np.where(mirrored[:, None, None, None], pixels[:, :, ::-1], pixels)
    return objects, intents, progress, pixels


def padded(texts: list[str]) -> tuple[Tensor, Tensor]:
    """Word ids of the texts, filled up to the longest, and which of them are words."""
    rows = list(map(encode, texts))
    longest = min(max(map(len, rows)), LENGTH)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
    return ids, ids > 0


def where(
    target: NDArray[np.float64], seen: NDArray[np.bool_], grid: tuple[int, int]
) -> NDArray[np.float32]:
    """Shares of the four cells around each target's middle, whose mean place is exactly there.

    Args:
        target: n x 2, m.
        seen: n, whether it is in the image.
        grid: rows and columns of the cells.

    Returns:
        n x (cells + 1); the last is nowhere.
    """
    rows, columns = grid
    column, row, _ = project(target[:, 0], target[:, 1])
    # in cells, from the first one's middle
    u = np.clip((column + 1) / 2 * columns - 0.5, 0, columns - 1)
    v = np.clip((row + 1) / 2 * rows - 0.5, 0, rows - 1)
    shares = np.zeros((len(target), rows * columns + 1), np.float32)
    targets = np.arange(len(target))
    left = np.floor(u).astype(int)
    top = np.floor(v).astype(int)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = np.abs(1 - dx - (u - left)) * np.abs(1 - dy - (v - top))
            cell = np.minimum(top + dy, rows - 1) * columns + np.minimum(left + dx, columns - 1)
            np.add.at(shares, (targets, cell), weight)  # at the edge two of the four are one cell
    shares[~seen] = 0.0
    shares[~seen, -1] = 1.0
    return shares


def cells(
    objects: NDArray[np.float32], grid: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """What stands in each cell, by the nearest object there.

    Args:
        objects: B x 6 x 4, as in `Frames`.
        grid: rows and columns of the cells.

    Returns:
        Colour and shape, B x N x 2, IGNORED where an object only grazes the cell; and whether one
        of a pair that training never asks for is there or grazes it, B x N.
    """
    rows, columns = grid
    unasked = np.zeros((len(objects), rows, columns), bool)
    classes = np.tile(np.array([NO_COLOUR, NO_SHAPE]), (len(objects), rows, columns, 1))
    column, row, depth = project(objects[..., 2].astype(float), objects[..., 3].astype(float))
    # in cells, from the first one's middle
    u = (column + 1) / 2 * columns - 0.5
    v = (row + 1) / 2 * rows - 0.5
    # half of an object's width, in cells
    size = HALF_OBJECT_M / (np.maximum(depth, 0.1) * HALF_WIDTH) / 2 * columns
    # ahead of the camera; 1.2: one whose middle is out of the image may still reach into it
    in_image = (depth > 0.1) & (np.abs(column) < 1.2) & (np.abs(row) < 1.2)
    images, indices = np.nonzero(in_image)
    # the nearest last: it is in front of the others
    for place in np.argsort(-depth[images, indices], kind="stable"):
        image = images[place]
        index = indices[place]
        half = size[image, index]
        across = u[image, index]
        down = v[image, index]
        around = image, _span(down, half + 0.7), _span(across, half + 0.7)
        classes[around] = IGNORED
        unasked[around] = tuple(objects[image, index, :2]) in UNSEEN_INDICES
        half = max(half, 0.5)  # a far one still has the cell that it is in
        classes[image, _span(down, half), _span(across, half)] = objects[image, index, :2]
    cells_of_image = rows * columns
    return (
        classes.reshape(len(objects), cells_of_image, 2),
        unasked.reshape(len(objects), cells_of_image),
    )


def _span(middle: float, reach: float) -> slice:
    """The cells whose middles lie within `reach` of a place, both in cells."""
    return slice(max(math.ceil(middle - reach), 0), max(math.floor(middle + reach) + 1, 0))
