"""The six nodes and a simulated robot in a room of coloured things.

ros2 launch vla_ros demo.launch.py
ros2 service call /vla/safety_validator/arm std_srvs/srv/Trigger
ros2 topic pub --once /vla/instruction std_msgs/msg/String "{data: 'go to the red block'}"
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from vla_ros.policies import demo_policy

PASSED_ON = ("robot_file", "camera_topic", "policy", "policy_file", "composed")  # to vla.launch.py
SHARE = Path(get_package_share_directory("vla_ros"))


def unless_given(argument: str, default: str) -> PythonExpression:
    """The default, or nothing where `argument` is given: only one of the two may be."""
    return PythonExpression(["'' if r'''", LaunchConfiguration(argument), f"''' else {default!r}"])


def generate_launch_description() -> LaunchDescription:
    camera = LaunchConfiguration("camera_topic")
    passed_on = {name: LaunchConfiguration(name) for name in PASSED_ON}
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "vla.launch.py")),
        launch_arguments=passed_on.items(),
    )
    simulator = Node(
        package="vla_ros",
        executable="simulator",
        name="simulator",
        remappings=[("/camera/image_raw", camera)],
        parameters=[{"seed": ParameterValue(LaunchConfiguration("seed"), value_type=int)}],
        ros_arguments=["--enclave", "/robot/simulator"],  # idle without ROS_SECURITY_ENABLE
        output="screen",
        # started again, it would be another room
        on_exit=Shutdown(reason="the simulated robot ended"),
    )
    return LaunchDescription(
        [
            # Before the nodes' own of the same names, which for a robot mean something else.
            DeclareLaunchArgument(
                "policy_file",
                default_value="",
                description="the policy that drives, with its options, "
                "like config/policies/*.yaml; not beside policy",
            ),
            DeclareLaunchArgument(
                "policy",
                default_value=unless_given("policy_file", demo_policy()[0]),
                description="the policy that drives, by name or module:Class "
                "(default: the learned one; without torch, color_servo)",
            ),
            DeclareLaunchArgument(
                "robot_file",
                default_value=str(SHARE / "config" / "robots" / "sim.yaml"),
                description="the simulated robot's limits: this file, or a copy with others",
            ),
            DeclareLaunchArgument(
                "camera_topic",
                default_value="/camera/image_raw",
                description="where the simulated camera's images are",
            ),
            DeclareLaunchArgument(
                "composed",
                default_value="false",
                description="true: what images go through is one process",
            ),
            DeclareLaunchArgument(
                "seed",
                default_value="3",  # a room with a red block
                description="which room: the same seed, the same things in it",
            ),
            nodes,  # first: it also sets the environment that the simulator needs
            simulator,
        ]
    )
