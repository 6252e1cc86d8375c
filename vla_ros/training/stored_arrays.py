"""Dataclasses of arrays, each kept as a folder with a file an array."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

StoredT = TypeVar("StoredT", bound="StoredArrays")


class StoredArrays:
    """A dataclass of arrays derives from it; IMAGES names those that stay on disk until read."""

    IMAGES: ClassVar[tuple[str, ...]] = ()

    def save(self, folder: Path) -> None:
        """A file for each array."""
        kept: Any = self
        folder.mkdir(parents=True, exist_ok=True)
        for array in fields(kept):
            np.save(folder / f"{array.name}.npy", getattr(self, array.name))

    @classmethod
    def load(cls: type[StoredT], folder: Path) -> StoredT:
        """As `save` left them; images stay on disk until they are read."""
        kind: Any = cls
        arrays = {}
        for array in fields(kind):
            mode: Any = "r" if array.name in cls.IMAGES else None
            path = folder / f"{array.name}.npy"
            arrays[array.name] = np.load(path, allow_pickle=False, mmap_mode=mode)
        return cls(**arrays)
