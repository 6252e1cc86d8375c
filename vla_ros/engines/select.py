"""The engine that was asked for, built or cached, compared and warm; or the next one, and why."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vla_ros.core.machine import free_memory, room
from vla_ros.core.registry import lookup
from vla_ros.engines import ENGINES, PRECISIONS
from vla_ros.engines.accuracy_check import Differs, compare
from vla_ros.engines.base import Engine, SubModel
from vla_ros.engines.cache import (
    ENTRY_FILE,
    RUNTIME_FOLDER,
    Cache,
    Entry,
    default_folder,
    key_of,
    size_of,
)

# What is best where it is there; then the fallbacks.
AUTO_ENGINES = {"cpu": ("onnxruntime",), "cuda": ("tensorrt_rtx", "tensorrt", "onnxruntime")}
ENTRY_LAYOUT = 4  # another number, and entries of older code are built anew
CACHE_LIMIT_BYTES = 4_000_000_000
AHEAD_FIELD = "ahead"  # in an entry that was built elsewhere, and never compared; its target
WARM_UP_RUNS = 2  # before it is ready


@dataclass(frozen=True)
class EngineRequest:
    """What the user asked for.

    Attributes:
        engine: One of ENGINES, or auto.
        precision: One of PRECISIONS.
        fallbacks: What takes over where it cannot be had, in this order.
        device: As torch names it; empty: a GPU where there is one, else the CPU.
        cache: The folder of built engines; empty: the usual one; "none": none at all.
        beside: A folder with engines that were built ahead, and came with the checkpoint.
        limit: Of the cache, in bytes.
    """

    engine: str = "auto"
    precision: str = "fp32"
    fallbacks: tuple[str, ...] = ("eager",)
    device: str = ""
    cache: str = ""
    beside: str = ""
    limit: int = CACHE_LIMIT_BYTES

    def __post_init__(self) -> None:
        named = list(self.fallbacks)
        if self.engine != "auto":  # which no fallback may be: it is no single engine
            named.append(self.engine)
        for name in named:
            if name not in ENGINES:
                raise ValueError(f"unknown engine '{name}'; known are: auto, {', '.join(ENGINES)}")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is '{self.precision}'; give one of {', '.join(PRECISIONS)}"
            )

    @property
    def place(self) -> str:
        """The device, as torch names it."""
        return self.device or ("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def order(self) -> tuple[tuple[str, str], ...]:
        """(engine, precision), the first one first. A fallback runs at fp32 where it cannot run at
        the precision."""
        first: tuple[str, ...] = (self.engine,)
        if self.engine == "auto":
            first = AUTO_ENGINES[torch.device(self.place).type]
        # A dict keeps the order, and an engine that is first and fallback stands once.
        precisions = dict.fromkeys((*first, *self.fallbacks), self.precision)
        for name in self.fallbacks:
            if lookup(ENGINES, name, "engine").missing(self.place, self.precision):
                precisions[name] = "fp32"
        return tuple(precisions.items())


@dataclass
class LoadedEngine:
    """An engine that runs, and how it came about.

    Attributes:
        cached: It was not built in this process.
        seconds: From the request until it was warm.
        difference: The largest from the model, in the model's largest value.
        size: Of its files, in bytes.
        notes: Why others do not run, and what the engine says of itself.
    """

    engine: Engine
    name: str
    precision: str
    cached: bool
    seconds: float
    difference: float
    size: int
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        origin = "from the cache" if self.cached else "built"
        return (
            f"{self.name} {self.precision}, {origin} in {self.seconds:.2f} s, differs from the "
            f"model by {self.difference:.1e}"
        )


def load_engine(
    part: SubModel, request: EngineRequest, say: Callable[[str], None] = lambda text: None
) -> LoadedEngine:
    """The first of the request's engines that can be had, compared with the model and warm.

    Args:
        say: Hears what takes time, and why an engine is not used.

    Raises:
        ValueError: Where none can be had, with every reason.
    """
    notes: list[str] = []
    for name, precision in request.order:
        candidate = _Candidate(part, request, name, precision, say)
        why = candidate.kind.missing(request.place, precision)
        if not why:
            try:
                loaded = candidate.load(notes)
                loaded.notes = notes + loaded.notes
                return loaded
            except Exception as error:
                # a compiler raises what it likes, and the next engine takes over
                why = f"{type(error).__name__}: {str(error).strip()[:300]}"
        notes.append(f"engine {name} ({precision}) is not used for {part.name}: {why}")
        say(notes[-1])
    raise ValueError(f"no engine runs {part.name}: {'; '.join(notes)}")


class _Candidate:
    """One engine at one precision, on its way to running a part."""

    def __init__(
        self,
        part: SubModel,
        request: EngineRequest,
        name: str,
        precision: str,
        say: Callable[[str], None],
    ) -> None:
        self.kind: Any = lookup(ENGINES, name, "engine")
        self._part = part
        self._request = request
        self._place = request.place
        self._name = name
        self._precision = precision
        self._say = say

    def load(self, notes: list[str]) -> LoadedEngine:
        """From the cache, or built; `notes` gets why it could not be kept.

        Raises:
            Differs: Where it computes something else than the model.
            Exception: Whatever the engine's libraries raise.
        """
        self._began = time.monotonic()
        self._check_memory()
        request = self._request
        folder = Path(request.cache).expanduser() if request.cache else default_folder()
        cache = Cache(folder, request.limit)
        key = key_of(_depends(self._part, self._name, self.kind, self._precision, self._place))
        why = "no cache is wanted" if request.cache == "none" else cache.unusable()
        if not why:
            try:
                return self._load_cached(cache, key)
            except OSError as error:
                why = f"the engine cache {cache.folder} is of no use ({error.strerror})"
        if request.cache != "none":
            notes.append(f"{why}; the engine is built at every start")
        # An engine has read or mapped its files when it is loaded: they may go then.
        with tempfile.TemporaryDirectory(prefix="vla_engine_") as scratch:
            place = Path(scratch)
            return self._start(Entry(place, self._build(cache, key, place)), cached=False)

    def _check_memory(self) -> None:
        """Raises ValueError where it would not fit: a process that the system kills says nothing
        and leaves the robot no next engine."""
        needs = f"{self._part.name} on {self._name}"
        weights = self._part.weight_bytes
        room(needs, self.kind.COPIES * weights, free_memory())
        if torch.device(self._place).type == "cuda":
            room(needs, weights, torch.cuda.mem_get_info(self._place)[0])

    def _load_cached(self, cache: Cache, key: str) -> LoadedEngine:
        def wait() -> None:
            self._say("another process builds this engine; waiting for it")

        with cache.lock(key, wait):
            entry = cache.find(key)
            if entry and AHEAD_FIELD not in entry.facts:
                try:
                    return self._start(entry, cached=True)
                except Differs:  # it was refused when it was built, and would be again
                    raise
                except Exception as error:  # whole, and yet it does not load: built anew
                    self._say(
                        f"the cached engine does not load ({type(error).__name__}: {error}); it "
                        "is built anew"
                    )
            built = cache.put(key, lambda folder: self._build(cache, key, folder))
            return self._start(built, cached=False)

    def _build(self, cache: Cache, key: str, folder: Path) -> Mapping[str, Any]:
        """Leaves the engine's files in `folder`. Returns what is known of them."""
        engine = f"engine {self._name} ({self._precision}) for {self._part.name}"
        ahead = _built_ahead(self.kind, key, cache.folder, self._request.beside)
        if ahead:
            self._say(f"comparing {engine}, which was built ahead")
            # Kernels that another computer compiled stay behind: nothing has compared them.
            left = shutil.ignore_patterns(ENTRY_FILE, RUNTIME_FOLDER)
            shutil.copytree(ahead, folder, ignore=left, dirs_exist_ok=True)
            try:
                return self._compare(folder)
            except Exception as error:  # whole, and yet it does not load: built here
                self._say(f"the engine in {ahead} does not load ({type(error).__name__}: {error})")
                _empty(folder)
        self._say(f"building {engine}")
        self.kind.build(self._part, self._place, self._precision, folder)
        return self._compare(folder)

    def _compare(self, folder: Path) -> dict[str, Any]:
        """What the entry says: how far the engine is from the model, or why it is refused."""
        facts = {"part": self._part.name, "engine": self._name, "precision": self._precision}
        engine = self.kind(self._part, self._place, self._precision, folder)
        try:
            return {**facts, "difference": compare(self._part, engine, self._precision)}
        except Differs as error:  # kept as well: it would be built in vain at every start
            return {**facts, "refused": str(error)}

    def _start(self, entry: Entry, cached: bool) -> LoadedEngine:
        """Loads what was compared, and runs it until it is warm."""
        if "refused" in entry.facts:
            raise Differs(entry.facts["refused"])
        engine = self.kind(self._part, self._place, self._precision, entry.folder)
        # Each size once: the first run of new shapes allocates, and may compile.
        for rows in dict.fromkeys((1, *self._part.batch)):
            for _ in range(WARM_UP_RUNS):
                engine(*self._part.stacked(rows))
        notes = list(getattr(engine, "notes", ()))
        for note in notes:
            self._say(note)
        return LoadedEngine(
            engine,
            self._name,
            self._precision,
            cached,
            time.monotonic() - self._began,
            max(entry.facts["difference"].values()),
            size_of(entry.folder),
            notes,
        )


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _built_ahead(kind: Any, key: str, *folders: str | Path) -> Path | None:
    """The first of the folders' entries that was built ahead, for this GPU.

    Of engines that can be so: the others' files may be programs for the processor, and one that lay
    beside a checkpoint would be run.
    """
    if not hasattr(kind, "TARGETS"):
        return None
    for folder in folders:
        if not folder:
            continue  # nothing came with the checkpoint
        entry = Cache(Path(folder), CACHE_LIMIT_BYTES).find(key)
        if entry and AHEAD_FIELD in entry.facts:
            return entry.folder
    return None


