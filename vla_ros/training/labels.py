"""Every image is labelled for several instructions at once: the words, what the expert would do,
where to look."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.models.language.lexicon import LENGTH, encode
from vla_ros.policies.progress import FEATURE_LIMIT, SCALES
from vla_ros.sim.expert import AMOUNT, CARRY, ID, Situation, at_fingers, decide, finished, rollout
from vla_ros.sim.projection import HALF_WIDTH, in_view, project
from vla_ros.tasks.objects import COLOURS, SHAPES
from vla_ros.tasks.phrases import KINDS, OBJECT_KINDS, SLOTS, UNSEEN_PAIRS, intent_of, say
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
UNSEEN = {(COLOURS.index(colour), SHAPES.index(shape)) for colour, shape in UNSEEN_PAIRS}
PHRASES = 300  # ways to say one thing
_PAIRS = [pair for pair in product(range(len(COLOURS)), range(len(SHAPES))) if pair not in UNSEEN]
_COLOUR_WORDS = {word for colour in COLOURS for word in SLOTS[colour][0].split()}
_OBJECT_WORDS = (
    _COLOUR_WORDS | {word for shape in SHAPES for word in SLOTS[shape][0].split()} | {"the"}
)
NO_COLOUR = len(COLOURS)
NO_SHAPE = len(SHAPES)
HALF = 0.036  # m, half an object's width
# m ahead and left of the robot, far behind it: where a target is that is not there
AWAY = (-9.0, 0.0)
IGNORED = -100  # the class that cross entropy leaves out


class Batch(NamedTuple):
    """B images with M instructions each, as tensors; the order is image by image."""

    pixels: Tensor  # B x 3 x H x W, 0 … 1
    ids: Tensor  # BM x L
    mask: Tensor  # BM x L
    state: Tensor  # BM x S
    actions: Tensor  # BM x T x 3
    done: Tensor  # BM
    where: Tensor  # BM x (N + 1), how likely each cell, or nowhere, is the target's
    target: Tensor  # BM x 2 (m), and
    seen: Tensor  # BM, whether it is in the image
    contact: Tensor  # BM
    words: Tensor  # BM x 3: task, colour, shape
    cells: Tensor  # B x N x 2: colour, shape
    unasked: Tensor  # B x N, whether an object is there that training never asks for


def choose(
    rng: np.random.Generator, objects: NDArray[np.float32], seen: NDArray[np.bool_]
) -> tuple[int, int, int, int]:
    """An instruction that training may give here: kind, colour, shape (-1: any) and its target's
    row (-1: none there).

    `seen` says which of the objects are in view.
    """
    kind = int(np.searchsorted(_KIND_STEPS, rng.random()))
    if kind >= len(OBJECT_KINDS):
        return kind, -1, -1, -1
    # Those in view and near ones more often: near is where it is decided whether a grip holds.
    steps = np.cumsum(np.nan_to_num((0.25 + seen) / (0.3 + np.hypot(objects[:, 2], objects[:, 3]))))
    for _ in range(20):
        colour, shape = (
            int(value) for value in objects[np.searchsorted(steps, rng.random() * steps[-1]), :2]
        )
        chance = rng.random()
        # something that is not there, perhaps: another shape of a colour that is, or anything
        if chance < 0.06:
            shape = int(rng.integers(len(SHAPES)))
        elif chance < 0.12:
            colour = int(rng.integers(len(COLOURS)))
            shape = int(rng.integers(len(SHAPES)))
        if (colour, shape) in UNSEEN:
            continue
        if rng.random() < 0.12 and not any(
            (colour, one[1]) in UNSEEN for one in objects if one[0] == colour
        ):
            shape = -1
        return kind, colour, shape, find(objects, seen, colour, shape)
    return ID["stop"], -1, -1, -1


def find(objects: NDArray[np.float32], seen: NDArray[np.bool_], colour: int, shape: int) -> int:
    """The row of the object that is meant: of several the nearest in view, else the nearest. -1:
    there is none."""
    rows = np.flatnonzero((objects[:, 0] == colour) & ((objects[:, 1] == shape) | (shape < 0)))
    if not len(rows):
        return -1
    if len(rows) == 1:
        return int(rows[0])
    return int(rows[np.argmin(np.hypot(objects[rows, 2], objects[rows, 3]) + 10.0 * ~seen[rows])])


@cache
def phrases(kind: int, colour: int, shape: int) -> tuple[str, ...]:
    """Ways to say it, as training does."""
    rng = np.random.default_rng((kind, colour + 1, shape + 1))
    intent = intent_of(
        KINDS[kind], COLOURS[colour] if colour >= 0 else None, SHAPES[shape] if shape >= 0 else None
    )
    return tuple(say(rng, intent, "known") for _ in range(PHRASES))


def phrase(rng: np.random.Generator, kind: int, colour: int, shape: int) -> str:
    return phrases(kind, colour, shape)[rng.integers(PHRASES)]


def nonsense(rng: np.random.Generator) -> str:
    """Words that say nothing: an object without a verb, a verb without an object or with two, an
    object without a colour, any words. All are words of training in its pairs: what is new must not
    look like nonsense."""
    colour, shape = _PAIRS[rng.integers(len(_PAIRS))]
    text = phrase(rng, int(rng.integers(len(OBJECT_KINDS))), colour, shape)
    way = rng.integers(5)
    if way == 0:
        return f"the {COLOURS[colour]} {SHAPES[shape]}"
    if way == 1:
        return " ".join(word for word in text.split() if word not in _COLOUR_WORDS)
    if way == 2:
        other, another = next(
            pair
            for pair in (_PAIRS[index] for index in rng.permutation(len(_PAIRS)))
            if pair[0] != colour
        )
        return f"{text} and the {COLOURS[other]} {SHAPES[another]}"
    if way == 3:
        return " ".join(word for word in text.split() if word not in _OBJECT_WORDS)
    words = _trained_words()
    return " ".join(words[index] for index in rng.integers(len(words), size=rng.integers(3, 8)))


@cache
def _trained_words() -> tuple[str, ...]:
    """Every word of training's phrases of things that need no object, and of those that do."""
    things = len(OBJECT_KINDS)
    meant = [*product(range(things), _PAIRS), *product(range(things, len(KINDS)), [(-1, -1)])]
    texts = [text for kind, pair in meant for text in phrases(kind, *pair)]
    return tuple(sorted({word for text in texts for word in text.split()}))


