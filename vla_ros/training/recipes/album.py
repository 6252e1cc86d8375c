"""Many images in several parts: their tables are joined, the images stay on the disk."""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

FramesT = TypeVar("FramesT", bound=Any)  # a dataclass of arrays, with IMAGES


class Album(Generic[FramesT]):
    """Parts of one kind as one; `tables` has all of their arrays but the images."""

    def __init__(self, parts: list[FramesT]) -> None:
        kind: Any = type(parts[0])
        self._images = {}
        ends = np.cumsum(list(map(len, parts)))
        self._starts = np.concatenate([[0], ends])  # parts + 1: the last is the end of all
        joined = {}
        for table in fields(kind):
            arrays = list(map(attrgetter(table.name), parts))
            if table.name in kind.IMAGES:
                self._images[table.name] = arrays
                joined[table.name] = np.empty((0,), np.uint8)
            else:
                joined[table.name] = np.concatenate(arrays)
        self.tables: FramesT = kind(**joined)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def images(self, rows: NDArray[np.int64], name: str = "images") -> NDArray[np.uint8]:
        """Of the rows, those of this name: rows x H x W x 3."""
        images = []
        for row in rows:
            part = int(np.searchsorted(self._starts, row, side="right")) - 1
            images.append(self._images[name][part][row - self._starts[part]])
        return np.stack(images)
