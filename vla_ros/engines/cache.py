"""Engines in a folder, each under a key of all that it depends on; whole or absent, built once."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

# Written last: the files' hashes, and what was measured when they were built.
ENTRY_FILE = "entry.json"
KEY_DIGITS = 24  # 96 bits: no two engines meet by chance
# A folder in an entry for what an engine adds while it runs. It is not in the entry's hashes:
# whoever writes there checks what they read.
RUNTIME_FOLDER = "grows"


class Entry(NamedTuple):
    """An engine's folder, and what its `ENTRY_FILE` says of it."""

    folder: Path
    facts: Mapping[str, Any]


def default_folder() -> Path:
    """$XDG_CACHE_HOME/vla_ros/engines, or ~/.cache/vla_ros/engines."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vla_ros" / "engines"


def key_of(depends: Mapping[str, Any]) -> str:
    """The name of an entry, from what it depends on: other values, another name."""
    text = json.dumps(depends, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder and below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Cache:
    """Entries are folders of `folder`. Past `limit` bytes the ones longest unused go; the newest
    never does."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def unusable(self) -> str:
        """Why nothing can be kept here; empty: it can."""
        try:
            # 0o700: an engine is a program, and nobody else may put one here
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=self.folder) as file:
                file.write(b"\0" * 4096)  # a full disk still makes files that are empty
        except OSError as error:
            return f"the engine cache {self.folder} cannot be written ({error.strerror})"
        return ""

    def find(self, key: str) -> Entry | None:
        """The entry of a key; None where there is none, or not whole as it was written."""
        folder = self.folder / key
        try:
            facts = json.loads((folder / ENTRY_FILE).read_text(encoding="utf-8"))
            if _hashes(folder, facts["files"]) != facts["files"]:
                return None
            with contextlib.suppress(OSError):  # beside a checkpoint that is not ours to write
                os.utime(folder / ENTRY_FILE)  # used now, as `_shrink` wants to know
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Entry(folder, facts)

    def put(self, key: str, build: Callable[[Path], Mapping[str, Any]]) -> Entry:
        """What `build` left in an empty folder, under `key`; what it returns is kept with it. What
        it raises leaves nothing behind. To be called with the key's lock."""
        for left in self.folder.glob(f".{key}.*/"):  # by a process that died
            shutil.rmtree(left, ignore_errors=True)
        # Built aside and renamed when it is whole: a reader never sees half of an entry.
        aside = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.folder))
        try:
            facts = dict(build(aside))
            facts["files"] = _hashes(aside, _fixed_files(aside))
            (aside / ENTRY_FILE).write_text(json.dumps(facts, indent=1), encoding="utf-8")
            shutil.rmtree(self.folder / key, ignore_errors=True)
            os.rename(aside, self.folder / key)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        self._shrink(key)
        return Entry(self.folder / key, facts)

    @contextmanager
    def lock(self, key: str, wait: Callable[[], None]) -> Iterator[None]:
        """One process at a time builds `key`; `wait` is called where another one does. The system
        frees the lock of a process that dies."""
        with (self.folder / f".{key}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _shrink(self, newest: str) -> None:
        """Removes what was longest unused until the rest fits, but never the entry `newest`."""
        used = []
        sizes = {}
        for path in self.folder.glob(f"*/{ENTRY_FILE}"):
            used.append((path.stat().st_mtime, path.parent))
            sizes[path.parent] = size_of(path.parent)
        for _, folder in sorted(used):
            if sum(sizes.values()) > self.limit and folder.name != newest:
                shutil.rmtree(folder, ignore_errors=True)
                del sizes[folder]


def _fixed_files(folder: Path) -> list[str]:
    """Names, as below the folder, of the files that must stay as they were written."""
    names = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and RUNTIME_FOLDER not in name.parts:
            names.append(str(name))
    return names


def _hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: _hash(folder / name) for name in names}


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):  # an engine may be larger than the memory that is free
            digest.update(block)
    return digest.hexdigest()
