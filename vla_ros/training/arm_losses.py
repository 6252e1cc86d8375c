"""What the arm's model is taught: rows, where to look, what stands where, what words mean."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vla_ros.models.table import ROW_RAD, TableOutput, TableVLA, one_hot
from vla_ros.sim.arm import chain
from vla_ros.training.arm_labels import ArmBatch

EMPTY_CELL_WEIGHT = 0.15  # most cells show no thing, and would drown those that do
TOOL_UNIT_M = 0.02  # of the tool's place, in the loss
YAW_UNIT_RAD = 0.1
ARM_WEIGHTS = {
    "rows": 1.0,
    "tool": 1.0,
    "gripper": 0.5,
    "scene": 0.15,
    "wrist": 0.15,
    "goal": 0.15,
    "cells": 0.3,
    "offset": 0.5,
    "turn": 0.2,
    "gripped": 0.2,
    "words": 0.3,
}


def tool_of(joints: Tensor) -> Tensor:
    """… x 6 angles of a hand that points down -> … x 4: the tool's place (m) and its yaw (rad)."""
    upper = joints[..., 1]
    fore = upper + joints[..., 2]
    hand = fore + joints[..., 4]
    radius = (
        chain.UPPER_ARM_M * upper.sin() + chain.FOREARM_M * fore.cos() + chain.HAND_M * hand.cos()
    )
    height = (
        chain.SHOULDER_HEIGHT_M
        + chain.UPPER_ARM_M * upper.cos()
        - chain.FOREARM_M * fore.sin()
        - chain.HAND_M * hand.sin()
    )
    yaw = joints[..., 0] - joints[..., 5]
    bearing = joints[..., 0]
    return torch.stack([radius * bearing.cos(), radius * bearing.sin(), height, yaw], -1)


def arm_losses(model: TableVLA, batch: ArmBatch) -> dict[str, Tensor]:
    """Each part by name, before its weight."""
    output = model.decide(batch.scene, batch.wrist, one_hot(batch.said), batch.state)
    angles = batch.rows[..., :6]
    steps = torch.diff(angles, dim=1, prepend=torch.zeros_like(angles[:, :1])) / ROW_RAD
    weight = torch.linspace(1.6, 0.4, steps.shape[1])[:, None]  # the first ones are obeyed
    rows = F.smooth_l1_loss(output.rows, steps, reduction="none", beta=0.05) * weight
    joints = batch.joints[:, None]
    wanted = tool_of(joints + angles)
    gone = tool_of(joints + output.rows.cumsum(1) * ROW_RAD)
    units = torch.tensor([TOOL_UNIT_M, TOOL_UNIT_M, TOOL_UNIT_M, YAW_UNIT_RAD])
    tool = F.smooth_l1_loss(gone / units, wanted / units, reduction="none", beta=0.2) * weight
    gripper = F.binary_cross_entropy_with_logits(
        output.gripper, batch.rows[..., 6].round(), reduction="none"
    )
    return {
        "rows": rows.mean(),
        "tool": tool.mean(),
        "gripper": (gripper * weight[:, 0]).mean(),
        "scene": _where(output.gazes["scene_thing"].logits, batch.scene_thing),
        "wrist": _where(output.gazes["wrist_thing"].logits, batch.wrist_thing)
        + _where(output.gazes["wrist_place"].logits, batch.wrist_place),
        "goal": _seen(output.gazes["scene_goal"].logits, batch.scene_goal),
        "cells": _stands(output, batch),
        "offset": _known(output.offsets, batch.offsets, beta=0.05),
        "turn": _known(output.turn, batch.turn, beta=0.2),
        "gripped": _gripped(output.gripped, batch.gripped),
        "words": words_loss(model, batch.ids, batch.mask, batch.meant),
    }


def _where(logits: Tensor, likely: Tensor) -> Tensor:
    return -(likely * logits.float().log_softmax(-1)).sum(-1).mean()


def _seen(logits: Tensor, likely: Tensor) -> Tensor:
    """The same, where there is something to be seen."""
    there = 1.0 - likely[:, -1]
    apart = -(likely * logits.float().log_softmax(-1)).sum(-1)
    return (apart * there).sum() / there.sum().clamp(min=1.0)


def _stands(output: TableOutput, batch: ArmBatch) -> Tensor:
    total = torch.zeros(())
    for camera, likely in (("scene", batch.scene_cells), ("wrist", batch.wrist_cells)):
        colour, shape = output.cells[camera]
        colours = colour.shape[1]
        for logarithms, truth in ((colour, likely[:, :colours]), (shape, likely[:, colours:])):
            apart = -(truth * logarithms).sum(1)
            weight = EMPTY_CELL_WEIGHT + (1.0 - truth[:, -1])
            total = total + (apart * weight).sum() / weight.sum()
    return total


def _known(values: Tensor, wanted: Tensor, beta: float) -> Tensor:
    there = ~wanted.isnan()
    miss = F.smooth_l1_loss(values, wanted.nan_to_num(), reduction="none", beta=beta)
    return (miss * there).sum() / there.sum().clamp(min=1)


def _gripped(logits: Tensor, wanted: Tensor) -> Tensor:
    there = ~wanted.isnan()
    miss = F.binary_cross_entropy_with_logits(logits, wanted.nan_to_num(), reduction="none")
    return (miss * there).sum() / there.sum().clamp(min=1)


def words_loss(model: TableVLA, ids: Tensor, mask: Tensor, meant: Tensor) -> Tensor:
    """What the words mean must be read from them; of nonsense, that it is none."""
    total = torch.zeros(())
    for column, logits in enumerate(model.meaning(ids, mask)):
        total = total + F.cross_entropy(logits, meant[:, column], ignore_index=-1)
    return total
