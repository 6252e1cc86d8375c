"""What a server wants to be told, and what it answers: the options of the policy `remote`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from vla_ros.core.policy_file import KINDS, MOST_ROWS
from vla_ros.core.robot_fields import number
from vla_ros.core.robot_state import UNITS
from vla_ros.core.types import Size, is_size
from vla_ros.policies.options import (
    check_options,
    choice_by_name,
    list_of_names,
    option_is_wrong,
)

LAYOUTS = ("hwc", "chw")
JOINTS = tuple(f"joint_{count}" for count in range(1, 8))
ALOHA = (
    *(f"left_{joint}" for joint in ("waist", "shoulder", "elbow", "forearm_roll")),
    *(f"left_{joint}" for joint in ("wrist_angle", "wrist_rotate", "gripper")),
    *(f"right_{joint}" for joint in ("waist", "shoulder", "elbow", "forearm_roll")),
    *(f"right_{joint}" for joint in ("wrist_angle", "wrist_rotate", "gripper")),
)
SO101 = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
# What openpi's own servers for these robots take and give, and GR00T's.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "droid": {
        "images": {
            "observation/exterior_image_1_left": "exterior",
            "observation/wrist_image_left": "wrist",
        },
        "state": {
            "observation/joint_position": list(JOINTS),
            "observation/gripper_position": ["gripper"],
        },
        "actions": [*JOINTS, "gripper"],
        "kinds": dict.fromkeys(JOINTS, "velocity"),
        "rate": 15.0,
        "rows": 8,  # of ten that come
    },
    "libero": {
        "images": {"observation/image": "scene", "observation/wrist_image": "wrist"},
        "state": {"observation/state": ["x", "y", "z", "rx", "ry", "rz", "finger_1", "finger_2"]},
        "actions": ["x", "y", "z", "rx", "ry", "rz", "gripper"],
        "kinds": dict.fromkeys(("x", "y", "z", "rx", "ry", "rz"), "delta"),
        "rate": 10.0,
        "rows": 5,
    },
    "aloha": {
        "images": {
            "images": {
                "cam_high": "high",
                "cam_low": "low",
                "cam_left_wrist": "left_wrist",
                "cam_right_wrist": "right_wrist",
            }
        },
        "layout": "chw",
        "state": {"state": list(ALOHA)},
        "actions": list(ALOHA),
        "rate": 50.0,
        "rows": 25,
    },
    # An SO-100 or SO-101; a server of another robot has other keys, and is refused by them.
    "gr00t": {
        "protocol": "gr00t",
        "images": {"front": "front", "wrist": "wrist"},
        "image_size": [480, 640],
        "state": {"single_arm": list(SO101), "gripper": ["gripper"]},
        "prompt_key": "annotation.human.task_description",
        "actions": {"single_arm": list(SO101), "gripper": ["gripper"]},
        "units": {**dict.fromkeys(SO101, "deg"), "gripper": "0..100"},
        "rate": 30.0,
        "rows": 16,
    },
}
PROTOCOLS: Mapping[str, tuple[str, ...]] = {"openpi": ("ws", "wss"), "gr00t": ("tcp",)}
OPTIONS = (
    "url",
    "protocol",
    "preset",
    "key",
    "timeout",
    "connect_timeout",
    "images",
    "image_size",
    "layout",
    "state",
    "prompt_key",
    "actions",
    "rows",
    "prefix",
    "units",
    "kinds",
    # of the policy file
    "rate",
    "horizon",
    "history",
)
Path = tuple[str, ...]  # the keys that lead to a place in the message, from the outermost


@dataclass(frozen=True)
class RemoteOptions:
    """What stands under `options` of a policy file with `policy: remote`.

    Attributes:
        url: of the server, whole: ws://HOST:PORT/PATH, or tcp://HOST:PORT of a GR00T server.
        protocol: openpi or gr00t.
        key: the name of the environment variable with the key for it; empty: it wants none.
        timeout: for an answer, s; `connect_timeout` for a connection.
        images: place in the message -> the policy's name of the image.
        image_size: height, width of all of them, pixels; `layout` hwc or chw.
        state: place in the message -> the names of the numbers in the array there.
        prompt_key: place of the instruction.
        actions: key of the answer -> the names of the columns of the rows there.
        units, kinds: of the names in `state` and `actions`, where they are not SI units and what
            the robot's channel takes.
        rate: rows a second.
        rows: of each answer that are used; the server must send as many.
        prefix: whether what is left of the chunk before goes with a question (wire.PREFIX).
        history: observations that go with each question.
    """

    url: str
    images: Mapping[Path, str]
    state: Mapping[Path, tuple[str, ...]]
    actions: Mapping[str, tuple[str, ...]]
    rate: float
    rows: int
    protocol: str = "openpi"
    key: str = ""
    timeout: float = 2.0
    connect_timeout: float = 10.0
    image_size: Size = (224, 224)
    layout: str = "hwc"
    prompt_key: Path = ("prompt",)
    units: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    prefix: bool = True
    history: int = 1

    @property
    def columns(self) -> tuple[str, ...]:
        """All names in `actions`, in their order."""
        return tuple(name for names in self.actions.values() for name in names)


def parse_options(given: Mapping[str, Any]) -> RemoteOptions:
    """The options, with those of a preset where it names one.

    Raises:
        ValueError: a sentence with the option, its value and what is right.
    """
    check_options("remote", given, OPTIONS)
    preset = given.get("preset", "")
    if preset and preset not in PRESETS:
        raise ValueError(_is_wrong("preset", preset, f"use one of {', '.join(PRESETS)}"))
    options = {**(PRESETS[preset] if preset else {}), **given}
    if "horizon" in options:
        options.setdefault("rows", options["horizon"])
    for name in ("url", "images", "state", "actions", "rate", "rows"):
        if name not in options:
            where = "rate of its policy file" if name == "rate" else f"the option {name}"
            raise ValueError(
                f"policy 'remote' lacks {where}; a server does not say it, or not in a "
                f"way that all do (preset: {', '.join(PRESETS)} has it for openpi's own)"
            )
    protocol = options.get("protocol", "openpi")
    if protocol not in PROTOCOLS:
        raise ValueError(_is_wrong("protocol", protocol, f"use one of {', '.join(PROTOCOLS)}"))
    rows = options["rows"]
    if type(rows) is not int or not 0 < rows <= MOST_ROWS:
        raise ValueError(_is_wrong("rows", rows, f"give a whole number, 1 to {MOST_ROWS}"))
    size = options.get("image_size", [224, 224])
    if not is_size(size):
        raise ValueError(_is_wrong("image_size", size, "give [height, width] in pixels"))
    layout = options.get("layout", "hwc")
    if layout not in LAYOUTS:
        raise ValueError(_is_wrong("layout", layout, f"use one of {', '.join(LAYOUTS)}"))
    prefix = options.get("prefix", True)
    if not isinstance(prefix, bool):
        raise ValueError(_is_wrong("prefix", prefix, "give true or false"))
    prompt = options.get("prompt_key", "prompt")
    key = options.get("key", "")
    for name, text in (("prompt_key", prompt), ("key", key)):
        if not isinstance(text, str):
            raise ValueError(_is_wrong(name, text, "give a text"))
    state: dict[Path, tuple[str, ...]] = {}
    for place, names in _places(options["state"], "state").items():
        state[place] = list_of_names("remote", f"state: {'/'.join(place)}", names)
    images: dict[Path, str] = {}
    for place, image in _places(options["images"], "images").items():
        if not isinstance(image, str) or not image:
            raise ValueError(
                _is_wrong(f"images: {'/'.join(place)}", image, "give the name of an image")
            )
        images[place] = image
    _check_apart([*images, *state, (prompt,)])
    actions = _actions(options["actions"])
    columns = tuple(name for names in actions.values() for name in names)
    numbers = [name for names in state.values() for name in names]
    return RemoteOptions(
        _url(options["url"], protocol),
        images,
        state,
        actions,
        number(options["rate"], "policy 'remote': rate", above=0.0),
        rows,
        protocol,
        key,
        number(options.get("timeout", 2.0), "policy 'remote': timeout", above=0.0),
        number(options.get("connect_timeout", 10.0), "policy 'remote': connect_timeout", above=0.0),
        (size[0], size[1]),
        layout,
        (prompt,),
        choice_by_name(
            "remote", "units", options.get("units", {}), (*numbers, *columns), tuple(UNITS)
        ),
        choice_by_name("remote", "kinds", options.get("kinds", {}), columns, KINDS),
        prefix,
        options.get("history", 1),
    )


def _is_wrong(name: str, value: object, remedy: str) -> str:
    return option_is_wrong("remote", name, value, remedy)


def _actions(value: object) -> dict[str, tuple[str, ...]]:
    """A list is openpi's: one array, `actions`."""
    if not isinstance(value, Mapping):
        return {"actions": list_of_names("remote", "actions", value)}
    actions: dict[str, tuple[str, ...]] = {}
    for key, names in value.items():
        if not isinstance(key, str):
            raise ValueError(_is_wrong("actions: a key", key, "give a text"))
        actions[key] = list_of_names("remote", f"actions: {key}", names)
    list_of_names("remote", "actions", [name for names in actions.values() for name in names])
    return actions


