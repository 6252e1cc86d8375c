"""One file a policy. A policy turns an observation into an action chunk; add yours as one line here."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from vla_ros.core.registry import lookup
from vla_ros.policies.base import Policy, PolicySpec

POLICIES = {
    "constant": "vla_ros.policies.constant:Constant",
    "color_servo": "vla_ros.policies.color_servo.policy:ColorServo",
    "vla": "vla_ros.policies.builtin:Vla",
}
LEARNED, PLAIN = "vla", "color_servo"


def policy_spec(name: str, options: Mapping[str, Any] | None = None) -> PolicySpec:
    """What policy `name` wants from the nodes; loads no weights. Raises ValueError."""
    spec: PolicySpec = lookup(POLICIES, name, "policy").spec(dict(options or {}))
    return spec


def make_policy(name: str, options: Mapping[str, Any] | None = None, engine: Mapping[str, Any] | None = None,
                say: Callable[[str], None] = lambda text: None) -> Policy:
    """The policy itself, ready to predict. One that runs on engines (ON_ENGINES) is also given `engine`, the options of
    that name, and `say`, which hears what takes long. Raises ValueError for a bad name or option."""
    kind, given = lookup(POLICIES, name, "policy"), dict(options or {})
    policy: Policy = kind({**(engine or {}), **given}, say) if getattr(kind, "ON_ENGINES", False) else kind(given)
    return policy


def demo_policy() -> tuple[str, str]:
    """The policy that a demo takes when nobody chose one, and why where it is not the learned one."""
    if find_spec("torch") is None:
        return PLAIN, (f"torch is not installed, so {PLAIN} drives and not the learned policy, which pip install torch "
                       "safetensors makes run")
    try:
        policy_spec(LEARNED)
    except ValueError as problem:
        return PLAIN, f"{PLAIN} drives and not the learned policy: {problem}"
    return LEARNED, ""
