"""A message's definition as MCAP's `ros2msg` wants it, from the class that rosidl generated."""

from __future__ import annotations

import re
from typing import Any

from vla_ros.nodes.common.message_class import message_class

SEPARATOR = "=" * 80
# rosidl's own names -> those of a .msg file
NAMES = {"boolean": "bool", "octet": "byte", "float": "float32", "double": "float64"}
FIELD = re.compile(
    r"(?P<sequence>sequence<)?(?P<base>[\w/]+)(?:<(?P<length>\d+)>)?"
    r"(?:, (?P<most>\d+)>|>)?(?:\[(?P<count>\d+)\])?"
)


def definition(kind: str) -> str:
    """The definition of a message and, below it, of all that it is made of.

    Args:
        kind: as "std_msgs/msg/String".
    """
    parts: list[str] = []
    seen = [kind]
    for name in seen:  # grows while it is gone through
        lines, used = _lines(message_class(name))
        if parts:
            parts.append(f"{SEPARATOR}\nMSG: {name.replace('/msg/', '/')}")
        parts.append("\n".join(lines))
        seen += [other for other in dict.fromkeys(used) if other not in seen]
    return "\n".join(parts) + "\n"


def _lines(message: Any) -> tuple[list[str], list[str]]:
    """The lines of one definition, and the messages that it names."""
    lines: list[str] = []
    used: list[str] = []
    fields = message.get_fields_and_field_types()
    for name, described in fields.items():
        found = FIELD.fullmatch(described)
        if found is None:  # no field of ours
            raise ValueError(f"{message.__name__}.{name} is of type {described}; it is not known")
        base = NAMES.get(found["base"], found["base"])
        if "/" in base:
            used.append(base.replace("/", "/msg/"))
        text = base + (f"<={found['length']}" if found["length"] else "")
        if found["count"]:
            text += f"[{found['count']}]"
        elif found["sequence"]:
            text += f"[<={found['most']}]" if found["most"] else "[]"
        lines.append(f"{text} {name}")
    # An empty message has a byte in CDR, which a .msg file does not name.
    return ([] if list(fields) == ["structure_needs_at_least_one_member"] else lines), used
