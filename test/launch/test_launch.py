"""The launch files: what they declare, and that a launched demo comes up, is configured right and ends."""
from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("launch_ros") is None:
    pytest.skip("launch_ros is not installed: it comes with ROS 2, not from PyPI", allow_module_level=True)

import psutil
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import ExecuteLocal
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch.utilities import perform_substitutions
from launch_ros.actions import Node

from vla_ros.core.fastdds import PROFILES, profile_variables
from vla_ros.core.policy_file import write_policy_file

try:
    SHARE = Path(get_package_share_directory("vla_ros"))
except PackageNotFoundError:
    pytest.skip("vla_ros is not built: run make build", allow_module_level=True)

SIM = str(SHARE / "config" / "robots" / "sim.yaml")
NODES = {"safety_validator", "camera_ingest", "command_ingest", "synchronizer", "inference", "supervisor"}
ONLOOKERS = {"blackbox"}


def load(name: str) -> LaunchDescription:
    return get_launch_description_from_python_launch_file(str(SHARE / "launch" / name))


def launched(description: LaunchDescription) -> list[Node]:
    return [entity for entity in description.entities if isinstance(entity, Node)]


def evaluate(description: LaunchDescription, **arguments: str) -> dict[str, Any]:
    """Runs all but the nodes; gives the environment that the nodes would have."""
    context = LaunchContext()
    context.launch_configurations.update(arguments)
    for entity in description.entities:
        if not isinstance(entity, Node):
            entity.visit(context)
    return dict(context.environment)


def test_vla_asks_only_for_what_differs_between_sites() -> None:
    arguments = {argument.name: argument for argument in load("vla.launch.py").get_launch_arguments()}
    assert set(arguments) == {"camera_topic", "joint_states", "odom", "robot_file", "policy", "policy_file", "namespace",
                              "params_file", "composed", "teleop", "blackbox", "console", "markers", "record", "enclaves"}
    assert all(argument.description for argument in arguments.values())
    # Another robot's limits would be worse than none: this one has to be named.
    assert [name for name, argument in arguments.items() if argument.default_value is None] == ["robot_file"]


def started(**arguments: str) -> list[Node]:
    """The nodes of vla.launch.py with these arguments, and the others' defaults."""
    description = load("vla.launch.py")
    context = LaunchContext()
    context.launch_configurations.update({"robot_file": SIM, **arguments})
    nodes: list[Node] = []
    for entity in description.entities:
        nodes += [inner for inner in entity.visit(context) or () if isinstance(inner, Node)]
    return nodes


def test_vla_starts_the_six_nodes_and_the_flight_recorder() -> None:
    nodes = started()
    assert {node.node_executable for node in nodes} == NODES | ONLOOKERS
    assert {node.node_package for node in nodes} == {"vla_ros"}


def test_a_person_may_take_over_where_the_launch_says_so() -> None:
    assert {node.node_executable for node in started(teleop="true")} == {*NODES, *ONLOOKERS, "teleop"}
    with pytest.raises(ValueError, match="teleop is 'yes'; use true or false"):
        started(teleop="yes")


def test_what_looks_on_and_what_records_are_verbs_that_are_told_where_the_suite_is(command_lines: Callable[..., list[str]]) -> None:
    usual = command_lines("vla.launch.py", robot_file=SIM)
    assert "markers" not in usual and "record" not in usual
    words = command_lines("vla.launch.py", robot_file=SIM, markers="true", record="/data/episodes", namespace="left")
    markers = words[words.index("markers"):]
    assert markers[markers.index("--namespace") + 1] == "/left"
    record = words[words.index("record"):]
    assert record[record.index("--out") + 1] == "/data/episodes" and "--append" in record


def test_the_flight_recorder_may_be_left_out() -> None:
    assert {node.node_executable for node in started(blackbox="false")} == NODES


def test_each_camera_of_the_robot_file_that_the_policy_looks_through_has_a_node(tmp_path: Path) -> None:
    robot = str(SHARE / "config" / "robots" / "so101.yaml")
    policy = write_policy_file(tmp_path / "p.yaml", "constant", options={"values": {"gripper": 0.5}},
                               images={"camera": {"camera": "wrist"}})
    nodes = started(robot_file=robot, policy_file=policy)
    assert [node.node_executable for node in nodes].count("camera_ingest") == 1


