"""config/security against the real graph: what a node makes is allowed to it, and no more is allowed."""
from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="the node tests need ROS 2 (rclpy)")

from entities import subscriptions_of
from rclpy.parameter import Parameter
from sros_policy import POLICY, RIGHTS, SECURITY, SIMULATOR, Enclave, read_policy

from vla_ros.core.policy_file import write_policy_file
from vla_ros.core.robot import load_robot
from vla_ros.nodes.camera_ingest import CameraIngest
from vla_ros.nodes.command_ingest import CommandIngest
from vla_ros.nodes.inference import Inference
from vla_ros.nodes.safety_validator import SafetyValidator
from vla_ros.nodes.supervisor import Supervisor
from vla_ros.nodes.synchronizer import Synchronizer
from vla_ros.operator.client import Operator, spinning

ENCLAVES = read_policy(POLICY)
ROBOTS = sorted((SECURITY.parent / "robots").glob("*.yaml"))
CLASSES = {"camera_ingest": CameraIngest, "command_ingest": CommandIngest, "synchronizer": Synchronizer,
           "inference": Inference, "safety_validator": SafetyValidator, "supervisor": Supervisor}
ASK_GRAPH = {"publish": "get_publisher_names_and_types_by_node", "subscribe": "get_subscriber_names_and_types_by_node",
             "reply": "get_service_names_and_types_by_node", "request": "get_client_names_and_types_by_node"}
IMAGES = {"/vla/image": "/camera/image_raw", "/vla/image/compressed": "/camera/image_raw/compressed"}  # launch remaps

# Allowed, and not made by a node as it is started here; each with the reason.
EVERYWHERE = {
    "/clock",  # only with use_sim_time
    "get_type_description",  # since Jazzy
}
ALSO: dict[str, set[str]] = {
    "camera_ingest": set(IMAGES.values()),  # one of the two, by the parameter `transport`
    "command_ingest": set(),
    "synchronizer": set(),
    "inference": set(),
    "safety_validator": {"/scan"},  # where the robot file or required_topics names it
    "supervisor": set(),
}


def made_by(node: Any, name: str, namespace: str) -> Enclave:
    """What rclpy knows that it has made, and what DDS' graph knows: rcl makes more, but the graph misses some at times."""
    own = {"publish": [item.topic_name for item in node.publishers],
           "subscribe": [item.topic_name for item in subscriptions_of(node)],
           "reply": [item.srv_name for item in node.services], "request": [item.srv_name for item in node.clients]}
    time.sleep(0.2)  # the graph learns a moment later
    graph = {right: {IMAGES.get(topic, topic) for topic in
                     (*map(node.resolve_topic_name, own[right]), *dict(getattr(node, ask)(name, namespace)))}
             for right, ask in ASK_GRAPH.items()}
    assert graph["publish"], f"{name} is not in the graph"
    return graph


def parameters_of(name: str, robot: str, folder: Path) -> dict[str, Any]:
    still = {"values": dict.fromkeys(load_robot(robot).outputs[0].channels, 0.0)}
    policy_file = write_policy_file(folder / "policy.yaml", "constant", options=still)
    return {"inference": {"policy_file": policy_file, "robot_file": robot},
            "safety_validator": {"robot_file": robot}}.get(name, {})


def graph_of(name: str, **parameters: Any) -> Enclave:
    """Of a node that was configured and activated in the suite's namespace."""
    rclpy.init()
    try:
        node = CLASSES[name](namespace="/vla", parameter_overrides=[
            Parameter(key, value=value) for key, value in parameters.items()])
        try:
            node.trigger_configure()
            node.trigger_activate()
            assert node.state == "active", node.problem
            return made_by(node, name, "/vla")
        finally:
            node.leave()
            node.destroy_node()
    finally:
        rclpy.try_shutdown()


def test_every_node_is_compared() -> None:
    assert {f"/vla/{name}" for name in CLASSES} == {path for path in ENCLAVES if path.startswith("/vla/")} - {
        "/vla/operator"}


@pytest.mark.parametrize("name", CLASSES)
def test_a_node_is_allowed_what_it_makes_and_nothing_more(name: str, tmp_path: Path) -> None:
    graphs = [graph_of(name, **parameters_of(name, str(robot), tmp_path)) for robot in ROBOTS]
    outputs = {output.topic for robot in ROBOTS for output in load_robot(str(robot)).outputs}
    optional = {f"/vla/{name}/{extra}" for extra in EVERYWHERE} | EVERYWHERE | ALSO[name]
    for right in RIGHTS:
        made = set().union(*(graph[right] for graph in graphs))
        allowed = ENCLAVES[f"/vla/{name}"][right]
        assert not made - allowed, f"{name} could not start: {right} is not in config/security"
        assert not allowed - made - optional, f"{name} does not {right} this, yet it is allowed in config/security"
    if name == "safety_validator":
        assert set().union(*(graph["publish"] for graph in graphs)) >= outputs


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_the_camera_is_heard_either_way(transport: str) -> None:
    made = graph_of("camera_ingest", transport=transport)
    assert made["subscribe"] < ENCLAVES["/vla/camera_ingest"]["subscribe"]


@pytest.mark.parametrize("verb", ["say", "stop", "arm", "disarm", "reset"])
def test_the_operators_commands_are_allowed_what_they_make(verb: str) -> None:
    with spinning(f"vla_{verb}") as node:
        Operator(node)
        made = made_by(node, f"vla_{verb}", "/")
    for right, names in made.items():
        assert names <= ENCLAVES["/vla/operator"][right], right
    assert made["publish"] >= {"/vla/instruction", "/vla/stop"}


def test_the_simulator_is_allowed_what_it_makes_and_nothing_more() -> None:
    pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")
    from vla_ros.sim.node import Simulator

    rclpy.init()
    try:
        node = Simulator()
        made = made_by(node, "simulator", "/")
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
    allowed = read_policy(SIMULATOR)["/robot/simulator"]
    for right in RIGHTS:
        assert made[right] <= allowed[right], right
        assert allowed[right] - made[right] <= {"/clock", "/simulator/get_type_description"}, right
