"""safety_validator: what the gate says is what the wire sees."""
import threading
import time
from pathlib import Path
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState, LaserScan, Range
from std_msgs.msg import Bool, Float64MultiArray, Header, String
from std_srvs.srv import Trigger

from vla_ros.core.types import ActionChunk as CoreChunk
from vla_ros.core.types import Command as CoreCommand
from vla_ros.nodes import convert
from vla_ros.nodes.qos import EVENTS, LATCHED, LATEST, PULSE, SENSOR
from vla_ros.nodes.safety_validator import SafetyValidator
from vla_ros.safety.rules import RULES
from vla_ros_msgs.msg import ActionChunk, Command, SafetyReport

SIM = str(Path(__file__).parents[2] / "config" / "robots" / "sim.yaml")


class Robot:
    """Everything around the gate: sources at 20 Hz, an operator, a policy."""

    def __init__(self, around, robot_file=SIM, sensor="/scan", **parameters):
        self.around = around
        self.node = around.start(SafetyValidator, robot_file=robot_file, required_nodes=["inference"], **parameters)
        self.twists = around.hear(Twist, "/cmd_vel", LATEST)
        self.grips = around.hear(Float64MultiArray, "/gripper_controller/commands", LATEST)
        self.reports = around.hear(SafetyReport, "safety_report", EVENTS)
        self.chunks = around.speaker(ActionChunk, "action_chunk", LATEST)
        self.commands = around.speaker(Command, "command", LATCHED)
        self.stops = around.speaker(Bool, "stop", EVENTS)
        self.joints = around.speaker(JointState, "/joint_states", EVENTS)
        self.odometry = around.speaker(Odometry, "/odom", EVENTS)
        self.scans = around.speaker(LaserScan, "/scan", SENSOR)
        self.ranges = [float("inf")] * 36
        self.heartbeats = around.speaker(Header, "heartbeat", EVENTS)
        self.values, self.generation, self.alive = {"linear.x": 0.3, "gripper": 0.5}, 0, True
        around.node.create_timer(0.05, self.live)
        self.commands.publish(convert.command_message(CoreCommand(time.time_ns(), 0, "")))
        around.wait(lambda: self.reports and "node inference" in self.node._inputs.seen
                    and "/odom" in self.node._inputs.seen and "gripper" in self.node._inputs.measured
                    and sensor in self.node._inputs.readings)

    def live(self):
        if not self.alive:
            return
        self.joints.publish(JointState(name=["gripper_joint"], position=[0.1]))
        self.odometry.publish(Odometry())
        scan = LaserScan(angle_min=-3.1, angle_increment=0.17, range_min=0.05, range_max=10.0, ranges=self.ranges)
        scan.header.stamp = convert.time_message(time.time_ns())
        self.scans.publish(scan)
        self.heartbeats.publish(Header(frame_id="inference/active/1"))
        if self.generation and self.values:
            self.chunks.publish(convert.chunk_message(CoreChunk(
                time.time_ns() - 10_000_000, self.generation, tuple(self.values),
                np.array([list(self.values.values())], np.float32), 100_000_000, 1)))

    def say(self, text):
        self.generation += 1
        self.commands.publish(convert.command_message(CoreCommand(time.time_ns(), self.generation, text)))

    def call(self, name):
        client = self.around.node.create_client(Trigger, f"safety_validator/{name}")
        assert client.wait_for_service(5.0)
        future = client.call_async(Trigger.Request())
        self.around.wait(future.done)
        return future.result()

    def moving(self):
        assert self.call("arm").success
        self.say("go")
        self.around.wait(lambda: self.twists[-1].linear.x > 0.29)
        return self


def standing_after(robot, start):
    """Seconds until the first zero after `start`."""
    robot.around.wait(lambda: robot.twists[-1].linear.x == 0.0)
    return time.monotonic() - start


def test_disarmed_it_says_zero_at_its_rate(around):
    robot = Robot(around)
    robot.say("go")
    robot.twists.clear()
    time.sleep(1.0)
    assert 30 <= len(robot.twists) <= 90  # 50 periods and 20 actions; a busy machine loses some
    assert all(twist.linear.x == 0.0 for twist in robot.twists)
    assert robot.reports[-1].state == SafetyReport.DISARMED
    assert not robot.grips  # nobody commanded the gripper


