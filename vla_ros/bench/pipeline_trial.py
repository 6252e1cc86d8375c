"""One run of one variant: start it, stream, measure from outside, stop it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from vla_ros.bench.pipeline_measure import (
    Inferred,
    Judged,
    Sample,
    Seen,
    matched_samples,
    stamped_samples,
    stops,
)
from vla_ros.bench.variants import Variant, module
from vla_ros.operator.processes import ProcessGroup

WARM_UP = 3.0  # s of streaming that no figure but the counts contains
START_LIMIT = 60.0  # s
DRAIN = 1.5  # s after the last image: /diagnostics speaks once a second
MEGABYTE = 1e6


@dataclass
class Usage:
    """Of one process: MB (10^6 bytes) at the end of the window, CPU in % of one core over the
    window."""

    rss: float
    pss: float
    uss: float
    cpu: float


@dataclass
class Trial:
    sent: int = 0
    samples: list[Sample] = field(default_factory=list)
    sent_in_window: int = 0
    unmatched: int = 0
    inferred: int = 0
    commands: list[int] = field(default_factory=list)  # ns, when each was written
    diagnostics: dict[str, dict[str, str]] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)
    memory: list[dict[str, float]] = field(default_factory=list)  # PSS in MB, every so often
    stops: list[str] = field(default_factory=list)  # why the gate stopped, each time
    problem: str = ""


def run_trial(
    variant: Variant, seconds: float, rate: float, folder: Path, memory_every: float = 0.0
) -> Trial:
    """Blocks for `seconds` and what start and stop take. A variant that does not come up says
    why."""
    folder.mkdir(parents=True, exist_ok=True)
    trial = Trial()
    environment = variant.environment()
    with ProcessGroup() as group:

        def start(name: str, argv: list[str]) -> None:
            group.start(name, argv, environment, folder / f"{name}.log", respawn=False)

        for name, argv in variant.commands().items():
            start(name, argv)
        watched = list(group.pids())
        suite = ["--suite"] if variant.suite else []
        start(
            "sink",
            module(
                "sink", "--namespace", variant.namespace, "--out", str(folder / "seen.json"), *suite
            ),
        )
        try:
            _wait(
                group,
                "the gate to be armed" if variant.suite else "the last node",
                START_LIMIT,
                lambda: _says(folder / "sink.log", "ready"),
            )
            time.sleep(1.0)
            start(
                "source",
                module(
                    "source",
                    "--frames",
                    str(round((WARM_UP + seconds) * rate)),
                    "--rate",
                    str(rate),
                    "--out",
                    str(folder / "sent.json"),
                    *(["--default-qos"] if variant.default_qos else []),
                ),
            )
            _wait(
                group,
                "somebody to listen to the camera",
                START_LIMIT,
                lambda: _says(folder / "source.log", "streaming"),
            )
            _watch(group, watched, seconds, memory_every, trial, folder)
        except TimeoutError as problem:
            trial.problem = str(problem)
        group.stop(["source", "sink"] if "source" in group.pids() else ["sink"])
    _read(trial, folder, variant)
    return trial


def _watch(
    group: ProcessGroup,
    names: list[str],
    seconds: float,
    memory_every: float,
    trial: Trial,
    folder: Path,
) -> None:
    """The window: from after the warm-up to the last image."""
    pids = group.pids()
    processes = {name: psutil.Process(pids[name]) for name in names if name in pids}
    _pause(group, WARM_UP)
    begin = time.monotonic()
    used = {name: _cpu(process) for name, process in processes.items()}
    while memory_every and time.monotonic() - begin + memory_every < seconds:
        _pause(group, memory_every)  # first: buffers and percentile windows fill up
        trial.memory.append({name: _memory(process).pss for name, process in processes.items()})
    _pause(group, max(0.0, seconds - (time.monotonic() - begin) - 0.5))
    spent = time.monotonic() - begin
    for name, process in processes.items():
        usage = _memory(process)
        usage.cpu = round(100.0 * (_cpu(process) - used[name]) / spent, 1)
        trial.usage[name] = usage
    trial.memory.append({name: usage.pss for name, usage in trial.usage.items()})
    _wait(group, "the last image", 30.0, lambda: _says(folder / "source.log", "done"))
    time.sleep(DRAIN)


def _memory(process: psutil.Process) -> Usage:
    full = process.memory_full_info()
    rss, pss, uss = (round(size / MEGABYTE, 1) for size in (full.rss, full.pss, full.uss))
    return Usage(rss, pss, uss, cpu=0.0)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _pause(group: ProcessGroup, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        _check(group)
        time.sleep(min(0.25, max(0.0, end - time.monotonic())))


def _check(group: ProcessGroup) -> None:
    died = group.poll()
    if died:
        raise TimeoutError("; ".join(died) + "; its log says why")


def _wait(group: ProcessGroup, what: str, seconds: float, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not condition():
        _check(group)
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}, in vain")
        time.sleep(0.05)


def _says(log: Path, word: str) -> bool:
    return log.is_file() and word in log.read_text(errors="replace").splitlines()


def _read(trial: Trial, folder: Path, variant: Variant) -> None:
    """What source and sink wrote, into figures."""
    try:
        stamps = json.loads((folder / "sent.json").read_text())["stamps"]
        seen = json.loads((folder / "seen.json").read_text())
    except OSError as problem:
        trial.problem = trial.problem or f"nothing was written: {problem}"
        return
    commands = [Seen(*row) for row in seen["seen"]]
    if variant.suite:
        chunks = [Inferred(*row) for row in seen["inferred"]]
        trial.inferred = len(chunks)
        judged = [Judged(*row) for row in seen["judged"]]
        samples, trial.unmatched = matched_samples(commands, judged, chunks)
        trial.stops = stops(judged)
    else:
        samples = stamped_samples(commands)
    begin = stamps[0] + int(WARM_UP * 1e9)
    trial.sent = len(stamps)
    trial.sent_in_window = sum(stamp >= begin for stamp in stamps)
    trial.samples = [sample for sample in samples if sample.stamp >= begin]
    trial.commands = [
        command.written for command in commands if begin <= command.written <= stamps[-1]
    ]
    trial.diagnostics = seen["diagnostics"]
    if not trial.samples:
        said = (
            [report for report in judged if report.written <= stamps[-1]] if variant.suite else []
        )
        why = f"; the gate said last: {said[-1].rule}: {said[-1].reason}" if said else ""
        trial.problem = trial.problem or f"no image became a command{why}"
