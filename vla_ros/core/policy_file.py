"""The policy file: which policy drives, and how; written once for every node.

policy: my_package.wander:Wander
options: {speed: 0.2}
images:
  front: {camera: left, size: [224, 224], resize: crop}
fallback: careful.yaml
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_ros.core.shown import shown
from vla_ros.core.types import LONGEST_SIDE, RESIZE_MODES, Size, is_size

DEFAULT_POLICY = "color_servo"  # where nobody says which
ENGINES = ("auto", "tensorrt_rtx", "tensorrt", "inductor", "onnxruntime", "eager")
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8", "fp8")
KEYS = ("policy", "options", "engine", "precision", "fallback", "images")
IMAGE_KEYS = ("camera", "size", "resize")


@dataclass(frozen=True)
class ImageSource:
    """Where one of the policy's images comes from. No size, no resize: as the policy wants it."""

    camera: str
    size: Size | None = None  # height, width in pixels
    resize: str = ""


@dataclass(frozen=True)
class PolicyFile:
    """What a policy file says.

    Attributes:
        policy: A registered name, an entry point's, or module:Class.
        options: The policy's own; it checks them.
        engine: What a learned policy runs on; `auto`: the best that is here.
        precision: The engine's arithmetic; `auto`: as the checkpoint was made for.
        fallback: The policy that takes over where this one fails.
        images: The policy's key for an image, of colour or depth -> where it comes from. A key that
            is not here is a camera's name.
    """

    policy: str
    options: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "auto"
    precision: str = "auto"
    fallback: PolicyFile | None = None
    images: Mapping[str, ImageSource] = field(default_factory=dict)


def chosen_policy(policy: str, policy_file: str) -> PolicyFile:
    """What the parameters of these names choose; where neither does, DEFAULT_POLICY.

    Raises:
        ValueError: both do, or the file is wrong.
    """
    if policy and policy_file:
        raise ValueError(
            f"parameters 'policy' ({shown(policy)}) and 'policy_file' "
            f"({shown(policy_file)}) are both given; give one: the file names its policy"
        )
    return load_policy_file(policy_file) if policy_file else PolicyFile(policy or DEFAULT_POLICY)


def load_policy_file(path: str | Path) -> PolicyFile:
    """Reads a policy file, and the one that it names as its fallback.

    Raises:
        ValueError: a sentence with the file's path, what is wrong in it and its value.
    """
    return _load(Path(path).expanduser(), 0)


def _load(path: Path, depth: int) -> PolicyFile:
    from vla_ros.core.yaml_file import read_yaml  # PyYAML: not needed where no file is read

    data = read_yaml(
        path, "policy file", "set policy_file to one like config/policies/color_servo.yaml"
    )
    try:
        return _parse(data, path, depth)
    except (ValueError, OverflowError) as error:
        text = str(error)
        if text.startswith("policy file "):  # the fallback's own
            raise
        raise ValueError(f"policy file {shown(str(path), 200)}: {text[:400]}") from error


def _parse(data: Mapping[Any, Any], path: Path, depth: int) -> PolicyFile:
    """`depth`: 0 for the file itself, 1 for the fallback that it names."""
    _known(data, KEYS, "the file")
    policy = _text(data, "policy", "")
    if not policy:
        raise ValueError("policy is missing; give a policy's name, or module:Class")
    options = _mapping(data, "options")
    for key in options:
        if not isinstance(key, str):
            raise ValueError(f"options has the name {shown(key)}; give a text")
    for key, choices in (("engine", ENGINES), ("precision", PRECISIONS)):
        if _text(data, key, "auto") not in choices:
            raise ValueError(f"{key} is {shown(data[key])}; use one of {', '.join(choices)}")
        # A policy has options of these names, too: nobody knows which of them counts.
        if key in data and key in options:
            raise ValueError(f"{key} stands beside options and in them; once is right, beside them")
    images = {key: _source(key, value) for key, value in _mapping(data, "images").items()}
    fallback = None
    if _text(data, "fallback", ""):
        if depth:  # so no chain of files, and no circle
            raise ValueError("this is a fallback and names one itself; one is used")
        # A relative path is one beside this file; an absolute one stays as it is.
        fallback = _load(path.parent / Path(data["fallback"]).expanduser(), depth + 1)
    engine = _text(data, "engine", "auto")
    precision = _text(data, "precision", "auto")
    return PolicyFile(policy, options, engine, precision, fallback, images)


def _source(key: Any, value: Any) -> ImageSource:
    if not isinstance(key, str):
        raise ValueError(f"images has the name {shown(key)}; give the policy's name of an image")
    if not isinstance(value, dict):
        raise ValueError(
            f"images.{key} is {shown(value)}; give a mapping of {', '.join(IMAGE_KEYS)}"
        )
    _known(value, IMAGE_KEYS, f"images.{key}")
    size = value.get("size")
    if size is not None:
        if not is_size(size):
            raise ValueError(
                f"images.{key}.size is {shown(size)}; give [height, width] in pixels, each from 1 "
                f"to {LONGEST_SIDE}"
            )
        size = size[0], size[1]
    resize = _text(value, "resize", "", f"images.{key}.")
    if resize and resize not in RESIZE_MODES:
        raise ValueError(
            f"images.{key}.resize is {shown(resize)}; use one of {', '.join(RESIZE_MODES)}"
        )
    camera = _text(value, "camera", "", f"images.{key}.")
    return ImageSource(camera or key, size, resize)


def _known(data: Mapping[Any, Any], keys: tuple[str, ...], where: str) -> None:
    for key in data:
        if key not in keys:
            raise ValueError(f"{where} has the key {shown(key)}; known are {', '.join(keys)}")


def _mapping(data: Mapping[Any, Any], key: str) -> dict[Any, Any]:
    value = data.get(key, {})
    if not isinstance(value, dict):
        raise ValueError(f"{key} is {shown(value)}; give a mapping (name: value), or leave it out")
    return value


def _text(data: Mapping[Any, Any], key: str, default: str, where: str = "") -> str:
    value = data.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"{where}{key} is {shown(value)}; give a text")
    return value


def write_policy_file(path: str | Path, policy: str, **keys: Any) -> str:
    """Writes a policy file of the policy and other KEYS, as plain values. Returns its path.

    Raises:
        ValueError: it could not be read again.
    """
    import yaml

    text = yaml.safe_dump({"policy": policy, **keys}, sort_keys=False)
    Path(path).write_text(text, encoding="utf-8")
    load_policy_file(path)
    return str(path)
