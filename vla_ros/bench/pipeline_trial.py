"""One run of one variant: start it, stream, measure from outside, stop it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import starmap
from pathlib import Path

import psutil

from vla_ros.bench.pipeline_measure import (
    Inferred,
    Judged,
    LatencySample,
    SeenCommand,
    matched_samples,
    stamped_samples,
    stops,
)
from vla_ros.bench.variants import Variant, module
from vla_ros.operator.processes import ProcessGroup

WARM_UP_S = 3.0  # of streaming that no figure but the counts contains
START_LIMIT_S = 60.0
DRAIN_S = 1.5  # after the last image: /diagnostics speaks once a second
MEGABYTE = 1e6


@dataclass
class Usage:
    """Of one process: MB (10^6 bytes) at the window's end, CPU in % of one core over the window."""

    rss: float
    pss: float
    uss: float
    cpu: float


@dataclass
class PipelineTrial:
    """What one run of one variant gave; the window begins after the warm-up."""

    sent: int = 0  # images, with those of the warm-up
    samples: list[LatencySample] = field(default_factory=list)
    sent_in_window: int = 0
    unmatched: int = 0  # reports of the gate that no chunk or command belongs to
    inferred: int = 0
    commands: list[int] = field(default_factory=list)  # ns, when each was written
    diagnostics: dict[str, dict[str, str]] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)
    memory: list[dict[str, float]] = field(default_factory=list)  # PSS in MB, every so often
    stops: list[str] = field(default_factory=list)  # why the gate stopped, each time
    problem: str = ""

    def latencies(self) -> list[int]:
        """From each image's stamp to its command, ns."""
        return [sample.total for sample in self.samples]


def run_trial(
    variant: Variant,
    seconds: float,
    rate: float,
    folder: Path,
    size: tuple[int, int],
    cameras: int = 1,
    memory_every: float = 0.0,
) -> PipelineTrial:
    """Runs a variant once, in processes of its own.

    Args:
        variant: which pipeline.
        seconds: of the window; start, warm-up and end come on top.
        rate: images a second.
        folder: where the logs go, and what source and sink write.
        size: the images' width and height.
        cameras: how many, 1 or 2.
        memory_every: seconds between two looks at the memory; 0: only at the end.

    Returns:
        The trial. A variant that does not come up, or dies, says why in `problem`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trial = PipelineTrial()
    environment = variant.environment()
    sink = ["--namespace", variant.namespace, "--out", str(folder / "seen.json")]
    if variant.suite:
        sink.append("--suite")
    frames = round((WARM_UP_S + seconds) * rate)
    source = ["--frames", str(frames), "--rate", str(rate), "--out", str(folder / "sent.json")]
    source += ["--width", str(size[0]), "--height", str(size[1]), "--cameras", str(cameras)]
    if variant.default_qos:
        source.append("--default-qos")
    last_to_come = "the gate to be armed" if variant.suite else "the last node"
    with ProcessGroup() as group:

        def start(name: str, argv: list[str]) -> None:
            group.start(name, argv, environment, folder / f"{name}.log", respawn=False)

        def wait_until(name: str, word: str, awaited: str) -> None:
            log = folder / f"{name}.log"
            _wait(group, awaited, START_LIMIT_S, lambda: _has_line(log, word))

        for name, argv in variant.commands(cameras).items():
            start(name, argv)
        watched = list(group.pids())  # the variant's own; the bench's processes come later
        start("sink", module("sink", *sink))
        try:
            wait_until("sink", "ready", last_to_come)
            time.sleep(1.0)
            start("source", module("source", *source))
            wait_until("source", "streaming", "somebody to listen to the camera")
            _watch(group, watched, seconds, memory_every, trial, folder)
        except TimeoutError as problem:
            trial.problem = str(problem)
        # the sink writes its file when it is stopped; the source may not have been started
        group.stop(["source", "sink"] if "source" in group.pids() else ["sink"])
    _read(trial, folder, variant)
    return trial


def _watch(
    group: ProcessGroup,
    names: list[str],
    seconds: float,
    memory_every: float,
    trial: PipelineTrial,
    folder: Path,
) -> None:
    """The window: from after the warm-up to the last image."""
    pids = group.pids()
    processes = {name: psutil.Process(pids[name]) for name in names if name in pids}
    _pause(group, WARM_UP_S)
    begin = time.monotonic()
    used = dict(zip(processes, map(_cpu_seconds, processes.values())))
    while memory_every and time.monotonic() - begin + memory_every < seconds:
        _pause(group, memory_every)  # first: buffers and percentile windows fill up
        trial.memory.append({name: _memory(process).pss for name, process in processes.items()})
    # half a second early, so that all are still at work when they are looked at
    _pause(group, max(0.0, seconds - (time.monotonic() - begin) - 0.5))
    spent = time.monotonic() - begin
    at_the_end = {}
    for name, process in processes.items():
        usage = _memory(process)
        usage.cpu = round(100.0 * (_cpu_seconds(process) - used[name]) / spent, 1)
        trial.usage[name] = usage
        at_the_end[name] = usage.pss
    trial.memory.append(at_the_end)
    _wait(group, "the last image", 30.0, lambda: _has_line(folder / "source.log", "done"))
    time.sleep(DRAIN_S)


def _memory(process: psutil.Process) -> Usage:
    full = process.memory_full_info()
    return Usage(
        rss=round(full.rss / MEGABYTE, 1),
        pss=round(full.pss / MEGABYTE, 1),
        uss=round(full.uss / MEGABYTE, 1),
        cpu=0.0,
    )


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _pause(group: ProcessGroup, seconds: float) -> None:
    """Sleeps; TimeoutError as soon as one of the processes has died."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        _check(group)
        time.sleep(min(0.25, max(0.0, end - time.monotonic())))


