"""What a node tells about itself: rates, ages, drops with reasons, percentiles of its stage."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np

from vla_ros.core.types import NANOSECONDS


class Rate:
    """Events a second over the last `window` events. Times in ns on any one clock."""

    # 50 are a camera's last two seconds: long enough to be calm, short enough to show a loss.
    def __init__(self, window: int = 50) -> None:
        self._times: deque[int] = deque(maxlen=window)
        self.total = 0

    def tick(self, now: int) -> None:
        """An event happened."""
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

    def values(self, now: int) -> dict[str, str]:
        """Key -> value for a DiagnosticStatus; the first two keys are FrequencyStatus' own."""
        return {
            "Events since startup": str(self.total),
            "Actual frequency (Hz)": f"{self.hertz(now):.1f}",
            "Age of the last event (s)": f"{self.age(now):.3f}",
        }


class Stats:
    """Named rates, one latency window and drop counters of one node; written by any thread."""

    # A 99th percentile of 500 rests on five values; fewer would jump from report to report.
    def __init__(self, window: int = 500) -> None:
        self.rates: dict[str, Rate] = {}
        self.drops: Counter[str] = Counter()
        self._latencies: deque[float] = deque(maxlen=window)

    def tick(self, name: str, now: int) -> None:
        self.rates.setdefault(name, Rate()).tick(now)

    def drop(self, reason: str) -> None:
        self.drops[reason] += 1

    def latency(self, nanoseconds: int) -> None:
        """How long the node's stage took for one message."""
        self._latencies.append(nanoseconds / 1e6)

    def values(self) -> dict[str, str]:
        """Key -> value for a DiagnosticStatus; no percentiles where no latency was measured."""
        out: dict[str, str] = {}
        if latencies := list(self._latencies):
            shares = (50, 95, 99)
            for share, value in zip(shares, np.percentile(latencies, shares)):
                out[f"p{share} (ms)"] = f"{value:.3f}"
        # A copy: another thread may add a reason meanwhile.
        for reason, count in list(self.drops.items()):
            out[f"dropped: {reason}"] = str(count)
        return out
