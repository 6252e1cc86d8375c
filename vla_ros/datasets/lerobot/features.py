"""Which features of a LeRobot dataset are images, and which numbers that a policy can be told.

What they are called, and what is left out, with the reason.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vla_ros.datasets.lerobot import layout

# Other people's words for the same; taken where the dataset has no feature of the right name.
ALIASES = {layout.ACTION: "actions", layout.STATE: "state"}
# A policy that is told these learns to read the outcome instead of the image; on the robot nobody
# knows them.
OUTCOMES = {"reward", "done", "success", "truncated", "terminated", "index", "timestamp"}


class Unfit(ValueError):
    """Why a feature is left out, as the end of a sentence that begins with its name."""


@dataclass(frozen=True)
class ImageFeature:
    """A feature of images."""

    key: str  # the feature's name
    size: tuple[int, int] | None  # height, width; None where the dataset does not say
    video: bool  # else the parquet has each image: a file's bytes, or its place in the dataset


@dataclass(frozen=True)
class Vector:
    """The parquet's column, and a name for each of its numbers."""

    column: str
    names: tuple[str, ...]


@dataclass
class Features:
    """A dataset's features, sorted out."""

    cameras: dict[str, ImageFeature] = field(default_factory=dict)  # by the camera's name
    vectors: dict[str, Vector] = field(default_factory=dict)  # by the feature's name, as here
    left_out: dict[str, str] = field(default_factory=dict)  # feature -> why
    notes: list[str] = field(default_factory=list)  # what else a user should know, a sentence each


def sort_out(
    given: Mapping[str, Any],
    schema: Any,
    has_video: Callable[[str], bool],
    width: Callable[[str], int],
    where: str,
) -> Features:
    """What each feature is to a model.

    Args:
        given: What info.json lists, by name.
        schema: Of the parquet with the frames.
        has_video: Whether a feature has one.
        width: How many numbers a frame the parquet has in a column; asked where info.json does not
            say.
        where: The file that sentences name.

    Raises:
        ValueError: Where there is no action that can be learnt, or a state that cannot be read.
    """
    features = Features()
    needed: dict[str, str] = {}  # as the dataset calls it -> as it is called here
    for key, alias in ALIASES.items():
        name = alias if alias in given and key not in given else key
        needed[name] = key
    for name, described in given.items():
        if name in layout.COUNTERS or name == layout.CONTROL_SOURCE:  # words, which `read` has
            continue
        feature = described if isinstance(described, Mapping) else {}
        try:
            kind = feature.get("dtype") or _kind(name, schema, has_video)
            if kind in ("video", "image"):
                short = name.removeprefix(layout.IMAGES)
                if short in features.cameras:
                    raise Unfit(f"has the name of the camera in '{features.cameras[short].key}'")
                features.cameras[short] = _camera(name, feature, kind, schema)
            else:
                key = needed.get(name, name)
                features.vectors[key] = _vector(key, name, feature, schema, width, features.notes)
        except Unfit as reason:
            # without actions or a state nothing is learnt; a camera or a reward fewer is a note
            if name in needed:
                raise ValueError(f"{where}: '{name}' cannot be learnt: it {reason}") from None
            features.left_out[name] = f"it {reason}"
    if layout.ACTION not in features.vectors:
        raise ValueError(
            f"{where}: features lack '{layout.ACTION}'; a demonstration has actions, and this has "
            f"{', '.join(list(given)[:12])}"
        )
    if layout.STATE not in features.vectors:
        note = f"there is no '{layout.STATE}', so a model is told images and words alone"
        others = ", ".join(filter(measured, features.vectors))
        if others:
            note += f"; a config's state can name numbers of {others}"
        features.notes.append(note)
    return features


def measured(key: str) -> bool:
    """May a policy be told it? What was observed may be; rewards, ends and indices never."""
    # observation.next_reward and observation.next.reward are the same to us
    last = key.replace("_", ".").split(".")[-1]
    return key == layout.ODOM or (key.startswith(layout.OBSERVATION) and last not in OUTCOMES)


def inputs(vectors: Mapping[str, Vector]) -> dict[str, tuple[str, int]]:
    """What a policy can be told: name -> feature and column.

    `observation.state` has its names for itself: joints have the same in a velocity or an effort,
    and come from there as `observation.velocity.JOINT`.
    """
    keys = sorted(filter(measured, vectors), key=lambda key: key != layout.STATE)
    owners: Counter[str] = Counter()  # name -> features that have it
    for key in keys:
        owners.update(vectors[key].names)
    places: dict[str, tuple[str, int]] = {}
    for key in keys:
        for column, name in enumerate(vectors[key].names):
            plain = key == layout.STATE or owners[name] == 1
            places[name if plain else f"{key}.{name}"] = key, column
    return places


def _kind(name: str, schema: Any, has_video: Callable[[str], bool]) -> str:
    """Of a feature whose dtype is not given: what the parquet, or a video, says."""
    import pyarrow as pa

    if name not in schema.names:
        if has_video(name):
            return "video"
        raise Unfit("has no dtype, no column and no video")
    held = schema.field(name).type
    return "image" if pa.types.is_struct(held) or pa.types.is_binary(held) else "numbers"


