"""Everything around the gate, for the tests of its node: sources, an operator and a policy."""
import re
import time
from pathlib import Path

import numpy as np
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from sensor_msgs.msg import JointState, LaserScan
from std_msgs.msg import Bool, Float64MultiArray

from vla_ros.core.types import ActionChunk as CoreChunk
from vla_ros.core.types import Instruction as CoreInstruction
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, LATCHED, LATEST, SENSOR
from vla_ros.nodes.safety_validator import SafetyValidator
from vla_ros_msgs.msg import ActionChunk, Heartbeat, Instruction, SafetyReport

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
        self.instructions = around.speaker(Instruction, "instruction/accepted", LATCHED)
        self.stops = around.speaker(Bool, "stop", EVENTS)
        self.joints = around.speaker(JointState, "/joint_states", EVENTS)
        self.odometry = around.speaker(Odometry, "/odom", EVENTS)
        self.scans = around.speaker(LaserScan, "/scan", SENSOR)
        self.ranges = [float("inf")] * 36
        self.heartbeats = around.speaker(Heartbeat, "heartbeat", EVENTS)
        self.values, self.instruction_id, self.alive = {"linear.x": 0.3, "angular.z": 0.0, "gripper": 0.5}, 0, True
        self.looks = True
        self.sequence, self.also, self.increment, self.joint_names = 0, "", None, ["gripper_joint"]
        self.state, self.process = "active", "1"
        around.node.create_timer(0.05, self.live)
        self.instructions.publish(convert.instruction_message(CoreInstruction(time.time_ns(), 0, "")))
        around.wait(lambda: self.reports and "node inference" in self.node._inputs.seen
                    and "/odom" in self.node._inputs.seen and (robot_file != SIM or "gripper" in self.node._inputs.measured)
                    and sensor in self.node._inputs.readings)

    def live(self):
        if not self.alive:
            return
        self.joints.publish(JointState(name=self.joint_names, position=[0.05] * len(self.joint_names)))
        self.odometry.publish(Odometry())
        step = self.increment if self.increment is not None else 6.12 / len(self.ranges)  # 0.17 rad with 36 of them
        scan = LaserScan(angle_min=-3.1, angle_max=3.02 - step, angle_increment=step, range_min=0.05, range_max=10.0,
                         ranges=self.ranges)
        scan.header.stamp = convert.time_message(time.time_ns())
        if self.looks:
            self.scans.publish(scan)
        self.heartbeats.publish(Heartbeat(node="inference", state=self.state, process=self.process))
        if self.instruction_id and self.values:
            self.sequence += 1
            self.chunks.publish(convert.chunk_message(CoreChunk(
                time.time_ns() - 10_000_000, self.instruction_id, tuple(self.values),
                np.array([list(self.values.values())], np.float32), 100_000_000, self.sequence)))
            if self.also:  # another process says the opposite
                self.chunks.publish(convert.chunk_message(CoreChunk(
                    time.time_ns() - 10_000_000, self.instruction_id, ("linear.x", "angular.z"),
                    np.array([[-0.3, 0.0]], np.float32), 100_000_000, 1, process=self.also)))

    def say(self, text):
        self.instruction_id += 1
        self.instructions.publish(convert.instruction_message(CoreInstruction(time.time_ns(), self.instruction_id, text)))

    def call(self, name):
        return self.around.call(f"safety_validator/{name}")

    def moving(self):
        """At full speed; as a person does it, who speaks again where a pause of the machine took its word."""
        def moves():
            if self.reports[-1].reason.endswith("give the instruction again"):
                self.say("go")
            return self.twists[-1].linear.x > 0.29
        assert self.call("arm").success
        self.say("go")
        self.around.wait(moves)
        return self

    def silent_for(self, rule, seconds):
        """Whether `rule` holds for a source that has been silent, or a scan that is old, for `seconds` at least."""
        report = self.reports[-1]
        length = re.search(r"(?:silent for|is) (\d+\.\d+) s", report.reason)
        return report.rule == rule and length and float(length.group(1)) >= seconds


def standing_after(robot, start):
    """Seconds until the first zero after `start`."""
    robot.around.wait(lambda: robot.twists[-1].linear.x == 0.0)
    return time.monotonic() - start
