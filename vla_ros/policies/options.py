"""A policy's options: which it has, and those that several have, checked in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vla_ros.core.shown import shown


def check_options(policy: str, options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raises ValueError for an option that the policy does not have."""
    for name in sorted(set(options) - set(known), key=str):
        raise ValueError(
            f"policy '{policy}' has no option {shown(name)}; it has {', '.join(known)}"
        )


def option_is_wrong(policy: str, name: str, value: object, remedy: str) -> str:
    """The sentence about an option's value."""
    return f"policy '{policy}': {name} is {shown(value)}; {remedy}"


def list_of_names(policy: str, what: str, value: object) -> tuple[str, ...]:
    """The names in a list, each once. Raises ValueError for what is none, or empty."""
    texts = isinstance(value, list) and all(isinstance(name, str) and name for name in value)
    if not isinstance(value, list) or not value or not texts:
        raise ValueError(option_is_wrong(policy, what, value, "give a list of names"))
    names: tuple[str, ...] = tuple(value)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"policy '{policy}': {what} has '{name}' {names.count(name)} times; once is right"
            )
    return names


def choice_by_name(
    policy: str, what: str, value: object, names: Sequence[str], choices: Sequence[str]
) -> dict[str, str]:
    """Name -> one of `choices`, for some of `names`. Raises ValueError for anything else."""
    if not isinstance(value, Mapping):
        raise ValueError(option_is_wrong(policy, what, value, "give a mapping of name: value"))
    for name, choice in value.items():
        if name not in names:
            remedy = f"the names are {', '.join(names)}"
            raise ValueError(option_is_wrong(policy, what, name, remedy))
        if choice not in choices:
            remedy = f"use {', '.join(choices)}"
            raise ValueError(option_is_wrong(policy, f"{what}: {name}", choice, remedy))
    return dict(value)


def thread_count(policy: str, threads: object) -> int:
    """The option `threads`. Raises ValueError for what is no number of threads."""
    # To Python, true is the number 1.
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(
            f"policy '{policy}': threads is {threads!r}; give a whole number from 1 up"
        )
    return threads
