"""`vla parameters`: every parameter of every node at its default, as a parameter file.

vla parameters > my.yaml
"""

from __future__ import annotations

import argparse
import json
import math

from vla_ros.core.parameters import Parameter

HEAD = """\
# Every parameter of every node, at its default. Made from vla_ros/nodes/node_parameters.py by
#   vla parameters > config/vla.yaml
# Copy this file, change what you need, and give it to the launch file as params_file. [live] may
# change while the node is active (`ros2 param set`); the others need the node to be cleaned up and
# configured.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(options: argparse.Namespace) -> int:
    """Print the file; 0."""
    print(render(), end="")
    return 0


def render() -> str:
    """The whole file."""
    from vla_ros.nodes.node_parameters import NODE_PARAMETERS  # brings OpenCV

    lines = [HEAD]
    for node, table in NODE_PARAMETERS.items():
        lines += [f"/**/{node}:", "  ros__parameters:"]
        for parameter in table:
            lines.append(f"    # {_meaning(parameter)}")
            # JSON is YAML, and never takes a text for a number
            lines.append(f"    {parameter.name}: {json.dumps(parameter.default)}")
        lines.append("")  # between two nodes
    return "\n".join(lines)


def _meaning(parameter: Parameter) -> str:
    """What it does, which values it takes, its unit, and when it may change."""
    parts = [parameter.description]
    if parameter.choices:
        parts.append(f"one of {', '.join(parameter.choices)}")
    if math.isfinite(parameter.low) or math.isfinite(parameter.high):
        parts.append(f"{parameter.low:g} to {parameter.high:g}")
    if parameter.unit:
        parts.append(parameter.unit)
    return "; ".join(parts) + (" [live]" if parameter.live else "")
