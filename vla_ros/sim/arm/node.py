"""The simulated arm as a ROS node: `arm_simulator` publishes and obeys what an arm's drivers would.

Its controllers are as ros2_control's: a joint_trajectory_controller that interpolates from the
state that it wants, and a forward_command_controller for the gripper.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from builtin_interfaces.msg import Time
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker, MarkerArray

from vla_ros.sim.arm import chain
from vla_ros.sim.arm.world import CAMERAS, ArmWorld
from vla_ros.sim.node import (
    PARAMETERS,
    Parameters,
    Pixels,
    SimulatedRobot,
    joint_state,
    object_marker,
    run,
    sensor_qos,
    thing_marker,
    trajectory_points,
)

TRUTH_EVERY_TICKS = 5  # the things at 10 Hz
ARM_PARAMETERS: Parameters = {
    name: PARAMETERS[name] for name in ("seed", "real_time_factor", "publish_clock")
}
ARM_PARAMETERS["width"] = (256, 64, 960, "of both cameras' images, pixels")
ARM_PARAMETERS["height"] = (256, 48, 720, "of both cameras' images, pixels")
ARM_PARAMETERS["depth"] = (False, 0, 1, "publish depth images too")
ARM_PARAMETERS["camera_rate"] = (20.0, 1.0, 120.0, "images a second, of each camera")


class ArmSimulator(SimulatedRobot):
    """The arm at its table.

    Publishes: `/scene_camera/image_raw` and `/wrist_camera/image_raw`, of the same moments;
    with `depth`, `/scene_camera/depth/image_raw` and the wrist's, aligned with them (32FC1);
    `/joint_states`; `/robot_description`, its URDF; `/sim/objects`, the truth for whoever judges;
    with `publish_clock`, `/clock`.
    Subscribes: `/arm_controller/joint_trajectory`, `/gripper_controller/commands` (how far each
    finger shall be from closed, m).

    Raises:
        ValueError: For a bad parameter.
        RuntimeError: MuJoCo is missing, or cannot draw here.
    """

    def __init__(self) -> None:
        super().__init__("arm_simulator", ARM_PARAMETERS)
        size = (self._options["height"], self._options["width"])
        self._world = ArmWorld(self._options["seed"], size)
        self._images = {}
        for camera in CAMERAS:
            topic = f"/{camera}_camera/image_raw"
            self._images[camera] = self.create_publisher(Image, topic, sensor_qos(1))
        self._depths = {}
        for camera in CAMERAS if self._options["depth"] else ():
            topic = f"/{camera}_camera/depth/image_raw"
            self._depths[camera] = self.create_publisher(Image, topic, sensor_qos(1))
        self._joints = self.create_publisher(JointState, "/joint_states", 10)
        self._objects = self.create_publisher(MarkerArray, "/sim/objects", 1)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._description = self.create_publisher(String, "/robot_description", latched)
        self._description.publish(String(data=chain.urdf()))
        self.create_subscription(
            JointTrajectory, "/arm_controller/joint_trajectory", self._on_trajectory, 1
        )
        self.create_subscription(
            Float64MultiArray, "/gripper_controller/commands", self._on_gripper, 1
        )

    @property
    def simulated(self) -> ArmWorld:
        return self._world

    def things(self) -> list[str]:
        return [thing.name for thing in self._world.scene.objects]

    # Commands

    def _on_trajectory(self, trajectory: JointTrajectory) -> None:
        """Joints are taken by name; a message that does not have them all makes the arm hold."""
        self.obey(self._world.follow, *trajectory_points(trajectory, chain.NAMES))

    def _on_gripper(self, message: Float64MultiArray) -> None:
        if len(message.data) != 1:
            self.get_logger().error(
                f"the gripper holds: its command has {len(message.data)} values; "
                "send one, each finger's way from closed in metres",
                throttle_duration_sec=1.0,
            )
            return
        self.obey(self._world.command_gripper, message.data[0])

    # Messages

    def images(self) -> Iterator[tuple[Publisher, str, Pixels]]:
        """Both cameras', one drawn right after the other; then their depth."""
        for camera, pixels in self._world.render().items():
            yield self._images[camera], f"{camera}_camera_optical_frame", pixels
        for camera, publisher in self._depths.items():
            yield publisher, f"{camera}_camera_optical_frame", self._world.render_depth(camera)

    def publish_state(self, stamp: Time, ticks: int) -> None:
        """The joints; now and then the things."""
        self._joints.publish(joint_state(self._world.joint_states(), stamp))
        if ticks % TRUTH_EVERY_TICKS == 0:
            self._publish_truth(stamp)

    def _publish_truth(self, stamp: Time) -> None:
        state = self._world.state()
        markers = MarkerArray()
        for index, thing in enumerate(state.objects):
            markers.markers.append(object_marker(stamp, thing, index, "base_link"))
        count = len(state.objects)
        tool = thing_marker(stamp, "robot", count, state.tool, state.tool_yaw, "base_link")
        tool.type = Marker.SPHERE
        tool.scale.x = tool.scale.y = tool.scale.z = 0.02
        tool.text = state.held or ""  # by this a demo sees what the gripper holds
        markers.markers.append(tool)
        self._objects.publish(markers)


def main(arguments: list[str] | None = None) -> NoReturn:
    """The arm's node: run until SIGINT or SIGTERM, and exit with 0."""
    run(ArmSimulator, arguments)


if __name__ == "__main__":
    main()
