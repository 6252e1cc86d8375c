"""What a policy sees and where it looks, against the truth, on images met in episodes.

For policies with `explain(observation)`: attention (rows x columns) and nowhere, cell_colour and
cell_shape (class of each cell, the last class: no object).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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

EVERY = 20  # of an episode's images, every so many
COLOUR_NAMES = tuple(COLOURS)
NO_COLOUR = len(COLOUR_NAMES)
NO_SHAPE = len(SHAPES)


def look(
    policy: Any, observation: Observation, truth: Truth, spec: PolicySpec, meant: Intent
) -> dict[str, Any]:
    """One image's findings, as JSON can hold them; `summarise` adds them up."""
    said = policy.explain(observation)
    grid = np.shape(said["attention"])
    masks = truth.masks()
    where = cells(masks, (grid[0], grid[1]), spec.size_of(CAMERA), spec.resize)
    out: dict[str, Any] = vision(said, where)
    if meant.colour is not None:
        out |= grounding(said, masks, where, [name for name in masks if fits(meant, name)])
    whole = [name for name in where if where[name].any() and not cut_off(masks[name])]
    if len(whole) > 1:
        out |= alignment(policy, observation, where, whole)
    return out


def fits(meant: Intent, name: str) -> bool:
    colour, _, shape = name.partition(" ")
    return meant.colour == colour and meant.shape in (None, shape)


def vision(said: dict[str, Any], where: Masks) -> dict[str, Any]:
    """Confusion over all cells (colour 7 x 7, shape 4 x 4), each object's majority vote, and each
    object's IoU."""
    from sklearn.metrics import confusion_matrix

    grid = np.shape(said["attention"])
    colour = np.full(grid, NO_COLOUR)
    shape = np.full(grid, NO_SHAPE)
    for name, mask in where.items():
        colour[mask], shape[mask] = classes(name)
    told_colour = np.asarray(said["cell_colour"])
    told_shape = np.asarray(said["cell_shape"])
    named = []
    overlaps = []
    for name, mask in where.items():
        if not mask.any():
            continue
        is_colour, is_shape = classes(name)
        pairs = list(zip(told_colour[mask].tolist(), told_shape[mask].tolist()))
        named.append(max(sorted(set(pairs)), key=pairs.count) == (is_colour, is_shape))
        overlaps.append(metrics.iou(mask, (told_colour == is_colour) & (told_shape == is_shape)))
    colours = confusion_matrix(colour.ravel(), told_colour.ravel(), labels=range(NO_COLOUR + 1))
    shapes = confusion_matrix(shape.ravel(), told_shape.ravel(), labels=range(NO_SHAPE + 1))
    return {"colour": colours.tolist(), "shape": shapes.tolist(), "named": named, "iou": overlaps}


def classes(name: str) -> tuple[int, int]:
    """ "red block" -> its colour's and its shape's class."""
    colour, _, shape = name.partition(" ")
    return COLOUR_NAMES.index(colour), SHAPES.index(shape)


def grounding(
    said: dict[str, Any], masks: Masks, where: Masks, targets: Sequence[str]
) -> dict[str, Any]:
    """Where the attention is, and where the target. A target that is cut off or too small for a
    cell is not counted."""
    if any(cut_off(masks[name]) or not where[name].any() for name in targets):
        return {"grounding": "unclear"}
    attention = np.asarray(said["attention"], np.float64)
    mask = np.zeros(attention.shape, bool)
    for name in targets:
        mask |= where[name]
    hit, mass = metrics.grounding(attention, float(said["nowhere"]), mask)
    return {"grounding": "in_view" if targets else "out_of_view", "hit": hit, "mass": mass}


def alignment(
    policy: Any, observation: Observation, where: Masks, names: Sequence[str]
) -> dict[str, Any]:
    """ "go to the …" for each object that is wholly in view, against the attention in each one's
    cells."""
    similarity = np.zeros((len(names), len(names)))
    for row, name in enumerate(names):
        instruction: Instruction = replace(observation.instruction, text=f"go to the {name}")
        try:
            said = policy.explain(replace(observation, instruction=instruction))
        except NotUnderstood:  # it does not take these words: attention nowhere, and so a miss
            continue
        attention = np.asarray(said["attention"], np.float64)
        similarity[row] = [attention[where[other]].sum() for other in names]
    found, told = metrics.retrieval(similarity)
    return {"text_to_object": found, "object_to_text": told, "chance": 1 / len(names)}


def summarise(looks: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """All images' findings together; None without any."""
    if not looks:
        return None
    colour, shape = (np.sum([one[name] for one in looks], axis=0) for name in ("colour", "shape"))
    overlaps = [value for one in looks for value in one["iou"] if value is not None]
    named = metrics.rate(value for one in looks for value in one["named"])
    grounded: dict[str, Any] = {}
    for name in ("in_view", "out_of_view"):
        chosen = [one for one in looks if one.get("grounding") == name]
        grounded[name] = {
            **metrics.rate(one["hit"] for one in chosen),
            "mass": metrics.spread([one["mass"] for one in chosen]),
        }
    aligned = [one for one in looks if "chance" in one]
    return {
        "images": len(looks),
        "vision": {
            "object_accuracy": named["rate"],
            "objects": named,
            "iou": metrics.spread(overlaps),
            "cell_accuracy": {"colour": _trace(colour), "shape": _trace(shape)},
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
        },
        "grounding": {
            **grounded,
            "unclear": sum(one.get("grounding") == "unclear" for one in looks),
            "all": metrics.rate(one["hit"] for one in looks if "hit" in one),
        },
        "alignment": {
            "images": len(aligned),
            "text_to_object": metrics.rate(
                value for one in aligned for value in one["text_to_object"]
            ),
            "object_to_text": metrics.rate(
                value for one in aligned for value in one["object_to_text"]
            ),
            "chance": metrics.spread([one["chance"] for one in aligned])["mean"],
        },
    }


def _trace(table: np.ndarray) -> float | None:
    return float(np.trace(table) / table.sum()) if table.sum() else None
