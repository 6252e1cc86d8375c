"""The simulated robot with drivers that can be told to fail, and a log of what its wheels did.

Run as a module in place of vla_ros.sim.node. `/fault/robot` (String) says which sensor fails and
how: "camera silent", "camera frozen" (the last message again and again), "camera stuck" (the last
image with new stamps), "odom silent", "joints silent", "scan silent", or "well". The log's speeds
are m/s and rad/s.
"""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import Twist
from std_msgs.msg import String

from vla_ros.bench.faults.valve import MotionLog, Valve, note
from vla_ros.sim import node as sim


class FaultyRobot(sim.Simulator):
    """The real simulator, with a valve before each of its publishers."""

    def __init__(self) -> None:
        super().__init__()
        self._log = MotionLog()
        self._valves = {
            "camera": Valve(self._image),
            "odom": Valve(self._odom),
            "joints": Valve(self._joints),
            "scan": Valve(self._scan),
        }
        self._image, self._odom, self._joints, self._scan = self._valves.values()
        self.create_subscription(String, "/fault/robot", self._on_fault, 10)

    def _on_fault(self, message: String) -> None:
        sensor, _, mode = message.data.partition(" ")
        for name, valve in self._valves.items():
            valve.mode = mode if name == sensor else "well"
        note("robot")

    def _on_twist(self, twist: Twist) -> None:
        self._log.write("c", (twist.linear.x, twist.angular.z))
        super()._on_twist(twist)

    def _publish_odometry(self, stamp: Any) -> None:
        wheels = self._world.odometry()
        self._log.write("s", (wheels.linear, wheels.angular))
        super()._publish_odometry(stamp)


def main() -> None:
    sim.Simulator = FaultyRobot  # type: ignore[misc]
    sim.main()


if __name__ == "__main__":
    main()
