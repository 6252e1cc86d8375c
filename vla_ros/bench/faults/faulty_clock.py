"""Publishes /clock at 50 Hz as simulators and bag players do.

`/fault/clock` (String): "stall", "jump S" (s), "run".
"""

from __future__ import annotations

import time

import rclpy
from builtin_interfaces.msg import Time
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String

from vla_ros.bench.common import spin
from vla_ros.bench.faults.valve import note


class FaultyClock(Node):
    """The wall's clock, with what went wrong."""

    def __init__(self) -> None:
        super().__init__("clock")
        self._offset = 0  # ns, of all jumps
        self._stalled = False
        self._clock_out = self.create_publisher(Clock, "/clock", 1)
        self.create_subscription(String, "/fault/clock", self._on_fault, 10)
        self.create_timer(0.02, self._tick)

    def _on_fault(self, message: String) -> None:
        verb, _, seconds = message.data.partition(" ")
        self._stalled = verb == "stall"
        if verb == "jump":
            self._offset += int(float(seconds) * 1e9)
        note("clock")

    def _tick(self) -> None:
        if not self._stalled:
            now = time.time_ns() + self._offset
            self._clock_out.publish(Clock(clock=Time(sec=now // 10**9, nanosec=now % 10**9)))


def main() -> None:
    rclpy.init()
    spin(FaultyClock())


if __name__ == "__main__":
    main()
