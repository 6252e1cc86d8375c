"""The launch files: what they declare, and that a launched demo comes up, is configured right and ends."""
from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("launch_ros") is None:
    pytest.skip("launch_ros is not installed: it comes with ROS 2, not from PyPI", allow_module_level=True)

import psutil
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch_ros.actions import Node

from vla_ros.core.fastdds import PROFILES, profile_variables

try:
    SHARE = Path(get_package_share_directory("vla_ros"))
except PackageNotFoundError:
    pytest.skip("vla_ros is not built: run make build", allow_module_level=True)

NODES = {"safety_validator", "camera_ingest", "command_ingest", "synchronizer", "inference", "supervisor"}


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
    assert set(arguments) == {"camera_topic", "robot_file", "policy", "namespace", "params_file", "enclaves"}
    assert all(argument.description for argument in arguments.values())
    # Another robot's limits would be worse than none: this one has to be named.
    assert [name for name, argument in arguments.items() if argument.default_value is None] == ["robot_file"]


def test_vla_starts_the_six_nodes() -> None:
    nodes = launched(load("vla.launch.py"))
    assert {node.node_executable for node in nodes} == NODES
    assert {node.node_package for node in nodes} == {"vla_ros"}


def test_demo_adds_the_simulator_and_a_seed() -> None:
    demo = load("demo.launch.py")
    assert "seed" in {argument.name for argument in demo.get_launch_arguments()}
    assert [node.node_executable for node in launched(demo)] == ["simulator"]


@pytest.mark.parametrize("given", [None, *PROFILES])
def test_fast_dds_profile_is_ours_unless_the_user_has_one(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROFILES:
        monkeypatch.delenv(name, raising=False)
    if given:
        monkeypatch.setenv(given, "/mine.xml")
    after = evaluate(load("vla.launch.py"), robot_file="robot.yaml")
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
        assert len(children) == len(NODES) + 1
        profile = str(SHARE / "config" / "fastdds.xml")
        assert {child.environ().get(profile_variables()[0]) for child in children} == {profile}
        enclaves = {words[words.index("--enclave") + 1] for words in map(psutil.Process.cmdline, children)}
        assert enclaves == {f"/vla/{name}" for name in NODES} | {"/robot/simulator"}
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