def _check(group: ProcessGroup) -> None:
    died = group.poll()
    if died:
        raise TimeoutError("; ".join(died) + "; its log says why")


def _wait(group: ProcessGroup, awaited: str, seconds: float, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not condition():
        _check(group)
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {awaited}, in vain")
        time.sleep(0.05)


def _has_line(log: Path, word: str) -> bool:
    return log.is_file() and word in log.read_text(errors="replace").splitlines()


def _read(trial: PipelineTrial, folder: Path, variant: Variant) -> None:
    """What source and sink wrote, into figures."""
    try:
        stamps = json.loads((folder / "sent.json").read_text())["stamps"]
        seen = json.loads((folder / "seen.json").read_text())
    except OSError as problem:
        trial.problem = trial.problem or f"nothing was written: {problem}"
        return
    commands = list(starmap(SeenCommand, seen["seen"]))
    judged = list(starmap(Judged, seen["judged"]))  # none where the variant has no gate of ours
    if variant.suite:
        chunks = list(starmap(Inferred, seen["inferred"]))
        trial.inferred = len(chunks)
        samples, trial.unmatched = matched_samples(commands, judged, chunks)
        trial.stops = stops(judged)
    else:
        samples = stamped_samples(commands)
    begin = stamps[0] + int(WARM_UP_S * 1e9)
    end = stamps[-1]
    trial.sent = len(stamps)
    trial.sent_in_window = sum(stamp >= begin for stamp in stamps)
    trial.samples = [sample for sample in samples if sample.stamp >= begin]
    trial.commands = [command.written for command in commands if begin <= command.written <= end]
    trial.diagnostics = seen["diagnostics"]
    if not trial.samples and not trial.problem:
        trial.problem = "no image became a command"
        # what it said once the images were over is not why
        reports = [report for report in judged if report.written <= end]
        if reports:
            trial.problem += f"; the gate said last: {reports[-1].rule}: {reports[-1].reason}"
