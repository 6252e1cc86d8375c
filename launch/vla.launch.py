"""The nodes of vla_ros on a robot: what its robot file names, and a camera_ingest for each camera.

    ros2 launch vla_ros vla.launch.py robot_file:=/path/to/robot.yaml

The supervisor walks the nodes through their lifecycle; launch starts the processes, and again when
one ends. With composed:=true, those that images go through are one process (doc/composed.md).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from vla_ros.core import composed, process_identity
from vla_ros.core.fastdds import PROFILES, profile_variables
from vla_ros.core.robot import load_robot
from vla_ros.nodes.suite import ROBOT_TOPICS, PlannedNode, planned_nodes
from vla_ros.operator.processes import ros_arguments

CONFIG = Path(get_package_share_directory("vla_ros")) / "config"
RESPAWN_DELAY_S = 1.0  # as `vla demo` has it
GATE_WITHIN_S = 900  # the gate speaks once it is active, and an engine may be built before


def arguments() -> list[DeclareLaunchArgument]:
    """What the launch file can be told."""
    return [
        DeclareLaunchArgument(
            "robot_file",
            description="the robot: its cameras, state, channels and limits, like "
            "config/robots/*.yaml",
        ),
        DeclareLaunchArgument(
            "camera_topic",
            default_value="",
            description="the images of a robot's only camera, where they are not where the robot "
            "file says",
        ),
        *(
            DeclareLaunchArgument(
                topic,
                default_value="",
                description=f"where the robot has what its file calls /{topic} (default: there)",
            )
            for topic in ROBOT_TOPICS
        ),
        DeclareLaunchArgument(
            "policy",
            default_value="",
            description="the policy that drives, by name or module:Class, "
            "where it needs no options (default: color_servo)",
        ),
        DeclareLaunchArgument(
            "policy_file",
            default_value="",
            description="the policy that drives, with its options, "
            "like config/policies/*.yaml; not beside policy",
        ),
        DeclareLaunchArgument("namespace", default_value="vla", description="the nodes' namespace"),
        DeclareLaunchArgument(
            "params_file",
            default_value=str(CONFIG / "vla.yaml"),
            description="the nodes' parameters",
        ),
        DeclareLaunchArgument(
            "composed",
            default_value="false",
            description="true: camera_ingest, synchronizer and inference are one process, and "
            "hand images over in memory",
        ),
        DeclareLaunchArgument(
            "teleop",
            default_value="false",
            description="true: a person's stick may take the robot over (doc/howto/takeover.md)",
        ),
        DeclareLaunchArgument(
            "blackbox",
            default_value="true",
            description="true: the last minutes are kept in memory, and written when the robot "
            "stops or a node has a fault",
        ),
        DeclareLaunchArgument(
            "console",
            default_value="false",
            description="true: with the operator's page, at the parameters' console_host and "
            "console_port",
        ),
        DeclareLaunchArgument(
            "markers",
            default_value="false",
            description="true: what the gate sees and the policy plans, for RViz and Foxglove "
            "(doc/howto/rviz_foxglove.md); topics as the robot file has them",
        ),
        DeclareLaunchArgument(
            "record",
            default_value="",
            description="a folder: each instruction is recorded there as an episode, behind those "
            "that are in it (doc/demonstrations.md)",
        ),
        DeclareLaunchArgument(
            "enclaves",
            default_value="/vla",
            description="where the nodes' SROS 2 enclaves are (if ROS_SECURITY_ENABLE)",
        ),
    ]


def profile() -> list[SetEnvironmentVariable]:
    """Fast DDS with room for camera images, unless the user has a profile."""
    if any(map(os.environ.get, PROFILES)):
        return []
    file = str(CONFIG / "fastdds.xml")
    return [SetEnvironmentVariable(name, file) for name in profile_variables()]


def nodes(context: LaunchContext) -> list[Node | ExecuteProcess]:
    """The nodes, and what runs beside them, once the robot file and the policy are known."""

    def given(argument: str) -> str:
        return LaunchConfiguration(argument).perform(context)

    def switched_on(argument: str) -> bool:
        value = given(argument).lower()
        if value not in ("true", "false"):
            raise ValueError(f"{argument} is '{given(argument)}'; use true or false")
        return value == "true"

    in_one_process = switched_on("composed")
    planned = planned_nodes(
        given("robot_file"),
        given("policy"),
        given("policy_file"),
        given("camera_topic"),
        {topic: given(topic) for topic in ROBOT_TOPICS},
        switched_on("teleop"),
        ["blackbox"] if switched_on("blackbox") else [],
    )
    if switched_on("console"):
        planned = [*planned, PlannedNode("console", "console", {"robot_file": given("robot_file")})]
    beside: list[ExecuteProcess] = []
    namespace = f"/{given('namespace').strip('/')}"
    if switched_on("markers"):
        beside.append(verb("markers", namespace, "--robot-file", given("robot_file")))
    if folder := given("record"):
        robot = load_robot(given("robot_file")).name
        beside.append(verb("record", namespace, "--append", "--out", folder, "--robot", robot))
    if not in_one_process:
        return [*map(node, planned), *beside]
    shared = [planned_node for planned_node in planned if planned_node.executable in composed.KINDS]
    apart = [planned_node for planned_node in planned if planned_node not in shared]
    return [*map(node, apart), one_process(shared), *beside]


def verb(name: str, namespace: str, *words: str) -> ExecuteProcess:
    """A verb of `vla` beside the suite; it ends with the launch, and is not started again."""
    where = ["--namespace", namespace, "--wait", str(GATE_WITHIN_S)]
    command = [sys.executable, "-m", "vla_ros.cli.main", name, *where, *words]
    return ExecuteProcess(cmd=command, name=name, output="screen")


def one_process(shared: list[PlannedNode]) -> Node:
    """The nodes that images go through; each with a name, parameters and remappings of its own."""
    words: list[tuple[str, list[str]]] = []
    for planned in shared:
        remaps = {**planned.remaps, "__node": planned.name}
        words.append((planned.executable, ros_arguments("", None, planned.parameters, remaps)))
    return process(
        composed.PROGRAM,
        composed.PROGRAM,
        arguments=composed.join(words),
        parameters=[LaunchConfiguration("params_file")],
    )


def node(planned: PlannedNode) -> Node:
    """A node of the suite in a process of its own."""
    parameters = {}
    for name, value in planned.parameters.items():
        # As text: a policy called "7" is a name, not a number.
        parameters[name] = (
            ParameterValue(value, value_type=str) if isinstance(value, str) else value
        )
    return process(
        planned.executable,
        planned.name,
        name=planned.name,
        # the later ones win: what was typed is meant
        parameters=[LaunchConfiguration("params_file"), parameters],
        remappings=list(planned.remaps.items()),
    )


def process(executable: str, enclave: str, **options: Any) -> Node:
    """One process of the suite."""
    return Node(
        package="vla_ros",
        executable=executable,
        namespace=LaunchConfiguration("namespace"),
        ros_arguments=["--enclave", [LaunchConfiguration("enclaves"), f"/{enclave}"]],
        output="screen",
        # what comes back is walked through its lifecycle by the supervisor; the gate is disarmed
        respawn=True,
        respawn_delay=RESPAWN_DELAY_S,
        **options,
    )


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *arguments(),
            *profile(),
            # The nodes end where launch does, even by SIGTERM or SIGKILL.
            SetEnvironmentVariable(process_identity.PARENT, process_identity.own()),
            OpaqueFunction(function=nodes),
        ]
    )
