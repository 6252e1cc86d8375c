"""The engine that was wished for, from the cache or built, compared and warm; or the next one, and
why."""

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
from vla_ros.engines.cache import ENTRY, GROWS, Cache, default_folder, key_of

# What is best where it is there; then the fallbacks. Not inductor on a GPU: with PyTorch 2.11 on an
# H200 its packages ended the process that ran them (doc/bench_gpu.md), which no fallback mends.
AUTO = {"cpu": ("onnxruntime",), "cuda": ("tensorrt_rtx", "tensorrt", "onnxruntime")}
LAYOUT = 4  # of an entry; another number and old ones are built anew
MANY = 4_000_000_000  # bytes
AHEAD = "ahead"  # in an entry that was built elsewhere, and never compared; its target
WARM = 2  # runs before it is ready


@dataclass(frozen=True)
class EngineRequest:
    """What the user asked for. `engine` may be auto; `device` empty is a GPU where there is one;
    `cache` empty is the usual folder, "none" is none at all; `beside` is a folder with engines that
    were built ahead, and came with the checkpoint."""

    engine: str = "auto"
    precision: str = "fp32"
    fallbacks: tuple[str, ...] = ("eager",)
    device: str = ""
    cache: str = ""
    beside: str = ""
    limit: int = MANY

    def __post_init__(self) -> None:
        for name in (*self.fallbacks, *(() if self.engine == "auto" else (self.engine,))):
            if name not in ENGINES:
                raise ValueError(f"unknown engine '{name}'; known are: auto, {', '.join(ENGINES)}")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is '{self.precision}'; give one of {', '.join(PRECISIONS)}"
            )

    @property
    def place(self) -> str:
        return self.device or ("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def order(self) -> tuple[tuple[str, str], ...]:
        """(engine, precision), the first one first. A fallback runs at fp32 where it cannot run at
        the precision."""
        first = AUTO[torch.device(self.place).type] if self.engine == "auto" else (self.engine,)
        found = dict.fromkeys((*first, *self.fallbacks), self.precision)
        for name in self.fallbacks:
            if lookup(ENGINES, name, "engine").missing(self.place, self.precision):
                found[name] = "fp32"
        return tuple(found.items())


@dataclass
class LoadedEngine:
    """An engine that runs, and how it came about. `notes` says why others do not; `difference` is
    the largest from the model, in its largest value; `size` is of its files, in bytes."""

    engine: Engine
    name: str
    precision: str
    cached: bool
    seconds: float
    difference: float
    size: int
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        how = "from the cache" if self.cached else "built"
        return (
            f"{self.name} {self.precision}, {how} in {self.seconds:.2f} s, differs from the model "
            "by "
            f"{self.difference:.1e}"
        )


def load_engine(
    part: SubModel, request: EngineRequest, say: Callable[[str], None] = lambda text: None
) -> LoadedEngine:
    """The first of the request's engines that can be had. `say` hears what takes time. Raises
    ValueError, with every reason, where none can."""
    notes: list[str] = []
    for name, precision in request.order:
        kind: Any = lookup(ENGINES, name, "engine")
        why = kind.missing(request.place, precision)
        if not why:
            try:
                ready = _obtain(part, name, kind, precision, request, say, notes)
                ready.notes = notes
                return ready
            except Exception as error:
                # a compiler raises what it likes, and the next engine takes over
                why = f"{type(error).__name__}: {str(error).strip()[:300]}"
        notes.append(f"engine {name} ({precision}) is not used for {part.name}: {why}")
        say(notes[-1])
    raise ValueError(f"no engine runs {part.name}: {'; '.join(notes)}")


def _obtain(
    part: SubModel,
    name: str,
    kind: Any,
    precision: str,
    request: EngineRequest,
    say: Callable[[str], None],
    notes: list[str],
) -> LoadedEngine:
    began = time.monotonic()
    place = request.place
    weights = sum(one.nbytes for one in part.module.state_dict().values())
    room(f"{part.name} on {name}", kind.COPIES * weights, free_memory())
    if torch.device(place).type == "cuda":
        room(f"{part.name} on {name}", weights, torch.cuda.mem_get_info(place)[0])

    cache = Cache(
        Path(request.cache).expanduser() if request.cache else default_folder(), request.limit
    )
    key = key_of(_depends(part, name, kind, precision, place))
    known = {"part": part.name, "engine": name, "precision": precision}

    def compared(folder: Path) -> Mapping[str, Any]:
        try:
            return known | {
                "difference": compare(part, kind(part, place, precision, folder), precision)
            }
        except Differs as error:  # kept as well: it would be built in vain at every start
            return known | {"refused": str(error)}

    def build(folder: Path) -> Mapping[str, Any]:
        if ahead := _built_ahead(kind, key, cache.folder, request.beside):
            say(f"comparing engine {name} ({precision}) for {part.name}, which was built ahead")
            left = shutil.ignore_patterns(ENTRY, GROWS)
            shutil.copytree(ahead, folder, ignore=left, dirs_exist_ok=True)
            try:
                return compared(folder)
            except Exception as error:  # whole, and yet it does not load: built here
                say(f"the engine in {ahead} does not load ({type(error).__name__}: {error})")
                for path in folder.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        say(f"building engine {name} ({precision}) for {part.name}")
        kind.build(part, place, precision, folder)
        return compared(folder)

    def ready(found: tuple[Path, Mapping[str, Any]], cached: bool) -> LoadedEngine:
        folder, entry = found
        if "refused" in entry:
            raise Differs(entry["refused"])
        engine = kind(part, place, precision, folder)
        for rows in dict.fromkeys((1, *part.batch)):
            for _ in range(WARM):
                engine(*part.stacked(rows))
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        difference = max(entry["difference"].values())
        return LoadedEngine(
            engine, name, precision, cached, time.monotonic() - began, difference, size
        )

    why = "no cache is wanted" if request.cache == "none" else cache.unusable()
    if not why:
        try:
            return _cached(cache, key, build, ready, say)
        except OSError as error:
            why = f"the engine cache {cache.folder} is of no use ({error.strerror})"
    if request.cache != "none":
        notes.append(f"{why}; the engine is built at every start")
    with tempfile.TemporaryDirectory(prefix="vla_engine_") as folder:
        return ready((Path(folder), build(Path(folder))), False)


def _cached(
    cache: Cache,
    key: str,
    build: Callable[[Path], Mapping[str, Any]],
    ready: Callable[[tuple[Path, Mapping[str, Any]], bool], LoadedEngine],
    say: Callable[[str], None],
) -> LoadedEngine:
    with cache.lock(key, lambda: say("another process builds this engine; waiting for it")):
        found = cache.find(key)
        if found and AHEAD not in found[1]:
            try:
                return ready(found, True)
            except Differs:
                raise
            except Exception as error:  # whole, and yet it does not load: built anew
                say(
                    f"the cached engine does not load ({type(error).__name__}: {error}); it is "
                    "built anew"
                )
        return ready(cache.put(key, build), False)


def _built_ahead(kind: Any, key: str, *folders: str | Path) -> Path | None:
    """The first of the folders' entries that was built ahead, for this GPU. Of engines that can be
    so: the others' files may be programs for the processor, and one that lay beside a checkpoint
    would be run."""
    if not hasattr(kind, "TARGETS"):
        return None
    for folder in folders:
        found = Cache(Path(folder), MANY).find(key) if folder else None
        if found and AHEAD in found[1]:
            return found[0]
    return None


def _depends(part: SubModel, name: str, kind: Any, precision: str, device: str) -> dict[str, Any]:
    if hasattr(kind, "TARGETS"):
        return depends_for(part, name, kind, precision, kind.target(device))
    return _always(part, name, kind, precision) | {
        "device": device,
        "chip": chip(device),
        "threads": torch.get_num_threads(),
    }


def depends_for(
    part: SubModel, name: str, kind: Any, precision: str, target: str
) -> dict[str, Any]:
    """What an engine depends on that is built ahead, for `target`: the same wherever that is."""
    return _always(part, name, kind, precision) | {"target": target}


def _always(part: SubModel, name: str, kind: Any, precision: str) -> dict[str, Any]:
    shapes = [(str(one.dtype), *one.shape) for one in part.examples[0]]
    return {
        "layout": LAYOUT,
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
    """What compiled code is good for: the GPU's name and architecture, or the processor's
    instructions."""
    if torch.device(device).type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"{torch.cuda.get_device_name(device)} sm_{major}{minor} CUDA {torch.version.cuda}"
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {os.uname().sysname}"