def test_armed_and_told_the_robot_moves_within_its_limits(around):
    robot = Robot(around).moving()
    around.wait(lambda: robot.grips and robot.grips[-1].data[0] == pytest.approx(0.05))  # 0.5 open is 0.05 m
    report = robot.reports[-1]
    assert report.state == SafetyReport.ACTIVE
    assert report.channels == ["linear.x", "angular.z", "gripper"]
    assert report.generation == robot.generation
    time.sleep(0.2)
    assert max(twist.linear.x for twist in robot.twists) == pytest.approx(0.3)


def test_the_stop_topic_is_obeyed_at_once(around):
    robot = Robot(around).moving()
    start = time.monotonic()
    robot.stops.publish(Bool(data=True))
    assert standing_after(robot, start) < 0.2
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED)
    assert "pressed" in robot.reports[-1].reason
    assert not robot.call("arm").success
    assert "release it first" in robot.call("reset").message
    robot.stops.publish(Bool(data=False))
    around.wait(lambda: not robot.node._inputs.stop_pressed)
    assert robot.call("reset").success
    around.wait(lambda: robot.reports[-1].state == SafetyReport.DISARMED)


@pytest.mark.parametrize("values", [{"linear.x": float("nan"), "gripper": 0.5}, {"linear.x": 1.5, "gripper": 0.5},
                                    {"wings": 0.1}, {}])
def test_a_bad_or_missing_action_stops_the_robot(around, values):
    robot = Robot(around).moving()
    faults = around.hear(DiagnosticStatus, "fault", EVENTS)
    robot.values = values
    around.wait(lambda: robot.twists[-1].linear.x == 0.0)
    assert robot.reports[-1].verdict == SafetyReport.HELD and robot.reports[-1].reason
    if values:
        around.wait(lambda: faults)
        assert (faults[0].hardware_id, faults[0].name) == ("action", "safety_validator")
        assert "the gate refuses what the policy wants" in faults[0].message
    assert all(np.isfinite(twist.linear.x) for twist in robot.twists)


def test_when_everything_falls_silent_it_stands_within_half_a_second(around):
    robot = Robot(around).moving()
    robot.alive, start = False, time.monotonic()
    assert standing_after(robot, start) < 0.7
    assert robot.reports[-1].rule in ("sources", "age")


def test_a_blocked_executor_does_not_block_the_stop(around):
    """Callbacks hang; the gate's own thread goes on and sees its sources grow old."""
    robot = Robot(around).moving()
    sent = []
    send = robot.node._outputs.send
    robot.node._outputs.send = lambda action, now: (sent.append((time.monotonic(), action["linear.x"])), send(action, now))
    start = time.monotonic()
    around.node.create_timer(0.01, lambda: time.sleep(2.0))
    time.sleep(1.5)
    stands = next(when for when, speed in sent if when > start + 0.1 and speed == 0.0)
    assert stands - start < 0.7
    assert len([when for when, _ in sent if start < when < start + 1.0]) > 35


def test_a_stop_pressed_while_it_was_down_is_not_missed(around):
    robot = Robot(around).moving()
    robot.node.trigger_deactivate()
    robot.stops.publish(Bool(data=True))
    around.wait(lambda: robot.node._stop_pressed)
    robot.node.trigger_cleanup()
    robot.node.trigger_configure()
    robot.node.trigger_activate()
    around.wait(lambda: "node inference" in robot.node._inputs.seen)
    assert not robot.call("arm").success


def test_stopped_it_stays_stopped_through_cleanup_and_configure(around):
    robot = Robot(around).moving()
    robot.stops.publish(Bool(data=True))
    robot.stops.publish(Bool(data=False))
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED and not robot.node._stop_pressed)
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        getattr(robot.node, f"trigger_{transition}")()
    robot.reports.clear()
    around.wait(lambda: robot.reports)
    assert robot.reports[-1].state == SafetyReport.STOPPED
    assert robot.call("reset").success


