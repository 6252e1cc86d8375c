"""What is left of the machine."""

from __future__ import annotations

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
