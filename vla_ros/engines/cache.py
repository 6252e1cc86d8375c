"""CompiledVLA engines in a folder, each under a key of all that it depends on; whole or not there,
built once."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ENTRY = "entry.json"  # written last: the files' hashes, and what was measured when they were built
DIGITS = 24  # of a key
# A folder in an entry for what an engine adds while it runs. It is not in the entry's hashes:
# whoever writes there checks what they read.
GROWS = "grows"


def default_folder() -> Path:
    """$XDG_CACHE_HOME/vla_ros/engines, or ~/.cache/vla_ros/engines."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vla_ros" / "engines"


def key_of(depends: Mapping[str, Any]) -> str:
    """The name of an entry, from what it depends on: other values, another name."""
    return hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()[
        :DIGITS
    ]


class Cache:
    """Entries are folders of `folder`. Past `limit` bytes the ones longest unused go; the newest
    never does."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def unusable(self) -> str:
        """Why nothing can be kept here; empty: it can."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=self.folder) as file:
                file.write(b"\0" * 4096)
        except OSError as error:
            return f"the engine cache {self.folder} cannot be written ({error.strerror})"
        return ""

    def find(self, key: str) -> tuple[Path, dict[str, Any]] | None:
        """The entry's folder and what is known of it; None where there is none, or not whole as it
        was written."""
        folder = self.folder / key
        try:
            entry = json.loads((folder / ENTRY).read_text(encoding="utf-8"))
            if {name: _hash(folder / name) for name in entry["files"]} != entry["files"]:
                return None
            with contextlib.suppress(OSError):  # beside a checkpoint that is not ours to write
                os.utime(folder / ENTRY)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return folder, entry

    def put(
        self, key: str, build: Callable[[Path], Mapping[str, Any]]
    ) -> tuple[Path, dict[str, Any]]:
        """What `build` left in an empty folder, under `key`; what it returns is kept with it. What
        it raises leaves nothing behind. To be called with the key's lock."""
        for left in self.folder.glob(f".{key}.*/"):  # by a process that died
            shutil.rmtree(left, ignore_errors=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.folder))
        try:
            known = dict(build(aside))
            entry = known | {
                "files": {
                    str(path.relative_to(aside)): _hash(path)
                    for path in sorted(aside.rglob("*"))
                    if path.is_file() and GROWS not in path.relative_to(aside).parts
                }
            }
            (aside / ENTRY).write_text(json.dumps(entry, indent=1), encoding="utf-8")
            shutil.rmtree(self.folder / key, ignore_errors=True)
            os.rename(aside, self.folder / key)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        self._shrink(key)
        return self.folder / key, entry

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
        entries = sorted(
            (path.stat().st_mtime, path.parent) for path in self.folder.glob(f"*/{ENTRY}")
        )
        sizes = {
            folder: sum(path.stat().st_size for path in folder.rglob("*")) for _, folder in entries
        }
        for _, folder in entries:
            if sum(sizes.values()) > self.limit and folder.name != newest:
                shutil.rmtree(folder, ignore_errors=True)
                del sizes[folder]


def _hash(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
