"""Parameters that hold more than one value."""
from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vla_ros.core.shown import shown


def policy_options(parameters: Mapping[str, Any], name: str = "policy_options") -> dict[str, Any]:
    """The parameter `name`, a JSON object. Raises ValueError."""
    text = parameters[name]
    try:
        options = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"parameter '{name}' is {shown(text)}, not a JSON object: {error}") from error
    if not isinstance(options, dict):
        raise ValueError(f"parameter '{name}' is {shown(text)}; give a JSON object like {{\"size\": 1}}")
    return options
