"""A gymnasium environment as a ROS node: `env_simulator` publishes and obeys what a file says."""

from __future__ import annotations

import array
import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NoReturn

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Twist, TwistStamped
from rclpy.publisher import Publisher
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from vla_ros.core.compressed import to_jpeg
from vla_ros.core.robot import Robot
from vla_ros.core.robot_cameras import Camera
from vla_ros.core.robot_outputs import NUMBERS, TRAJECTORY, TWIST, Output, twist_axis
from vla_ros.core.robot_state import JOINT_STATE
from vla_ros.sim.env.plan import EnvPlan
from vla_ros.sim.env.world import EnvWorld
from vla_ros.sim.node import (
    PARAMETERS,
    Parameters,
    Pixels,
    SimulatedRobot,
    image_message,
    joint_state,
    run,
    sensor_noise,
    sensor_qos,
    trajectory_points,
)

REPORT_S = 1.0  # between two diagnostics
SAID_S = 10.0  # between two lines about the rate
ENV_PARAMETERS: Parameters = {
    name: PARAMETERS[name] for name in ("seed", "real_time_factor", "publish_clock")
}
ENV_PARAMETERS["camera_rate"] = (30.0, 0.1, 1000.0, "images a second of each camera, at most")


class EnvRobot(SimulatedRobot):
    """An environment behind a robot file.

    Publishes: the file's cameras, and its state: joints and arrays; `/sim/reward`, the last
    step's; `/diagnostics`, with episodes, successes and steps a second; with `publish_clock`,
    `/clock`.
    Subscribes: the file's outputs.
    Services: `~/reset`, to the next episode or to that of the parameter `seed`.

    Args:
        world: The environment.
        robot: The robot file.
        plan: How the one is the other's.
        noise: Whether images get a sensor's noise.

    Raises:
        ValueError: For a bad parameter.
        RuntimeError: The environment failed.
    """

    def __init__(self, world: EnvWorld, robot: Robot, plan: EnvPlan, *, noise: bool = True) -> None:
        super().__init__("env_simulator", ENV_PARAMETERS)
        self.tick_s = world.offer.step_s
        self._world = world
        self._plan = plan
        self._noise: dict[tuple[int, int], Iterator[Pixels]] = {}
        self._noisy = noise
        self._pace = StepPace(self._options["real_time_factor"] / self.tick_s)
        self._image_due = 0.0
        self._reward = self.create_publisher(Float64, "/sim/reward", 10)
        self._reports = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._cameras: list[tuple[Camera, Publisher]] = []
        for camera in robot.cameras:
            kind = CompressedImage if camera.transport == "compressed" else Image
            publisher = self.create_publisher(kind, camera.topic, sensor_qos(1))
            self._cameras.append((camera, publisher))
        self._states: dict[str, Publisher] = {}
        for topic, entry in plan.topics.items():
            message = JointState if entry.type == JOINT_STATE else Float64MultiArray
            self._states[topic] = self.create_publisher(message, topic, 10)
        world.connect(robot, plan)
        for output in robot.outputs:
            self._obey_output(robot, output)

    @property
    def simulated(self) -> EnvWorld:
        return self._world

    def things(self) -> list[str]:
        return [self._world.offer.name]

    def loops(self) -> Mapping[str, Callable[[], None]]:
        """Images come with the step that they are of."""
        return {"physics": self._physics}

    def stop(self) -> None:
        """End it, and say what was reached."""
        super().stop()
        print(f"{self._pace.text(whole=True)}; {episodes_text(self._world)}", flush=True)

    # Commands

    def _obey_output(self, robot: Robot, output: Output) -> None:
        if output.type == TRAJECTORY:
            joints = [robot.channel(name).joint or name for name in output.channels]
            listen = partial(self._on_trajectory, output.topic, joints)
            self.create_subscription(JointTrajectory, output.topic, listen, 1)
        elif output.type == NUMBERS:
            listen = partial(self._on_numbers, output.topic)
            self.create_subscription(Float64MultiArray, output.topic, listen, 1)
        elif output.type == TWIST:
            self.create_subscription(Twist, output.topic, partial(self._on_twist, output), 1)
        else:
            listen = partial(self._on_stamped, output)
            self.create_subscription(TwistStamped, output.topic, listen, 1)

    def _on_trajectory(self, topic: str, joints: list[str], message: JointTrajectory) -> None:
        self.obey(self._world.follow, topic, *trajectory_points(message, joints))

    def _on_numbers(self, topic: str, message: Float64MultiArray) -> None:
        self.obey(self._world.command, topic, list(message.data))

    def _on_twist(self, output: Output, twist: Twist) -> None:
        values = []
        for name in output.channels:
            part, axis = twist_axis(name).split(".")
            values.append(getattr(getattr(twist, part), axis))
        self.obey(self._world.command, output.topic, values)

    def _on_stamped(self, output: Output, message: TwistStamped) -> None:
        self._on_twist(output, message.twist)

    # Messages

    def publish_state(self, stamp: Time, ticks: int) -> None:
        """State and reward after each step; images and diagnostics when they are due."""
        numbers = self._world.numbers()
        for topic, entry in self._plan.topics.items():
            values = numbers[entry.indices].tolist()
            if entry.type == JOINT_STATE:
                self._states[topic].publish(joint_state(dict(zip(entry.names, values)), stamp))
            else:
                self._states[topic].publish(Float64MultiArray(data=array.array("d", values)))
        self._reward.publish(Float64(data=self._world.counts.reward))
        # a little before it is due: the next step may be a whole period away
        if self._world.time >= self._image_due - 0.1 * self.tick_s:
            period = self._options["real_time_factor"] / self._options["camera_rate"]
            self._image_due = max(self._image_due + period, self._world.time)
            self._publish_images(stamp)
        if self._pace.step(self.get_logger().info):
            self._report(stamp)

    def _publish_images(self, stamp: Time) -> None:
        for camera, publisher in self._cameras:
            pixels = self._world.image(camera.name)
            size = (pixels.shape[0], pixels.shape[1])
            if self._noisy:
                if size not in self._noise:
                    self._noise[size] = sensor_noise(size, self._options["seed"])
                pixels = cv2.add(np.ascontiguousarray(pixels), next(self._noise[size]))
            frame = f"{camera.name}_optical_frame"
            if camera.transport == "compressed":
                publisher.publish(_compressed(pixels, frame, stamp))
            else:
                publisher.publish(image_message(pixels, frame, stamp))

    def _report(self, stamp: Time) -> None:
        counts = self._world.counts
        success = "not said" if counts.success is None else str(counts.success).lower()
        values = {
            "steps a second": f"{self._pace.rate:.1f}",
            "steps": str(counts.steps),
            "episode's seed": str(self._world.seed),
            "episode's reward": f"{counts.total:.4g}",
            "success": success,
            "episodes": str(counts.episodes),
            "successful episodes": str(counts.successes),
        }
        pairs = []
        for key, value in values.items():
            pairs.append(KeyValue(key=key, value=value))
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK,
            name=f"env_simulator: {self._world.offer.name}",
            message=self._pace.text(),
            values=pairs,
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = stamp
        self._reports.publish(message)


