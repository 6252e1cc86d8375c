"""What is left of the machine; on which processors a process runs, and before which others."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def free_memory() -> float:
    """Bytes that a process may still take without swapping; infinity: the system does not say."""
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        sizes = dict(line.split(":", 1) for line in lines)
        return int(sizes["MemAvailable"].split()[0]) * 1024.0  # it is given in kB
    except (OSError, KeyError, ValueError):
        return float("inf")


def room(user: str, needed: float, free: float) -> None:
    """Raises ValueError, with both numbers (bytes), where there is none for `user`."""
    if needed > free:
        raise ValueError(
            f"{user} needs {needed / 1e9:.2f} GB of memory, and {free / 1e9:.2f} GB are free; end "
            "what else runs, or take a smaller model (vla memory, vla quantize)"
        )


def processors(text: str) -> set[int]:
    """The numbers in a list like 0,2-3, as taskset takes it.

    Raises:
        ValueError: it is none.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not dash:
            last = first
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) < 4096):
            raise ValueError(
                f"parameter 'cpus' is '{text[:60]}'; give numbers of processors like 0,2-3"
            )
        numbers |= set(range(int(first), int(last) + 1))
    return numbers


def keep_to(text: str) -> None:
    """Every thread of this process runs on the processors of `text` alone.

    Raises:
        ValueError: it is no list of processors, or the system does not grant them.
    """
    chosen = processors(text)
    try:
        for thread in _threads():
            with suppress(ProcessLookupError):  # it ended meanwhile
                os.sched_setaffinity(thread, chosen)  # those to come have it from their maker
    except (AttributeError, OSError) as error:
        raise ValueError(
            f"parameter 'cpus' is '{text[:60]}', which this system does not grant: {error}; "
            f"it has {os.cpu_count()} processors"
        ) from None


def take_priority(nice: int, realtime: int) -> None:
    """Every thread of this process at a niceness, or before all ordinary ones; 0: as it is.

    All threads, DDS' too: one alone would wait for the others' locks.

    Args:
        nice: -20 to 19; the higher, the more others go first.
        realtime: a priority of SCHED_FIFO, 1 to 99.

    Raises:
        ValueError: the system does not grant one of them.
    """
    if nice:
        _grant("nice", nice, lambda thread: os.setpriority(os.PRIO_PROCESS, thread, nice))
    if realtime:
        first = os.sched_param(realtime)
        _grant(
            "realtime_priority",
            realtime,
            lambda thread: os.sched_setscheduler(thread, os.SCHED_FIFO, first),
        )


def _grant(parameter: str, value: int, ask: Callable[[int], None]) -> None:
    try:
        for thread in _threads():
            with suppress(ProcessLookupError):  # it ended meanwhile
                ask(thread)
    except OSError as error:
        raise ValueError(
            f"parameter '{parameter}' is {value}, which this system does not grant: {error}; give "
            "the user the right to it (nice and rtprio in /etc/security/limits.conf, or "
            "CAP_SYS_NICE)"
        ) from None


def _threads() -> list[int]:
    """Those that there are now."""
    return list(map(int, os.listdir("/proc/self/task")))
