"""A checkpoint is a folder: config.json, model.safetensors, statistics.json, tokenizer.

Nothing in it can run code. It is written beside its place and renamed into it, so a folder is
either whole or not there.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vla_ros.core.machine import free_memory, room
from vla_ros.core.registry import lookup
from vla_ros.models import TOKENIZERS, build
from vla_ros.models.backbones import RandomWeights
from vla_ros.models.config import VLAConfig
from vla_ros.models.language.tokenizers import OWN_TOKENIZERS, Tokenizer, check_tokenizer
from vla_ros.models.vla import VLA

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
STATISTICS = "statistics.json"
ENGINES = "engines"  # a folder: built ahead by vla compile --for, for some GPUs
EXAMPLES = "examples.safetensors"  # models/examples.py writes and reads them
# How often the file's size is taken while it is loaded: by the weights that it has, and by those
# that it is built with.
LOADING_FACTORS = {"none": 2, "static": 2, "int8": 6, "int4": 8}
TOKENIZER_HASH = "tokenizer"  # in the weights' metadata: what they were trained with
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def save_pretrained(model: VLA, folder: str | Path) -> None:
    """Writes the folder, or replaces the checkpoint in it.

    Raises ValueError where that would lose other files, or where the model has no tokenizer that
    fits it, or adapters that are not merged.
    """
    folder = Path(folder)
    check_tokenizer(model.config, model.tokenizer)
    assert model.tokenizer is not None
    for name in model.state_dict():
        if ".lora_" in name:
            raise ValueError(f"the model has adapters ({name}); merge_lora(model) first, then save")
    ours = {CONFIG, WEIGHTS, STATISTICS, EXAMPLES, ENGINES, *OWN_TOKENIZERS}
    if folder.is_file():
        raise ValueError(f"{folder} is a file; give a checkpoint a folder of its own")
    others = sorted(set(os.listdir(folder)) - ours) if folder.is_dir() else []
    if others:
        raise ValueError(f"{folder} also holds {others[0]}; give a checkpoint a folder of its own")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # beside it, not in /tmp: a rename works within one file system
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write(model, model.tokenizer, aside / "new")
        if folder.exists():
            os.rename(folder, aside / "old")
        os.rename(aside / "new", folder)
    finally:
        # whatever went wrong between the two renames: the old one goes back to its place
        if not folder.exists() and (aside / "old").exists():
            os.rename(aside / "old", folder)
        shutil.rmtree(aside, ignore_errors=True)


def _write(model: VLA, tokenizer: Tokenizer, folder: Path) -> None:
    folder.mkdir()
    tokenizer.save(folder / tokenizer.place)
    _write_json(folder / CONFIG, model.config.standalone().to_dict())
    _write_json(folder / STATISTICS, model.statistics)
    weights: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        weights[name] = tensor.detach().cpu().contiguous()
    # One entry alone: the library writes several in any order, and the same weights must give the
    # same bytes.
    metadata = {TOKENIZER_HASH: _hash_of(folder / tokenizer.place)}
    save_file(weights, folder / WEIGHTS, metadata=metadata)
    for path in folder.rglob("*"):  # on the disk before the name is
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _write_json(path: Path, values: Any) -> None:
    try:
        text = json.dumps(
            values,
            indent=2,
            allow_nan=False,  # which no JSON is
            ensure_ascii=False,
            default=lambda array: array.tolist(),
        )
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"{path.name} cannot hold these values ({error}); give finite numbers, lists and names"
        ) from error
    path.write_text(text + "\n", encoding="utf-8")


def from_pretrained(folder: str | Path, device: str = "cpu") -> VLA:
    """The model with its tokenizer and statistics, in evaluation mode.

    Raises ValueError with what is wrong in the folder, or where memory does not do.
    """
    folder = Path(folder)
    config = read_config(folder)
    # asked first: a process that runs out of memory is killed without a sentence
    needed = LOADING_FACTORS[config.quantization] * (folder / WEIGHTS).stat().st_size  # bytes
    room(f"the checkpoint {folder}", needed, free_memory())
    tokenizer = _load_tokenizer(folder, config)
    statistics = _read_json(folder / STATISTICS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomWeights)  # they are replaced below
        model = build(config)
    _check_weights(model, folder / WEIGHTS)
    weights = load_file(folder / WEIGHTS)
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"{folder / WEIGHTS} has {name} with values that are no finite numbers; "
                "use an earlier checkpoint"
            )
    _check_bounds(model, weights, folder)
    model.load_state_dict(weights, assign=True)  # not copied: they would be there twice
    model.tokenizer = tokenizer
    model.statistics = statistics
    return model.to(device).eval()


def read_config(folder: str | Path) -> VLAConfig:
    """The config alone, without building anything.

    Raises ValueError where the folder is no whole checkpoint.
    """
    folder = Path(folder)
    _check_files(folder)
    try:
        return VLAConfig.from_dict(_read_json(folder / CONFIG))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from error


def content_hash(folder: str | Path) -> str:
    """8 hex digits of what the policy is, wherever the folder lies."""
    folder = Path(folder)
    _check_files(folder)
    digest = hashlib.sha256()
    # of the tokenizer as well: the weights name its hash
    for name in (CONFIG, WEIGHTS):
        data = (folder / name).read_bytes()
        digest.update(len(data).to_bytes(8, "big") + data)  # where one file ends counts too
    return digest.hexdigest()[:8]


def _check_files(folder: Path) -> None:
    """Whether all is there. Raises ValueError."""
    if folder.is_file():
        kind = "a file"
        if folder.suffix in PICKLE_SUFFIXES:
            kind = "a pickle, which can run code when it is read"
        raise ValueError(f"{folder} is {kind}; give a folder with {CONFIG} and {WEIGHTS}")
    if not folder.is_dir():
        raise ValueError(
            f"there is no checkpoint {folder}; give a folder with {CONFIG} and {WEIGHTS}"
        )
    for name in (CONFIG, WEIGHTS, STATISTICS):
        if not (folder / name).exists():
            also = ""
            pickles = sorted(
                path.name for path in folder.iterdir() if path.suffix in PICKLE_SUFFIXES
            )
            if pickles and name == WEIGHTS:
                also = f" ({pickles[0]} is a pickle, and those are never loaded)"
            raise ValueError(
                f"the checkpoint {folder} has no {name}{also}; copy the whole folder again"
            )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no JSON ({error}); copy the checkpoint again") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, not a table of names; "
            "copy the checkpoint again"
        )
    return content


def _hash_of(place: Path) -> str:
    """Of a tokenizer's file, or of the names and contents of its folder."""
    digest = hashlib.sha256()
    for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:8]