def test_a_stop_button_that_publishes_best_effort_is_heard(around):
    robot = Robot(around).moving()
    button = around.speaker(Bool, "stop", SENSOR)
    around.wait(lambda: button.get_subscription_count())
    button.publish(Bool(data=True))
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED)


def test_a_tick_as_slow_as_its_period_does_not_lock_out_the_stop(around):
    robot = Robot(around).moving()
    send = robot.node._outputs.send
    robot.node._outputs.send = lambda action, now: (time.sleep(0.025), send(action, now))
    robot.stops.publish(Bool(data=True))
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED, 2.0)
    start = time.monotonic()
    robot.node.leave()
    assert time.monotonic() - start < 1.5


def test_deactivating_says_zero_first(around):
    robot = Robot(around).moving()
    robot.twists.clear()
    robot.node.trigger_deactivate()
    around.wait(lambda: robot.twists and robot.twists[-1].linear.x == 0.0)
    robot.node.trigger_activate()
    around.wait(lambda: robot.reports[-1].state == SafetyReport.DISARMED)


def test_a_callback_that_raises_stops_the_robot(around, monkeypatch):
    robot = Robot(around).moving()
    monkeypatch.setattr(convert, "chunk", lambda message: 1 / 0)
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED)
    assert "ZeroDivisionError" in robot.reports[-1].reason
    assert robot.twists[-1].linear.x == 0.0


def test_a_wire_that_fails_does_not_end_the_watchdog(around, monkeypatch):
    robot = Robot(around).moving()
    send = robot.node._outputs.send
    monkeypatch.setattr(robot.node._outputs, "send", lambda *arguments: 1 / 0)
    time.sleep(0.2)
    monkeypatch.setattr(robot.node._outputs, "send", send)
    robot.reports.clear()
    around.wait(lambda: robot.reports and robot.reports[-1].state == SafetyReport.STOPPED)
    assert robot.twists[-1].linear.x == 0.0


def test_a_flood_of_actions_does_not_make_it_run_faster_than_500_hz(around):
    robot = Robot(around).moving()
    before = robot.node.stats.rates["command"].total
    chunk = convert.chunk_message(CoreChunk(time.time_ns(), robot.generation, ("linear.x", "gripper"),
                                            np.array([[0.3, 0.5]], np.float32), 100_000_000))
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        robot.chunks.publish(chunk)
    assert robot.node.stats.rates["command"].total - before < 560
    assert robot.reports[-1].state == SafetyReport.ACTIVE


def test_the_supervisor_s_halt_latches_and_outlasts_a_reset(around):
    robot = Robot(around).moving()
    halt = around.speaker(String, "halt", LATCHED)
    halt.publish(String(data="inference failed three times"))
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED)
    assert "inference failed three times" in robot.call("reset").message
    halt.publish(String(data=""))
    around.wait(lambda: not robot.node._inputs.halt)
    assert robot.call("reset").success


def test_another_publisher_of_robot_commands_is_told_and_holds(around):
    robot = Robot(around).moving()
    rival = around.speaker(Twist, "/cmd_vel", LATEST)
    around.wait(lambda: robot.reports[-1].rule == "rivals")
    assert "/cmd_vel from /around" in robot.reports[-1].reason
    robot.call("disarm")
    assert "/cmd_vel from /around" in robot.call("arm").message
    around.node.destroy_publisher(rival)
    around.wait(lambda: not robot.node._inputs.rivals)
    assert robot.call("arm").success


def test_a_second_gate_of_the_same_name_is_noticed_by_its_heartbeat(around):
    robot = Robot(around).moving()
    robot.heartbeats.publish(Header(frame_id="safety_validator/active/another"))
    around.wait(lambda: robot.reports[-1].rule == "rivals")
    around.wait(lambda: robot.reports[-1].rule != "rivals")  # it died; its name in the graph is no rival


def test_what_the_lidar_sees_stops_the_robot(around):
    robot = Robot(around).moving()
    robot.ranges = [0.5] * 36  # 0.19 m in front of the gripper
    around.wait(lambda: robot.reports[-1].rule == "obstacle" and robot.twists[-1].linear.x == 0.0)
    robot.ranges = [float("nan")] * 36
    around.wait(lambda: robot.reports[-1].rule == "sight")
    robot.ranges = [float("inf")] * 36
    around.wait(lambda: robot.reports[-1].state == SafetyReport.ACTIVE)