def imagined(
    rng: np.random.Generator, kind: NDArray[np.int64], contact: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """How far the robot might have come since each instruction: turned, travelled, carried,
    side."""
    count = len(kind)
    progress = np.zeros((count, 4), np.float32)
    amount = AMOUNT[kind]
    counted = amount != 0.0
    turns = counted & (np.abs(amount) > 1.0)
    drives = counted & ~turns
    late = rng.random(count) < 0.7
    progress[:, 0] = np.where(late, rng.normal(0, 1.5, count), 0.0)
    progress[:, 1] = np.where(late, rng.normal(0.3, 0.6, count), 0.0)
    share = rng.uniform(-0.1, 1.15, count) * late
    progress[turns, 0] = (share * amount)[turns]
    progress[turns, 1] = rng.normal(0, 0.02, turns.sum())
    progress[drives, 1] = (share * amount)[drives]
    progress[drives, 0] = rng.normal(0, 0.05, drives.sum())
    carried = np.where(rng.random(count) < 0.3, rng.uniform(0, 1.5 * CARRY, count), 0.0)
    progress[:, 2] = np.where(
        contact & (rng.random(count) < 0.8), rng.uniform(0, 1.5 * CARRY, count), carried
    )
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
    """A batch of the images `rows` with `many` instructions each, and their words; `pixels` are the
    images, as they shall be seen."""
    shown, intents, before, pixels = _flipped(rng, frames, rows, pixels)
    told, texts = _told(rng, shown, intents, many)
    now = _situation(rng, told, shown, frames.gripper[rows], intents, before)
    chunk = rollout(now, steps, step)
    chunk[..., 2] = chunk[..., 2] > 0.5
    target = np.column_stack([now.ahead, now.left])
    seen = in_view(now.ahead, now.left)
    words = np.where(told[:, :3] < 0, [UNCLEAR, NO_COLOUR, NO_SHAPE], told[:, :3])
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


def _told(
    rng: np.random.Generator, shown: NDArray[np.float32], intents: NDArray[np.int8], many: int
) -> tuple[NDArray[np.int64], list[str]]:
    """BM x 4, kind, colour, shape and target's row, as `choose` gives them; and their words. An
    image's first instruction is the one that the robot followed there, if there was one."""
    told = []
    texts = []
    for row, seen in enumerate(in_view(shown[..., 2], shown[..., 3])):
        for index in range(many):
            kind, colour, shape = (int(value) for value in intents[row])
            if index or kind < 0:
                kind, colour, shape, target = choose(rng, shown[row], seen)
            else:
                target = find(shown[row], seen, colour, shape) if colour >= 0 else -1
            told.append((kind, colour, shape, target))
            texts.append(phrase(rng, kind, colour, shape))
    return np.array(told), texts


def _situation(
    rng: np.random.Generator,
    told: NDArray[np.int64],
    shown: NDArray[np.float32],
    gripper: NDArray[np.float32],
    intents: NDArray[np.int8],
    before: NDArray[np.float32],
) -> Situation:
    """The moment as each instruction has it: BM. How far the robot came is imagined, but where it
    followed one."""
    kinds = told[:, 0]
    targets = told[:, 3]
    many = len(told) // len(shown)
    each = np.arange(len(told))
    there = targets >= 0
    others = np.repeat(shown[..., 2:], many, 0).astype(float)
    target = np.where(there[:, None], others[each, targets], AWAY)
    others[each[there], targets[there]] = np.nan
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
    scaled = np.column_stack(values).astype(np.float32) / np.array(
        list(SCALES.values()), np.float32
    )
    return np.clip(scaled, -FEATURE_LIMIT, FEATURE_LIMIT)


def _flipped(
    rng: np.random.Generator, frames: Frames, rows: NDArray[np.int64], pixels: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.float32], NDArray[np.uint8]]:
    """Objects, intents, progress and pixels, half of them as in a mirror; but who turns around
    turns left."""
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
    """All of them anew, those `mirrored` as in a mirror: left becomes right, also in what was
    asked."""
    objects = objects.copy()
    intents = intents.copy()
    progress = progress.copy()
    objects[mirrored, :, 3] *= -1
    progress[mirrored, 0] *= -1
    progress[mirrored, 3] *= -1
    left, right = (intents[:, 0] == ID[name] for name in ("turn_left", "turn_right"))
    intents[mirrored & left, 0] = ID["turn_right"]
    intents[mirrored & right, 0] = ID["turn_left"]
    return (
        objects,
        intents,
        progress,
        np.where(mirrored[:, None, None, None], pixels[:, :, ::-1], pixels),
    )


