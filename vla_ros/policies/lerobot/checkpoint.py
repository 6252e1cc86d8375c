"""Reads what LeRobot leaves of a policy: its config, its processors and their statistics.

A checkpoint (LeRobot 0.4 to 0.7) is a folder: config.json, model.safetensors,
policy_preprocessor.json and policy_postprocessor.json, which name steps and the files with their
numbers. It says neither names of joints, nor units, nor how many rows there are in a second: those
stand in the dataset's meta/info.json, or in the policy file. No torch here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.normalisation import StateRange
from vla_ros.core.plain_file import read_plain_file
from vla_ros.core.shown import shown
from vla_ros.core.types import LONGEST_SIDE, Size

MOST_BYTES = 10 << 20  # of a JSON file; a config has some kB
IMAGES = "observation.images."
IMAGE = "observation.image"
STATE = "observation.state"
ENVIRONMENT = "observation.environment_state"
ACTION = "action"
# What a type that has room for more cameras than the robot fills up by itself.
EMPTY_CAMERA = "observation.images.empty_camera_"
WEIGHTS = "model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
# Steps that change nothing for one observation on one device.
PASSIVE_STEPS = ("to_batch_processor", "device_processor")
PREPROCESSOR = "policy_preprocessor.json"
POSTPROCESSOR = "policy_postprocessor.json"
RENAME = "rename_observations_processor"
NORMALIZE = "normalizer_processor"
UNNORMALIZE = "unnormalizer_processor"
EPSILON = 1e-8


@dataclass(frozen=True)
class Feature:
    """A number or an image that the policy takes or gives, by the checkpoint's name of it."""

    name: str
    kind: str
    shape: tuple[int, ...]

    @property
    def size(self) -> Size:
        """Height and width, of an image."""
        return self.shape[1], self.shape[2]


@dataclass(frozen=True)
class Range:
    """How a feature is scaled: (value - offset) / scale; float32 that broadcasts to it."""

    offset: NDArray[np.floating]
    scale: NDArray[np.floating]


@dataclass(frozen=True)
class Checkpoint:
    """What stands in a folder.

    Attributes:
        type: Of policy: act, diffusion, smolvla, ...
        config: As it stands there.
        inputs, outputs: Features by name, in the config's order.
        normalization: Kind of feature (STATE, VISUAL, ...) -> mode (MEAN_STD, ...).
    """

    folder: Path
    type: str
    config: Mapping[str, Any]
    inputs: Mapping[str, Feature]
    outputs: Mapping[str, Feature]
    normalization: Mapping[str, str]

    @property
    def images(self) -> dict[str, Feature]:
        """Short name of each image -> its feature: `front` of observation.images.front."""
        images: dict[str, Feature] = {}
        for name, feature in self.inputs.items():
            if feature.kind == "VISUAL" and not name.startswith(EMPTY_CAMERA):
                images[name.removeprefix(IMAGES).removeprefix("observation.")] = feature
        return images

    def width(self, name: str) -> int:
        """How many numbers a feature has; 0: it is not there."""
        feature = self.inputs.get(name, self.outputs.get(name))
        return feature.shape[0] if feature else 0


def read_checkpoint(folder: str | Path) -> Checkpoint:
    """Reads config.json alone.

    Raises:
        ValueError: There is none, or it is no LeRobot policy's.
    """
    place = Path(folder).expanduser()
    config = _read_json(place / "config.json")
    kind = config.get("type")
    if not isinstance(kind, str):
        raise ValueError(
            f"{place / 'config.json'} has no type; a checkpoint of LeRobot 0.4 to 0.7 has one"
        )
    inputs = _features(config, "input_features", place)
    outputs = _features(config, "output_features", place)
    normalization = config.get("normalization_mapping", {})
    if not isinstance(normalization, dict):
        raise ValueError(f"normalization_mapping is {shown(normalization)}; a mapping is right")
    return Checkpoint(place, kind, config, inputs, outputs, normalization)


def read_ranges(checkpoint: Checkpoint) -> dict[str, Range]:
    """How features are scaled, by the checkpoint's processors: name -> range.

    Raises:
        ValueError: A step that is not known, or statistics that do not fit.
    """
    before, renamed = _ranges(checkpoint, PREPROCESSOR, NORMALIZE, EPSILON)
    # What it has learned to give is scaled back by the very numbers, without the guard against 0.
    after, _ = _ranges(checkpoint, POSTPROCESSOR, UNNORMALIZE, 0.0)
    if renamed:
        raise ValueError(
            f"the checkpoint renames {', '.join(renamed)}; give those names in the policy file "
            "(images, state), and take the renaming out of policy_preprocessor.json"
        )
    ranges = {name: range_ for name, range_ in before.items() if name in checkpoint.inputs}
    ranges.update({name: range_ for name, range_ in after.items() if name in checkpoint.outputs})
    return ranges


