"""Writes what the pages say of the code from the code itself: `python3 doc/generate.py`; a test holds them to it.

doc/architecture.md is whole from here; CONTRIBUTING.md has the diagram of the layers between two markers.
"""
from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "vla_ros"
MARKERS = ("<!-- layers: doc/generate.py -->", "<!-- end of layers -->")

# Folder -> what it may import, besides itself and Python packages. test/unit/test_package.py holds every file to it.
LAYERS: dict[str, tuple[str, ...]] = {
    "core": (),
    "tasks": ("core",),
    "safety": ("core",),
    "datasets": ("core",),
    "models": ("tasks", "core"),
    "engines": ("models", "tasks", "core"),
    "policies": ("engines", "models", "tasks", "core"),
    "nodes": ("policies", "safety", "core"),
    "sim": ("policies", "tasks", "core"),
    "training": ("sim", "datasets", "policies", "engines", "models", "tasks", "core"),
    "evaluation": ("sim", "datasets", "policies", "engines", "models", "tasks", "core"),
    "operator": ("nodes", "datasets", "core"),
    "demo": ("operator", "nodes", "sim", "policies", "tasks", "core"),
    "bench": ("demo", "operator", "evaluation", "sim", "nodes", "policies", "engines", "models", "safety", "tasks",
              "core"),
    "cli": ("bench", "demo", "operator", "training", "evaluation", "sim", "datasets", "policies", "engines", "models",
            "tasks", "core"),
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


def summary(path: Path) -> str:
    """The first paragraph of a module's docstring, in one line. Raises ValueError where it says nothing of itself."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not text:
        raise ValueError(f"{path.relative_to(ROOT)} has no docstring; say in a line what it is for")
    return " ".join(text.split("\n\n")[0].split())


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


def between_markers(text: str, content: str) -> str:
    """`text` with what stands between the markers replaced."""
    before, _, rest = text.partition(MARKERS[0])
    _, _, after = rest.partition(MARKERS[1])
    return f"{before}{MARKERS[0]}\n{content}\n{MARKERS[1]}{after}"


def pages() -> dict[Path, str]:
    """Each page as it ought to be."""
    contributing = ROOT / "CONTRIBUTING.md"
    return {
        ROOT / "doc" / "architecture.md": architecture(),
        contributing: between_markers(contributing.read_text(encoding="utf-8"), diagram()),
    }


def main() -> int:
    """0: written; with --check nothing is written, and 1 means that a page is stale."""
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{'stale' if '--check' in sys.argv else 'written'}: {path.relative_to(ROOT)}")
        if "--check" not in sys.argv:
            path.write_text(pages()[path], encoding="utf-8")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    raise SystemExit(main())
