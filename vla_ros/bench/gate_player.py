"""Everything around the gate under test: the robot, the policy, the operator, and the stop-watch.

`python -m vla_ros.bench.gate_player --namespace /vla --seconds 20 --stops 100 --out FILE [--suite]`
gets the gate to move the robot, watches for `seconds`, presses the stop `stops` times, and writes
what it saw. Times of commands are DDS' own (written by the gate, received by this process), so this
process may be late to look.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from geometry_msgs.msg import Twist
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import JointState, LaserScan
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from vla_ros.bench.common import COMMANDS, listen, write_json
from vla_ros.bench.gate_measure import TimedCommand
from vla_ros.bench.gate_robot import FULL_SPEED_M_S, JOINTS, ROBOT, SCAN, WIDE_ROOM_M, chunk, room
from vla_ros.bench.sink import DEPTH
from vla_ros.core.types import Instruction
from vla_ros.nodes.common.convert import chunk_message, float_array, instruction_message
from vla_ros.nodes.common.qos import EVENTS, LATCHED, LATEST, PULSE
from vla_ros.nodes.common.with_times import with_times
from vla_ros.operator.processes import BESIDE_GATE
from vla_ros_msgs.msg import ActionChunk, Heartbeat
from vla_ros_msgs.msg import Instruction as InstructionMessage

CHUNK_PERIOD_S = 1 / 30  # between actions
STATE_PERIOD_S = 0.02  # between states of the robot
BEAT_PERIOD_S = 0.1  # between heartbeats, and between scans
GATE_PERIOD_S = 0.02  # of both gates
SETTLING_S = 2.0  # of motion that no figure contains


class GatePlayer(Node):
    """All that a gate hears, and a record of what it sends.

    Args:
        suite: the gate is ours, with a lifecycle, an arming and heartbeats.
        namespace: of the gate.
    """

    def __init__(self, suite: bool, namespace: str) -> None:
        super().__init__("bench_player", namespace=namespace)
        self.suite = suite
        self.commands = list[TimedCommand]()
        self.presses = list[int]()
        self._offset = time.time_ns() - time.monotonic_ns()  # from the steady clock to DDS' own
        self._instruction_id = 1
        self._sequence = 0
        self._chunks = self.create_publisher(ActionChunk, "action_chunk", LATEST)
        self._stop = self.create_publisher(Bool, "stop", EVENTS)
        self._words = self.create_publisher(InstructionMessage, "instruction/accepted", LATCHED)
        self._heartbeat = self.create_publisher(Heartbeat, "heartbeat", PULSE)
        self._joints = self.create_publisher(JointState, "/joint_states", 10)
        self._odometry = self.create_publisher(Odometry, "/odom", 10)
        self._scans = self.create_publisher(LaserScan, SCAN, 10)
        self._scan = self._make_scan()
        self.create_subscription(Twist, COMMANDS, with_times(self._on_command), DEPTH)
        self._others = listen(self, ROBOT)

    # -- streams, in a thread of their own ---------------------------------------------
    def stream(self) -> None:
        """Publishes everything at its period, until the shutdown."""
        now = time.monotonic()
        periods = {
            self._act: CHUNK_PERIOD_S,
            self._state: STATE_PERIOD_S,
            self._beat: BEAT_PERIOD_S,
            self._look: BEAT_PERIOD_S,
        }
        due = dict.fromkeys(periods, now)
        while rclpy.ok():
            job = min(due, key=due.__getitem__)
            time.sleep(max(0.0, due[job] - time.monotonic()))
            try:
                job()
            except Exception:
                if rclpy.ok():  # else the shutdown overtook it
                    raise
            # at most one is made up for
            due[job] = max(due[job] + periods[job], time.monotonic() - periods[job])

    def _act(self) -> None:
        self._sequence += 1
        stamp = time.time_ns() - 30_000_000  # a policy takes its time
        self._chunks.publish(
            chunk_message(chunk(self._sequence, stamp, self._instruction_id, CHUNK_PERIOD_S))
        )

    def _state(self) -> None:
        now = self.get_clock().now().to_msg()
        joints = JointState(name=["finger_joint", *JOINTS], position=[0.5] * (1 + len(JOINTS)))
        odometry = Odometry(child_frame_id="base_link")
        odometry.pose.pose.orientation.w = 1.0
        joints.header.stamp = odometry.header.stamp = now
        self._joints.publish(joints)
        self._odometry.publish(odometry)

    def _beat(self) -> None:
        for name in BESIDE_GATE:
            stamp = self.get_clock().now().to_msg()
            self._heartbeat.publish(
                Heartbeat(stamp=stamp, node=name, state=Heartbeat.ACTIVE, process="bench")
            )

    @staticmethod
    def _make_scan() -> LaserScan:
        ranges, angles = room(WIDE_ROOM_M)
        scan = LaserScan(
            angle_min=angles[0],
            angle_max=angles[-1],
            angle_increment=angles[1] - angles[0],
            range_min=0.05,
            range_max=10.0,
        )
        scan.header.frame_id = "laser"
        scan.ranges = float_array(ranges)
        return scan

    def _look(self) -> None:
        self._scan.header.stamp = self.get_clock().now().to_msg()
        self._scans.publish(self._scan)

    def _on_command(self, message: Twist, written: int, received: int) -> None:
        begin = time.monotonic_ns()
        wall = time.time_ns()
        end = time.monotonic_ns()
        if end - begin < 20_000:  # else this thread was interrupted in between
            self._offset = wall - (begin + end) // 2
        speed = message.linear.x
        turn = message.angular.z
        still = speed == turn == 0.0
        # on the steady clock from here on, as the presses are
        command = TimedCommand(written - self._offset, received - self._offset, speed, still)
        self.commands.append(command)

    # -- the operator ------------------------------------------------------------------
    def ask(self, kind: type, service: str, request: Any) -> Any:
        """A service's answer; TimeoutError without one."""
        client = self.create_client(kind, service)
        wait(f"the service {service}", client.service_is_ready, 20.0)
        future = client.call_async(request)
        wait(f"an answer of {service}", future.done, 10.0)
        self.destroy_client(client)
        return future.result()

    def bring_up(self) -> None:
        """Until the gate sends commands and hears the stop; TimeoutError where it does not."""
        if self.suite:
            for number in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
                request = ChangeState.Request(transition=Transition(id=number))
                if not self.ask(ChangeState, "safety_validator/change_state", request).success:
                    raise TimeoutError(f"the gate refused transition {number}; its log says why")
        wait("the gate's first command", lambda: self.commands, 20.0)
        wait("the gate to listen", self._stop.get_subscription_count, 10.0)
        self._instruct("")

    def _instruct(self, text: str) -> None:
        self._instruction_id += 1
        self._words.publish(
            instruction_message(Instruction(time.time_ns(), self._instruction_id, text))
        )

    def go(self) -> None:
        """Armed, instructed to go, at full speed."""
        if self.suite:
            wait("the arming", lambda: self._succeeds("arm"), 20.0)
            self._instruct("go")
        wait("full speed", lambda: self.commands[-1].speed >= FULL_SPEED_M_S, 10.0)

    def _succeeds(self, verb: str) -> bool:
        return bool(self.ask(Trigger, f"safety_validator/{verb}", Trigger.Request()).success)

    def stop(self) -> None:
        """Pressed at a random phase of the period, watched, let go, reset."""
        time.sleep(0.1 + random.uniform(0.0, GATE_PERIOD_S))
        before = len(self.commands)
        self.presses.append(time.monotonic_ns())
        self._stop.publish(Bool(data=True))

        def zero_came() -> bool:
            return any(command.still for command in self.commands[before:])

        wait("zero after a stop", zero_came, 3.0)
        time.sleep(0.05)
        self._stop.publish(Bool(data=False))
        if self.suite:
            wait("the reset", lambda: self._succeeds("reset"), 5.0)