def read_statistics(
    checkpoint: Checkpoint, names: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, StateRange]]:
    """What training saw of each number: feature -> name -> range.

    Args:
        checkpoint: With its statistics.
        names: Feature -> the names of its numbers.

    Raises:
        ValueError: Statistics that are none, or that do not fit.
    """
    seen: dict[str, dict[str, StateRange]] = {}
    statistics: dict[str, NDArray[Any]] = {}
    for file, scaler in ((PREPROCESSOR, NORMALIZE), (POSTPROCESSOR, UNNORMALIZE)):
        for step in _steps(checkpoint, file):
            if step.get("registry_name") == scaler:
                statistics.update(_statistics(checkpoint, step))
    for feature, its_names in names.items():
        seen[feature] = {}
        known: dict[str, NDArray[Any]] = {}
        for key in ("mean", "std", "min", "max"):
            if its_names and f"{feature}.{key}" in statistics:
                known[key] = statistics[f"{feature}.{key}"]
        for key, values in known.items():
            if values.shape != (len(its_names),):
                raise ValueError(
                    f"{checkpoint.folder}: the statistic {feature}.{key} has the shape "
                    f"{values.shape}, and there are {len(its_names)} numbers: "
                    f"{', '.join(its_names)}; copy the checkpoint again"
                )
        if {"mean", "std"} <= set(known):
            for index, name in enumerate(its_names):
                numbers = {key: float(values[index]) for key, values in known.items()}
                seen[feature][name] = StateRange.of(name, numbers)
    return seen


def step_names(checkpoint: Checkpoint, file: str) -> list[str]:
    """The registered names of a processor's steps, in their order. Raises ValueError."""
    return [str(step.get("registry_name", "")) for step in _steps(checkpoint, file)]


def refuse_code(checkpoint: Checkpoint) -> None:
    """Whoever loads the checkpoint runs no code of it, and unpickles nothing.

    Raises:
        ValueError: It would, or it is not whole.
    """
    folder = checkpoint.folder
    if not (folder / WEIGHTS).is_file():
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
        sentence = f"{folder} has no {WEIGHTS}"
        if pickles:
            sentence += (
                f", but {', '.join(pickles[:5])}: pickles, which run code when they are loaded "
                "and are not read here; save the policy with a LeRobot that writes safetensors"
            )
        raise ValueError(sentence)
    if checkpoint.config.get("use_peft"):
        raise ValueError(
            f"{folder} is an adapter (use_peft) of a checkpoint elsewhere; merge them into one"
        )
    for file in (PREPROCESSOR, POSTPROCESSOR):
        for step in _steps(checkpoint, file):
            if not isinstance(step.get("registry_name"), str):
                raise ValueError(
                    f"{folder / file} has a step that names a class, {shown(step.get('class'))}, "
                    "which may be any code; only LeRobot's own steps (registry_name) are run"
                )
            if "state_file" in step:
                _state_file(step)


def _ranges(
    checkpoint: Checkpoint, file: str, scaler: str, epsilon: float
) -> tuple[dict[str, Range], list[str]]:
    """The ranges of a file's (un)normalizer, and what the file renames."""
    ranges: dict[str, Range] = {}
    renamed: list[str] = []
    for step in _steps(checkpoint, file):
        name = step.get("registry_name")
        config = step.get("config", {})
        if name in PASSIVE_STEPS:
            continue
        if name == RENAME:
            renamed += list(config.get("rename_map", {}))
        elif name == scaler:
            ranges = _scaled(checkpoint, step, epsilon)
        else:
            raise ValueError(
                f"{file} has the step {shown(name)}, which is not known here; known are "
                f"{', '.join((RENAME, scaler, *PASSIVE_STEPS))}. LeRobot itself runs it: give "
                "sidecar: {} among the options"
            )
    return ranges, renamed


def _steps(checkpoint: Checkpoint, file: str) -> list[dict[str, Any]]:
    steps = _read_json(checkpoint.folder / file).get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise ValueError(f"{file} has no list of steps")
    return steps


