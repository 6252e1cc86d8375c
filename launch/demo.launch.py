"""The nodes and a simulated robot: the cart in a room of coloured things, or an arm at a table.

ros2 launch vla_ros demo.launch.py
ros2 launch vla_ros demo.launch.py robot:=arm
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

# to vla.launch.py
PASSED_ON = (
    "robot_file",
    "camera_topic",
    "policy",
    "policy_file",
    "composed",
    "teleop",
    "blackbox",
    "console",
    "markers",
    "record",
)
CART_CAMERA = "/camera/image_raw"
SHARE = Path(get_package_share_directory("vla_ros"))


def of_robot(cart: str, arm: str) -> PythonExpression:
    """The one or the other, as the argument `robot` says."""
    return PythonExpression(
        [f"{{'cart': {cart!r}, 'arm': {arm!r}}}['", LaunchConfiguration("robot"), "']"]
    )


def robot_policy() -> PythonExpression:
    """What drives where nobody chose, for each robot; nothing where `policy_file` is given."""
    default = {"cart": demo_policy()[0], "arm": "vla_ros.sim.arm.policy:TableExpert"}
    return PythonExpression(
        [
            "'' if r'''",
            LaunchConfiguration("policy_file"),
            f"''' else {default!r}['",
            LaunchConfiguration("robot"),
            "']",
        ]
    )


def generate_launch_description() -> LaunchDescription:
    # the cart's only; an arm has two cameras, which stand in its robot file
    camera = PythonExpression(
        ["r'''", LaunchConfiguration("camera_topic"), f"''' or {CART_CAMERA!r}"]
    )
    passed_on = {name: LaunchConfiguration(name) for name in PASSED_ON}
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "vla.launch.py")),
        launch_arguments=passed_on.items(),
    )
    simulator = Node(
        package="vla_ros",
        executable=of_robot("simulator", "arm_simulator"),
        name=of_robot("simulator", "arm_simulator"),
        remappings=[(CART_CAMERA, camera)],
        parameters=[{"seed": ParameterValue(LaunchConfiguration("seed"), value_type=int)}],
        # idle without ROS_SECURITY_ENABLE
        ros_arguments=["--enclave", of_robot("/robot/simulator", "/robot/arm_simulator")],
        output="screen",
        # started again, it would be another room
        on_exit=Shutdown(reason="the simulated robot ended"),
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "robot",
                default_value="cart",
                choices=["cart", "arm"],
                description="which simulated robot: a cart in a room, or an arm at a table",
            ),
            # Before the nodes' own of the same names, which for a robot mean something else.
            DeclareLaunchArgument(
                "policy_file",
                default_value="",
                description="the policy that drives, with its options, "
                "like config/policies/*.yaml; not beside policy",
            ),
            DeclareLaunchArgument(
                "policy",
                default_value=robot_policy(),
                description="the policy that drives, by name or module:Class (default: the "
                "learned one; without torch, color_servo; for the arm, one that knows table 3)",
            ),
            DeclareLaunchArgument(
                "robot_file",
                default_value=of_robot(
                    str(SHARE / "config" / "robots" / "sim.yaml"),
                    str(SHARE / "config" / "robots" / "sim_arm.yaml"),
                ),
                description="the simulated robot's limits: this file, or a copy with others",
            ),
            DeclareLaunchArgument(
                "camera_topic",
                default_value=of_robot(CART_CAMERA, ""),
                description="where the simulated cart's camera's images are",
            ),
            DeclareLaunchArgument(
                "composed",
                default_value="false",
                description="true: what images go through is one process",
            ),
            DeclareLaunchArgument(
                "teleop",
                default_value="false",
                description="true: a person's stick may take the robot over",
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
                description="true: with the operator's page, at http://127.0.0.1:8080",
            ),
            DeclareLaunchArgument(
                "markers",
                default_value="false",
                description="true: what the gate sees and the policy plans, for RViz and Foxglove",
            ),
            DeclareLaunchArgument(
                "record",
                default_value="",
                description="a folder: each instruction is recorded there as an episode",
            ),
            DeclareLaunchArgument(
                "seed",
                default_value="3",  # a room with a red block
                description="which room or table: the same seed, the same things there",
            ),
            nodes,  # first: it also sets the environment that the simulator needs
            simulator,
        ]
    )