def _load_tokenizer(folder: Path, config: VLAConfig) -> Tokenizer:
    """The one that the weights were trained with. Raises ValueError."""
    kind = lookup(TOKENIZERS, config.language, "tokenizer")
    place = folder / kind.place
    if not place.exists():
        raise ValueError(
            f"the checkpoint {folder} has no {kind.place}; copy the whole folder again"
        )
    tokenizer: Tokenizer = kind.load(place)
    check_tokenizer(config, tokenizer)
    with _opened(folder / WEIGHTS) as file:
        wants = (file.metadata() or {}).get(TOKENIZER_HASH)
    has = _hash_of(place)
    if wants != has:
        raise ValueError(
            f"the tokenizer in {folder} has hash {has}, and its weights were trained with {wants}; "
            "copy the whole folder again"
        )
    return tokenizer


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not whole ({error}); copy the checkpoint again") from error


def _check_weights(model: VLA, path: Path) -> None:
    """The names and shapes of the file against the model's, by its header alone."""
    with _opened(path) as file:
        has = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    wants = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name in dict.fromkeys((*wants, *has)):  # each once, the model's first
        if has.get(name) != wants.get(name):
            raise ValueError(
                f"{path} is of another config: {name} has {_shape(has.get(name))} in the file and "
                f"{_shape(wants.get(name))} in the model that {CONFIG} describes"
            )


def _shape(shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return "no such tensor"
    return f"shape {' x '.join(map(str, shape)) or 'of one number'}"


def _check_bounds(model: VLA, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Scale and bias are both in the file and in the config, and must not differ.

    An edited config would be obeyed by halves.
    """
    for name, built in model.named_buffers():
        if not name.startswith("head.") or name.split(".")[-1] not in ("scale", "bias"):
            continue
        for saved, meant in zip(weights[name].flatten().tolist(), built.flatten().tolist()):
            # a little apart they are by rounding, further apart by an edit
            if not math.isclose(saved, meant, rel_tol=1e-2, abs_tol=1e-4):
                raise ValueError(
                    f"{folder / CONFIG} bounds the channels otherwise than {WEIGHTS} "
                    f"({name} {meant} and {saved}); "
                    "do not edit the bounds of trained weights, limit them in the robot file"
                )
