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
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from vla_ros.policies import demo_policy

SHARE = Path(get_package_share_directory("vla_ros"))


def generate_launch_description() -> LaunchDescription:
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "vla.launch.py")),
        launch_arguments={
            "robot_file": str(SHARE / "config" / "robots" / "sim.yaml"),
            "camera_topic": "/camera/image_raw",
            "policy": LaunchConfiguration("policy"),
        }.items(),
    )
    simulator = Node(
        package="vla_ros",
        executable="simulator",
        name="simulator",
        parameters=[{"seed": ParameterValue(LaunchConfiguration("seed"), value_type=int)}],
        ros_arguments=["--enclave", "/robot/simulator"],  # idle without ROS_SECURITY_ENABLE
        output="screen",
        on_exit=Shutdown(reason="the simulated robot ended"),  # started again, it would be another room
    )
    return LaunchDescription([
        DeclareLaunchArgument("policy", default_value=demo_policy()[0], description="the policy that drives"),
        DeclareLaunchArgument("seed", default_value="3",  # a room with a red block
                              description="which room: the same seed, the same things in it"),
        nodes,  # first: it also sets the environment that the simulator needs
        simulator,
    ])
