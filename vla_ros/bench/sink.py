"""The bench's robot: publishes its state, gives the one instruction, and notes what reaches it.

`python -m vla_ros.bench.sink --out FILE [--suite]` says "ready" when images may come, and writes
what it saw on SIGINT. The time of a command is when DDS took it in, not when this process got round
to it.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import JointState, LaserScan
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_ros.bench.common import COMMANDS, listen, spin, write_json
from vla_ros.bench.pipeline_measure import Inferred, Judged, SeenCommand
from vla_ros.core.config_files import config_folder
from vla_ros.core.robot import load_robot
from vla_ros.nodes.common.convert import stamp_ns
from vla_ros.nodes.common.with_times import with_times
from vla_ros_msgs.msg import ActionChunk, SafetyReport

DEPTH = 200  # messages: nothing that this process is late for may be lost
RENEWAL_S = 45.0  # the suite drops an instruction that is older than its instruction_ttl (120 s)


class Sink(Node):
    """The robot and its operator, and a record of what reached them.

    Args:
        suite: the gate is ours; else a plain pipeline's last node sends the commands.
        namespace: of the nodes under test.
    """

    def __init__(self, suite: bool, namespace: str) -> None:
        super().__init__("bench_robot")
        self._suite = suite
        self._ready = False
        self._instructed = False  # since the gate was armed
        self._asked = 0.0  # when a service was called or the words were said last, steady s
        self.seen: list[SeenCommand] = []
        self.judged: list[Judged] = []
        self.inferred: list[Inferred] = []
        self.diagnostics: dict[str, dict[str, str]] = {}
        self._odometry = self.create_publisher(Odometry, "/odom", 10)
        self._joints = self.create_publisher(JointState, "/joint_states", 10)
        self._scan = self.create_publisher(LaserScan, "/scan", 10)
        self._words = self.create_publisher(String, f"{namespace}/instruction", 10)
        self.create_timer(0.1, self._look)
        self.create_timer(0.02, self._state)
        self.create_timer(0.5, self._step)
        if not suite:
            self.create_subscription(TwistStamped, COMMANDS, with_times(self._on_stamped), DEPTH)
            return
        self._state_of_gate = SafetyReport.DISARMED
        gate = f"{namespace}/safety_validator"
        self._arm = self.create_client(Trigger, f"{gate}/arm")
        self._reset = self.create_client(Trigger, f"{gate}/reset")
        self.create_subscription(Twist, COMMANDS, with_times(self._on_twist), DEPTH)
        self._others = listen(self, load_robot(config_folder() / "robots" / "sim.yaml"))
        self.create_subscription(
            SafetyReport, f"{namespace}/safety_report", with_times(self._on_report), DEPTH
        )
        self.create_subscription(ActionChunk, f"{namespace}/action_chunk", self._on_chunk, DEPTH)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, DEPTH)

    # -- what a robot says -------------------------------------------------------------
    def _state(self) -> None:
        now = self.get_clock().now().to_msg()
        odometry = Odometry(child_frame_id="base_link")
        odometry.header.stamp = now
        odometry.header.frame_id = "odom"
        odometry.pose.pose.orientation.w = 1.0
        self._odometry.publish(odometry)
        joints = JointState(
            name=["left_wheel_joint", "right_wheel_joint", "gripper_joint"],
            position=[0.0, 0.0, 0.05],
        )
        joints.header.stamp = now
        self._joints.publish(joints)

    def _look(self) -> None:
        """An empty room, all around."""
        step = math.pi / 90.0
        scan = LaserScan(
            angle_min=-math.pi,
            angle_max=math.pi - step,
            angle_increment=step,
            range_min=0.05,
            range_max=10.0,
            ranges=[math.inf] * 180,
        )
        scan.header.stamp = self.get_clock().now().to_msg()
        self._scan.publish(scan)

    def _step(self) -> None:
        """Towards ready: the gate armed and the words given; the plain ones need only the words.

        A gate that a machine without time for it stopped is armed anew, as an operator would; the
        trial counts how often.
        """
        if not self._suite:
            self._words.publish(String(data="go forward"))
            if self.count_publishers(COMMANDS):
                self._say_ready()
            return
        waited = time.monotonic() - self._asked
        if self._state_of_gate in (SafetyReport.DISARMED, SafetyReport.STOPPED):
            self._instructed = False
            disarmed = self._state_of_gate == SafetyReport.DISARMED
            service = self._arm if disarmed else self._reset
            if service.service_is_ready() and waited > 0.9:  # an answer may take a while
                self._asked = time.monotonic()
                service.call_async(Trigger.Request())
        elif self._words.get_subscription_count() and (waited > RENEWAL_S or not self._instructed):
            self._instructed = True
            self._instruct()
            self._say_ready()

    def _instruct(self) -> None:
        self._asked = time.monotonic()
        self._words.publish(String(data="go forward"))

    def _say_ready(self) -> None:
        if not self._ready:
            self._ready = True
            print("ready", flush=True)

    # -- what it hears -----------------------------------------------------------------
    def _on_stamped(self, message: TwistStamped, written: int, received: int) -> None:
        self.seen.append(SeenCommand(written, received, stamp_ns(message.header.stamp)))

    def _on_twist(self, message: Twist, written: int, received: int) -> None:
        if not math.isfinite(message.linear.x):
            raise ValueError(f"linear.x is {message.linear.x} on {COMMANDS}")
        self.seen.append(SeenCommand(written, received))

    def _on_report(self, message: SafetyReport, written: int, received: int) -> None:
        self._state_of_gate = message.state
        self.judged.append(
            Judged(
                written,
                message.instruction_id,
                message.sequence,
                message.state,
                message.verdict,
                message.rule,
                message.reason,
            )
        )

    def _on_chunk(self, message: ActionChunk) -> None:
        self.inferred.append(
            Inferred(
                message.instruction_id,
                message.sequence,
                stamp_ns(message.header.stamp),
                stamp_ns(message.latency),
            )
        )

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name = status.name.rsplit("/", 1)[-1]
            self.diagnostics[name] = {pair.key: pair.value for pair in status.values}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--suite", action="store_true", help="the commands are our gate's")
    parser.add_argument("--namespace", default="/vla")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    rclpy.init()
    sink = Sink(arguments.suite, arguments.namespace)
    try:
        spin(sink)
    finally:
        write_json(
            Path(arguments.out),
            {
                "seen": sink.seen,
                "judged": sink.judged,
                "inferred": sink.inferred,
                "diagnostics": sink.diagnostics,
            },
        )


if __name__ == "__main__":
    main()