def _url(value: object, protocol: str) -> str:
    right = "give ws://HOST:PORT, with the server's path where it has one"
    if protocol == "gr00t":
        right = "give tcp://HOST:PORT"
    if not isinstance(value, str):
        raise ValueError(_is_wrong("url", value, right))
    try:
        parts = urlsplit(value)
        port = parts.port  # a property that raises for what is none
    except ValueError:
        raise ValueError(_is_wrong("url", value, right)) from None
    if parts.scheme not in PROTOCOLS[protocol] or not parts.hostname or port == 0:
        raise ValueError(_is_wrong("url", value, right))
    # It would stand in logs and in every chunk's name of its policy.
    if parts.password or parts.username:
        raise ValueError(
            "policy 'remote': the url holds a password; put it into an environment variable, and "
            "give that one's name as key"
        )
    return value


def _places(value: object, what: str) -> dict[Path, Any]:
    """Where each entry goes in the message: nested mappings are nested maps there."""
    if not isinstance(value, Mapping):
        raise ValueError(_is_wrong(what, value, "give a mapping of the server's keys"))
    places: dict[Path, Any] = {}
    for key, entry in value.items():
        if not isinstance(key, str):
            raise ValueError(_is_wrong(f"{what}: a key", key, "give a text"))
        if isinstance(entry, Mapping):
            for place, inner in _places(entry, what).items():
                places[(key, *place)] = inner
        else:
            places[(key,)] = entry
    return places


def _check_apart(places: list[Path]) -> None:
    """Each has a place of its own, and none lies within another's."""
    for place in places:
        for other in places:
            if other is not place and other[: len(place)] == place:
                raise ValueError(
                    f"policy 'remote': '{'/'.join(place)}' stands for two things of the server's "
                    "message; each has its own key"
                )
