"""What a node's docstring lists is what the running node has: topics, services, clients, faults."""
import inspect
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from entities import subscriptions_of
from rclpy.lifecycle import LifecycleNode
from robots import robot_file

from vla_ros.core.faults import STRATEGIES
from vla_ros.core.robot import load_robot
from vla_ros.nodes.camera_ingest import CameraIngest
from vla_ros.nodes.command_ingest import CommandIngest
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.inference import Inference
from vla_ros.nodes.node_parameters import NODE_PARAMETERS
from vla_ros.nodes.safety_validator import SafetyValidator
from vla_ros.nodes.supervisor import Supervisor
from vla_ros.nodes.synchronizer import Synchronizer
from vla_ros.nodes.teleop import Teleop
from vla_ros.operator.blackbox.node import Blackbox
from vla_ros.operator.console.node import Console
from vla_ros.policies.constant import Constant

SIM = str(Path(__file__).parents[2] / "config" / "robots" / "sim.yaml")
DEEP = robot_file(cameras={"camera": {"topic": "/camera/image_raw", "depth": "/camera/depth"}})
ROBOT = load_robot(DEEP)
DEFAULTS = [{}]


class Deep(Constant):
    """A policy that asks for all that a camera has."""

    @classmethod
    def spec(cls, options):
        return replace(super().spec(options), depths={"camera": (8, 8)})


# node -> the parameters to start it with; where these choose its topics, once for each choice
STARTS = {
    CameraIngest: [{"robot_file": DEEP, "policy": f"{__name__}:Deep"}],
    CommandIngest: DEFAULTS,
    Synchronizer: [{"robot_file": DEEP}],
    Inference: [{"policy": "constant", "robot_file": SIM}],
    SafetyValidator: [{"robot_file": SIM, "teleop": True}],
    Teleop: [{"robot_file": SIM}],
    Supervisor: DEFAULTS,
    Blackbox: [{"robot_file": DEEP, "blackbox_folder": tempfile.mkdtemp(prefix="vla_blackbox_")}],
    Console: [{"robot_file": SIM, "console_port": 0}],
}
SECTIONS = ("Subscribed topics", "Published topics", "Services", "Clients")
# What a line without a type stands for: name and type, as the robot file has them
FROM_ROBOT_FILE = {
    "the robot file's camera": [(camera.topic, "sensor_msgs/msg/Image") for camera in ROBOT.cameras],
    "the robot file's depth": [(camera.depth, "sensor_msgs/msg/Image") for camera in ROBOT.cameras],
    "the robot file's state": list(ROBOT.required_topics.items()),
    "the robot file's joints": [(topic, "sensor_msgs/msg/JointState") for topic in ROBOT.joint_topics],
    "the robot file's sensors": [(sensor.topic, sensor.type) for sensor in ROBOT.obstacles.sensors],
    "the robot file's outputs": [(output.topic, output.type) for output in ROBOT.outputs],
}


def section(node_class, title):
    """The lines below `title`, without their indentation; none where the docstring lacks it."""
    document = inspect.cleandoc(node_class.__doc__)
    match = re.search(rf"^{title}:\n((?:    .*\n?)+)", document, re.MULTILINE)
    return [line[4:] for line in match[1].splitlines()] if match else []


def listed(node, node_class, title):
    """Full names and types."""
    entries = set()
    for line in section(node_class, title):
        name, _, _ = line.partition(":")
        if match := re.match(r"(\S+) \((\w+)/(\w+)\):", line):
            names = [match[1]]
            if names[0].startswith("NODE/"):
                names = [match[1].replace("NODE", each) for each in node.params["nodes"]]
            entries |= {(node.resolve_topic_name(each), f"{match[2]}/{match[3]}") for each in names}
        elif name in FROM_ROBOT_FILE:
            pairs = FROM_ROBOT_FILE[name]
            entries |= {(topic, kind.replace("/msg/", "/")) for topic, kind in pairs}
    return entries


def made(node, title):
    """Full names and types of what rclpy made for it."""
    entities, name, kind = {
        "Subscribed topics": (subscriptions_of(node), "topic_name", "msg_type"),
        "Published topics": (node.publishers, "topic_name", "msg_type"),
        "Services": (node.services, "srv_name", "srv_type"),
        "Clients": (node.clients, "srv_name", "srv_type")}[title]
    return {(node.resolve_topic_name(getattr(entity, name)), type_name(getattr(entity, kind)))
            for entity in entities}


def type_name(kind):
    return f"{kind.__module__.partition('.')[0]}/{kind.__name__}"


@pytest.mark.parametrize("node_class", STARTS)
def test_a_node_has_the_topics_and_services_of_its_docstring_and_no_others(around, node_class):
    if node_class is Console:
        pytest.importorskip("starlette", reason="vla console needs starlette: python3 -m pip install starlette uvicorn")
    own = {title: set() for title in SECTIONS}
    for parameters in STARTS[node_class]:
        node = around.make(node_class, **parameters)
        node.trigger_configure()
        node.trigger_activate()
        assert node.active, node.problem
        bare = LifecycleNode(node.get_name())
        for title in SECTIONS:
            own[title] |= made(node, title) - made(bare, title)
        bare.destroy_node()
    for title in SECTIONS:
        shared = listed(node, ManagedNode, title)
        assert shared <= own[title]
        assert listed(node, node_class, title) | shared == own[title], title


@pytest.mark.parametrize("node_class", STARTS)
def test_a_node_reports_the_kinds_of_fault_of_its_docstring_and_no_others(node_class):
    reported = set(re.findall(r'report_fault\("(\w+)"', inspect.getsource(node_class)))
    first = [line.partition(":")[0] for line in section(node_class, "Faults") if line[0] != " "]
    assert {kind for kind in first if kind in STRATEGIES} == reported
    assert first and (reported or first[0].startswith("none"))


@pytest.mark.parametrize("node_class", STARTS)
def test_a_nodes_docstring_names_its_table_of_parameters(node_class):
    (line,) = section(node_class, "Parameters")
    table = re.match(r"`(\w+)` in nodes/node_parameters.py", line)
    assert table and table[1] in NODE_PARAMETERS
    assert f'super().__init__("{table[1]}"' in inspect.getsource(node_class)
