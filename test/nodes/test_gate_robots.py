"""The gate of each robot that comes with the package: what its file names is required, and nothing else."""
from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
from robots import robot_file
from sensor_msgs.msg import JointState, LaserScan
from std_msgs.msg import Float64MultiArray

from vla_ros.core.robot import load_robot
from vla_ros.core.robot_state import JOINT_STATE, ODOMETRY
from vla_ros.core.types import Instruction as CoreInstruction
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, LATCHED, LATEST, SENSOR
from vla_ros.nodes.common.state_messages import MESSAGES
from vla_ros.nodes.gate.outputs import TYPES
from vla_ros.nodes.safety_validator import SafetyValidator
from vla_ros_msgs.msg import Heartbeat, Instruction

ROBOTS = sorted((Path(__file__).parents[2] / "config" / "robots").glob("*.yaml"))


class Driver:
    """Says, at 20 Hz, what a robot file names; and nothing of what is in `silent`."""

    def __init__(self, around, path):
        self.around, self.robot = around, load_robot(path)
        self.node = around.start(SafetyValidator, robot_file=str(path))
        self.silent = set()
        self.speakers = {topic: around.speaker(MESSAGES[kind], topic, EVENTS)
                         for topic, kind in self.robot.required_topics.items()}
        self.scans = {sensor.topic: around.speaker(LaserScan, sensor.topic, SENSOR) for sensor in self.robot.sensors}
        self.heartbeats = around.speaker(Heartbeat, "heartbeat", EVENTS)
        # after a robot is armed an instruction is wanted; before, its absence would be a reason, too
        around.speaker(Instruction, "instruction/accepted", LATCHED).publish(
            convert.instruction_message(CoreInstruction(time.time_ns(), 0, "")))
        self.nodes = [*self.robot.camera_nodes.values(), "command_ingest", "synchronizer", "inference", "supervisor"]
        around.node.create_timer(0.05, self.live)

    def message(self, topic, kind):
        if topic not in self.robot.joint_topics:
            return MESSAGES[kind]()
        channels = self.robot.joint_topics[topic]
        middles = [channel.sent(sum(channel.limits) / 2) for channel in channels]
        return JointState(name=[channel.joint for channel in channels], position=middles)

    def live(self):
        for node in {*self.nodes} - self.silent:
            self.heartbeats.publish(Heartbeat(node=node, state="active", process="1"))
        for topic, kind in self.robot.required_topics.items():
            if topic not in self.silent:
                self.speakers[topic].publish(self.message(topic, kind))
        for speaker in self.scans.values():
            scan = LaserScan(angle_min=-3.1, angle_max=3.02 - 0.17, angle_increment=0.17, range_min=0.05, range_max=10.0,
                             ranges=[math.inf] * 36)
            scan.header.stamp = convert.time_message(time.time_ns())
            speaker.publish(scan)

    def arm(self):
        return self.around.call("safety_validator/arm")


@pytest.mark.parametrize("path", ROBOTS, ids=lambda path: path.stem)
def test_the_gate_of_each_robot_waits_for_what_its_file_names_and_for_nothing_else(around, path):
    robot = load_robot(path)
    for output in robot.outputs:  # its driver
        around.hear(TYPES[output.type], output.topic, LATEST)
    driver = Driver(around, path)
    last = [*robot.required_topics][-1]
    camera = next(iter(robot.camera_nodes.values()))
    driver.silent = {last, camera}
    around.wait(lambda: f"nothing was heard from node {camera} yet" in driver.arm().message)
    driver.silent = {last}
    around.wait(lambda: f"nothing was heard from {last} yet" in driver.arm().message)
    driver.silent = set()
    around.wait(lambda: driver.arm().success)


def arm_file(**gripper):
    """An arm without a base, whose gripper and elbow are published on topics of their own."""
    elbow = {"unit": "rad", "bounds": [-3.0, 3.0], "limits": [-2.9, 2.9], "max_speed": 1.0, "on_stop": "hold_measured",
             "joint": "elbow", "sent_unit": "deg"}
    grip = {"unit": "1", "bounds": [0.0, 1.0], "limits": [0.0, 1.0], "max_speed": 1.0, "on_stop": "hold_commanded",
            "joint": "grip", "scale": -0.8, "offset": 0.8, **gripper}
    state = [{"topic": "/arm/joints", "type": JOINT_STATE, "names": ["elbow"], "unit": "deg"},
             {"topic": "/grip/joints", "type": JOINT_STATE, "names": {"grip": "knuckle"}, "unit": "rad"}]
    outputs = [{"topic": "/arm/commands", "type": "std_msgs/msg/Float64MultiArray", "channels": ["elbow"]},
               {"topic": "/grip/commands", "type": "std_msgs/msg/Float64MultiArray", "channels": ["grip"]}]
    return robot_file(channels={"elbow": elbow, "grip": grip}, outputs=outputs, state=state, obstacles=None, footprint=None)


def test_what_is_measured_and_sent_is_in_the_robots_own_units_with_either_sign(around):
    commands = around.hear(Float64MultiArray, "/grip/commands", LATEST)
    driver = Driver(around, arm_file())
    arm, grip = driver.speakers["/arm/joints"], driver.speakers["/grip/joints"]
    driver.silent = {"/arm/joints", "/grip/joints"}
    around.wait(lambda: arm.get_subscription_count() and grip.get_subscription_count())
    arm.publish(JointState(name=["elbow"], position=[90.0]))
    grip.publish(JointState(name=["knuckle"], position=[0.2]))
    measured = driver.node._inputs.measured
    around.wait(lambda: {"elbow", "grip"} <= set(measured))
    assert measured["elbow"][0] == pytest.approx(math.pi / 2) and measured["grip"][0] == pytest.approx(0.75)
    driver.node._outputs.send({"grip": 0.25}, 0)
    assert around.wait(lambda: commands)[0].data[0] == pytest.approx(0.6)


def test_an_arm_needs_neither_odometry_nor_a_scan(around):
    driver = Driver(around, arm_file())
    heard = {reader.topic for reader in driver.node._readers}
    assert {"/arm/joints", "/grip/joints"} <= heard and not {"/odom", "/scan", "/joint_states"} & heard


def test_a_topic_of_the_state_that_may_be_silent_is_not_listened_to(around):
    odometry = {"topic": "/odom", "type": ODOMETRY, "required": False}
    driver = Driver(around, robot_file(state=[odometry]))
    assert "/odom" not in {reader.topic for reader in driver.node._readers}
