"""What is left of the machine."""

from __future__ import annotations

from pathlib import Path

MEMORY = Path("/proc/meminfo")


def free_memory() -> float:
    """Bytes that a process may still take without swapping; infinity where the system does not
    say."""
    try:
        lines = dict(line.split(":", 1) for line in MEMORY.read_text(encoding="ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024.0
    except (OSError, KeyError, ValueError):
        return float("inf")


def room(what: str, needed: float, free: float) -> None:
    """Raises ValueError, with both numbers, where there is none for it."""
    if needed > free:
        raise ValueError(
            f"{what} needs {needed / 1e9:.2f} GB of memory, and {free / 1e9:.2f} GB are free; end "
            "what else runs, or take a smaller model (vla memory, vla quantize)"
        )
