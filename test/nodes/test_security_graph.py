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
from vla_ros.nodes.enclaves import policy_for
from vla_ros.nodes.inference import Inference
from vla_ros.nodes.safety_validator import SafetyValidator
from vla_ros.nodes.supervisor import Supervisor
from vla_ros.nodes.synchronizer import Synchronizer
from vla_ros.nodes.teleop import Teleop
from vla_ros.operator.blackbox.node import Blackbox
from vla_ros.operator.client import Operator, spinning
from vla_ros.operator.console.node import Console

ENCLAVES = read_policy(POLICY)  # the simulated robot's
ROBOTS = sorted((SECURITY.parent / "robots").glob("*.yaml"))
CLASSES = {"camera_ingest": CameraIngest, "command_ingest": CommandIngest, "synchronizer": Synchronizer,
           "inference": Inference, "safety_validator": SafetyValidator, "supervisor": Supervisor,
           "teleop": Teleop, "blackbox": Blackbox, "console": Console}
ASK_GRAPH = {"publish": "get_publisher_names_and_types_by_node", "subscribe": "get_subscriber_names_and_types_by_node",
             "reply": "get_service_names_and_types_by_node", "request": "get_client_names_and_types_by_node"}

# Allowed, and not made by a node as it is started here; each with the reason.
EVERYWHERE = {
    "/clock",  # only with use_sim_time
    "get_type_description",  # since Jazzy
}
ALSO: dict[str, set[str]] = {
    "camera_ingest": set(),
    "command_ingest": set(),
    "synchronizer": set(),
    "inference": set(),
    "safety_validator": set(),
    "supervisor": set(),
    "teleop": {"/vla/teleop_twist"},  # of a base
    "blackbox": {"/vla/teleop_twist"},  # of a base
    # asked where they are there
    "console": {"/vla/blackbox/write", "/vla/teleop/give_back"},
}


def made_by(node: Any, name: str, namespace: str) -> Enclave:
    """What rclpy knows that it has made, and what DDS' graph knows: rcl makes more, but the graph misses some at times."""
    own = {"publish": [item.topic_name for item in node.publishers],
           "subscribe": [item.topic_name for item in subscriptions_of(node)],
           "reply": [item.srv_name for item in node.services], "request": [item.srv_name for item in node.clients]}
    time.sleep(0.2)  # the graph learns a moment later
    graph = {right: {*map(node.resolve_topic_name, own[right]), *dict(getattr(node, ask)(name, namespace))}
             for right, ask in ASK_GRAPH.items()}
    assert graph["publish"], f"{name} is not in the graph"
    return graph


def parameters_of(name: str, robot: str, folder: Path) -> dict[str, Any]:
    described = load_robot(robot)
    still = {"values": dict.fromkeys(described.outputs[0].channels, 0.0)}
    camera = described.cameras[0].name
    policy_file = write_policy_file(folder / "policy.yaml", "constant", options=still,
                                    images={"camera": {"camera": camera}})
    seeing = {"policy_file": policy_file, "robot_file": robot}
    recording = {"robot_file": robot, "blackbox_folder": str(folder)}
    return {"inference": seeing, "blackbox": recording, "camera_ingest": {**seeing, "camera": camera}, "command_ingest": {},
            "safety_validator": {"robot_file": robot, "teleop": True}, "console": {"robot_file": robot, "console_port": 0}}.get(
        name, {"robot_file": robot})


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
@pytest.mark.parametrize("path", ROBOTS, ids=lambda path: path.stem)
def test_a_node_is_allowed_what_it_makes_and_nothing_more(name: str, path: Path, tmp_path: Path) -> None:
    robot = load_robot(path)
    policy = tmp_path / "policy.xml"
    policy.write_text(policy_for(POLICY.read_text(encoding="utf-8"), robot), encoding="utf-8")
    made = graph_of(name, **parameters_of(name, str(path), tmp_path))
    # here each node has the plain name; in its suite, one of several cameras has its own
    own = next(iter(robot.camera_nodes.values())) if name == "camera_ingest" else name
    optional = {f"/vla/{name}/{extra}" for extra in EVERYWHERE} | EVERYWHERE | ALSO[name]
    if name == "camera_ingest":  # only with a policy that asks for depth
        optional |= {topic for camera in robot.cameras if camera.depth
                     for topic in (camera.depth, f"/vla/{robot.depth_frame_topic(camera.name)}")}
    if name == "console":  # while somebody looks
        optional |= {camera.topic for camera in robot.cameras}
    for right in RIGHTS:
        allowed = {each.replace(f"/vla/{own}/", f"/vla/{name}/") for each in read_policy(policy)[f"/vla/{own}"][right]}
        assert not made[right] - allowed, f"{name} could not start: {right} is not in its policy"
        assert not allowed - made[right] - optional, f"{name} does not {right} this, yet its policy allows it"
    if name == "safety_validator":
        assert made["publish"] >= {output.topic for output in robot.outputs}


@pytest.mark.parametrize("verb", ["say", "stop", "arm", "disarm", "reset"])
def test_the_operators_commands_are_allowed_what_they_make(verb: str) -> None:
    with spinning(f"vla_{verb}") as node:
        Operator(node)
        made = made_by(node, f"vla_{verb}", "/")
    for right, names in made.items():
        assert names <= ENCLAVES["/vla/operator"][right], right
    assert made["publish"] >= {"/vla/instruction", "/vla/stop"}


@pytest.mark.parametrize("name", ["simulator", "arm_simulator"])
def test_the_simulator_is_allowed_what_it_makes_and_nothing_more(name: str) -> None:
    pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")
    from vla_ros.sim.arm.node import ArmSimulator
    from vla_ros.sim.node import Simulator

    rclpy.init()
    try:
        node = Simulator() if name == "simulator" else ArmSimulator()
        made = made_by(node, name, "/")
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
    allowed = read_policy(SIMULATOR)[f"/robot/{name}"]
    for right in RIGHTS:
        assert made[right] <= allowed[right], right
        assert allowed[right] - made[right] <= {"/clock", f"/{name}/get_type_description"}, right
