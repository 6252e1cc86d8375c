"""A file that is there as a whole, or as it was, after a loss of power too."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Renamed once it is whole: who reads meanwhile, or after a crash, never finds a half."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    rename_whole(part, path)


def rename_whole(part: Path, path: Path) -> None:
    """Gives a file that is written its name. Its content is on the disk before its name is."""
    _sync(part)
    os.replace(part, path)
    _sync(path.parent)


def _sync(place: Path) -> None:
    held = os.open(place, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)
