"""`vla bench gpu`: a GPU's floors, and what the policies take on it in every way that is there.

It needs torch and no ROS: `python3 -m vla_ros.bench.bench_gpu --out PAGE` in a checkout. Every way
runs in a process of its own, with time limits. All that is known lies in PAGE and in a JSON file
beside it after each process; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_ros.bench.gpu_processes import Line, Runner
from vla_ros.bench.gpu_table import folder_of, key_of, text_of, write
from vla_ros.core.whole_file import write_whole
from vla_ros.engines import ENGINES
from vla_ros.engines.cache import default_folder

CONFIGS = ("builtin", "clip", "resnet50", "clip_l_llama")
LARGE_CONFIGS = ("clip_l_llama",)  # compiled by itself: several of it do not fit beside the others
PRECISIONS = ("fp32", "fp16", "bf16")
PLAIN = "plain"
EAGER = "eager"  # these two compile nothing, and share a process
COMPILERS = ("torch.compile", "inductor")  # they compile beside each other; others choose by timing
WHOLE = "whole"
HALVES = ("vision", "fusion and action")
MOST_ROWS = 16  # of a batch
MEASURING_RESERVE_S = 2.0  # kept for measuring each that was compiled
SPARE_CORES = 2  # what compiles leaves them to the rest of the machine
PAGE_RESERVE_S = 3.0  # kept for the page
SMALLEST_S = 10.0  # in less than that no process gets anywhere
START_LIMIT_S = 90.0  # of a process: it imports torch, and builds the model
CACHE_FOLDER = "bench_gpu"
ROOT = Path(__file__).parents[2]
# Nothing is tuned for longer than it is used, and few kernels want no pool of processes.
INDUCTOR_ENVIRONMENT = {"TORCHINDUCTOR_MAX_AUTOTUNE": "0", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
Item = tuple[str, str, str, int, str]  # config, way, precision, rows at once, piece


@dataclass(frozen=True)
class Stage:
    """Items that are measured in the same manner.

    `kind` is `shared` (those of a model and way in one process), `together` (compiled beside each
    other, a process each, and then measured one by one) or `warm` (started once more, as many at
    once as before).
    """

    name: str
    kind: str
    items: tuple[Item, ...]


def arguments_of(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="vla bench gpu", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument(
        "--out", metavar="PAGE", default="bench_gpu.md", help="Markdown (default: %(default)s)"
    )
    parser.add_argument(
        "--configs", nargs="+", choices=CONFIGS, default=CONFIGS, help="which models (default: all)"
    )
    parser.add_argument(
        "--ways",
        nargs="+",
        help=f"{PLAIN}, torch.compile and engines, one of your own as module:Class (default: all)",
    )
    parser.add_argument(
        "--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="(default: all)"
    )
    parser.add_argument("--device", default="cuda", help="(default: %(default)s; a rehearsal: cpu)")
    parser.add_argument(
        "--budget-s", type=float, default=330.0, help="for all of it (default: %(default)s)"
    )
    parser.add_argument(
        "--limit-s",
        type=float,
        default=60.0,
        help="for one way, precision and size to be measured (default: %(default)s)",
    )
    parser.add_argument(
        "--compile-limit-s",
        type=float,
        default=150.0,
        help="for one way, precision and size to be compiled (default: %(default)s)",
    )
    parser.add_argument("--fresh", action="store_true", help="forget what PAGE's JSON has")
    parser.add_argument(
        "--retry", action="store_true", help="try once more what crashed, hung or was refused"
    )
    parser.add_argument("--quick", action="store_true", help="a rehearsal: tiny models, few runs")
    parser.add_argument(
        "--cache",
        metavar="FOLDER",
        type=Path,
        default=default_folder().parent / CACHE_FOLDER,
        help="what is compiled lies there, until all is measured (default: %(default)s)",
    )
    given = parser.parse_args(list(argv))
    for name in ("budget_s", "limit_s", "compile_limit_s"):
        value = getattr(given, name)
        if not value > 0.0:
            raise ValueError(f"--{name.replace('_', '-')} is {value:g}; give seconds, more than 0")
    return given


def run(argv: Sequence[str]) -> int:
    """0: all that can run here was measured; 1: something went wrong, or is left to do."""
    day = Day(arguments_of(argv), list(argv))
    with tempfile.TemporaryDirectory(prefix="vla_bench_gpu_") as folder:
        return day.run(Path(folder))


class Day:
    """What was asked, and what is known so far; `state` is what the JSON file holds."""

    def __init__(self, given: argparse.Namespace, argv: list[str]) -> None:
        self.given = given
        self.began = time.monotonic()
        self.page = Path(given.out)
        self.store = self.page.with_suffix(".json")
        self.cores = len(os.sched_getaffinity(0))
        if given.fresh:
            shutil.rmtree(given.cache, ignore_errors=True)
        self.state: dict[str, Any] = {
            "settings": {"device": given.device, "quick": given.quick},
            "commands": [],
            "machine": {},
            "missing": {},
            "floors": {},
            "models": {},
            "items": {},
            "spent_s": 0.0,
        }
        if self.store.is_file() and not given.fresh:
            self._go_on()
        self._spent_before_s = float(self.state["spent_s"])
        self.state["commands"].append(["vla", "bench", "gpu", *argv])

    def _go_on(self) -> None:
        try:
            earlier = json.loads(self.store.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{self.store} is no JSON ({error}); give --fresh") from error
        if earlier.get("settings") != self.state["settings"]:
            raise ValueError(
                f"{self.store} is of a run with {earlier.get('settings')}, and this one has "
                f"{self.state['settings']}; give --fresh, or another --out"
            )
        self.state = earlier
        if self.given.retry:
            for key, item in list(earlier["items"].items()):
                if "problem" in item:
                    del earlier["items"][key]

    def run(self, folder: Path) -> int:
        """Measures what is due, as long as there is time. `folder` is for what processes say."""
        self.page.parent.mkdir(parents=True, exist_ok=True)
        deadline = self.began + self.given.budget_s - PAGE_RESERVE_S
        self._runner = Runner(self._hear, self._fail, deadline, folder)
        ways = self.given.ways or [PLAIN, "torch.compile", *ENGINES]
        self._look(ways)
        stages = list(self._stages(ways))
        for stage in stages:
            due = self._due(stage)
            if due and time.monotonic() < deadline - SMALLEST_S:
                seconds = time.monotonic() - self.began
                print(f"{seconds:5.0f} s  {stage.name}: {len(due)}", file=sys.stderr, flush=True)
                self._measure(stage, due)
                self._write(stages)  # the page stands even if the machine is taken away
        left = self._write(stages)
        print(text_of(self.state, left), flush=True)
        if not left:
            shutil.rmtree(self.given.cache, ignore_errors=True)
        failed = any("problem" in item for item in self.state["items"].values())
        return 1 if left or failed else 0

    # -- what there is to do -----------------------------------------------------------------------
    def _look(self, ways: Sequence[str]) -> None:
        """At the machine, and at its floors where nobody has."""
        spec = {
            **self._spec(None, [("machine",)]),
            "ways": ways,
            "precisions": self.given.precisions,
            "floors": not self.state.get("floors_done"),
        }
        self._problem = ""
        self._runner.run([spec], 1, self._limits(False), lambda spec: self._environment({}))
        if self._problem or not self.state["machine"]:
            why = self._problem or "the time was over before torch had started"
            raise ValueError(
                f"{self.given.device} cannot be measured: {why}; give --device cpu, or more "
                "--budget-s"
            )

    def _stages(self, ways: Sequence[str]) -> Iterator[Stage]:
        """In the order of their worth."""
        given = self.given
        precisions = given.precisions
        half = precisions[min(1, len(precisions) - 1)]  # where one precision stands for all
        small = [config for config in given.configs if config not in LARGE_CONFIGS]
        large = [config for config in given.configs if config in LARGE_CONFIGS]
        compilers = [way for way in ways if way in COMPILERS]
        engines = [way for way in ways if way not in (PLAIN, EAGER, *COMPILERS)]

        # First what all else is compared with; it waits for no compiler either.
        for config in given.configs:
            items: tuple[Item, ...] = ()
            if PLAIN in ways:
                items += self._items([config], [PLAIN], precisions, all_sizes=True)
            if EAGER in ways:
                items += self._items([config], [EAGER], precisions)
            yield Stage(f"{config} by torch", "shared", items)

        compiled = self._items(small, compilers, precisions)
        yield Stage("compiled beside each other", "together", compiled)
        yield Stage("compiled, started again", "warm", compiled)
        for way in engines:
            items = self._items(given.configs, [way], precisions)
            many = self._items(given.configs, [way], [half], rows=MOST_ROWS)
            yield Stage(f"engine {way}", "shared", items + many)
            yield Stage(f"engine {way}, started again", "warm", items)
        compiled = self._items(large, compilers, precisions)
        yield Stage("the large one compiled", "together", compiled)
        yield Stage("the large one compiled, started again", "warm", compiled)

        # Last what one robot with one camera does not ask.
        many = self._items(small, compilers, [half], rows=MOST_ROWS)
        yield Stage(f"compiled for up to {MOST_ROWS} rows", "together", many)
        for piece in HALVES:
            halves = self._items(small, compilers, [half], piece=piece)
            yield Stage(f"compiled, {piece} alone", "together", halves)

    def _items(
        self,
        configs: Sequence[str],
        ways: Sequence[str],
        precisions: Sequence[str],
        rows: int = 1,
        piece: str = WHOLE,
        all_sizes: bool = False,
    ) -> tuple[Item, ...]:
        """What can run here of all combinations.

        Args:
            rows: At once.
            piece: WHOLE or one of HALVES.
            all_sizes: In place of `rows` and `piece`: the whole, its halves, and the largest batch.
        """
        sizes = [(rows, piece)]
        if all_sizes:
            sizes = [(1, WHOLE), *zip((1, 1), HALVES), (MOST_ROWS, WHOLE)]
        items = []
        for precision in precisions:
            for config in configs:
                for way in ways:
                    if self._can(way, precision):
                        for size in sizes:
                            items.append((config, way, precision, *size))
        return tuple(items)

    def _can(self, way: str, precision: str) -> bool:
        return not self.state["missing"].get(f"{way} {precision}", "")

    def _due(self, stage: Stage) -> list[Item]:
        """What of a stage was neither measured nor has failed."""
        items = []
        for item in stage.items:
            known = self.state["items"].get(key_of(*item), {})
            if stage.kind != "warm":
                due = not known.get("done")
            else:
                due = bool(known.get("done")) and "problem" not in known and "warm" not in known
            if due:
                items.append(item)
        return items

    # -- doing it ----------------------------------------------------------------------------------
    def _measure(self, stage: Stage, due: Sequence[Item]) -> None:
        """In processes: one for all `shared` items of a model and way, else one for each."""
        groups: dict[Any, list[Item]] = {}
        for item in due:
            config, way = item[:2]
            process: Any = item
            if stage.kind == "shared":
                process = (config, "torch" if way in (PLAIN, EAGER) else way)
            groups.setdefault(process, []).append(item)
        at_once = 1  # what is measured as it comes has the machine for itself
        if stage.kind != "shared":
            at_once = min(max(1, self.cores - SPARE_CORES), len(groups))
        specs = []
        for items in groups.values():
            spec = self._spec(items[0][0], [item[1:] for item in items])
            spec["threads"] = self._threads(*items[0][:2])
            spec["wait"] = stage.kind == "together"
            spec["start_only"] = stage.kind == "warm"
            spec["facts"] = items[0][1] == PLAIN
            specs.append(spec)
        compiles = any(item[1] != PLAIN for item in due)
        reserve_s = MEASURING_RESERVE_S * len(specs) if stage.kind == "together" else 0.0
        self._runner.run(specs, at_once, self._limits(compiles), self._environment, reserve_s)

    def _spec(self, config: str | None, items: Sequence[Any]) -> dict[str, Any]:
        """What a `gpu_trial` reads; `config` is None for the machine itself."""
        given = self.given
        return {
            "config": config,
            "items": items,
            "device": given.device,
            "quick": given.quick,
            "cache": str(given.cache),
            "threads": 1,
            "wait": False,
            "start_only": False,
            "facts": False,
        }

    def _threads(self, config: str, way: str) -> int:
        """Not by how many there are at once: engines in a cache are for a number of threads."""
        if self.given.quick:
            return 1
        if way in (PLAIN, EAGER):
            return self.cores
        return max(1, self.cores // 8) if config in LARGE_CONFIGS else 1

    def _limits(self, compiles: bool) -> dict[str, float]:
        measuring_s = self.given.limit_s
        making_s = self.given.compile_limit_s if compiles else measuring_s
        return {"starting": START_LIMIT_S, "making": making_s, "measuring": measuring_s}

    def _environment(self, spec: Mapping[str, Any]) -> dict[str, str]:
        """What a spec's process finds beside this one's variables."""
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        variables = {**INDUCTOR_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        if spec.get("items"):
            # A cache of its own: a cold start must find nothing that another item has compiled.
            name = folder_of(spec["config"], *spec["items"][0])
            place = Path(spec["cache"]) / "inductor" / name
            variables["TORCHINDUCTOR_CACHE_DIR"] = str(place)
            variables["OMP_NUM_THREADS"] = str(spec["threads"])
        return variables

    # -- what comes of it --------------------------------------------------------------------------
    def _hear(self, spec: Mapping[str, Any], index: int, line: Line) -> None:
        """Keeps what a line says of the spec's item, of its model, or of the machine."""
        if spec["config"] is None:
            self._hear_machine(line)
            return
        if "model" in line:
            self.state["models"][spec["config"]] = line["model"]
            return
        item = self._item(spec, index)
        if line["phase"] == "made":
            item["warm" if line["cached"] else "cold"] = line["start"]
        place = item.setdefault("graph", {"figures": {}}) if line.get("graph") else item
        if "name" in line:
            place["figures"][line["name"]] = line["figures"]
        elif spec["start_only"] and "problem" in line:
            item["warm_problem"] = line["problem"]
        elif not (spec["start_only"] and item.get("done")):
            for name in ("first", "difference", "memory", "problem"):
                if line.get(name) is not None:
                    place[name] = line[name]
        if line["phase"] == "done":
            item["done"] = True
            self._save()

    def _hear_machine(self, line: Line) -> None:
        if "machine" in line:
            # Figures of two machines do not belong on one page.
            machine = self.state["machine"]
            for name in ("chip", "torch", "driver"):
                if machine and machine.get(name) != line["machine"].get(name):
                    raise ValueError(
                        f"{self.store} was measured on {name} {machine.get(name)}, and here it is "
                        f"{line['machine'].get(name)}; give --fresh, or another --out"
                    )
            self.state["machine"] = line["machine"]
            self.state["missing"].update(line["missing"])
        if "floor" in line:
            self.state["floors"][line["floor"]] = line["figures"]
        if line["phase"] == "done":
            self.state["floors_done"] = True
            self._save()

    def _fail(self, spec: Mapping[str, Any], index: int, phase: str, why: str) -> None:
        """Keeps why an item went no further; it is tried again only with --retry."""
        if spec["config"] is None:
            if self.state["machine"]:
                self.state["floors_problem"] = why
            self._problem = "" if self.state["machine"] else why
            return
        item = self._item(spec, index)
        if spec["start_only"]:
            item["warm_problem"] = why
            return
        if phase == "graph":
            item.setdefault("graph", {"figures": {}})["problem"] = why
        else:
            item["problem"] = why
        item["done"] = True
        self._save()

    def _item(self, spec: Mapping[str, Any], index: int) -> dict[str, Any]:
        key = key_of(spec["config"], *spec["items"][index])
        item: dict[str, Any] = self.state["items"].setdefault(key, {"figures": {}})
        return item

    def _save(self) -> None:
        self.state["spent_s"] = self._spent_before_s + time.monotonic() - self.began
        write_whole(self.store, json.dumps(self.state, indent=1))

    def _write(self, stages: Sequence[Stage]) -> list[str]:
        """The file and the page. Returns what is left to do, in words."""
        self._save()
        left = []
        for stage in stages:
            due = self._due(stage)
            if due:
                names = dict.fromkeys(" ".join(item[:3]) for item in due)
                left.append(f"{stage.name}: {', '.join(names)}")
        write(self.state, left, self.page)
        return left


if __name__ == "__main__":
    try:
        sys.exit(run(sys.argv[1:]))
    except ValueError as error:
        sys.exit(f"vla bench gpu: {error}")