def wait(awaited: str, condition: Callable[[], Any], seconds: float) -> None:
    """Until `condition` is true; TimeoutError, with what is awaited, where it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end or not rclpy.ok():
            raise TimeoutError(f"waited for {awaited}, in vain")
        time.sleep(0.005)


def play(player: GatePlayer, arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole run: what was seen, as far as it came, and the problem that ended it early."""
    problem = ""
    window = (0, 0)
    try:
        player.bring_up()
        player.go()
        time.sleep(SETTLING_S)
        begin = time.monotonic_ns()
        time.sleep(arguments.seconds)
        window = (begin, time.monotonic_ns())
        for _ in range(arguments.stops):
            player.go()
            player.stop()
    except TimeoutError as error:
        problem = str(error)
    time.sleep(0.2)  # for commands that are on their way
    return {
        "commands": list(player.commands),
        "presses": player.presses,
        "window": window,
        "problem": problem,
    }


def _spin(node: Node) -> None:
    try:
        rclpy.spin(node)
    except ExternalShutdownException:
        pass  # the way out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--stops", type=int, required=True)
    parser.add_argument("--suite", action="store_true", help="the gate under test is ours")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    sys.setswitchinterval(0.001)  # s: neither thread waits long for the other
    rclpy.init()
    player = GatePlayer(arguments.suite, arguments.namespace)
    threads = [
        threading.Thread(target=_spin, args=(player,)),
        threading.Thread(target=player.stream),
    ]
    for thread in threads:
        thread.start()
    write_json(Path(arguments.out), play(player, arguments))
    rclpy.try_shutdown()
    for thread in threads:
        thread.join(timeout=2.0)


if __name__ == "__main__":
    main()
