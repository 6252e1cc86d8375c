"""One file a policy. A policy turns an observation into rows; base.py says what one has.

A policy is asked for by its name in POLICIES, by that of an entry point of the group
`vla_ros.policies` in any installed package, or as `module:Class`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

from vla_ros.core.policy_file import PolicyFile
from vla_ros.core.shown import shown
from vla_ros.core.types import to_nanoseconds
from vla_ros.policies.base import Policy, PolicySpec

POLICIES = {
    "constant": "vla_ros.policies.constant:Constant",
    "color_servo": "vla_ros.policies.color_servo.policy:ColorServo",
    "builtin": "vla_ros.policies.builtin:Builtin",
    "remote": "vla_ros.policies.remote.policy:Remote",
    "ros_service": "vla_ros.policies.ros_service:RosService",
    "lerobot": "vla_ros.policies.lerobot.policy:LeRobot",
    "builtin_arm": "vla_ros.policies.builtin_arm:BuiltinArm",
}
ENTRY_POINT_GROUP = "vla_ros.policies"
METHODS = ("spec", "predict", "reset")
# what a demo takes when nobody chose a policy: the learned one where torch is, else the plain one
LEARNED = "builtin"
PLAIN = "color_servo"


def known() -> list[str]:
    """The names of ours and of the entry points, sorted."""
    return sorted({*POLICIES, *entry_points(group=ENTRY_POINT_GROUP).names})


def policy_class(name: str) -> type[Policy]:
    """The class that `name` stands for; no installed package takes the place of one of ours.

    Raises ValueError for a name that is not known, a module that is not there or raises, and a
    class that is no policy.
    """
    # ours first: a package that is installed later cannot change what a robot runs
    place = POLICIES[name] if name in POLICIES else _entry_point(name)
    if not place and ":" not in name:
        raise ValueError(
            f"unknown policy {shown(name)}; known are: {', '.join(known())}; "
            "one of your own is module:Class"
        )
    place = place or name
    module_name, _, class_name = place.partition(":")
    # before the import: ".." or a path in it would be another kind of error, or another module
    if not all(map(str.isidentifier, (*module_name.split("."), class_name))):
        raise ValueError(
            f"policy {shown(name)} is none; give module:Class, like my_package.wander:Wander"
        )
    title = f"policy '{name}'" if place == name else f"policy '{name}' ({place})"
    module = imported_module(module_name, title)
    if not hasattr(module, class_name):
        classes = [key for key, value in vars(module).items() if hasattr(value, "predict")]
        file = getattr(module, "__file__", "built in")
        raise ValueError(
            f"{title}: module '{module_name}' ({file}) has no class '{class_name}'; "
            f"its policies are: {', '.join(classes) or 'none'}"
        )
    policy = getattr(module, class_name)
    if not isinstance(policy, type):
        raise ValueError(f"{title}: '{class_name}' is a {type(policy).__name__}; give a class")
    lacking = [method for method in METHODS if not callable(getattr(policy, method, None))]
    if lacking:
        raise ValueError(
            f"{title}: class '{class_name}' has no {', no '.join(lacking)}; "
            "a policy has spec, predict and reset (vla_ros/policies/base.py)"
        )
    return policy


def _entry_point(name: str) -> str:
    """Where the entry point of that name points to; empty: there is none."""
    # a set: one package that is installed twice offers the same place twice
    places = sorted({point.value for point in entry_points(group=ENTRY_POINT_GROUP, name=name)})
    if len(places) > 1:
        raise ValueError(
            f"policy '{name}' is offered by several packages: {', '.join(places)}; "
            "give the one you mean as module:Class"
        )
    # behind the place there may be extras, as in "wander.policy:Wander [gpu]"
    return places[0].split("[")[0].strip() if places else ""


def imported_module(module: str, title: str) -> Any:
    """A module of the user's.

    Raises:
        ValueError: it cannot be imported; `title` begins the sentence.
    """
    try:
        return import_module(module)
    except (Exception, SystemExit) as error:  # a module may do anything when it is imported
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        # the module itself or a package above it; one that it imports is the last sentence's case
        if missing and f"{module}.".startswith(f"{missing}."):
            raise ValueError(
                f"{title}: there is no module '{missing}' here; install its package "
                "where the nodes run, or put its folder on PYTHONPATH"
            ) from None
        raise ValueError(
            f"{title}: importing '{module}' raised {type(error).__name__}: "
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


def file_options(file: PolicyFile) -> dict[str, Any]:
    """A policy file's options, and what its policy must be told of the rest (FILE_KEYS).

    A policy that cannot know its rate by itself, as one on a server, has it from there.

    Raises:
        ValueError: a key of the file stands in its options.
    """
    keys: dict[str, Any] = {
        "rate": file.rate,
        "horizon": file.horizon,
        "history": file.history.observations,
    }
    options = dict(file.options)
    for key in getattr(policy_class(file.policy), "FILE_KEYS", ()):
        if key in options:
            raise ValueError(
                f"policy '{file.policy}': {key} stands in options; it belongs beside them in the "
                f"policy file, where every policy has it ({key}: {shown(options[key])})"
            )
        if keys[key]:
            options[key] = keys[key]
    return options


def file_spec(file: PolicyFile) -> PolicySpec:
    """What a policy file's policy wants and gives, by its class and by the file.

    Raises:
        ValueError: as `policy_spec`, and where both do not fit.
    """
    name = file.policy
    spec = policy_spec(name, file_options(file))
    if file.horizon > spec.steps:
        raise ValueError(
            f"horizon is {file.horizon}, and policy '{name}' gives {spec.steps} rows; give no more "
            "than come"
        )
    observations = file.history.observations
    if observations and observations != spec.history:
        raise ValueError(
            f"history: observations is {observations}, and policy '{name}' takes {spec.history}; "
            "give that, or leave it out"
        )
    if file.rate:
        spec = replace(spec, step=to_nanoseconds(1.0 / file.rate))
    if file.history.spacing:
        spec = replace(spec, history_spacing=to_nanoseconds(file.history.spacing))
    return spec


def make_policy(
    name: str,
    options: Mapping[str, Any] | None = None,
    engine: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Policy:
    """The policy itself, ready to predict.

    Args:
        name: As `policy_class` knows it.
        options: The policy's.
        engine: Options of that name, given to a policy that runs on engines (ON_ENGINES) alone; an
            option of its own goes before.
        say: Hears what takes long; given to such a policy alone.

    Raises:
        ValueError: For a bad name or option.
    """
    kind: Any = policy_class(name)
    options = dict(options or {})
    policy: Policy
    if getattr(kind, "ON_ENGINES", False):
        policy = kind({**(engine or {}), **options}, say)
    else:
        policy = kind(options)
    if not isinstance(getattr(policy, "name", None), str):
        raise ValueError(
            f"policy '{name}' has no name; give its class one, like name = \"wander@1\""
        )
    return policy


def demo_policy() -> tuple[str, str]:
    """The policy that a demo takes when nobody chose one, and why where it is not LEARNED."""
    if find_spec("torch") is None:
        return PLAIN, (
            f"torch is not installed, so {PLAIN} drives and not the learned policy, which "
            "pip install torch safetensors makes run"
        )
    try:
        policy_spec(LEARNED)
    except ValueError as problem:
        return PLAIN, f"{PLAIN} drives and not the learned policy: {problem}"
    return LEARNED, ""