def test_what_is_on_the_left_of_the_lidar_is_on_the_left_of_the_robot(around):
    robot = Robot(around).moving()
    ranges = [float("inf")] * 36
    ranges[26] = 0.4  # -3.1 + 26 x 0.17 = 1.32 rad
    robot.ranges = ranges
    around.wait(lambda: len(robot.node._inputs.readings["/scan"][0].points))
    x, y = robot.node._inputs.readings["/scan"][0].points[0]
    assert (x, y) == (pytest.approx(0.4 * np.cos(1.32), abs=1e-3), pytest.approx(0.4 * np.sin(1.32), abs=1e-3))


def test_a_scan_too_large_to_read_in_time_is_refused_and_the_old_one_grows_stale(around):
    robot = Robot(around).moving()
    robot.ranges = [1.0] * 20_001
    around.wait(lambda: robot.reports[-1].rule == "sight")
    assert robot.node.stats.drops["bad ranges"]
    assert robot.reports[-1].state == SafetyReport.HOLDING


def test_a_range_sensor_is_a_cone(around, tmp_path):
    text = Path(SIM).read_text().replace("sensor_msgs/msg/LaserScan, x: 0.0", "sensor_msgs/msg/Range, x: 0.3")
    (tmp_path / "robot.yaml").write_text(text.replace("topic: /scan", "topic: /sonar"))
    sonar = around.speaker(Range, "/sonar", SENSOR)
    message = Range(field_of_view=0.5, min_range=0.02, max_range=4.0, range=2.0)

    def ping():
        message.header.stamp = convert.time_message(time.time_ns())
        sonar.publish(message)
    around.node.create_timer(0.05, ping)
    robot = Robot(around, str(tmp_path / "robot.yaml"), sensor="/sonar").moving()
    angles = robot.node._inputs.readings["/sonar"][0].angles
    assert (angles[0], angles[-1]) == (pytest.approx(-0.25), pytest.approx(0.25))
    message.range = 0.25
    around.wait(lambda: robot.reports[-1].rule == "obstacle")


def set_parameter(robot, name, value):
    return robot.node.set_parameters([Parameter(name, value=value)])[0]


def test_limits_tighten_at_once_and_loosen_only_disarmed(around, tmp_path):
    robot = Robot(around).moving()
    for name, limit in (("tight", 0.1), ("loose", 0.6)):
        text = Path(SIM).read_text().replace("limits: [-0.5, 0.5]", f"limits: [-{limit}, {limit}]", 1)
        (tmp_path / f"{name}.yaml").write_text(text)
    assert set_parameter(robot, "robot_file", str(tmp_path / "tight.yaml")).successful
    around.wait(lambda: robot.twists[-1].linear.x == pytest.approx(0.1))
    refused = set_parameter(robot, "robot_file", str(tmp_path / "loose.yaml"))
    assert not refused.successful and "looser than now; disarm first" in refused.reason
    assert not set_parameter(robot, "max_age", 0.5).successful
    assert set_parameter(robot, "max_age", 0.3).successful
    broken = set_parameter(robot, "robot_file", "/nowhere.yaml")
    assert "does not exist" in broken.reason
    assert robot.call("disarm").success
    assert set_parameter(robot, "robot_file", str(tmp_path / "loose.yaml")).successful


def test_auto_arm_arms_once_and_says_so(around):
    robot = Robot(around, auto_arm=True)
    around.wait(lambda: robot.reports[-1].state == SafetyReport.HOLDING)
    robot.call("disarm")
    time.sleep(0.3)
    assert robot.reports[-1].state == SafetyReport.DISARMED


def test_every_rule_is_counted_in_diagnostics(around):
    robot = Robot(around).moving()
    values = robot.node.diagnose()
    assert {f"rule {rule.__name__}" for rule in RULES} <= set(values)
    assert int(values["rule rate"]) > 0 and values["rule bounds"] == "0"


