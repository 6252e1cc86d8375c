"""`make style`: how densely the code is written, beside the ranges of well-known packages.

A fused assignment is `a, b = x, y`: two statements in one. A line's length counts what is not
empty. A line with a comment may hold code as well. The ranges are of launch_ros, mjlab, openpi,
rosetta, lerobot and nanochat.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RANGES = {
    "fused assignments in 1,000 lines": (0.0, 5.9),
    "comprehensions in 1,000 lines": (4.5, 13.8),
    "characters of a line, 90th percentile": (70.0, 91.0),
    "lines with a comment, percent": (5.5, 17.0),
}
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def fused(node: ast.AST) -> bool:
    """`a, b = x, y`, but not a swap: that needs both at once."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
        return False
    target = node.targets[0]
    if not isinstance(target, ast.Tuple) or len(target.elts) != len(node.value.elts):
        return False
    assigned = set(map(ast.unparse, target.elts))
    for part in ast.walk(node.value):
        if isinstance(part, ast.expr) and ast.unparse(part) in assigned:
            return False
    return True


def count(path: Path) -> Counter[str]:
    """What one file holds."""
    text = path.read_text(encoding="utf-8")
    counts = Counter(lines=len(lines_of(text)))
    for node in ast.walk(ast.parse(text)):
        counts["fused"] += fused(node)
        counts["comprehensions"] += isinstance(node, COMPREHENSIONS)
    # tokens, not the tree: comments are not in it
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        counts["comments"] += token.type == tokenize.COMMENT  # a line holds at most one
    return counts


def lines_of(text: str) -> list[str]:
    """Those that are not empty."""
    return list(filter(str.strip, text.splitlines()))


def measure(paths: list[Path]) -> dict[str, float]:
    """The figures of RANGES, over all files."""
    total: Counter[str] = Counter()
    lengths: list[int] = []
    for path in paths:
        total += count(path)
        lengths += map(len, lines_of(path.read_text(encoding="utf-8")))
    lengths.sort()
    lines = total["lines"]
    # in the order of RANGES
    figures = (
        1000 * total["fused"] / lines,
        1000 * total["comprehensions"] / lines,
        float(lengths[int(0.9 * (len(lengths) - 1))]),
        100 * total["comments"] / lines,
    )
    return dict(zip(RANGES, figures))


def main(folders: list[str]) -> int:
    """Print the figures of each folder; 0: all are within the ranges, 1: not."""
    outside = 0
    for folder in folders or ["vla_ros"]:
        paths = sorted((ROOT / folder).rglob("*.py"))
        print(f"{folder}: {len(paths)} files")
        for name, value in measure(paths).items():
            low, high = RANGES[name]
            inside = low <= value <= high
            outside += not inside
            mark = "ok     " if inside else "outside"
            print(f"  {mark} {value:6.1f}  {name} ({low:g} to {high:g})")
    return int(outside > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
