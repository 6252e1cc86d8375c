"""Many images in several parts: their tables are joined, the images stay on the disk."""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vla_ros.training.recipes.dagger import Recipe

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


class AlbumBatches(Generic[FramesT]):
    """Rows for batches, drawn from an album that grows."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.parts: list[FramesT] = []

    def add(self, parts: list[FramesT]) -> None:
        """From now on batches are drawn from these too."""
        self.parts += parts
        self.album: Album[FramesT] = Album(self.parts)

    def rows(self, index: int) -> tuple[np.random.Generator, NDArray[np.int64]]:
        """Those of the batch of this number, and what the rest of it is drawn with."""
        rng = np.random.default_rng((self.recipe.seed, index))
        # sorted: they are read from the disk
        return rng, np.sort(rng.choice(len(self.album), self.recipe.images, replace=False))
