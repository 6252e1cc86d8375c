"""What every part of a robot file is read with: keys, numbers, pairs; each with a sentence."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from vla_ros.core.shown import shown

# Part of a node's name and of a topic.
ENTRY_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}", re.ASCII)
TOPIC = re.compile(r"(/?[A-Za-z_]\w*)(/[A-Za-z_]\w*)*", re.ASCII)


def topic_name(value: Any, where: str) -> str:
    """A name of a ROS topic. Raises ValueError for what is none."""
    if not isinstance(value, str) or not TOPIC.fullmatch(value):
        raise ValueError(
            f"{where} is {shown(value)}; give the name of a ROS topic: letters, digits, _ and /"
        )
    return value


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is {shown(value)}; give a mapping")
    return value


def named_entries(data: Any, part: str, most: int) -> Mapping[str, Any]:
    """A part whose keys become parts of topics and of nodes' names. Raises ValueError."""
    entries = mapping(data, part)
    if len(entries) > most:
        raise ValueError(f"{part} has {len(entries)} entries; at most {most}")
    for name in entries:
        if not isinstance(name, str) or not ENTRY_NAME.fullmatch(name):
            raise ValueError(
                f"{part} has the name {shown(name)}; give a letter, then letters, digits and _, "
                "at most 40"
            )
    return entries


def check_keys(value: Any, where: str, needed: set[str], optional: set[str]) -> None:
    """A misspelt key would be a limit that nobody keeps: unknown ones are refused."""
    # What lacks comes first: a misspelt key is both, and the right name helps more than the wrong.
    keys = set(mapping(value, where))
    if needed - keys:
        raise ValueError(f"{where} lacks {', '.join(sorted(needed - keys))}")
    if keys - needed - optional:
        unknown = ", ".join(sorted(map(str, keys - needed - optional)))
        raise ValueError(
            f"{where} has unknown {unknown}; known are {', '.join(sorted(needed | optional))}"
        )


def check_once(topics: list[str], where: str) -> None:
    for topic, count in Counter(topics).items():
        if count > 1:
            raise ValueError(f"{where}'{topic}' is listed {count} times; once is right")


def flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{where} is {shown(value)}; give true or false")
    return value


def number(value: Any, where: str, above: float = -math.inf, at_least: float = -math.inf) -> float:
    # To Python, true is the number 1.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{where} is {shown(value)}; give a finite number")
    if value <= above:
        raise ValueError(f"{where} is {value}; it must be more than {above:g}")
    if value < at_least:
        raise ValueError(f"{where} is {value}; it must be at least {at_least:g}")
    return float(value)


def optional_number(
    fields: Mapping[str, Any],
    name: str,
    where: str,
    default: float,
    above: float = -math.inf,
    at_least: float = -math.inf,
) -> float:
    """The number that stands under `name`, or its default."""
    if name not in fields:
        return default
    return number(fields[name], f"{where}: {name}", above, at_least)


def pair(value: Any, where: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{where} is {shown(value)}; give [lowest, highest]")
    # Rounded as actions are, which travel as float32: else a value at its limit would be outside.
    with np.errstate(over="ignore"):
        low, high = [number(float(np.float32(number(end, where))), where) for end in value]
    if low >= high:
        raise ValueError(f"{where} is {shown(value)}; the lowest must be below the highest")
    return low, high
