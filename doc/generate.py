"""Writes what the pages say of the code from the code itself: `python3 doc/generate.py`; a test
holds them to it.

doc/architecture.md, doc/reference/ and config/vla.yaml are whole from here. Between markers: the
layers in CONTRIBUTING.md, the rules in doc/gate.md, and the robot's topics in
config/security/policy.xml.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "doc")]

import reference_pages
from reference_pages import row, summary

from vla_ros.cli import parameters
from vla_ros.core.robot import load_robot
from vla_ros.nodes.enclaves import composed_policy_for, policy_for
from vla_ros.safety.rule import Rule
from vla_ros.safety.rules import RULES
from vla_ros.safety.settings import Limit

PACKAGE = ROOT / "vla_ros"
SIMULATED = ROOT / "config" / "robots" / "sim.yaml"
LAYER_MARKERS = ("<!-- layers: doc/generate.py -->", "<!-- end of layers -->")
RULE_MARKERS = ("<!-- rules: doc/generate.py -->", "<!-- end of rules -->")

# Folder -> what it may import, besides itself and Python packages. test/unit/test_package.py holds
# every file to it.
LAYERS: dict[str, tuple[str, ...]] = {
    "core": (),
    "tasks": ("core",),
    "safety": ("core",),
    "datasets": ("core",),
    "models": ("tasks", "core"),
    "engines": ("models", "tasks", "core"),
    "policies": ("engines", "models", "tasks", "core"),
    "nodes": ("policies", "safety", "tasks", "core"),
    "sim": ("policies", "tasks", "core"),
    "training": ("sim", "datasets", "policies", "engines", "models", "tasks", "core"),
    "evaluation": ("sim", "datasets", "policies", "engines", "models", "tasks", "core"),
    "operator": ("nodes", "policies", "safety", "datasets", "core"),
    "demo": ("operator", "nodes", "sim", "policies", "tasks", "core"),
    "bench": (
        "demo",
        "operator",
        "evaluation",
        "sim",
        "nodes",
        "policies",
        "engines",
        "models",
        "safety",
        "tasks",
        "core",
    ),
    "cli": (
        "bench",
        "demo",
        "operator",
        "training",
        "evaluation",
        "sim",
        "nodes",
        "datasets",
        "policies",
        "engines",
        "models",
        "tasks",
        "core",
    ),
}


def architecture() -> str:
    """Every module with the first sentence that it says of itself."""
    lines = [
        "# What is where",
        "",
        "Written by `python3 doc/generate.py` from the first line of each module.",
        "A folder imports only what stands above it in this list, and not all of that:",
        "the diagram is in [CONTRIBUTING.md](../CONTRIBUTING.md).",
    ]
    for folder in LAYERS:
        lines += ["", f"## vla_ros/{folder}", "", summary(PACKAGE / folder / "__init__.py"), ""]
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            name = path.relative_to(PACKAGE / folder)
            if name.name != "__init__.py":
                lines.append(f"* `{name}`: {summary(path)}")
            elif len(name.parts) > 1:
                lines.append(f"* `{name.parent}/`: {summary(path)}")
    return "\n".join(lines) + "\n"


def diagram() -> str:
    """The layers as mermaid; an arrow that two others make is left out."""
    lines = ["```mermaid", "flowchart TD"]
    for folder, below in LAYERS.items():
        implied = {deeper for one in below for deeper in reachable(one)}
        direct = [one for one in below if one not in implied]
        if direct:
            lines.append(f"    {folder} --> {' & '.join(direct)}")
    return "\n".join([*lines, "```"])


def reachable(folder: str) -> set[str]:
    """What it imports through others, too."""
    return {deeper for one in LAYERS[folder] for deeper in (one, *reachable(one))}


def between(path: Path, markers: tuple[str, str], content: str) -> str:
    """The page with what stands between its markers replaced. Raises ValueError where they are not
    there."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(markers[0])
    _, end, after = rest.partition(markers[1])
    if not begin or not end:
        raise ValueError(
            f"{path} has no '{markers[0]}' with '{markers[1]}' below it; put them where it belongs"
        )
    return f"{before}{markers[0]}\n{content}\n{markers[1]}{after}"


def rules_in_full() -> str:
    """Every rule with its parameters and their defaults."""
    return table(
        ["rule", "holds (or limits) when", "set by, default", "goes on when"],
        ([f"`{rule.name}`", rule.holds_when, _set_by(rule), rule.goes_on_when] for rule in RULES),
    )


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [
        row(*head),
        "|" + "---|" * len(head),
        *(row(*(cell or "–" for cell in cells)) for cells in rows),
    ]
    return "\n" + "\n".join(lines) + "\n"


def _set_by(rule: Rule) -> str:
    topics = [f"topic `{source.topic}`" for source in rule.sources]
    limits = ", ".join(_default(limit) for limit in rule.limits)
    return "; ".join(part for part in (*topics, limits, rule.set_by) if part)


def _default(limit: Limit) -> str:
    never = ", 0: never" if limit.zero_is_off else ""
    return f"`{limit.name}` {limit.default:g} {limit.unit}".rstrip() + never


def pages() -> dict[Path, str]:
    """Each file as it ought to be."""
    contributing = ROOT / "CONTRIBUTING.md"
    gate = ROOT / "doc" / "gate.md"
    security = ROOT / "config" / "security"
    robot = load_robot(SIMULATED)
    policy = policy_for((security / "policy.xml").read_text(encoding="utf-8"), robot)
    return {
        ROOT / "doc" / "architecture.md": architecture(),
        ROOT / "config" / "vla.yaml": parameters.render(),
        **reference_pages.pages(),
        contributing: between(contributing, LAYER_MARKERS, diagram()),
        gate: between(gate, RULE_MARKERS, rules_in_full()),
        security / "policy.xml": policy,
        security / "composed.xml": composed_policy_for(policy, robot),
    }


def main() -> int:
    """0: written; with --check nothing is written, and 1 means that a page is stale."""
    wanted = pages()
    stale = [
        path
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{'stale' if '--check' in sys.argv else 'written'}: {path.relative_to(ROOT)}")
        if "--check" not in sys.argv:
            path.write_text(wanted[path], encoding="utf-8")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    raise SystemExit(main())