class StepPace:
    """How many steps a second are reached, of how many there should be."""

    def __init__(self, wanted: float) -> None:
        self.wanted = wanted
        self.rate = 0.0  # in the last REPORT_S
        self._steps = 0
        self._began = math.inf
        self._reported = (0.0, 0)  # when, and after how many steps
        self._said = 0.0

    def step(self, say: Callable[[str], Any]) -> bool:
        """Count one; True where a report is due. `say` hears the rate now and then."""
        now = time.monotonic()
        if self._began == math.inf:
            self._began = now
            self._reported = (now, 0)
            self._said = now
            return False
        self._steps += 1
        since, before = self._reported
        if now - since < REPORT_S:
            return False
        self.rate = (self._steps - before) / (now - since)
        self._reported = (now, self._steps)
        if now - self._said >= SAID_S:
            self._said = now
            say(self.text())
        return True

    def text(self, whole: bool = False) -> str:
        """The rate of the last second, or of the `whole` run, in words."""
        spent = time.monotonic() - self._began
        rate = self.rate
        if whole:
            rate = self._steps / spent if spent > 0.0 else 0.0
        told = f"{rate:.1f} steps a second of {self.wanted:g} ({rate / self.wanted:.2f})"
        return f"{self._steps} steps, {told}" if whole else told


def episodes_text(world: EnvWorld) -> str:
    """How the episodes ended, in words."""
    counts = world.counts
    if not counts.episodes:
        return "no episode ended"
    if counts.success is None:
        return f"{counts.episodes} episodes ended; success is not said"
    return f"{counts.episodes} episodes ended, {counts.successes} successful"


def _compressed(pixels: Pixels, frame: str, stamp: Time) -> CompressedImage:
    """An image (height x width x 3, rgb8) as JPEG."""
    message = CompressedImage(format="rgb8; jpeg compressed bgr8")
    message.header.frame_id = frame
    message.header.stamp = stamp
    message.data = array.array("B", to_jpeg(pixels))
    return message


def run_env(
    world: EnvWorld, robot: Robot, plan: EnvPlan, arguments: list[str], *, noise: bool
) -> NoReturn:
    """The environment's node: run until SIGINT or SIGTERM, and exit with 0."""
    run(partial(EnvRobot, world, robot, plan, noise=noise), ["env_simulator", *arguments])
