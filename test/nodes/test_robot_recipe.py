"""CONTRIBUTING.md's recipe for a robot, followed to the letter: the gate obeys the file as it is printed."""
from __future__ import annotations

import math
import re
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped
from sensor_msgs.msg import LaserScan, Range

from vla_ros.core.types import ActionChunk as CoreChunk
from vla_ros.core.types import Instruction as CoreInstruction
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, LATCHED, LATEST, SENSOR
from vla_ros.nodes.safety_validator import SafetyValidator
from vla_ros_msgs.msg import ActionChunk, Instruction, SafetyReport

RECIPE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8").split("### A robot and its sensors")[1]


class Scout:
    """The robot of the recipe, with its sensors, and a policy that drives it backward."""

    def __init__(self, around, robot_file):
        self.around = around
        self.node = around.start(SafetyValidator, robot_file=str(robot_file), required_nodes=[])
        self.twists = around.hear(TwistStamped, "/scout/cmd_vel", LATEST)
        self.reports = around.hear(SafetyReport, "safety_report", EVENTS)
        self.chunks = around.speaker(ActionChunk, "action_chunk", LATEST)
        self.instructions = around.speaker(Instruction, "instruction/accepted", LATCHED)
        self.lidar = around.speaker(LaserScan, "/front/scan", SENSOR)
        self.sonar = around.speaker(Range, "/rear/sonar", SENSOR)
        self.speaking = set()  # of "lidar", "sonar"
        self.behind = 5.0  # m from the sonar
        self.instruction_id = self.sequence = 0
        self.say("")
        around.node.create_timer(0.05, self.live)

    def say(self, text):
        instruction = CoreInstruction(time.time_ns(), self.instruction_id, text)
        self.instructions.publish(convert.instruction_message(instruction))

    def live(self):
        stamp = convert.time_message(time.time_ns())
        if "lidar" in self.speaking:
            scan = LaserScan(angle_min=-1.5, angle_max=1.5, angle_increment=0.1, range_min=0.05, range_max=10.0,
                             ranges=[math.inf] * 31)
            scan.header.stamp = stamp
            self.lidar.publish(scan)
        if "sonar" in self.speaking:
            beam = Range(field_of_view=0.5, min_range=0.02, max_range=4.0, range=min(self.behind, 4.0))
            beam.header.stamp = stamp
            self.sonar.publish(beam)
        self.sequence += 1
        rows = np.array([[-0.15, 0.0]], np.float32)
        self.chunks.publish(convert.chunk_message(CoreChunk(
            time.time_ns() - 10_000_000, self.instruction_id, ("linear.x", "angular.z"), rows, 100_000_000, self.sequence)))

    def arm(self):
        return self.around.call("safety_validator/arm")

    def drive(self):
        """Backward at the policy's speed, armed and told to."""
        self.speaking = {"lidar", "sonar"}
        self.around.wait(lambda: self.arm().success)
        self.instruction_id = 1
        self.say("go back")
        self.around.wait(lambda: self.twists and self.twists[-1].twist.linear.x < -0.14)


@pytest.fixture
def scout(around, tmp_path):
    text, = re.findall(r"^ *```yaml\n( *# scout\.yaml\n.*?)^ *```", RECIPE, re.M | re.S)
    path = tmp_path / "scout.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return Scout(around, path)


def test_it_does_not_arm_before_each_of_its_sensors_was_heard(scout):
    assert scout.arm().message == "nothing was seen by /front/scan yet"
    scout.speaking = {"lidar"}
    scout.around.wait(lambda: scout.arm().message == "nothing was seen by /rear/sonar yet")
    assert not any(command.twist.linear.x for command in scout.twists)
    scout.drive()


def test_it_drives_on_its_own_topic_and_stops_before_what_its_sonar_sees(scout):
    scout.drive()
    assert scout.twists[-1].header.frame_id == "base_link"
    scout.behind = 0.3
    scout.around.wait(lambda: scout.reports[-1].rule == "obstacle" and scout.twists[-1].twist.linear.x == 0.0)


@pytest.mark.parametrize("sensor, topic", [("lidar", "/front/scan"), ("sonar", "/rear/sonar")])
def test_it_holds_while_a_sensor_is_silent(scout, sensor, topic):
    scout.drive()
    scout.speaking.remove(sensor)
    scout.around.wait(lambda: scout.reports[-1].rule == "range_sensors" and scout.twists[-1].twist.linear.x == 0.0)
    assert scout.reports[-1].reason.startswith(f"what {topic} saw is ")
