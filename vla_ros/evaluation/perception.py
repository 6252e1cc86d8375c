"""What a policy sees and where it looks, against the truth, on images met in episodes.

For policies with `explain(observation)`: attention (rows x columns) and nowhere, cell_colour and
cell_shape (class of each cell, the last class: no object).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from vla_ros.core.instructions import NotUnderstood
from vla_ros.core.types import Instruction, Observation
from vla_ros.evaluation import metrics
from vla_ros.evaluation.truth import Masks, Truth, cells, cut_off
from vla_ros.policies.base import PolicySpec
from vla_ros.sim.episode import CAMERA
from vla_ros.tasks.intent import Intent
from vla_ros.tasks.objects import COLOURS, SHAPES

IMAGES_PER_LOOK = 20  # of an episode's images, every so many is looked at
COLOUR_NAMES = tuple(COLOURS)
# the last class of each
NO_COLOUR = len(COLOUR_NAMES)
NO_SHAPE = len(SHAPES)


def look(
    policy: Any, observation: Observation, truth: Truth, spec: PolicySpec, meant: Intent
) -> dict[str, Any]:
    """One image's findings, as JSON can hold them; `summarise` adds them up."""
    explained = policy.explain(observation)
    rows, columns = np.shape(explained["attention"])
    masks = truth.masks()
    where = cells(masks, (rows, columns), spec.size_of(CAMERA), spec.resize)
    out: dict[str, Any] = vision(explained, where)
    targets = []
    whole = []
    for name, mask in masks.items():
        if fits(meant, name):
            targets.append(name)
        if where[name].any() and not cut_off(mask):
            whole.append(name)
    if meant.colour is not None:
        out |= grounding(explained, masks, where, targets)
    if len(whole) > 1:  # of one object alone, nothing else could be taken for it
        out |= alignment(policy, observation, where, whole)
    return out


def fits(meant: Intent, name: str) -> bool:
    """Is an object of this name ("red block") one that is meant?"""
    colour, _, shape = name.partition(" ")
    return meant.colour == colour and meant.shape in (None, shape)


def vision(explained: dict[str, Any], where: Masks) -> dict[str, Any]:
    """What the policy says of each cell, against the truth.

    Returns:
        `colour` (7 x 7) and `shape` (4 x 4), confusion over all cells, truths by row; `named` and
        `iou`, for each object with a cell: is it recognised, and do its cells overlap.
    """
    from sklearn.metrics import confusion_matrix

    grid = np.shape(explained["attention"])
    colour = np.full(grid, NO_COLOUR)  # rows x columns, the truth
    shape = np.full(grid, NO_SHAPE)
    for name, mask in where.items():
        colour[mask], shape[mask] = classes(name)
    seen_colour = np.asarray(explained["cell_colour"])
    seen_shape = np.asarray(explained["cell_shape"])
    named = []
    overlaps = []
    for name, mask in where.items():
        if not mask.any():  # too small for a cell
            continue
        votes = Counter(zip(seen_colour[mask].tolist(), seen_shape[mask].tolist()))
        # the majority; the smaller class where votes are equal, so that the order does not matter
        winner = min(votes, key=lambda pair: (-votes[pair], pair))
        named.append(winner == classes(name))
        object_colour, object_shape = classes(name)
        seen = (seen_colour == object_colour) & (seen_shape == object_shape)
        overlaps.append(metrics.iou(mask, seen))
    colours = confusion_matrix(colour.ravel(), seen_colour.ravel(), labels=range(NO_COLOUR + 1))
    shapes = confusion_matrix(shape.ravel(), seen_shape.ravel(), labels=range(NO_SHAPE + 1))
    return {"colour": colours.tolist(), "shape": shapes.tolist(), "named": named, "iou": overlaps}


def classes(name: str) -> tuple[int, int]:
    """ "red block" -> its colour's and its shape's class."""
    colour, _, shape = name.partition(" ")
    return COLOUR_NAMES.index(colour), SHAPES.index(shape)


