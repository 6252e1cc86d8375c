"""What a dataset holds, in numbers: for people, and as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from vla_ros.datasets.lerobot import layout
from vla_ros.datasets.lerobot.read import Dataset


def summary(dataset: Dataset) -> dict[str, Any]:
    """What is there, what a model would be told, what it would learn, and what is left out.

    Returns:
        For JSON: `version`, `layout`, `robot_type`, `episodes`, `failed`, `frames`, `fps`,
        `seconds`; `tasks` (words -> frames), `cameras` (name -> size, and whether it is a video),
        `interventions` (frames in which a person had the robot; None: it does not say), `sittings`
        (what `meta/contract.json` says of each),
        `state` and `action` (name -> min, max, mean, std), `others` (name -> feature) that a
        config's `state` can name, `notes`.
    """
    frames = np.bincount(dataset.task_index, minlength=len(dataset.tasks))
    cameras: dict[str, Any] = {}
    for name, (height, width) in dataset.cameras.items():
        cameras[name] = {"height": height, "width": width, "video": dataset.is_video(name)}
    failed = [episode for episode in dataset.episodes if episode.success is False]
    others: dict[str, str] = {}
    for name, (key, _) in dataset.inputs.items():
        if key != layout.STATE:
            others[name] = key
    driven = dataset.marked(layout.INTERVENTION)
    return {
        "version": dataset.info["codebase_version"],
        "robot_type": dataset.robot_type,
        "episodes": len(dataset.episodes),
        "failed": len(failed),
        "frames": len(dataset),
        "fps": dataset.fps,
        "seconds": len(dataset) / dataset.fps,
        "tasks": dict(zip(dataset.tasks, frames.tolist())),
        "cameras": cameras,
        "state": _numbers(dataset, layout.STATE),
        "action": _numbers(dataset, layout.ACTION),
        "others": others,
        "interventions": None if driven is None else int(driven.sum()),
        "sittings": _sittings(dataset),
        "notes": list(dataset.notes),
    }


def _sittings(dataset: Dataset) -> list[dict[str, Any]]:
    """From which episode on it was recorded with which robot file and policy, a row a sitting."""
    path = dataset.folder / layout.CONTRACT
    if not path.is_file():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        rows = []
        for entry in entries:
            row: dict[str, Any] = {"from_episode": int(entry["from_episode"])}
            for part in ("robot", "policy"):
                held = entry[part]
                name = held.get("text", "").removeprefix("policy:").strip()
                row[part] = held.get("file") or name or "not known"
            rows.append(row)
        return rows
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"{path} is no contract of ours ({problem}); take it away") from None


def _numbers(dataset: Dataset, key: str) -> dict[str, dict[str, float]]:
    """Name -> min, max, mean, std; nothing where the dataset has no such feature."""
    if key not in dataset.names:
        return {}
    stats = dataset.statistics(key)
    table: dict[str, dict[str, float]] = {}
    for column, name in enumerate(dataset.names[key]):
        row: dict[str, float] = {}
        for figure in ("min", "max", "mean", "std"):
            row[figure] = float(stats[figure][column])
        table[name] = row
    return table
