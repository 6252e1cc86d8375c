"""A six-joint arm with a gripper and a camera as ros2_control shows them, without physics; it can
be told to fail.

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

JOINTS = tuple(f"joint_{number}" for number in range(1, 7))
FINGER = "finger_joint"
START = {**dict(zip(JOINTS, (0.4, -0.6, 0.5, -0.3, 0.6, -0.4))), FINGER: 0.04}  # rad, m
CONTROL_PERIOD_S = 0.01  # s, the controllers' and the drives'
STATE_PERIOD_S = 0.02  # s between joint states
WRONG_EVERY = 5  # joint states
GATE_PERIOD_S = 0.02  # s
PUSHED_RAD = 0.55  # rad, a little more than twice the tracking error: what the gate follows worst


class FaultyArm(Node):
    def __init__(self) -> None:
        super().__init__("arm")
        self._log = MotionLog()
        self._arm = {name: Joint(position) for name, position in START.items()}
        self._told = dict.fromkeys(START, math.inf)  # the last command
        self._lock = threading.Lock()  # guards the joints
        self._said = 0  # joint states
        self._flickers = False
        self._skips = False
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
        self.create_timer(STATE_PERIOD_S, self._say_state)
        self.create_timer(1.0 / 30.0, self._look)
        # As in a controller manager: no publisher that waits holds up the control loop.
        threading.Thread(target=self._control, name="control", daemon=True).start()

    def _on_fault(self, message: String) -> None:
        what, _, which = message.data.partition(" ")
        for name, valve in self._valves.items():
            valve.mode = "silent" if name == what else "well"
        with self._lock:
            for name, joint in self._arm.items():
                joint.blocked = what == "block" and name == which
                pushed = what == "push" and name == which
                joint.hand = (
                    joint.position - math.copysign(PUSHED_RAD, joint.position) if pushed else None
                )
        self._flickers = what == "flicker"
        if what == "zeros" or self._flickers:
            self._say_zero()
        note("arm")

    # -- commands ----------------------------------------------------------------------
    def _on_trajectory(self, message: JointTrajectory) -> None:
        if sorted(message.joint_names) != sorted(JOINTS) or len(message.points) != 1:
            self.get_logger().error(
                f"refused: {len(message.points)} points for {message.joint_names}"
            )
            return
        takes = message.points[0].time_from_start
        self._obey(
            dict(zip(message.joint_names, message.points[0].positions)),
            takes.sec + takes.nanosec / 1e9,
        )

    def _on_gripper(self, message: Float64MultiArray) -> None:
        self._obey({FINGER: message.data[0]}, 0.0)

    def _obey(self, positions: dict[str, float], takes: float) -> None:
        now = time.monotonic()
        with self._lock:
            for name, position in positions.items():
                self._arm[name].command(position, now, takes)
        if FINGER not in positions:
            way = max(abs(position - self._told[name]) for name, position in positions.items())
            self._log.write("c", [way / GATE_PERIOD_S])
        self._told.update(positions)

    # -- what it does and says ---------------------------------------------------------
    def _control(self) -> None:
        then = time.monotonic()
        while True:
            time.sleep(CONTROL_PERIOD_S)
            now = time.monotonic()
            with self._lock:
                for joint in self._arm.values():
                    joint.step(now, now - then)
                fastest = max(abs(joint.speed) for joint in self._arm.values())
                self._log.write("s", [fastest], [joint.position for joint in self._arm.values()])
            then = now

    def _say_state(self) -> None:
        self._said += 1
        if self._flickers and self._said % WRONG_EVERY == 0:
            self._say_zero()
        elif self._skips:
            self._skips = False
        else:
            with self._lock:
                positions = [joint.position for joint in self._arm.values()]
            self._say(positions)

    def _say_zero(self) -> None:
        self._say([0.0] * len(self._arm))
        self._skips = True

    def _say(self, positions: list[float]) -> None:
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
