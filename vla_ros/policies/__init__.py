"""One file a policy. A policy turns an observation into an action chunk; add yours as one line here."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vla_ros.core.registry import lookup
from vla_ros.policies.base import Policy, PolicySpec

POLICIES = {
    "constant": "vla_ros.policies.constant:Constant",
    "color_servo": "vla_ros.policies.color_servo:ColorServo",
}


def policy_spec(name: str, options: Mapping[str, Any] | None = None) -> PolicySpec:
    """What policy `name` wants from the nodes; loads no weights. Raises ValueError."""
    spec: PolicySpec = lookup(POLICIES, name, "policy").spec(dict(options or {}))
    return spec


def make_policy(name: str, options: Mapping[str, Any] | None = None) -> Policy:
    """The policy itself, ready to predict. Raises ValueError for a bad name or option."""
    policy: Policy = lookup(POLICIES, name, "policy")(dict(options or {}))
    return policy
