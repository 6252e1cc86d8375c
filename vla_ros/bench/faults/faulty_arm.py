"""A six-joint arm with a gripper and a camera, which can be told to fail.

It is as ros2_control shows an arm, without physics.
Commands go to a joint_trajectory_controller and a forward_command_controller. When they cease, both
hold the last position: that is what the first does by default (cmd_timeout: 0), and for an arm it
is right, as one that goes limp falls. Its time-out holds, too: what stands still where it was sent
needs none.

`/fault/arm` (String): "camera silent", "joints silent", "zeros" (one joint state says zero
everywhere, and the next is left out, as after an error on a bus), "flicker" (every fifth does),
"block JOINT", "push JOINT" (its drive is off, and a hand takes it back by PUSHED_RAD), or "well".
The log's speed is the fastest joint's (rad/s), or what a command asks of it within a period of the
gate.
"""

from __future__ import annotations

import itertools
import math
import threading
import time

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory

from vla_ros.bench.common import CAMERA, spin
from vla_ros.bench.faults.faulty_joints import Joint
from vla_ros.bench.faults.valve import MotionLog, Valve, note
from vla_ros.bench.source import make_images

JOINTS = tuple(map("joint_{}".format, range(1, 7)))
FINGER = "finger_joint"
START = {**dict(zip(JOINTS, (0.4, -0.6, 0.5, -0.3, 0.6, -0.4))), FINGER: 0.04}  # rad, m
CONTROL_PERIOD_S = 0.01  # the controllers' and the drives'
STATE_PERIOD_S = 0.02  # between joint states
WRONG_EVERY = 5  # joint states
GATE_PERIOD_S = 0.02
PUSHED_RAD = 0.55  # a little more than twice the tracking error: what the gate follows worst


class FaultyArm(Node):
    """Subscribes to the controllers' commands and /fault/arm; publishes joint states and images."""

    def __init__(self) -> None:
        super().__init__("arm")
        self._log = MotionLog()
        self._arm = {name: Joint(position) for name, position in START.items()}
        # the last command of each; before the first, no way to it is short
        self._commanded = dict.fromkeys(START, math.inf)
        self._lock = threading.Lock()  # guards the joints
        self._states_published = 0
        self._flickers = False
        self._skips = False  # the next joint state is left out
        loose = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._valves = {
            "camera": Valve(self.create_publisher(Image, CAMERA, loose)),
            "joints": Valve(self.create_publisher(JointState, "/joint_states", 10)),
        }
        self._images = itertools.cycle(make_images(120, 160))
        self.create_subscription(
            JointTrajectory, "/arm_controller/joint_trajectory", self._on_trajectory, 1
        )
        self.create_subscription(
            Float64MultiArray, "/gripper_controller/commands", self._on_gripper, 1
        )
        self.create_subscription(String, "/fault/arm", self._on_fault, 10)
        self.create_timer(STATE_PERIOD_S, self._publish_state)
        self.create_timer(1.0 / 30.0, self._look)
        # As in a controller manager: no publisher that waits holds up the control loop.
        threading.Thread(target=self._control, name="control", daemon=True).start()

    def _on_fault(self, message: String) -> None:
        # "camera silent", "block JOINT": the first word is what fails, or how a joint does
        kind, _, faulty_joint = message.data.partition(" ")
        for name, valve in self._valves.items():
            valve.mode = "silent" if name == kind else "well"
        with self._lock:
            for name, joint in self._arm.items():
                joint.blocked = False
                joint.hand = None
                if name == faulty_joint and kind == "block":
                    joint.blocked = True
                if name == faulty_joint and kind == "push":  # towards zero
                    joint.hand = joint.position - math.copysign(PUSHED_RAD, joint.position)
        self._flickers = kind == "flicker"
        if kind == "zeros" or self._flickers:
            self._publish_zero()
        note("arm")

    # -- commands ----------------------------------------------------------------------
    def _on_trajectory(self, message: JointTrajectory) -> None:
        if sorted(message.joint_names) != sorted(JOINTS) or len(message.points) != 1:
            self.get_logger().error(
                f"refused: {len(message.points)} points for {message.joint_names}"
            )
            return
        point = message.points[0]
        takes = point.time_from_start.sec + point.time_from_start.nanosec / 1e9
        self._obey(dict(zip(message.joint_names, point.positions)), takes)

    def _on_gripper(self, message: Float64MultiArray) -> None:
        self._obey({FINGER: message.data[0]}, 0.0)

    def _obey(self, positions: dict[str, float], takes: float) -> None:
        """Joint -> where to (rad, m), to be reached in `takes` seconds."""
        now = time.monotonic()
        longest = 0.0
        with self._lock:
            for name, position in positions.items():
                self._arm[name].command(position, now, takes)
                longest = max(longest, abs(position - self._commanded[name]))
        self._commanded.update(positions)
        if FINGER not in positions:  # the arm's controller, not the gripper's
            self._log.write("c", [longest / GATE_PERIOD_S])

    # -- what it does and says ---------------------------------------------------------
    def _control(self) -> None:
        before = time.monotonic()
        while True:
            time.sleep(CONTROL_PERIOD_S)
            now = time.monotonic()
            with self._lock:
                fastest = 0.0
                for joint in self._arm.values():
                    joint.step(now, now - before)
                    fastest = max(fastest, abs(joint.speed))
                self._log.write("s", [fastest], self._positions())
            before = now

    def _positions(self) -> list[float]:
        """The joints' and the gripper's, in the order of START; under the lock."""
        return [joint.position for joint in self._arm.values()]

    def _publish_state(self) -> None:
        self._states_published += 1
        if self._flickers and self._states_published % WRONG_EVERY == 0:
            self._publish_zero()
        elif self._skips:
            self._skips = False
        else:
            with self._lock:
                positions = self._positions()
            self._publish_positions(positions)

    def _publish_zero(self) -> None:
        self._publish_positions([0.0] * len(self._arm))
        self._skips = True

    def _publish_positions(self, positions: list[float]) -> None:
        message = JointState(name=list(self._arm), position=positions)
        message.header.stamp = self.get_clock().now().to_msg()
        self._valves["joints"].publish(message)

    def _look(self) -> None:
        message = next(self._images)
        message.header.stamp = self.get_clock().now().to_msg()
        self._valves["camera"].publish(message)


def main() -> None:
    rclpy.init()
    spin(FaultyArm())


if __name__ == "__main__":
    main()
