"""meta/modality.json, which GR00T asks for: which numbers of a vector belong together.

GR00T normalises, and turns relative, each group for itself: arms apart from grippers and bases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from vla_ros.datasets.lerobot import layout

SIDES = ("left", "right")
BASE = ("linear.", "angular.")
WORDS = "human.task_description"  # what GR00T's own configurations call the instruction


def modality(names: Mapping[str, Sequence[str]], cameras: Sequence[str]) -> dict[str, Any]:
    """What stands in the file.

    Args:
        names: Feature -> the names of its numbers; of a dataset with actions.
        cameras: Their names.
    """
    return {
        "state": _spans(names.get(layout.STATE, ())),
        "action": _spans(names[layout.ACTION]),
        "video": {name: {"original_key": layout.IMAGES + name} for name in cameras},
        "annotation": {WORDS: {"original_key": "task_index"}},
    }


def _spans(names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Neighbours of one group, `start` up to but not including `end`."""
    spans: dict[str, dict[str, int]] = {}
    start = 0
    for group, members in groupby(names, group_of):
        end = start + len(list(members))
        # the same group again, behind another one
        key = group if group not in spans else f"{group}_{start}"
        spans[key] = {"start": start, "end": end}
        start = end
    return spans


def group_of(name: str) -> str:
    """`gripper`, `base`, `wheels` or `single_arm`; of two arms `left_gripper`, `right_arm`, …"""
    side = next((side for side in SIDES if name.lower().startswith(side)), "")
    if name.startswith(BASE):
        return "base"
    if "wheel" in name.lower():
        return "wheels"
    if "gripper" in name.lower():
        return f"{side}_gripper" if side else "gripper"
    return f"{side}_arm" if side else "single_arm"
