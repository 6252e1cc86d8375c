"""Reads a user's file within bounds: whatever the path names, an answer comes soon."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_plain_file(path: str | Path, name: str, most_bytes: int, instead: str = "") -> bytes:
    """All of an ordinary file.

    Args:
        path: of the file.
        name: what it is, as a sentence about it begins.
        most_bytes: a larger file is refused, before more than that is read.
        instead: ends a sentence about a file that is none.

    Raises:
        ValueError: a sentence that begins with `name`.
    """
    try:
        with open(path, "rb", opener=_at_once) as file:
            # A device could give bytes for ever.
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError(f"{name} is no ordinary file{instead}")
            data = file.read(most_bytes + 1)
    except FileNotFoundError:
        raise ValueError(f"{name} does not exist{_seen_from(path)}{instead}") from None
    except IsADirectoryError:
        raise ValueError(f"{name} is a folder{instead}") from None
    except OSError as error:
        raise ValueError(f"{name} cannot be read ({error.strerror}){instead}") from None
    if len(data) > most_bytes:
        raise ValueError(f"{name} has more than {most_bytes} bytes, the most that is read{instead}")
    return data


def _seen_from(path: str | Path) -> str:
    """Where a relative path begins: a node's folder is not always its user's."""
    if not str(path) or Path(path).is_absolute():
        return ""
    try:
        return f", seen from {os.getcwd()}"
    except OSError:
        return ", and neither does the folder that it is seen from"


def _at_once(path: str, flags: int) -> int:
    """Opens without waiting: a pipe that nobody writes to would keep us for ever."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
