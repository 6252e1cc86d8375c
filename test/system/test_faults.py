"""Real processes, killed at full speed: the robot stands, the operator hears which, and it comes back."""
from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="the system tests need ROS 2 (rclpy)")
pytest.importorskip("vla_ros_msgs", reason="the system tests need the messages: colcon build, then source install/setup.bash")
pytest.importorskip("mujoco", reason="the simulated robot needs MuJoCo")

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from vla_ros.nodes.qos import EVENTS  # noqa: E402
from vla_ros.tools.processes import ProcessGroup, node_command, suite_environment, suite_nodes  # noqa: E402
from vla_ros_msgs.msg import SafetyReport  # noqa: E402

SPIN = '{"values": {"linear.x": 0.0, "angular.z": 0.4}}'
KILLED = ["camera_ingest", "command_ingest", "synchronizer", "inference", "supervisor", "safety_validator"]


class Suite:
    """The simulated robot and the six nodes as processes, and an operator who watches the wheels."""

    def __init__(self, logs: Path) -> None:
        rclpy.init()
        self.node = rclpy.create_node("operator")
        self.speeds: list[tuple[float, float]] = []
        self.feedback: list[str] = []
        self.stages: dict[str, str] = {}
        self.report = SafetyReport()
        self.node.create_subscription(Odometry, "/odom", self._on_odometry, EVENTS)
        self.node.create_subscription(String, "/vla/feedback", lambda m: self.feedback.append(m.data), EVENTS)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, EVENTS)
        self.node.create_subscription(SafetyReport, "/vla/safety_report", self._on_report, EVENTS)
        self.words = self.node.create_publisher(String, "/vla/instruction", EVENTS)
        self.services = {verb: self.node.create_client(Trigger, f"/vla/safety_validator/{verb}")
                         for verb in ("arm", "disarm", "reset")}
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()
        self.group = ProcessGroup(respawn_delay=0.5, respawns_a_minute=20)
        options = {"policy_options": SPIN}
        commands = suite_nodes("constant", overrides={
            "camera_ingest": options, "inference": options, "safety_validator": {"repeat_limit": 0.0}})
        commands["simulator"] = node_command("simulator", parameters={"seed": 3})
        for name, command in commands.items():
            self.group.start(name, command, suite_environment(), logs / f"{name}.log")

    def _on_odometry(self, message: Odometry) -> None:
        self.speeds.append((time.monotonic(), abs(message.twist.twist.angular.z)))
        del self.speeds[:-3000]

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "/vla/supervisor":
                self.stages = {pair.key: pair.value for pair in status.values}

    def _on_report(self, message: SafetyReport) -> None:
        self.report = message

    def wait(self, condition, seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.group.poll()
            if condition():
                return
            time.sleep(0.01)
        raise AssertionError(f"not within {seconds} s: {what}; {self.report.reason}; {self.stages}; {self.feedback[-5:]}")

    def all_active(self) -> bool:
        return [self.stages.get(name) for name in KILLED if name != "supervisor"] == ["active"] * 5

    def call(self, verb: str) -> Trigger.Response:
        future = self.services[verb].call_async(Trigger.Request())
        self.wait(future.done, 5.0, verb)
        return future.result()

    def spinning(self) -> bool:
        return bool(self.speeds) and time.monotonic() - self.speeds[-1][0] < 0.1 and self.speeds[-1][1] > 0.35

    def spin(self) -> None:
        """At full speed, from whatever state."""
        self.wait(self.all_active, 60.0, "all nodes active")
        self.fresh_report()
        if self.report.state == SafetyReport.DISARMED:
            self.wait(lambda: self.call("arm").success, 10.0, "armed")
        self.say("spin")
        self.wait(self.spinning, 15.0, "the robot spins")

    def fresh_report(self) -> SafetyReport:
        """The next one, so that a killed gate's last words are not taken for the new one's."""
        old = self.report
        self.wait(lambda: self.report is not old, 10.0, "the gate reports")
        return self.report

    def say(self, text: str) -> None:
        """As a person does: again, until an answer is heard (a node that just came back may miss the first)."""
        for _ in range(10):
            del self.feedback[:]
            self.words.publish(String(data=text))
            try:
                return self.wait(lambda: f"accepted: {text}" in self.feedback, 1.0, "an answer")
            except AssertionError:
                continue
        raise AssertionError(f"nobody answered '{text}'")

    def standstill(self, since: float) -> float:
        """Seconds from `since` until the robot stands, and stays so for 0.2 s."""
        def stands() -> bool:
            late = [(when, speed) for when, speed in self.speeds if when > since]
            return len(late) > 10 and max(speed for _, speed in late[-10:]) < 0.01
        self.wait(stands, 5.0, "the robot stands")
        moving = [when for when, speed in self.speeds if when > since and speed >= 0.01]
        return (moving[-1] if moving else since) - since

    def close(self) -> None:
        self.group.stop()
        self.executor.shutdown(timeout_sec=1.0)
        self.thread.join(timeout=1.0)
        self.node.destroy_node()
        rclpy.try_shutdown()


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    running = Suite(tmp_path_factory.mktemp("logs"))
    yield running
    running.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", KILLED)
def test_any_process_killed_at_full_speed(suite, name):
    """SIGKILL: the robot stands within 0.5 s; the operator hears which node; it is walked back to active.

    The gate itself is the exception: the driver's own time-out (0.5 s) stops the wheels, which then brake;
    and the gate comes back disarmed, and stays so whatever is said.
    """
    suite.spin()
    del suite.feedback[:]
    since = time.monotonic()
    suite.group.kill(name)
    seconds = suite.standstill(since)
    print(f"\n{name} killed: standstill after {seconds:.3f} s")
    assert seconds < (0.7 if name == "safety_validator" else 0.5)
    if name != "supervisor":
        suite.wait(lambda: any(f"{name} was lost" in sentence for sentence in suite.feedback), 5.0, "the operator hears")
    suite.stages = {}
    suite.wait(suite.all_active, 30.0, f"{name} is back")
    if name == "safety_validator":
        suite.say("spin")
        time.sleep(1.0)
        assert suite.fresh_report().state == SafetyReport.DISARMED
        assert not suite.spinning()
    else:
        assert suite.fresh_report().state in (SafetyReport.HOLDING, SafetyReport.ACTIVE)
    if name == "command_ingest":
        assert not suite.spinning()  # the words died with it; nothing moves until someone speaks again


@pytest.mark.timeout(60)
def test_sigterm_stops_the_robot_before_the_gate_ends(suite):
    suite.spin()
    since = time.monotonic()
    suite.group.kill("safety_validator", 15)
    assert suite.standstill(since) < 0.5  # before the driver's time-out