def padded(texts: list[str]) -> tuple[Tensor, Tensor]:
    """Word ids of the texts, filled up to the longest, and which of them are words."""
    rows = [_encoded(text) for text in texts]
    longest = min(max(len(row) for row in rows), LENGTH)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
    return ids, ids > 0


@lru_cache(maxsize=100_000)
def _encoded(text: str) -> tuple[int, ...]:
    return tuple(encode(text))


def where(
    target: NDArray[np.float64], seen: NDArray[np.bool_], grid: tuple[int, int]
) -> NDArray[np.float32]:
    """Shares of the four cells around each target's middle, whose mean place is exactly there; the
    last is nowhere."""
    rows, columns = grid
    column, row, _ = project(target[:, 0], target[:, 1])
    u = np.clip((column + 1) / 2 * columns - 0.5, 0, columns - 1)
    v = np.clip((row + 1) / 2 * rows - 0.5, 0, rows - 1)
    shares = np.zeros((len(target), rows * columns + 1), np.float32)
    each = np.arange(len(target))
    left = np.floor(u).astype(int)
    top = np.floor(v).astype(int)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = np.abs(1 - dx - (u - left)) * np.abs(1 - dy - (v - top))
            cell = np.minimum(top + dy, rows - 1) * columns + np.minimum(left + dx, columns - 1)
            np.add.at(shares, (each, cell), weight)
    shares[~seen] = 0.0
    shares[~seen, -1] = 1.0
    return shares


def cells(
    objects: NDArray[np.float32], grid: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each image and cell the colour and shape of the (nearest) object there, B x N x 2,
    IGNORED where an object only grazes the cell; and whether it is, or grazes, one of a pair that
    training never asks for, B x N."""
    rows, columns = grid
    unasked = np.zeros((len(objects), rows, columns), bool)
    found = np.tile(np.array([NO_COLOUR, NO_SHAPE]), (len(objects), rows, columns, 1))
    column, row, depth = project(objects[..., 2].astype(float), objects[..., 3].astype(float))
    # in cells, from the first one's middle
    u = (column + 1) / 2 * columns - 0.5
    v = (row + 1) / 2 * rows - 0.5
    size = HALF / (np.maximum(depth, 0.1) * HALF_WIDTH) / 2 * columns
    there = (depth > 0.1) & (np.abs(column) < 1.2) & (np.abs(row) < 1.2)
    for image, index in sorted(zip(*np.nonzero(there)), key=lambda one: -depth[one]):
        half = size[image, index]
        across = u[image, index]
        down = v[image, index]
        around = image, _span(down, half + 0.7), _span(across, half + 0.7)
        found[around] = IGNORED
        unasked[around] = tuple(objects[image, index, :2]) in UNSEEN
        half = max(half, 0.5)
        found[image, _span(down, half), _span(across, half)] = objects[image, index, :2]
    return found.reshape(len(objects), rows * columns, 2), unasked.reshape(
        len(objects), rows * columns
    )


def _span(middle: float, reach: float) -> slice:
    """The cells whose middles lie within `reach` of a place, both in cells."""
    return slice(max(math.ceil(middle - reach), 0), max(math.floor(middle + reach) + 1, 0))
