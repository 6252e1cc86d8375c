"""Which features of a LeRobot dataset are images, which are numbers that a policy can be told, what
they are called, and what is left out, with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
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
class Camera:
    """`key`: the feature; `size`: (height, width), None where the dataset does not say; `video`:
    else each image is a file's bytes in the parquet."""

    key: str
    size: tuple[int, int] | None
    video: bool


@dataclass(frozen=True)
class Vector:
    """The parquet's column, and a name for each of its numbers."""

    column: str
    names: tuple[str, ...]


@dataclass
class Features:
    cameras: dict[str, Camera] = field(default_factory=dict)
    vectors: dict[str, Vector] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # feature -> why
    notes: list[str] = field(default_factory=list)  # what else a user should know, a sentence each


def sort_out(
    given: Mapping[str, Any],
    schema: Any,
    has_video: Callable[[str], bool],
    width: Callable[[str], int],
    where: str,
) -> Features:
    """`given`: what info.json lists; `schema`: of the parquet with the frames; `width`: how many
    numbers a frame the parquet has in a column, asked where info.json does not say. Raises
    ValueError where there is no action that can be learnt, or a state that cannot be read."""
    found = Features()
    needed = {
        alias if alias in given and key not in given else key: key for key, alias in ALIASES.items()
    }
    for name, described in given.items():
        feature = described if isinstance(described, Mapping) else {}
        if name in layout.COUNTERS:
            continue
        try:
            kind = feature.get("dtype") or _kind(name, schema, has_video)
            if kind in ("video", "image"):
                short = name.removeprefix(layout.IMAGES)
                if short in found.cameras:
                    raise Unfit(f"has the name of the camera in '{found.cameras[short].key}'")
                found.cameras[short] = _camera(name, feature, kind, schema)
            else:
                key = needed.get(name, name)
                found.vectors[key] = _vector(key, name, feature, schema, width, found.notes)
        except Unfit as reason:
            if name in needed:
                raise ValueError(f"{where}: '{name}' cannot be learnt: it {reason}") from None
            found.left_out[name] = f"it {reason}"
    if layout.ACTION not in found.vectors:
        raise ValueError(
            f"{where}: features lack '{layout.ACTION}'; a demonstration has actions, and this has "
            f"{', '.join(list(given)[:12])}"
        )
    if layout.STATE not in found.vectors:
        others = [key for key in found.vectors if measured(key)]
        found.notes.append(
            f"there is no '{layout.STATE}', so a model is told images and words alone"
            + (f"; a config's state can name numbers of {', '.join(others)}" if others else "")
        )
    return found


def measured(key: str) -> bool:
    """May a policy be told it? What was observed may be; rewards, ends and indices never."""
    last = key.replace("_", ".").split(".")[-1]
    return key == layout.ODOM or (key.startswith(layout.OBSERVATION) and last not in OUTCOMES)


def inputs(vectors: Mapping[str, Vector]) -> dict[str, tuple[str, int]]:
    """What a policy can be told: name -> feature and column. `observation.state` has its names for
    itself: joints have the same in a velocity or an effort, and come from there as
    `observation.velocity.JOINT`."""
    keys = [key for key in vectors if key == layout.STATE or measured(key)]
    keys.sort(key=lambda key: key != layout.STATE)
    owners = Counter(name for key in keys for name in vectors[key].names)
    return {
        name if key == layout.STATE or owners[name] == 1 else f"{key}.{name}": (key, column)
        for key in keys
        for column, name in enumerate(vectors[key].names)
    }


def _kind(name: str, schema: Any, has_video: Callable[[str], bool]) -> str:
    """Of a feature whose dtype is not given: what the parquet, or a video, says."""
    import pyarrow as pa

    if name not in schema.names:
        if has_video(name):
            return "video"
        raise Unfit("has no dtype, no column and no video")
    held = schema.field(name).type
    return "image" if pa.types.is_struct(held) or pa.types.is_binary(held) else "numbers"