def _depends(part: SubModel, name: str, kind: Any, precision: str, device: str) -> dict[str, Any]:
    if hasattr(kind, "TARGETS"):
        return depends_for(part, name, kind, precision, kind.target(device))
    # Built here, for this processor or GPU and for this many threads.
    return _common(part, name, kind, precision) | {
        "device": device,
        "chip": chip(device),
        "threads": torch.get_num_threads(),
    }


def depends_for(
    part: SubModel, name: str, kind: Any, precision: str, target: str
) -> dict[str, Any]:
    """What an engine depends on that is built ahead for `target`, wherever it is built."""
    return _common(part, name, kind, precision) | {"target": target}


def _common(part: SubModel, name: str, kind: Any, precision: str) -> dict[str, Any]:
    """What every engine depends on, wherever it was built."""
    shapes = [(str(example.dtype), *example.shape) for example in part.examples[0]]
    return {
        "layout": ENTRY_LAYOUT,
        "part": part.name,
        "key": part.key,
        "engine": name,
        "precision": precision,
        "versions": dict(kind.versions()),
        "shapes": shapes,
        "batch": part.batch,
        "outputs": part.outputs,
    }


def chip(device: str) -> str:
    """What compiled code is good for.

    The GPU's name and architecture, or the processor's instructions.
    """
    if torch.device(device).type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"{torch.cuda.get_device_name(device)} sm_{major}{minor} CUDA {torch.version.cuda}"
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {os.uname().sysname}"