def _statistics(checkpoint: Checkpoint, step: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """`feature.statistic` -> its numbers."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    file = _state_file(step)
    try:
        statistics: dict[str, NDArray[Any]] = load_file(checkpoint.folder / file)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{checkpoint.folder / file} cannot be read: {error}") from None
    return statistics


def _state_file(step: Mapping[str, Any]) -> str:
    file = step.get("state_file")
    if not isinstance(file, str) or Path(file).name != file or Path(file).suffix in PICKLES:
        raise ValueError(f"a normalizer's state_file is {shown(file)}; a file beside it is right")
    return file


def _scaled(checkpoint: Checkpoint, step: Mapping[str, Any], epsilon: float) -> dict[str, Range]:
    statistics = _statistics(checkpoint, step)
    file = step["state_file"]
    ranges: dict[str, Range] = {}
    for name, feature in {**checkpoint.inputs, **checkpoint.outputs}.items():
        mode = checkpoint.normalization.get(feature.kind, "IDENTITY")
        range_ = _range(name, mode, statistics, epsilon)
        if range_ is None:
            continue
        for values in (range_.offset, range_.scale):
            try:
                np.broadcast_shapes(values.shape, feature.shape)
            except ValueError:
                raise ValueError(
                    f"{file}: statistics of {name} have the shape {values.shape}, and it has "
                    f"{feature.shape}"
                ) from None
            if not np.isfinite(values).all():
                raise ValueError(f"{file}: statistics of {name} are not finite")
        ranges[name] = range_
    return ranges


def _range(
    name: str, mode: str, statistics: Mapping[str, NDArray[Any]], epsilon: float
) -> Range | None:
    """None: it is left as it is."""
    if mode == "IDENTITY":
        return None
    ends = {"MEAN_STD": ("mean", "std"), "MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99")}
    if mode not in ends:
        raise ValueError(
            f"{name} is normalized by {shown(mode)}; known are IDENTITY, {', '.join(ends)}"
        )
    keys = [f"{name}.{end}" for end in ends[mode]]
    if any(key not in statistics for key in keys):
        return None  # as LeRobot does: what has no statistics stays as it is
    first, second = (np.asarray(statistics[key], np.float64) for key in keys)
    if mode == "MEAN_STD":
        return Range(first.astype(np.float32), (second + epsilon).astype(np.float32))
    # to -1 ... 1
    half = (second - first) / 2
    scale = np.where(half == 0.0, epsilon, half)
    return Range((first + half).astype(np.float32), scale.astype(np.float32))


# -- what a checkpoint does not say ------------------------------------------------------
@dataclass(frozen=True)
class DatasetNames:
    """What a dataset says of the numbers in it; empty, 0: it does not."""

    state: tuple[str, ...] = ()
    action: tuple[str, ...] = ()
    fps: float = 0.0


def read_dataset_names(path: str | Path) -> DatasetNames:
    """From a dataset's folder, or its meta/info.json.

    Raises:
        ValueError: There is none, or it is no dataset's.
    """
    place = Path(path).expanduser()
    info = _read_json(place / "meta" / "info.json" if place.is_dir() else place)
    features = info.get("features")
    if not isinstance(features, dict):
        raise ValueError(f"{place} has no features; a LeRobot dataset's meta/info.json has them")
    fps = info.get("fps", 0)
    if isinstance(fps, bool) or not isinstance(fps, (int, float)) or not 0 <= fps < 1e4:
        raise ValueError(f"{place}: fps is {shown(fps)}; a number of frames a second is right")
    return DatasetNames(_names(features, STATE), _names(features, ACTION), float(fps))


def _names(features: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Of a feature's numbers: a list, a list in a list, {"motors": list}, or {name: index}."""
    feature = features.get(name)
    names = feature.get("names") if isinstance(feature, dict) else None
    if isinstance(names, dict):
        values = list(names.values())
        if len(values) == 1 and isinstance(values[0], list):
            names = values[0]
        elif all(isinstance(value, int) for value in values):
            names = sorted(names, key=names.__getitem__)
    if isinstance(names, list) and len(names) == 1 and isinstance(names[0], list):
        names = names[0]
    if isinstance(names, list) and all(isinstance(entry, str) for entry in names):
        return tuple(names)
    return ()


def _features(config: Mapping[str, Any], key: str, folder: Path) -> dict[str, Feature]:
    entries = config.get(key)
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"{folder / 'config.json'}: {key} is {shown(entries)}; a mapping is right")
    features: dict[str, Feature] = {}
    for name, entry in entries.items():
        if not isinstance(entry, dict) or not _is_feature(entry):
            raise ValueError(
                f"{folder / 'config.json'}: {key}: {name} is {shown(entry)}; a type and a shape "
                "are right, of an image [3, height, width]"
            )
        features[name] = Feature(name, entry["type"], tuple(entry["shape"]))
    return features


def _is_feature(entry: Mapping[str, Any]) -> bool:
    shape = entry.get("shape")
    if not isinstance(shape, list) or not shape or not isinstance(entry.get("type"), str):
        return False
    if not all(type(side) is int and 0 < side <= LONGEST_SIDE for side in shape):
        return False
    return entry["type"] != "VISUAL" or (len(shape) == 3 and shape[0] == 3)


def _read_json(path: Path) -> dict[str, Any]:
    text = read_plain_file(path, str(path), MOST_BYTES)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {shown(str(error), 200)}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds {shown(data)}; a mapping is right")
    return data
