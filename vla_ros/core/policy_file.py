"""The policy file: which policy drives, and how; written once for every node.

policy: my_package.wander:Wander
options: {speed: 0.2}
images:
  front: {camera: left, size: [224, 224], resize: crop}
state:
  - {name: shoulder_pan.pos, from: shoulder_pan, unit: deg}
actions:
  - {name: shoulder_pan.pos, to: shoulder_pan, unit: deg, kind: position}
  - {name: gripper.pos, to: gripper, closed: 0, open: 100}
rate: 30
horizon: 15
history: {observations: 2, spacing: 0.1}
prompt: "{instruction}, then go home"
fallback: careful.yaml
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_ros.core.robot_fields import number
from vla_ros.core.robot_state import UNITS
from vla_ros.core.shown import shown
from vla_ros.core.types import LONGEST_SIDE, RESIZE_MODES, Size, is_size

DEFAULT_POLICY = "color_servo"  # where nobody says which
ENGINES = ("auto", "tensorrt_rtx", "tensorrt", "inductor", "onnxruntime", "eager")
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8", "fp8")
KEYS = (
    "policy",
    "options",
    "engine",
    "precision",
    "fallback",
    "images",
    "state",
    "actions",
    "rate",
    "horizon",
    "history",
    "prompt",
)
# Every policy has these; as an option of a policy's own, nobody would know which of both counts.
NO_OPTIONS = ("engine", "precision", "rate", "horizon", "history", "prompt")
IMAGE_KEYS = ("camera", "size", "resize")
STATE_KEYS = ("name", "from", "unit", "closed", "open")
ACTION_KEYS = ("name", "to", "unit", "kind", "closed", "open")
HISTORY_KEYS = ("observations", "spacing", "missing")
MISSING = ("repeat", "refuse")
MOST_OBSERVATIONS = 32  # of a history
HIGHEST_RATE_HZ = 1000.0
MOST_ROWS = 1000  # of a chunk: at 50 a second, twenty seconds
INSTRUCTION = "{instruction}"  # where the operator's words stand in a prompt
# What a number of a row is: where the joint shall be, how fast it shall move, how far from where it
# was at the row before, or from where it was at the observation.
KINDS = ("position", "velocity", "delta", "relative")


@dataclass(frozen=True)
class ImageSource:
    """Where one of the policy's images comes from. No size, no resize: as the policy wants it."""

    camera: str
    size: Size | None = None  # height, width in pixels
    resize: str = ""


@dataclass(frozen=True)
class PolicyNumber:
    """How a number of the policy, of its state or its actions, is one of the robot's.

    Attributes:
        name: The policy's name of it.
        robot: The robot's: of `state` in the robot file, or of a channel. Empty: an action that
            this robot does not have, and that is dropped.
        unit: The policy's; empty: as the policy's spec says, else SI.
        kind: Of an action, one of KINDS; empty: as the spec says, else what the channel is.
        closed, open: The policy's values of a gripper that is 0 closed and 1 open for the robot;
            both or neither.
    """

    name: str
    robot: str
    unit: str = ""
    kind: str = ""
    closed: float | None = None
    open: float | None = None


@dataclass(frozen=True)
class History:
    """The observations that a policy is given: the newest, and those before it.

    Attributes:
        observations: How many, the newest one counted; 0: as the policy's spec says.
        spacing: From one to the next, s; 0: as the spec says.
        missing: Where an earlier one is not there (yet): `repeat` the oldest that is, or `refuse`:
            the robot holds until all are there.
    """

    observations: int = 0
    spacing: float = 0.0
    missing: str = "repeat"


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
        state, actions: How the policy's numbers are the robot's. What is not here has the same name
            and unit for both.
        rate: Rows a second that the policy means; 0: as its spec says.
        horizon: Rows of a chunk that are executed before the next is taken; 0: all of them, and the
            next is taken as soon as it is there.
        history: The earlier observations that the policy is given.
        prompt: What the policy is told: a text in which INSTRUCTION stands for the operator's
            words, or one that takes their place. Empty: the words themselves.
    """

    policy: str
    options: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "auto"
    precision: str = "auto"
    fallback: PolicyFile | None = None
    images: Mapping[str, ImageSource] = field(default_factory=dict)
    state: tuple[PolicyNumber, ...] = ()
    actions: tuple[PolicyNumber, ...] = ()
    rate: float = 0.0
    horizon: int = 0
    history: History = History()
    prompt: str = ""

    def prompted(self, words: str) -> str:
        """What the policy is told for the operator's words; nothing for none."""
        if not self.prompt or not words.strip():
            return words
        return self.prompt.replace(INSTRUCTION, words)


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
    for key in NO_OPTIONS:
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
    state = _numbers(data, "state", STATE_KEYS, "from")
    actions = _numbers(data, "actions", ACTION_KEYS, "to")
    return PolicyFile(
        policy,
        options,
        engine,
        precision,
        fallback,
        images,
        state,
        actions,
        _rate(data),
        _count(data, "horizon", MOST_ROWS, "rows of a chunk that are executed"),
        _history(data),
        _prompt(data),
    )


