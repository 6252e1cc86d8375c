"""The gate with faults inside its own process.

Run as a module in place of vla_ros.nodes.safety_validator.
`/fault/gate` (String): "executor" blocks the executor for 3 s, "tick" blocks the watchdog's own
thread for 3 s, "callback" raises in a callback, "step" raises in the middle of a tick.
"""

from __future__ import annotations

import time
from typing import Any

from std_msgs.msg import String

from vla_ros.bench.faults.valve import note
from vla_ros.nodes import safety_validator

PAUSE_S = 3.0


class FaultyGate(safety_validator.SafetyValidator):
    """The real node; /fault/gate is all that it has besides."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.create_subscription(
            String, "/fault/gate", lambda message: self.guard(self._on_fault, message), 10
        )

    def _on_fault(self, message: String) -> None:
        note("gate")
        if message.data == "executor":
            time.sleep(PAUSE_S)
        elif message.data == "callback":
            raise RuntimeError("a callback broke on purpose")
        else:
            self._break_the_next_step(message.data)

    def _break_the_next_step(self, kind: str) -> None:
        gate = self._gate
        assert gate is not None
        good = gate.step

        def step(*arguments: Any) -> Any:
            gate.step = good  # type: ignore[method-assign]  # once: the next one is well again
            if kind == "tick":
                time.sleep(PAUSE_S)
                return good(*arguments)
            raise RuntimeError("a step broke on purpose")

        gate.step = step  # type: ignore[assignment]


def main() -> None:
    safety_validator.SafetyValidator = FaultyGate  # type: ignore[misc]
    safety_validator.main()


if __name__ == "__main__":
    main()