def test_a_tick_that_hangs_through_a_deactivation_does_not_have_the_last_word(around):
    robot = Robot(around).moving()
    send, started, once = robot.node._outputs.send, threading.Event(), iter([True])

    def slow(action, now):
        if action["linear.x"] > 0.2 and next(once, False):
            started.set()
            time.sleep(0.35)
        send(action, now)
    robot.node._outputs.send = slow
    assert started.wait(5.0)
    robot.node.leave()
    time.sleep(0.5)
    assert robot.twists[-1].linear.x == 0.0


def test_auto_arm_leaves_it_to_people_after_a_stop(around):
    robot = Robot(around, auto_arm=True)
    around.wait(lambda: robot.reports[-1].state == SafetyReport.HOLDING)
    for name in ("deactivate", "activate"):
        getattr(robot.node, f"trigger_{name}")()
    for pressed in (True, False):
        robot.stops.publish(Bool(data=pressed))
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED and not robot.node._stop_pressed)
    assert robot.call("reset").success
    time.sleep(0.3)
    assert robot.reports[-1].state == SafetyReport.DISARMED


@pytest.mark.parametrize("name, value", [("robot_file", "x" * 300), ("robot_file", "/"), ("clock_jump", 0.03), ("rate", 5.0)])
def test_a_parameter_that_cannot_be_is_refused_and_the_gate_lives(around, name, value):
    robot = Robot(around).moving()
    refused = set_parameter(robot, name, value)
    assert not refused.successful and refused.reason
    robot.reports.clear()
    around.wait(lambda: robot.reports and robot.reports[-1].state == SafetyReport.ACTIVE)


def test_a_log_that_blocks_does_not_block_the_watchdog(around, monkeypatch):
    robot = Robot(around).moving()
    monkeypatch.setattr(robot.node, "get_logger", lambda: time.sleep(3.0))
    robot.ranges = [1.0] * 20_001  # refused in the watchdog's thread
    sent = []
    send = robot.node._outputs.send
    robot.node._outputs.send = lambda action, now: (sent.append(time.monotonic()), send(action, now))
    time.sleep(1.0)
    assert len(sent) > 35
    monkeypatch.undo()


def test_a_huge_action_is_refused(around):
    robot = Robot(around).moving()
    robot.values = {f"channel_{i}": 0.0 for i in range(65)}
    around.wait(lambda: robot.node.stats.drops["huge action"])
    around.wait(lambda: robot.reports[-1].rule == "age")


def test_a_long_reason_is_cut(around):
    robot = Robot(around).moving()
    robot.values = {"x" * 100_000: 0.0}
    around.wait(lambda: robot.reports[-1].rule == "shape")
    assert len(robot.reports[-1].reason) == 300


def test_a_flood_on_a_topic_that_is_read_does_not_hold_the_watchdog(around):
    robot = Robot(around).moving()
    reader = next(iter(robot.node._readers))
    endless = MagicMock(take_message=lambda kind, raw: (Header(frame_id="inference/active/1"), None))
    reader.subscription = Mock(handle=endless)
    assert len(reader.take()) == PULSE.depth


def on_a_real_robot(tmp_path):
    path = tmp_path / "real.yaml"
    path.write_text(Path(SIM).read_text().replace("simulated: true", "simulated: false"))
    return str(path)


def test_auto_arm_is_refused_on_a_real_robot(around, tmp_path):
    node = around.make(SafetyValidator, robot_file=on_a_real_robot(tmp_path), auto_arm=True)
    node.trigger_configure()
    assert node.stage == "unconfigured" and "is not simulated; arm it yourself" in node.trouble


@pytest.mark.parametrize("parameters, says", [
    ({"robot_file": "/nowhere.yaml"}, "robot file '/nowhere.yaml' does not exist"),
    ({"robot_file": ""}, "set robot_file to one like"),
    ({"rate": 0.0}, "'rate' is 0.0; give a number from 5 to 500 Hz"),
    ({"max_age": float("inf")}, "'max_age' is inf"),
    ({"required_topics": ["gps"]}, "'required_topics' holds 'gps'; use some of joint_states, odom, scan"),
])
def test_a_bad_parameter_fails_configure_with_a_sentence(around, parameters, says):
    node = around.make(SafetyValidator, **{"robot_file": SIM, **parameters})
    node.trigger_configure()
    assert node.stage == "unconfigured" and says in node.trouble
