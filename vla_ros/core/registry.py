"""Registries: plain dicts of name -> "module:Attribute", imported only when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def lookup(registry: Mapping[str, str], name: str, kind: str) -> Any:
    """The attribute that `name` stands for. Raises ValueError that lists the known names."""
    try:
        module, attribute = registry[name].split(":")
    except KeyError:
        raise ValueError(
            f"unknown {kind} '{name}'; known are: {', '.join(sorted(registry))}"
        ) from None
    return getattr(import_module(module), attribute)
