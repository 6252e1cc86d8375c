"""The gate's rules, in the order in which they are asked. Each is the file of its name.

The first finding that holds or stops decides; one that limits passes its changed row on. A rule
added here is asked, configured, subscribed and documented: CONTRIBUTING.md says how.
"""

from __future__ import annotations

from importlib import import_module

from vla_ros.safety.rule import Rule
from vla_ros.safety.settings import Limit


def _load(name: str) -> Rule:
    """The rule of the file of that name."""
    rule = getattr(import_module(f"{__name__}.{name}"), name, None)
    if not isinstance(rule, Rule):
        raise TypeError(
            f"rules/{name}.py has no rule '{name}'; put '@rule(...)' above a function of that name"
        )
    return rule


def _parameters(rules: tuple[Rule, ...]) -> tuple[Limit, ...]:
    """Every limit that the rules declare, once.

    Raises ValueError where two rules declare one name differently.
    """
    limits: dict[str, Limit] = {}
    owners: dict[str, str] = {}  # limit -> the first rule that declares it
    for rule in rules:
        for limit in rule.limits:
            owner = owners.setdefault(limit.name, rule.name)
            if limits.setdefault(limit.name, limit) != limit:
                raise ValueError(
                    f"parameter '{limit.name}' is declared by rule '{owner}' and, differently, by "
                    f"rule '{rule.name}'; give it another name in the newer one"
                )
    return tuple(limits.values())


RULES: tuple[Rule, ...] = tuple(
    map(
        _load,
        (
            # What holds whatever the policy sends comes first: it is then the reason reported.
            "source_timeout",
            "exclusive_publisher",
            "listeners",
            "clock",
            "range_sensors",
            "teleop_source",
            "teleop_stick",
            "instruction_match",
            "instruction_age",
            "chunk_source",
            "chunk_shape",  # from here on there is a row
            "finite_values",
            "observation_age",
            "chunk_end",
            "chunk_continuity",
            # Before `limits`, which would clamp an absurd value into a good one.
            "hard_bounds",
            "stuck_policy",
            "stuck_stick",
            "limits",
            "persistent_clamping",
            "obstacle",
            "joint_limits",
            "tracking",
            "deadband",
            # Nothing after it may make a change larger again.
            "rate_limit",
            # Last: it looks at the step that would be sent, and makes it smaller at most.
            "workspace",
        ),
    )
)
PARAMETERS = _parameters(RULES)
