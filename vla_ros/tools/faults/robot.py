"""The simulated robot with drivers that can be told to fail, and a log of what its wheels really did.

Run as a module in place of vla_ros.sim.node. `/fault/robot` (String) says which sensor fails and how: "camera
silent", "camera frozen" (the last message again and again), "camera stuck" (the last picture with new stamps),
"odom silent", "joints silent", "scan silent", or "well". The log is the file `wheels` in $VLA_FAULTS_FOLDER: a line
for each control step, "s" + steady time (s) + speeds (m/s, rad/s), and one for each command that arrived, "c" + these.
"""
from __future__ import annotations

import copy
import os
import time
from pathlib import Path
from typing import Any

from geometry_msgs.msg import Twist
from std_msgs.msg import String

from vla_ros.sim import node as sim

FOLDER = "VLA_FAULTS_FOLDER"


def note(what: str) -> None:
    """The moment (steady s) at which `what` begins to fail, into the file of that name; whole or not at all."""
    path = Path(os.environ[FOLDER]) / what
    path.with_suffix(".part").write_text(repr(time.monotonic()), encoding="ascii")
    path.with_suffix(".part").replace(path)


class Valve:
    """A publisher that can fail in three ways."""

    def __init__(self, publisher: Any) -> None:
        self._publisher = publisher
        self._kept: Any = None
        self.mode = "well"

    def publish(self, message: Any) -> None:
        if self.mode == "silent":
            return
        if self.mode == "well":
            self._kept = None
        elif self._kept is None:
            self._kept = copy.deepcopy(message)  # the camera uses one message again and again
        elif self.mode == "stuck":
            self._kept.header.stamp = message.header.stamp
        self._publisher.publish(self._kept or message)


class FaultyRobot(sim.Simulator):
    def __init__(self) -> None:
        super().__init__()
        self._log = os.open(Path(os.environ[FOLDER]) / "wheels", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._valves = {"camera": Valve(self._image), "odom": Valve(self._odom), "joints": Valve(self._joints),
                        "scan": Valve(self._scan)}
        self._image, self._odom, self._joints, self._scan = self._valves.values()
        self.create_subscription(String, "/fault/robot", self._on_fault, 10)

    def _on_fault(self, message: String) -> None:
        sensor, _, mode = message.data.partition(" ")
        for name, valve in self._valves.items():
            valve.mode = mode if name == sensor else "well"
        note("robot")

    def _write(self, kind: str, linear: float, angular: float) -> None:
        os.write(self._log, f"{kind} {time.monotonic():.4f} {linear:.4f} {angular:.4f}\n".encode())

    def _on_twist(self, twist: Twist) -> None:
        self._write("c", twist.linear.x, twist.angular.z)
        super()._on_twist(twist)

    def _publish_odometry(self, stamp: Any) -> None:
        wheels = self._world.odometry()
        self._write("s", wheels.linear, wheels.angular)
        super()._publish_odometry(stamp)


def main() -> None:
    sim.Simulator = FaultyRobot  # type: ignore[misc]
    sim.main()


if __name__ == "__main__":
    main()
