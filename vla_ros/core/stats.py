"""What a node tells about itself: rates, ages, drops with reasons, percentiles of its stage."""
from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

from vla_ros.core.types import NANOSECONDS


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which `share` (0 … 1) of `values` lie, interpolated; NaN where there are none."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


class Rate:
    """Events a second over the last `window` events. Times in ns on any one clock."""

    def __init__(self, window: int = 50) -> None:
        self._times: deque[int] = deque(maxlen=window)
        self.total = 0

    def tick(self, now: int) -> None:
        self._times.append(now)
        self.total += 1

    def hertz(self, now: int) -> float:
        """Counts the silence since the last event too, so that a dead source goes to zero."""
        if len(self._times) < 2:
            return 0.0
        span = max(now, self._times[-1]) - self._times[0]
        return (len(self._times) - 1) * NANOSECONDS / span if span > 0 else 0.0

    def age(self, now: int) -> float:
        """Seconds since the last event; infinite where there was none."""
        return (now - self._times[-1]) / NANOSECONDS if self._times else float("inf")


class Stats:
    """Named rates, one latency window and drop counters of one node; written by any thread."""

    def __init__(self, window: int = 500) -> None:
        self.rates: dict[str, Rate] = {}
        self.drops: Counter[str] = Counter()
        self._latencies: deque[float] = deque(maxlen=window)

    def tick(self, name: str, now: int) -> None:
        self.rates.setdefault(name, Rate()).tick(now)

    def drop(self, reason: str) -> None:
        self.drops[reason] += 1

    def latency(self, nanoseconds: int) -> None:
        self._latencies.append(nanoseconds / 1e6)

    def values(self, now: int) -> dict[str, str]:
        """Key -> value for a DiagnosticStatus."""
        out: dict[str, str] = {}
        for name, rate in list(self.rates.items()):
            out[f"{name} rate (Hz)"] = f"{rate.hertz(now):.1f}"
            out[f"{name} total"] = str(rate.total)
            out[f"{name} age (s)"] = f"{rate.age(now):.3f}"
        latencies = list(self._latencies)
        for share in (50, 95, 99):
            out[f"p{share} (ms)"] = f"{percentile(latencies, share / 100):.3f}"
        for reason, count in list(self.drops.items()):
            out[f"dropped: {reason}"] = str(count)
        return out
