"""Where a training stands, as a folder: tensors in safetensors, the rest in JSON.

Nothing in it is a pickle. It is written beside its place and renamed, so that it is whole or not
there. accelerate's `save_state` is no substitute: it pickles the optimizer, writes frozen weights
each time (a language model's gigabytes), and with a limit removes the older checkpoint first.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CHECKPOINTS = "checkpoints"
TENSORS = "state.safetensors"
FACTS = "state.json"
_NAME = re.compile(r"step-(\d+)")
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # of AdamW, as torch names them


def newest(folder: Path) -> Path | None:
    """The checkpoint with the highest step, if there is one."""
    place = Path(folder) / CHECKPOINTS
    if not place.is_dir():
        return None
    checkpoints = [path for path in place.iterdir() if _NAME.fullmatch(path.name)]
    return max(checkpoints, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """The step that the folder's name says."""
    match = _NAME.fullmatch(checkpoint.name)
    assert match is not None
    return int(match[1])


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write the checkpoint of `step`, then remove the older ones."""
    place = Path(folder) / CHECKPOINTS
    new = place / f"step-{step:07d}"
    aside = place / f".step-{step:07d}"
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed while it wrote
    aside.mkdir(parents=True)
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(whole, aside / TENSORS)
    text = json.dumps({"step": step, **facts}, indent=1)
    (aside / FACTS).write_text(text + "\n", encoding="utf-8")
    for path in (aside / TENSORS, aside / FACTS):  # on the disk before the name is
        with path.open("rb") as file:
            os.fsync(file.fileno())
    shutil.rmtree(new, ignore_errors=True)
    os.rename(aside, new)
    # only now: there is a whole one at every moment
    for path in place.iterdir():
        if path != new and (_NAME.fullmatch(path.name) or path.name.startswith(".step-")):
            shutil.rmtree(path, ignore_errors=True)


def load(
    checkpoint: Path, settings: Mapping[str, Any], frozen: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts.

    Args:
        settings: those of now (`Settings.identity`).
        frozen: the `fingerprint` of now.

    Raises:
        ValueError: it is not whole, or was made with other settings or frozen weights.
    """
    try:
        facts = json.loads((checkpoint / FACTS).read_text(encoding="utf-8"))
        tensors = load_file(checkpoint / TENSORS)
    except (OSError, ValueError, SafetensorError) as problem:
        raise ValueError(
            f"the checkpoint {checkpoint} is not whole ({problem}); remove it, and the one before "
            "or a new run is used"
        ) from problem
    for name, value in settings.items():
        if facts["settings"].get(name) != value:
            raise ValueError(
                f"the training in {checkpoint.parent.parent} has {name} "
                f"{facts['settings'].get(name)}, and now it is {value}; give the same, or another "
                "folder"
            )
    if facts["frozen"] != frozen:
        raise ValueError(
            f"the training in {checkpoint.parent.parent} began with other frozen weights; give the "
            "same model, or another folder"
        )
    return tensors, facts


def fill(into: Mapping[str, Tensor], tensors: Mapping[str, Tensor], checkpoint: Path) -> None:
    """Copy by name.

    Raises:
        ValueError: a tensor is missing or has another shape.
    """
    with torch.no_grad():
        for name, value in into.items():
            stored = tensors.get(name)
            if stored is None or stored.shape != value.shape:
                shape = "no such tensor" if stored is None else f"shape {tuple(stored.shape)}"
                raise ValueError(
                    f"the checkpoint {checkpoint} is of another model: {name} has {shape} there "
                    f"and {tuple(value.shape)} here; give the same model, or another folder"
                )
            value.copy_(stored)


def optimizer_tensors(optimizer: Any, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """AdamW's state by the names of its weights."""
    tensors = {}
    for name, value in trained.items():
        state = optimizer.state.get(value)
        if state:  # none yet for a weight that had no gradient
            for moment in _MOMENTS:
                tensors[f"optimizer.{moment}.{name}"] = torch.as_tensor(state[moment])
    return tensors


def restore_optimizer(
    optimizer: Any, trained: Mapping[str, Tensor], tensors: Mapping[str, Tensor], checkpoint: Path
) -> None:
    """As `optimizer_tensors` gave it; a weight that had no gradient yet has no state."""
    for name, value in trained.items():
        if f"optimizer.step.{name}" not in tensors:
            continue
        # Moments keep their weight's layout in memory: the arithmetic is then the same to the bit.
        state = {
            "exp_avg": torch.zeros_like(value),
            "exp_avg_sq": torch.zeros_like(value),
            "step": torch.tensor(0.0),
        }
        for moment in _MOMENTS:
            fill({f"optimizer.{moment}.{name}": state[moment]}, tensors, checkpoint)
        optimizer.state[value] = state


def fingerprint(model: nn.Module) -> str:
    """Tells other frozen weights apart: their number and sum. Empty where none is frozen."""
    count = 0
    total = 0.0
    for value in model.parameters():
        if not value.requires_grad:
            count += 1
            total += float(value.double().sum())
    return f"{count}:{total!r}" if count else ""
