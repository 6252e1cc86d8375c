"""The gate's parameters from ROS 2 parameter files. No ROS here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vla_ros.core.parameters import check_all
from vla_ros.nodes.node_parameters import NODE_PARAMETERS

GATE = "safety_validator"
EVERYONE = ("/**", "**")


def read_gate_parameters(path: str | Path) -> dict[str, Any]:
    """What a parameter file, like config/vla.yaml, gives the gate: only what it names.

    Raises:
        ValueError: it is no parameter file.
    """
    from vla_ros.core.yaml_file import read_yaml

    data = read_yaml(path, "parameter file", "give one like config/vla.yaml")
    known = {parameter.name for parameter in NODE_PARAMETERS[GATE]}
    found: dict[str, Any] = {}
    for name, section in data.items():
        if str(name) not in EVERYONE and str(name).rpartition("/")[2] != GATE:
            continue
        values = section.get("ros__parameters") if isinstance(section, Mapping) else None
        if not isinstance(values, Mapping):
            raise ValueError(f"parameter file {path}: '{name}' has no ros__parameters")
        for key, value in values.items():
            # a section for all nodes holds others' parameters, too
            if key in known:
                found[str(key)] = value
    return found


def files_of_command(words: Iterable[str]) -> list[str]:
    """The parameter files that a ROS 2 command line names."""
    listed = list(words)
    files: list[str] = []
    for word, following in zip(listed, listed[1:]):
        if word == "--params-file":
            files.append(following)
    return files


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """All of the gate's parameters: those given, and the defaults of the others.

    Raises:
        ValueError: there is no such parameter, or a value is not one of its.
    """
    table = NODE_PARAMETERS[GATE]
    known = {parameter.name for parameter in table}
    for name in given:
        if name not in known:
            raise ValueError(
                f"the gate has no parameter '{name}'; `vla parameters` lists those of all nodes"
            )
    return dict(check_all(table, given))
