"""Reads a user's YAML file within bounds.

Whatever the path names, an answer comes soon and takes little memory, and nothing is printed of a
file that was not meant.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from vla_ros.core.plain_file import read_plain_file
from vla_ros.core.shown import shown

# A robot of 64 channels has 20 kB; without libyaml, a megabyte takes PyYAML 20 s.
MOST_BYTES = 256 << 10
MOST_NODES = 10_000
DEEPEST = 20
# Characters. YAML 1.1 reads 1:1:1:... as a number to the base 60, in quadratic time.
LONGEST_NUMBER = 200
# launch_ros writes a list in a node's parameters so.
_TUPLE = "tag:yaml.org,2002:python/tuple"
# libyaml's is ten times as fast, where PyYAML has it.
if TYPE_CHECKING:
    _Loader = yaml.SafeLoader
else:
    _Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: str | Path, kind: str, instead: str = "") -> dict[Any, Any]:
    """The mapping in a file, without aliases, tags and keys given twice; a tuple is a list.

    Args:
        path: of the file.
        kind: what it is, as a sentence about it begins.
        instead: what to give instead; ends a sentence about a file that is none.

    Raises:
        ValueError: a sentence that begins with `kind` and the path.
    """
    name = f"{kind} {shown(str(path), 200)}"
    text = _text(path, name, f"; {instead}" if instead else "")
    try:
        _check(text)
        data = yaml.load(text, Loader=_OnceLoader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{name}: {line}{error.problem}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ValueError(f"{name}: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{name} holds no mapping (name: value), but a {type(data).__name__}")
    return data


def _text(path: str | Path, name: str, instead: str) -> str:
    data = read_plain_file(path, name, MOST_BYTES, instead)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 text (byte {error.start}){instead}") from None


def _check(text: str) -> None:
    """Before anything is built of it: a few hundred bytes of aliases can mean gigabytes."""
    depth = count = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _error("aliases and anchors (* and &) are not read; write the value out", event)
        if isinstance(event, yaml.NodeEvent):
            count += 1
            tag = getattr(event, "tag", None)  # an alias has none
            if tag not in (None, _TUPLE):
                raise _error(f"the tag {shown(tag)} is not read; write plain values", event)
        # Before it is loaded: a number's value would be worked out there.
        value = getattr(event, "value", "")
        if len(value) > LONGEST_NUMBER and not value.strip("+-_.:0123456789"):
            raise _error(f"a number of {len(value)} characters; at most {LONGEST_NUMBER}", event)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise _error(f"nested deeper than {DEEPEST} levels", event)
        if count > MOST_NODES:
            raise _error(f"more than {MOST_NODES} values", event)


def _error(problem: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


class _OnceLoader(_Loader):
    """YAML's own loader takes the last of two equal keys, and says nothing."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()  # the keys of this mapping
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                key = self.construct_object(key_node)
                if key in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"{shown(key)} is given twice; once is right",
                        problem_mark=key_node.start_mark,
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


def _as_list(loader: Any, node: Any) -> Any:
    return loader.construct_sequence(node, deep=True)


_OnceLoader.add_constructor(_TUPLE, _as_list)
