"""Writes config/vla.yaml from the one table of parameters: `python3 -m vla_ros.tools.parameters > config/vla.yaml`."""
from __future__ import annotations

import json
import math

from vla_ros.core.node_parameters import NODE_PARAMETERS
from vla_ros.core.parameters import Parameter

HEAD = """\
# Every parameter of every node, at its default. Made from vla_ros/core/node_parameters.py by
#   python3 -m vla_ros.tools.parameters > config/vla.yaml
# Copy this file, change what you need, and give it to the launch file as params_file. [live] may change
# while the node is active (`ros2 param set`); the others need the node to be cleaned up and configured.
"""


def render() -> str:
    lines = [HEAD]
    for node, table in NODE_PARAMETERS.items():
        lines += [f"/**/{node}:", "  ros__parameters:"]
        for parameter in table:
            lines += [f"    # {_meaning(parameter)}", f"    {parameter.name}: {json.dumps(parameter.default)}"]
        lines.append("")
    return "\n".join(lines)


def _meaning(parameter: Parameter) -> str:
    parts = [parameter.description]
    if parameter.choices:
        parts.append(f"one of {', '.join(parameter.choices)}")
    if math.isfinite(parameter.low) or math.isfinite(parameter.high):
        parts.append(f"{parameter.low:g} to {parameter.high:g}")
    if parameter.unit:
        parts.append(parameter.unit)
    return "; ".join(parts) + (" [live]" if parameter.live else "")


if __name__ == "__main__":
    print(render(), end="")
