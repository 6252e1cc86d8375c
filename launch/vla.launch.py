"""The six nodes of vla_ros on a robot.

    ros2 launch vla_ros vla.launch.py robot_file:=/path/to/robot.yaml camera_topic:=/front/image_raw

The supervisor walks the nodes through their lifecycle; launch starts the processes, and again when
one ends. With composed:=true, those that images go through are one process (doc/composed.md).
"""

from __future__ import annotations

import os
from itertools import starmap
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.conditions import IfCondition, UnlessCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from vla_ros.core import composed, process_identity
from vla_ros.core.fastdds import PROFILES, profile_variables

CONFIG = Path(get_package_share_directory("vla_ros")) / "config"
# Which arguments are parameters of which node; all else comes from the parameter file.
NODES: dict[str, tuple[str, ...]] = {
    "safety_validator": ("robot_file",),
    "camera_ingest": ("policy", "policy_file"),
    "command_ingest": (),
    "synchronizer": (),
    "inference": ("policy", "policy_file", "robot_file"),
    "supervisor": (),
}
RESPAWN_DELAY_S = 1.0  # as `vla demo` has it


def arguments() -> list[DeclareLaunchArgument]:
    """What the launch file can be told."""
    return [
        DeclareLaunchArgument(
            "robot_file", description="the robot's channels and limits, like config/robots/*.yaml"
        ),
        DeclareLaunchArgument(
            "camera_topic",
            default_value="/camera/image_raw",
            description="the camera's images; compressed ones are at its /compressed",
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


def one_process() -> Node:
    """The nodes that images go through; each knows which of the arguments are its own."""
    from_arguments: dict[str, None] = {}
    for kind in composed.KINDS:
        from_arguments.update(dict.fromkeys(NODES[kind]))
    return node(composed.PROGRAM, tuple(from_arguments))


def node(name: str, from_arguments: tuple[str, ...]) -> Node:
    """A node of the suite; `from_arguments`: which of the launch arguments are its parameters."""
    condition = None
    if name in composed.KINDS:
        condition = UnlessCondition(LaunchConfiguration("composed"))
    elif name == composed.PROGRAM:
        condition = IfCondition(LaunchConfiguration("composed"))
    camera = LaunchConfiguration("camera_topic")
    to_camera = [("image", camera), ("image/compressed", [camera, "/compressed"])]
    parameters = {}
    for key in from_arguments:
        # As text: a policy called "7" is a name, not a number.
        parameters[key] = ParameterValue(LaunchConfiguration(key), value_type=str)
    return Node(
        package="vla_ros",
        executable=name,
        # a name would be that of each node in the process
        name=None if name == composed.PROGRAM else name,
        namespace=LaunchConfiguration("namespace"),
        # the later ones win: what was typed is meant
        parameters=[LaunchConfiguration("params_file"), parameters],
        remappings=to_camera if name in ("camera_ingest", composed.PROGRAM) else [],
        ros_arguments=["--enclave", [LaunchConfiguration("enclaves"), f"/{name}"]],
        condition=condition,
        output="screen",
        # what comes back is walked through its lifecycle by the supervisor; the gate is disarmed
        respawn=True,
        respawn_delay=RESPAWN_DELAY_S,
    )


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *arguments(),
            *profile(),
            # The nodes end where launch does, even by SIGTERM or SIGKILL.
            SetEnvironmentVariable(process_identity.PARENT, process_identity.own()),
            *starmap(node, NODES.items()),
            one_process(),
        ]
    )
