"""A node's parameter, declared once: type, default, unit, bounds, meaning. No ROS here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vla_ros.core.shown import shown

Value = bool | int | float | str | list[str]

_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list of texts",
}


@dataclass(frozen=True)
class Parameter:
    """What a node may be configured with, and what it is if nobody says.

    Attributes:
        default: its type is the parameter's.
        low, high: what a number may be, in `unit`, both included.
        choices: what a text may be; empty: any.
        live: it may change while the node is active.
    """

    name: str
    default: Value
    description: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    live: bool = False

    def check(self, value: Any) -> Value:
        """`value` as this parameter's type.

        Raises:
            ValueError: a sentence with the name, the value and what is wanted.
        """
        kind = type(self.default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)  # `rate: 50` in YAML is an integer
        if kind is list and isinstance(value, (tuple, list)):
            value = [*value]
        # To Python, true is a whole number.
        right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if right and kind is list:
            right = all(isinstance(item, str) for item in value)
        if right and kind in (int, float):
            right = math.isfinite(value) and self.low <= value <= self.high
        if not right:
            raise ValueError(
                f"parameter '{self.name}' is {shown(value)}; give {_KINDS[kind]}{self._range()}"
            )
        if self.choices and value not in self.choices:
            raise ValueError(
                f"parameter '{self.name}' is {shown(value)}; use one of {', '.join(self.choices)}"
            )
        checked: Value = value
        return checked

    def _range(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if math.isinf(self.low) and math.isinf(self.high):
            return unit and f" in{unit}"
        return f" from {self.low:g} to {self.high:g}{unit}"


def check_all(table: Iterable[Parameter], values: Mapping[str, Any]) -> dict[str, Value]:
    """Every parameter of `table`, checked, from `values` or its default. Raises ValueError."""
    checked: dict[str, Value] = {}
    for parameter in table:
        value = values.get(parameter.name, parameter.default)
        checked[parameter.name] = parameter.check(value)
    return checked
