"""Which nodes a robot's suite has follows from its robot file, and from what the policy looks through."""
from __future__ import annotations

from pathlib import Path

import pytest

from vla_ros.core.policy_file import write_policy_file
from vla_ros.core.robot import load_robot
from vla_ros.nodes.common.camera_nodes import chosen_cameras, expanded
from vla_ros.nodes.node_parameters import NODE_PARAMETERS, NODES
from vla_ros.nodes.suite import planned_nodes

ROBOTS = Path(__file__).parents[2] / "config" / "robots"
SIM, TWO_ARMS = str(ROBOTS / "sim.yaml"), str(ROBOTS / "two_arms.yaml")


def looking_through(folder, *cameras):
    """A policy file: `constant`, which has one image, or the two-eyed policy of this file."""
    if len(cameras) == 1:
        return write_policy_file(folder / "policy.yaml", "constant", images={"camera": {"camera": cameras[0]}})
    images = {f"image_{i}": {"camera": camera} for i, camera in enumerate(cameras)}
    return write_policy_file(folder / "policy.yaml", f"{__name__}:ManyEyed", options={"count": len(cameras)}, images=images)


class ManyEyed:
    @classmethod
    def spec(cls, options):
        from vla_ros.policies.base import PolicySpec
        return PolicySpec(("linear.x",), 1, 100_000_000, {f"image_{i}": (8, 8) for i in range(options["count"])})

    def predict(self, observation): ...

    def reset(self): ...


def test_a_robot_with_one_camera_has_the_six_nodes_and_the_gate_is_first():
    planned = planned_nodes(SIM, "constant")
    assert tuple(node.name for node in planned) == NODES == tuple(node.executable for node in planned)
    assert not any(node.remaps for node in planned)


def test_each_camera_has_a_node_with_its_name(tmp_path):
    planned = planned_nodes(TWO_ARMS, policy_file=looking_through(tmp_path, "high", "left_wrist", "right_wrist"))
    cameras = [node for node in planned if node.executable == "camera_ingest"]
    assert [node.name for node in cameras] == ["camera_ingest_high", "camera_ingest_left_wrist", "camera_ingest_right_wrist"]
    assert [node.parameters["camera"] for node in cameras] == ["high", "left_wrist", "right_wrist"]
    assert len(planned) == 8 and all("robot_file" in node.parameters for node in planned if node.name != "command_ingest")


def test_a_camera_that_the_policy_does_not_look_through_has_no_node_and_is_waited_for_by_nobody(tmp_path):
    planned = {node.name: node for node in planned_nodes(TWO_ARMS, policy_file=looking_through(tmp_path, "high"))}
    assert [name for name in planned if name.startswith("camera")] == ["camera_ingest_high"]
    for name in ("safety_validator", "synchronizer", "supervisor"):
        assert planned[name].parameters["cameras"] == ["high"]


def test_a_policy_that_looks_through_a_camera_that_is_not_there_is_refused_with_both_lists(tmp_path):
    with pytest.raises(ValueError, match="looks through rear of .*, and the cameras are high, left_wrist, right_wrist"):
        planned_nodes(TWO_ARMS, policy_file=looking_through(tmp_path, "rear"))


def test_a_policy_that_only_the_nodes_can_load_gets_every_camera(tmp_path):
    policy_file = write_policy_file(tmp_path / "policy.yaml", "not_here:Policy")
    cameras = [node.name for node in planned_nodes(TWO_ARMS, policy_file=policy_file) if node.executable == "camera_ingest"]
    assert len(cameras) == 3


def test_an_only_camera_s_topic_the_joints_and_the_odometry_may_be_elsewhere():
    planned = {node.name: node for node in planned_nodes(
        SIM, "constant", camera_topic="/eye/image", topics={"joint_states": "/arm/joint_states", "odom": ""})}
    assert planned["camera_ingest"].remaps == {"/camera/image_raw": "/eye/image"}
    for name in ("safety_validator", "synchronizer"):
        assert planned[name].remaps == {"/joint_states": "/arm/joint_states"}
    assert not planned["inference"].remaps


@pytest.mark.parametrize("more, says", [
    ({"camera_topic": "/eye"}, "camera_topic is '/eye', and robot 'two_arms' has 3 cameras; give their topics in its robot file"),
    ({"topics": {"odom": "od om"}}, "odom is 'od om'; give the name of a ROS topic"),
    ({"policy": "constant"}, "are both given"),
])
def test_what_cannot_be_started_gets_a_sentence(tmp_path, more, says):
    with pytest.raises(ValueError, match=says):
        planned_nodes(TWO_ARMS, **{"policy_file": looking_through(tmp_path, "high"), **more})


@pytest.mark.parametrize("names, chosen", [(["all"], ["high", "left_wrist", "right_wrist"]), (["right_wrist", "high"], ["high", "right_wrist"])])
def test_the_parameter_cameras_means_all_or_those_named_in_the_file_s_order(names, chosen):
    assert chosen_cameras(load_robot(TWO_ARMS), names) == chosen


def test_camera_ingest_stands_for_the_node_of_each_camera():
    robot = load_robot(TWO_ARMS)
    assert expanded(["safety_validator", "camera_ingest", "inference"], robot, ["high", "right_wrist"]) == [
        "safety_validator", "camera_ingest_high", "camera_ingest_right_wrist", "inference"]
    assert expanded(NODES, load_robot(SIM), ["all"]) == list(NODES)
    with pytest.raises(ValueError, match="parameter 'cameras' holds 'rear'; robot 'two_arms' has high, left_wrist"):
        expanded(["camera_ingest"], robot, ["rear"])


def test_where_a_person_may_take_over_the_gate_is_told_and_one_node_more_is_started():
    without = planned_nodes(SIM, "constant", topics={"joint_states": "/arm/joints"})
    *nodes, teleop = planned_nodes(SIM, "constant", topics={"joint_states": "/arm/joints"}, teleop=True)
    assert nodes[1:] == without[1:]
    assert nodes[0].parameters == {**without[0].parameters, "teleop": True}
    assert (teleop.name, teleop.executable, teleop.parameters) == ("teleop", "teleop", {"robot_file": SIM})
    assert teleop.remaps == {"/joint_states": "/arm/joints"}


def test_the_flight_recorder_comes_last_and_nobody_requires_it():
    planned = planned_nodes(SIM, "constant", topics={"joint_states": "/arm/joint_states"}, onlookers=["blackbox"])
    assert tuple(node.name for node in planned) == (*NODES, "blackbox")
    assert planned[-1].parameters == {"robot_file": SIM, "cameras": ["all"]}
    assert planned[-1].remaps == {"/joint_states": "/arm/joint_states"}
    table = {parameter.name: parameter.default for parameter in NODE_PARAMETERS["safety_validator"]}
    assert "blackbox" not in table["required_nodes"]