def _camera(name: str, feature: Mapping[str, Any], kind: str, schema: Any) -> Camera:
    import pyarrow as pa

    about = {**_mapping(feature, "info"), **_mapping(feature, "video_info")}
    shape = _shape(feature)
    grey = str(about.get("video.pix_fmt")).startswith("gray1")  # of 10 bits and more
    if grey or about.get("is_depth_map") or about.get("video.is_depth_map"):
        raise Unfit("holds depth, and the model looks at colours")
    if shape is not None and (len(shape) != 3 or 3 not in (shape[0], shape[2])):
        raise Unfit(f"has the shape {shape}, and an image in colour is height x width x 3")
    if kind == "image":
        held = schema.field(name).type if name in schema.names else None
        if held is None or not (
            pa.types.is_binary(held) or (pa.types.is_struct(held) and _holds_bytes(held))
        ):
            raise Unfit(f"is {held or 'in no column'}, and an image is the bytes of a PNG or JPEG")
    if shape is None:
        return Camera(name, None, kind == "video")
    return Camera(
        name, (shape[0], shape[1]) if shape[2] == 3 else (shape[1], shape[2]), kind == "video"
    )


def _holds_bytes(held: Any) -> bool:
    import pyarrow as pa

    place = held.get_field_index("bytes")
    return place >= 0 and pa.types.is_binary(held[place].type)


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
    if pa.types.is_list(held) or pa.types.is_large_list(held) or pa.types.is_fixed_size_list(held):
        held = held.value_type
    if shape is not None and len(shape) > 1:
        raise Unfit(f"has the shape {shape}, and vectors are learnt")
    if not (pa.types.is_integer(held) or pa.types.is_floating(held) or pa.types.is_boolean(held)):
        raise Unfit(f"holds {held}, and numbers are learnt")
    size = width(name) if shape is None else shape[0] if shape else 1
    if size < 1:
        raise Unfit("is empty")
    names, problem = names_of(key, feature.get("names"), size)
    if problem and (key == layout.ACTION or measured(key)):
        notes.append(problem)
    return Vector(name, names)


def _mapping(feature: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = feature.get(name)
    return value if isinstance(value, Mapping) else {}


def _shape(feature: Mapping[str, Any]) -> list[int] | None:
    """None where it is not given, or is none."""
    shape = feature.get("shape")
    if isinstance(shape, list) and all(
        isinstance(side, int) and not isinstance(side, bool) for side in shape
    ):
        return shape
    return None


def names_of(key: str, given: Any, size: int) -> tuple[tuple[str, ...], str]:
    """A name for each of `size` numbers, each once, and what a user should know of them: a
    sentence, or nothing. Where the dataset names none, or others than there are numbers, they are
    `key.0`, `key.1`, ..."""
    try:
        names = _flat(given)
    except RecursionError:
        names = None
    if names is None or len(names) != size or not all(name.strip() for name in names):
        numbered = tuple(f"{key}.{place}" for place in range(size))
        what = (
            "no names"
            if given is None
            else f"names that do not fit {size} numbers ({str(given)[:80]})"
        )
        called = " to ".join(dict.fromkeys((numbered[0], numbered[-1])))
        return numbered, f"'{key}' has {what}; they are called {called}, which no robot knows"
    counts = Counter(names)
    twice = [name for name in counts if counts[name] > 1]
    if not twice:
        return tuple(names), ""
    return (
        tuple(f"{name}.{place}" if counts[name] > 1 else name for place, name in enumerate(names)),
        f"'{key}' has the name '{twice[0]}' {counts[twice[0]]} times; such numbers are called by "
        "their place too",
    )


def _flat(given: Any) -> list[str] | None:
    """`["a", "b"]` out of itself, `[["a", "b"]]`, `{"motors": ["a", "b"]}`, `{"a": 0, "b": 1}`; of
    groups that use a name twice, `{"left": ["a"], "right": ["a"]}`, `["left.a", "right.a"]`. None
    where it is none of these."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, list):
        return _joined([("", _flat(one)) for one in given])
    if not isinstance(given, Mapping):
        return None
    places = list(given.values())
    if all(isinstance(place, int) and not isinstance(place, bool) for place in places):
        if sorted(places) != list(range(len(places))):
            return None
        return [str(name) for name in sorted(given, key=lambda name: given[name])]
    if any(isinstance(group, str) for group in places):
        return None  # {"a": "rad"} tells something else than names
    return _joined([(f"{group}.", _flat(one)) for group, one in given.items()])


def _joined(parts: list[tuple[str, list[str] | None]]) -> list[str] | None:
    flat: list[tuple[str, str]] = []
    for group, names in parts:
        if names is None:
            return None
        flat += [(group, name) for name in names]
    repeated = len({name for _, name in flat}) < len(flat)
    return [group + name if repeated else name for group, name in flat]