def _rate(data: Mapping[Any, Any]) -> float:
    if "rate" not in data:
        return 0.0
    rate = number(data["rate"], "rate", above=0.0)
    if rate > HIGHEST_RATE_HZ:
        raise ValueError(f"rate is {rate:g}; give rows a second, {HIGHEST_RATE_HZ:g} at most")
    return rate


def _count(data: Mapping[Any, Any], key: str, most: int, what: str, where: str = "") -> int:
    """A whole number; 0 where it is not given."""
    value = data.get(key, 0)
    # `type`, since to `isinstance` true is a whole number.
    if key in data and (type(value) is not int or not 1 <= value <= most):
        raise ValueError(f"{where}{key} is {shown(value)}; give the {what}, 1 to {most}")
    count: int = value
    return count


def _history(data: Mapping[Any, Any]) -> History:
    entry = _mapping(data, "history")
    _known(entry, HISTORY_KEYS, "history")
    what = "observations that the policy is given"
    observations = _count(entry, "observations", MOST_OBSERVATIONS, what, "history: ")
    spacing = 0.0
    if "spacing" in entry:
        spacing = number(entry["spacing"], "history: spacing", above=0.0)
    missing = _text(entry, "missing", "repeat", "history: ")
    if missing not in MISSING:
        raise ValueError(f"history: missing is {shown(missing)}; use one of {', '.join(MISSING)}")
    return History(observations, spacing, missing)


def _prompt(data: Mapping[Any, Any]) -> str:
    prompt = _text(data, "prompt", "")
    if "prompt" in data and not prompt.strip():
        raise ValueError("prompt is empty; give the policy's words, or leave it out")
    rest = prompt.replace(INSTRUCTION, "")
    if "{" in rest or "}" in rest:
        raise ValueError(
            f"prompt is {shown(prompt)}; {INSTRUCTION} stands for the operator's words, and no "
            "other braces are known"
        )
    return prompt


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


def _numbers(
    data: Mapping[Any, Any], key: str, known: tuple[str, ...], robots: str
) -> tuple[PolicyNumber, ...]:
    """`robots`: the key of the robot's name of a number."""
    entries = data.get(key, [])
    if not isinstance(entries, list):
        raise ValueError(f"{key} is {shown(entries)}; give a list of {{name: ..., {robots}: ...}}")
    numbers: list[PolicyNumber] = []
    for count, entry in enumerate(entries, 1):
        where = f"{key}, entry {count}"
        if not isinstance(entry, dict):
            raise ValueError(f"{where} is {shown(entry)}; give a mapping of {', '.join(known)}")
        _known(entry, known, where)
        numbers.append(_number(entry, where, robots))
    names = [number.name for number in numbers]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{key} has {shown(name)} {names.count(name)} times; once is right")
    return tuple(numbers)


def _number(entry: Mapping[Any, Any], where: str, robots: str) -> PolicyNumber:
    name = _text(entry, "name", "", f"{where}: ")
    if not name:
        raise ValueError(f"{where} lacks name: what the policy calls it")
    where = f"{where} ({shown(name)}): "
    # `to:` with nothing behind it drops the action; it must be written, not forgotten.
    dropped = robots == "to" and robots in entry and entry[robots] is None
    robot = "" if dropped else _text(entry, robots, name, where)
    if not robot and not dropped:
        raise ValueError(f"{where}{robots} is empty; give the robot's name of it")
    unit = _text(entry, "unit", "", where)
    if unit and unit not in UNITS:
        raise ValueError(f"{where}unit is {shown(unit)}; use one of {', '.join(UNITS)}")
    kind = _text(entry, "kind", "", where)
    if kind and kind not in KINDS:
        raise ValueError(f"{where}kind is {shown(kind)}; use one of {', '.join(KINDS)}")
    ends = [key for key in ("closed", "open") if key in entry]
    if not ends:
        return PolicyNumber(name, robot, unit, kind)
    if len(ends) == 1:
        raise ValueError(f"{where}{ends[0]} stands alone; give closed and open, or neither")
    if unit:
        raise ValueError(f"{where}unit stands beside closed and open; they say how it is scaled")
    closed = number(entry["closed"], f"{where}closed")
    opened = number(entry["open"], f"{where}open")
    if closed == opened:
        raise ValueError(f"{where}closed and open are both {closed:g}; they must differ")
    return PolicyNumber(name, robot, "", kind, closed, opened)


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
