"""A Jetson's power mode and temperature, where jetson-stats (jtop) is installed."""

from __future__ import annotations

import threading
import time
from functools import cache
from typing import Any

READ_PERIOD_S = 1.0  # jtop is read at most this often
RETRY_PERIOD_S = 10.0  # jtop's service may start later than we, or again
MAX_AGE_S = 5.0  # older readings are left out


def _read(board: Any) -> dict[str, str]:
    """`board`: an open jtop. The hottest sensor stands for all."""
    values = {}
    if board.nvpmodel is not None:
        values["power mode"] = str(board.nvpmodel.name)
    heat = {}
    # jtop 4: {"temp": 48.3, "online": True}; before: 48.3
    for name, sensor in board.temperature.items():
        sensor = sensor if isinstance(sensor, dict) else {"temp": sensor}
        if sensor.get("online", True):
            heat[float(sensor["temp"])] = str(name)
    if heat:
        values["temperature"] = f"{max(heat):.1f} C ({heat[max(heat)]})"
    return values


class Board:
    """Watches jtop from a thread of its own: it talks to a service, which may hang."""

    def __init__(self) -> None:
        self._latest: tuple[float, dict[str, str]] = (0.0, {})  # when (steady s), what
        threading.Thread(target=self._watch, name="jtop", daemon=True).start()

    def values(self) -> dict[str, str]:
        """Never blocks; {} without jtop, after a failure, and where it has been silent."""
        when, values = self._latest
        return dict(values) if time.monotonic() - when < MAX_AGE_S else {}

    def _watch(self) -> None:
        try:
            from jtop import jtop
        except Exception:
            return  # no Jetson, or no jetson-stats
        while True:
            try:
                with jtop(interval=READ_PERIOD_S) as board:
                    while board.ok():
                        self._latest = time.monotonic(), _read(board)
                        time.sleep(READ_PERIOD_S)
            except Exception:
                pass  # its service is down, or not ours to ask; diagnostics go on without
            self._latest = 0.0, {}
            time.sleep(RETRY_PERIOD_S)


@cache
def _board() -> Board:
    return Board()


def board_values() -> dict[str, str]:
    """For diagnostics: "power mode" and "temperature", as far as they are known."""
    return _board().values()
