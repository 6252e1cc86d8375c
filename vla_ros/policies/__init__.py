"""One file a policy. A policy turns an observation into rows; base.py says what one has.

A policy is asked for by its name in POLICIES, by that of an entry point of the group
`vla_ros.policies` in any installed package, or as `module:Class`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

from vla_ros.core.shown import shown
from vla_ros.policies.base import Policy, PolicySpec

POLICIES = {
    "constant": "vla_ros.policies.constant:Constant",
    "color_servo": "vla_ros.policies.color_servo.policy:ColorServo",
    "builtin": "vla_ros.policies.builtin:Builtin",
}
GROUP = "vla_ros.policies"  # of entry points
METHODS = ("spec", "predict", "reset")
LEARNED = "builtin"
PLAIN = "color_servo"


def known() -> list[str]:
    """The names of ours and of the entry points, sorted."""
    return sorted({*POLICIES, *(point.name for point in entry_points(group=GROUP))})


def policy_class(name: str) -> type[Policy]:
    """The class that `name` stands for; no installed package takes the place of one of ours.

    Raises ValueError for a name that is not known, a module that is not there or raises, and a
    class that is no policy.
    """
    place = POLICIES.get(name) or _entry_point(name)
    if not place and ":" not in name:
        raise ValueError(
            f"unknown policy {shown(name)}; known are: {', '.join(known())}; "
            "one of your own is module:Class"
        )
    place = place or name
    module_name, _, class_name = place.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), class_name)):
        raise ValueError(
            f"policy {shown(name)} is none; give module:Class, like my_package.wander:Wander"
        )
    what = f"policy '{name}'" if place == name else f"policy '{name}' ({place})"
    module = imported_module(module_name, what)
    if not hasattr(module, class_name):
        classes = [key for key, value in vars(module).items() if hasattr(value, "predict")]
        file = getattr(module, "__file__", "built in")
        raise ValueError(
            f"{what}: module '{module_name}' ({file}) has no class '{class_name}'; "
            f"its policies are: {', '.join(classes) or 'none'}"
        )
    found = getattr(module, class_name)
    if not isinstance(found, type):
        raise ValueError(f"{what}: '{class_name}' is a {type(found).__name__}; give a class")
    lacking = [method for method in METHODS if not callable(getattr(found, method, None))]
    if lacking:
        raise ValueError(
            f"{what}: class '{class_name}' has no {', no '.join(lacking)}; "
            "a policy has spec, predict and reset (vla_ros/policies/base.py)"
        )
    return found


def _entry_point(name: str) -> str:
    """Where the entry point of that name points to; empty: there is none."""
    places = sorted({point.value for point in entry_points(group=GROUP) if point.name == name})
    if len(places) > 1:
        raise ValueError(
            f"policy '{name}' is offered by several packages: {', '.join(places)}; "
            "give the one you mean as module:Class"
        )
    return places[0].split("[")[0].strip() if places else ""


def imported_module(module: str, what: str) -> Any:
    """A module of the user's; `what` begins the sentence of the ValueError where it cannot be
    imported."""
    try:
        return import_module(module)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module}.".startswith(f"{missing}."):
            raise ValueError(
                f"{what}: there is no module '{missing}' here; install its package "
                "where the nodes run, or put its folder on PYTHONPATH"
            ) from None
        raise ValueError(
            f"{what}: importing '{module}' raised {type(error).__name__}: "
            f"{shown(str(error), 300)}; python3 -c 'import {module}' shows where"
        ) from error


def policy_spec(name: str, options: Mapping[str, Any] | None = None) -> PolicySpec:
    """What policy `name` wants from the nodes; loads no weights. Raises ValueError."""
    spec: Any = policy_class(name).spec(dict(options or {}))
    if not isinstance(spec, PolicySpec):
        raise ValueError(
            f"policy '{name}': spec gives a {type(spec).__name__}; a PolicySpec is right"
        )
    return spec


def make_policy(
    name: str,
    options: Mapping[str, Any] | None = None,
    engine: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Policy:
    """The policy itself, ready to predict. One that runs on engines (ON_ENGINES) is also given
    `engine`, the options of that name, and `say`, which hears what takes long. Raises ValueError
    for a bad name or option."""
    kind: Any = policy_class(name)
    given = dict(options or {})
    policy: Policy = (
        kind({**(engine or {}), **given}, say)
        if getattr(kind, "ON_ENGINES", False)
        else kind(given)
    )
    if not isinstance(getattr(policy, "name", None), str):
        raise ValueError(
            f"policy '{name}' has no name; give its class one, like name = \"wander@1\""
        )
    return policy


def demo_policy() -> tuple[str, str]:
    """The policy that a demo takes when nobody chose one, and why where it is not the learned
    one."""
    if find_spec("torch") is None:
        return PLAIN, (
            f"torch is not installed, so {PLAIN} drives and not the learned policy, which pip "
            "install torch "
            "safetensors makes run"
        )
    try:
        policy_spec(LEARNED)
    except ValueError as problem:
        return PLAIN, f"{PLAIN} drives and not the learned policy: {problem}"
    return LEARNED, ""