def test_a_robot_file_that_is_wrong_ends_the_launch_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="robot file '/nowhere.yaml' does not exist"):
        started(robot_file="/nowhere.yaml")


def test_demo_adds_the_simulator_and_a_seed() -> None:
    demo = load("demo.launch.py")
    assert "seed" in {argument.name for argument in demo.get_launch_arguments()}
    assert len(launched(demo)) == 1


@pytest.fixture
def command_lines(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The words that a launch file's nodes would be started with, by its arguments; a file of parameters by what is in it."""
    words: list[str] = []

    def execute(self: ExecuteLocal, context: LaunchContext) -> None:
        words.extend(perform_substitutions(context, word) for word in self.cmd[1:])
    monkeypatch.setattr(ExecuteLocal, "execute", execute)

    def visit(entity: LaunchDescriptionEntity, context: LaunchContext) -> None:
        for inner in entity.visit(context) or ():
            visit(inner, context)

    def lines(name: str, **arguments: str) -> list[str]:
        words.clear()
        context = LaunchContext()
        context.launch_configurations.update(arguments)
        visit(load(name), context)
        return [Path(word).read_text() if os.path.isfile(word) else word for word in words]
    return lines


def test_every_argument_that_the_demo_lists_does_something(tmp_path: Path, command_lines: Callable[..., list[str]]) -> None:
    policy_file = write_policy_file(tmp_path / "policy.yaml", "constant")
    (tmp_path / "other.yaml").write_text(Path(SIM).read_text())
    other = {"policy": "constant", "policy_file": policy_file, "seed": "7", "robot_file": str(tmp_path / "other.yaml"),
             "camera_topic": "/eye/image", "joint_states": "/arm/joint_states", "odom": "/base/odom", "namespace": "other",
             "params_file": str(tmp_path / "mine.yaml"), "enclaves": "/elsewhere", "composed": "true", "teleop": "true",
             "console": "true", "blackbox": "false", "markers": "true", "record": str(tmp_path / "episodes"),
             "robot": "arm"}
    (tmp_path / "mine.yaml").write_text("/**:\n  ros__parameters: {diagnostics_period: 2.0}\n")
    arguments = load("demo.launch.py").get_launch_arguments()
    assert {argument.name for argument in arguments} == set(other)
    assert all(argument.default_value is not None for argument in arguments)  # it starts without any
    usual = command_lines("demo.launch.py")
    assert len(usual) > 50 and usual == command_lines("demo.launch.py")
    for name, value in other.items():
        assert command_lines("demo.launch.py", **{name: value}) != usual, name


def test_the_demos_own_policy_gives_way_to_a_policy_file(tmp_path: Path, command_lines: Callable[..., list[str]]) -> None:
    policy_file = write_policy_file(tmp_path / "policy.yaml", "constant")
    words = "\n".join(command_lines("demo.launch.py", policy_file=policy_file))
    assert f"policy_file: {policy_file}" in words and "policy: ''" in words


def test_composed_starts_one_process_in_place_of_three(command_lines: Callable[..., list[str]]) -> None:
    words = "\n".join(command_lines("demo.launch.py", composed="true", camera_topic="/eye/image", policy="constant"))
    assert "/vla/composed" in words and 'policy:="constant"' in words and "image_raw:=/eye/image" in words
    assert "__node:=composed" not in words and words.count("__node:=inference") == 1
    assert "__node:=safety_validator" in words and "__node:=supervisor" in words
    usual = "\n".join(command_lines("demo.launch.py"))
    assert "/vla/composed" not in usual and "__node:=inference" in usual


def test_the_demos_arm_has_two_cameras_and_a_policy(command_lines: Callable[..., list[str]]) -> None:
    words = "\n".join(command_lines("demo.launch.py", robot="arm"))
    assert "sim_arm.yaml" in words
    assert "camera_ingest_scene" in words and "camera_ingest_wrist" in words
    assert "policy: vla_ros.sim.arm.policy:TableExpert" in words


def test_the_demos_camera_and_the_node_that_hears_it_agree(command_lines: Callable[..., list[str]]) -> None:
    words = command_lines("demo.launch.py", camera_topic="/eye/image")
    assert words.count("/camera/image_raw:=/eye/image") == 2  # the simulator's and camera_ingest's


def test_joint_states_and_odometry_are_heard_where_the_launch_says(command_lines: Callable[..., list[str]]) -> None:
    words = command_lines("vla.launch.py", robot_file=SIM, joint_states="/arm/joint_states", odom="/base/odom")
    for remapping in ("/joint_states:=/arm/joint_states", "/odom:=/base/odom"):
        assert words.count(remapping) == 3  # the gate's, the synchronizer's and the flight recorder's


def alive(process: psutil.Process) -> bool:
    """Not one that ended, whether or not somebody has waited for it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_node_outlives_a_launch_that_was_ended_from_outside(tmp_path: Path, number: int) -> None:
    """`ros2 launch` ends on SIGTERM and tells its nodes nothing."""
    with (tmp_path / "launch.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", RUN, str(SHARE / "launch" / "demo.launch.py")],
                                   stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ))
    children: list[psutil.Process] = []
    try:
        wait_for(lambda: len(psutil.Process(process.pid).children()) == len(NODES | ONLOOKERS) + 1, 30.0, "starting the nodes")
        children = psutil.Process(process.pid).children(recursive=True)
        time.sleep(2.0)
        process.send_signal(number)
        process.wait(20.0)
        for child in children:
            wait_for(lambda child=child: not alive(child), 60.0, f"the end of {child}")
    finally:
        for left in children:
            if alive(left):
                left.kill()
        process.kill()


@pytest.mark.parametrize("given", [None, *PROFILES])
def test_fast_dds_profile_is_ours_unless_the_user_has_one(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROFILES:
        monkeypatch.delenv(name, raising=False)
    if given:
        monkeypatch.setenv(given, "/mine.xml")
    after = evaluate(load("vla.launch.py"), robot_file=SIM)
    expected = {given: "/mine.xml"} if given else dict.fromkeys(profile_variables(), str(SHARE / "config" / "fastdds.xml"))
    assert {name: after[name] for name in PROFILES if name in after} == expected


def wait_for(condition: Any, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} took more than {seconds:g} s"
        time.sleep(0.1)


RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = LaunchService()
service.include_launch_description(LaunchDescription([
    IncludeLaunchDescription(PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=[("seed", "3")])]))
sys.exit(service.run())
"""


def test_a_launched_demo_comes_up_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rclpy = pytest.importorskip("rclpy")
    from lifecycle_msgs.srv import GetState

    for name in PROFILES:
        monkeypatch.delenv(name, raising=False)
    log = (tmp_path / "launch.log").open("w")
    process = subprocess.Popen([sys.executable, "-c", RUN, str(SHARE / "launch" / "demo.launch.py")],
                               stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ))
    rclpy.init()
    node = rclpy.create_node("test_launch")
    children: list[psutil.Process] = []
    try:
        waiting = {name: node.create_client(GetState, f"/vla/{name}/get_state") for name in NODES - {"supervisor"}}

        def active() -> bool:
            for name, client in list(waiting.items()):
                if client.service_is_ready():
                    future = client.call_async(GetState.Request())
                    rclpy.spin_until_future_complete(node, future, timeout_sec=1.0)
                    if future.done() and future.result().current_state.label == "active":
                        del waiting[name]
            return not waiting

        wait_for(active, 60.0, "bringing the nodes up")
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == len(NODES | ONLOOKERS) + 1
        profile = str(SHARE / "config" / "fastdds.xml")
        assert {child.environ().get(profile_variables()[0]) for child in children} == {profile}
        enclaves = {words[words.index("--enclave") + 1] for words in map(psutil.Process.cmdline, children)}
        assert enclaves == {f"/vla/{name}" for name in NODES | ONLOOKERS} | {"/robot/simulator"}
        process.send_signal(signal.SIGINT)
        assert process.wait(20.0) == 0
        assert not [child for child in children if child.is_running()]
    except BaseException:
        print((tmp_path / "launch.log").read_text())  # pytest shows it with the failure
        raise
    finally:
        node.destroy_node()
        rclpy.shutdown()
        for left in [*children, *([process] if process.poll() is None else [])]:
            if left.is_running() if isinstance(left, psutil.Process) else True:
                left.kill()
        log.close()