def _camera(name: str, feature: Mapping[str, Any], kind: str, schema: Any) -> ImageFeature:
    import pyarrow as pa

    # older datasets say under `video_info` what newer ones say under `info`
    about = {**_mapping(feature, "info"), **_mapping(feature, "video_info")}
    shape = _shape(feature)
    grey = str(about.get("video.pix_fmt")).startswith("gray1")  # of 10 bits and more
    if grey or about.get("is_depth_map") or about.get("video.is_depth_map"):
        raise Unfit("holds depth, and the model looks at colours")
    if shape is not None and (len(shape) != 3 or 3 not in (shape[0], shape[2])):
        raise Unfit(f"has the shape {shape}, and an image in colour is height x width x 3")
    if kind == "image":
        held = schema.field(name).type if name in schema.names else None
        plain = held is not None and (pa.types.is_binary(held) or pa.types.is_string(held))
        if held is None or not (plain or (pa.types.is_struct(held) and _holds_image(held))):
            raise Unfit(
                f"is {held or 'in no column'}, and an image is the bytes or the path of a PNG or "
                "JPEG"
            )
    size = None
    if shape is not None:
        # the three colours come last, or as torch has them first
        size = (shape[0], shape[1]) if shape[2] == 3 else (shape[1], shape[2])
    return ImageFeature(name, size, kind == "video")


def is_list(held: Any) -> bool:
    """Whether a pyarrow type is one of the three that hold a vector in each row."""
    import pyarrow as pa

    return bool(
        pa.types.is_list(held) or pa.types.is_large_list(held) or pa.types.is_fixed_size_list(held)
    )


def _holds_image(held: Any) -> bool:
    """Whether a struct is that of Hugging Face's images, {bytes, path}, or half of it."""
    import pyarrow as pa

    for name, is_right in (("bytes", pa.types.is_binary), ("path", pa.types.is_string)):
        place = held.get_field_index(name)
        if place >= 0 and is_right(held[place].type):
            return True
    return False


def _vector(
    key: str,
    name: str,
    feature: Mapping[str, Any],
    schema: Any,
    width: Callable[[str], int],
    notes: list[str],
) -> Vector:
    import pyarrow as pa

    if name not in schema.names:
        raise Unfit("has no column in the parquet")
    held = schema.field(name).type
    shape = _shape(feature)
    if is_list(held):
        held = held.value_type
    if shape is not None and len(shape) > 1:
        raise Unfit(f"has the shape {shape}, and vectors are learnt")
    if not (pa.types.is_integer(held) or pa.types.is_floating(held) or pa.types.is_boolean(held)):
        raise Unfit(f"holds {held}, and numbers are learnt")
    if shape is None:
        size = width(name)
    else:
        size = shape[0] if shape else 1  # [] is the shape of one number
    if size < 1:
        raise Unfit("is empty")
    names, problem = names_of(key, feature.get("names"), size)
    # of what no policy is told, a user need not know
    if problem and (key == layout.ACTION or measured(key)):
        notes.append(problem)
    return Vector(name, names)


def _mapping(feature: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = feature.get(name)
    return value if isinstance(value, Mapping) else {}


def _shape(feature: Mapping[str, Any]) -> list[int] | None:
    """None where it is not given, or is none."""
    shape = feature.get("shape")
    if isinstance(shape, list) and all(map(_is_whole, shape)):
        return shape
    return None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def names_of(key: str, given: Any, size: int) -> tuple[tuple[str, ...], str]:
    """A name for each of a feature's numbers, each once, and what a user should know of them.

    Args:
        key: The feature. Where the dataset names no numbers, or others than there are, they are
            `key.0`, `key.1`, ...
        given: What info.json says of their names.
        size: How many numbers there are.

    Returns:
        The names, and a sentence, or nothing.
    """
    try:
        names = _flat(given)
    except RecursionError:  # lists within lists, thousands deep
        names = None
    if names is None or len(names) != size or not all(map(str.strip, names)):
        numbered = tuple(f"{key}.{place}" for place in range(size))
        if given is None:
            problem = "no names"
        else:
            problem = f"names that do not fit {size} numbers ({str(given)[:80]})"
        # one name, where there is one number
        called = " to ".join(dict.fromkeys((numbered[0], numbered[-1])))
        return numbered, f"'{key}' has {problem}; they are called {called}, which no robot knows"
    counts = Counter(names)
    if len(counts) == len(names):
        return tuple(names), ""
    unique: list[str] = []
    for place, name in enumerate(names):
        unique.append(f"{name}.{place}" if counts[name] > 1 else name)
    repeated = next(name for name in names if counts[name] > 1)
    return (
        tuple(unique),
        f"'{key}' has the name '{repeated}' {counts[repeated]} times; such numbers are called by "
        "their place too",
    )


def _flat(given: Any) -> list[str] | None:
    """The names in whatever datasets have them in; None where it is none of these.

    `["a", "b"]` out of itself, `[["a", "b"]]`, `{"motors": ["a", "b"]}`, `{"a": 0, "b": 1}`; of
    groups that use a name twice, `{"left": ["a"], "right": ["a"]}`, `["left.a", "right.a"]`.
    """
    if isinstance(given, str):
        return [given]
    if isinstance(given, list):
        return _joined([""] * len(given), given)
    if not isinstance(given, Mapping):
        return None
    places = list(given.values())
    if all(map(_is_whole, places)):
        if sorted(places) != list(range(len(places))):
            return None
        return list(map(str, sorted(given, key=lambda name: given[name])))
    if any(isinstance(group, str) for group in places):
        return None  # {"a": "rad"} tells something else than names
    return _joined([f"{group}." for group in given], places)


def _joined(groups: Sequence[str], parts: Sequence[Any]) -> list[str] | None:
    """The names of all parts, each behind its group's where several parts have the same."""
    prefixes: list[str] = []
    names: list[str] = []
    for group, part in zip(groups, parts):
        flat = _flat(part)
        if flat is None:
            return None
        prefixes += [group] * len(flat)
        names += flat
    if len(set(names)) == len(names):
        return names
    return list(map(operator.add, prefixes, names))
