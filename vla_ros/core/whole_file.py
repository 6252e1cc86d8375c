"""A file that is there as a whole, or as it was."""

from __future__ import annotations

from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Renamed once it is whole: who reads meanwhile, or after a crash, never finds a half."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
