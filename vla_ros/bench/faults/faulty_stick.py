"""A gamepad at rest, twenty messages a second, until a person drives with it.

`/fault/stick` (String): "turn" presses the deadman and turns at full deflection, "let go" lets both
go, "repeat" goes on with the very same message.
"""

from __future__ import annotations

import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Joy
from std_msgs.msg import String

from vla_ros.bench.common import spin
from vla_ros.bench.faults.valve import Valve, note

PERIOD_S = 0.05
DEADMAN = 4  # of its buttons: the default of joy_deadman
AT_REST_FIRST = 3  # messages with the deadman held, before the stick is moved: else it floats


class FaultyStick(Node):
    """What a joy_node publishes, on the node teleop's topic."""

    def __init__(self) -> None:
        super().__init__("stick", namespace="/vla")
        self._joy = Valve(self.create_publisher(Joy, "joy", 1))
        self._held = 0  # so many messages with the deadman; 0: it is let go
        self.create_subscription(String, "/fault/stick", self._on_fault, 10)
        self.create_timer(PERIOD_S, self._say)

    def _on_fault(self, message: String) -> None:
        self._joy.mode = "frozen" if message.data == "repeat" else "well"
        if message.data == "turn":
            self._held = 1
        elif message.data == "let go":
            self._held = 0
            self._say()  # at once, as a gamepad's driver does
        note("stick")

    def _say(self) -> None:
        message = Joy(axes=[0.0] * 4, buttons=[0] * 8)
        message.header.stamp = self.get_clock().now().to_msg()
        if self._held:
            message.buttons[DEADMAN] = 1
            message.axes[0] = 1.0 if self._held > AT_REST_FIRST else 0.0
            self._held += 1
        self._joy.publish(message)


def main() -> None:
    rclpy.init()
    spin(FaultyStick())


if __name__ == "__main__":
    main()