def grounding(
    explained: dict[str, Any], masks: Masks, where: Masks, targets: Sequence[str]
) -> dict[str, Any]:
    """Where the attention is, and where the target.

    A target that is cut off or too small for a cell is not counted: `unclear`.
    """
    attention = np.asarray(explained["attention"], np.float64)
    target_cells = np.zeros(attention.shape, bool)
    for name in targets:
        if cut_off(masks[name]) or not where[name].any():
            return {"grounding": "unclear"}
        target_cells |= where[name]
    hit, mass = metrics.grounding(attention, float(explained["nowhere"]), target_cells)
    return {"grounding": "in_view" if targets else "out_of_view", "hit": hit, "mass": mass}


def alignment(
    policy: Any, observation: Observation, where: Masks, names: Sequence[str]
) -> dict[str, Any]:
    """ "go to the …" for each of the objects `names`, against the attention in each one's cells."""
    similarity = np.zeros((len(names), len(names)))  # instruction x object
    for row, name in enumerate(names):
        instruction: Instruction = replace(observation.instruction, text=f"go to the {name}")
        try:
            explained = policy.explain(replace(observation, instruction=instruction))
        except NotUnderstood:  # it does not take these words: attention nowhere, and so a miss
            continue
        attention = np.asarray(explained["attention"], np.float64)
        for column, other in enumerate(names):
            similarity[row, column] = attention[where[other]].sum()
    text_to_object, object_to_text = metrics.retrieval(similarity)
    return {
        "text_to_object": text_to_object,
        "object_to_text": object_to_text,
        "chance": 1 / len(names),
    }


def summarise(looks: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """All images' findings together; None without any."""
    if not looks:
        return None
    return {
        "images": len(looks),
        "vision": _summarise_vision(looks),
        "grounding": _summarise_grounding(looks),
        "alignment": _summarise_alignment(looks),
    }


def _summarise_vision(looks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    colour = np.sum(list(map(itemgetter("colour"), looks)), axis=0)
    shape = np.sum(list(map(itemgetter("shape"), looks)), axis=0)
    named = metrics.rate(_joined(looks, "named"))
    # None: there was nothing to overlap
    overlaps = [overlap for overlap in _joined(looks, "iou") if overlap is not None]
    return {
        "object_accuracy": named["rate"],
        "objects": named,
        "iou": metrics.spread(overlaps),
        "cell_accuracy": {"colour": _accuracy(colour), "shape": _accuracy(shape)},
        "balanced_cell_accuracy": {
            "colour": metrics.balanced_accuracy(colour),
            "shape": metrics.balanced_accuracy(shape),
        },
        "confusion": {
            "colour": colour.tolist(),
            "shape": shape.tolist(),
            "colours": [*COLOUR_NAMES, "none"],
            "shapes": [*SHAPES, "none"],
        },
    }


def _summarise_grounding(looks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    hits: dict[str, list[bool]] = {"in_view": [], "out_of_view": []}
    masses: dict[str, list[float]] = {"in_view": [], "out_of_view": []}
    unclear = 0
    for look in looks:
        where = look.get("grounding")  # None: no object was meant
        if where == "unclear":
            unclear += 1
        elif where is not None:
            hits[where].append(look["hit"])
            masses[where].append(look["mass"])
    grounded = {}
    for where in hits:
        grounded[where] = {
            **metrics.rate(hits[where]),
            "mass": metrics.spread(masses[where]),
        }
    everywhere = metrics.rate(chain.from_iterable(hits.values()))
    return {**grounded, "unclear": unclear, "all": everywhere}


def _summarise_alignment(looks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    aligned = [look for look in looks if "chance" in look]
    return {
        "images": len(aligned),
        "text_to_object": metrics.rate(_joined(aligned, "text_to_object")),
        "object_to_text": metrics.rate(_joined(aligned, "object_to_text")),
        "chance": metrics.spread(list(map(itemgetter("chance"), aligned)))["mean"],
    }


def _joined(looks: Iterable[dict[str, Any]], field: str) -> list[Any]:
    """What the images list under `field`, in one list."""
    return list(chain.from_iterable(map(itemgetter(field), looks)))


def _accuracy(table: np.ndarray) -> float | None:
    return float(np.trace(table) / table.sum()) if table.sum() else None
