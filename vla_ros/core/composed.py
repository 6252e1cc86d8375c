"""The command line of a process that holds several nodes.

The kind of each, then what only that one is told; in the end what all of them are told:
`camera_ingest --ros-args -p camera:=left -- synchronizer inference --ros-args -r __ns:=/vla`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

PROGRAM = "composed"
# Those that images go through. Not the gate: what takes their process down must not take the gate
# with it.
KINDS = ("camera_ingest", "synchronizer", "inference")
ROS = "--ros-args"
END = "--"  # of a node's own arguments
NAMES = ("__node:=", "__name:=")


def join(nodes: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """The words for `nodes`: of each its kind, and "--ros-args" with what follows, or nothing."""
    words: list[str] = []
    for kind, arguments in nodes:
        words += [kind, *arguments]
        if arguments:
            words.append(END)
    return words


def split(words: Sequence[str]) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """The nodes, each as its kind and its own arguments, and the arguments for all of them.

    Where no node is named it is KINDS, one of each.

    Raises:
        ValueError: a word that is no node, or a name for all of them.
    """
    nodes: list[tuple[str, list[str]]] = []
    rest = list(words)
    while rest and rest[0] in KINDS:
        kind = rest.pop(0)
        own: list[str] = []
        if rest[:1] == [ROS] and END in rest:
            end = rest.index(END)
            own = rest[:end]
            rest = rest[end + 1 :]
        nodes.append((kind, own))
    if rest and rest[0] != ROS:
        raise ValueError(f"'{rest[0]}' is no node; use {', '.join(KINDS)}, then {ROS} for all")
    for word in rest:
        if word.startswith(NAMES):
            raise ValueError(
                f"'{word}' would name every node of the process; give it to one: "
                f"{PROGRAM} {KINDS[0]} {ROS} -r {word} {END} {' '.join(KINDS[1:])}"
            )
    return nodes or [(kind, []) for kind in KINDS], rest


def node_name(kind: str, arguments: Sequence[str]) -> str:
    """What a node of `kind` is called by its arguments; ROS 2 takes the first of two rules."""
    for option, remap in zip(arguments, arguments[1:]):
        if option in ("-r", "--remap") and remap.startswith(NAMES):
            return remap.partition(":=")[2]
    return kind
