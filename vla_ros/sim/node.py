"""A simulated robot as a ROS node: `simulator` publishes and obeys what a robot's drivers would.

Three threads: this process's main thread serves ROS, one steps physics on the steady clock and
publishes the state, one draws and publishes images. A slow image never holds up physics. What each
simulated robot's node has in common is in `SimulatedRobot`; the arm's is in sim/arm/node.py.
"""

from __future__ import annotations

import array
import itertools
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, Protocol

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState, LaserScan
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker, MarkerArray

from vla_ros.core import process_identity
from vla_ros.sim.scene import RGB
from vla_ros.sim.world import World
from vla_ros.tasks.world_state import ObjectState

TICK_S = 0.02  # odometry and joints at 50 Hz
SCAN_EVERY_TICKS = 5  # scan and objects at 10 Hz
MAX_CATCH_UP_S = 0.5  # what a starved simulator makes up for, faster than time
MARKER_TYPES = {
    "block": Marker.CUBE,
    "ball": Marker.SPHERE,
    "cylinder": Marker.CYLINDER,
    "cup": Marker.CYLINDER,
    "bowl": Marker.CYLINDER,
}

# name: (default, least, most, meaning); the node refuses anything else before it starts. `seed` may
# be set while it runs: the next reset takes it.
Parameters = dict[str, tuple[Any, float, float, str]]
PARAMETERS: Parameters = {
    "seed": (0, 0, 2**31 - 1, "which scene"),
    "width": (640, 64, 1920, "of the camera's image, pixels"),
    "height": (480, 48, 1080, "of the camera's image, pixels"),
    "camera_rate": (30.0, 1.0, 120.0, "images a second"),
    "real_time_factor": (1.0, 0.1, 10.0, "simulated seconds in a real one"),
    "publish_clock": (False, 0, 1, "publish /clock with simulated time and stamp with it"),
    "stamped": (False, 0, 1, "take TwistStamped on cmd_vel"),
}


Pixels = NDArray[Any]  # height x width x 3, rgb8; or height x width, depth in m


class SimulatedWorld(Protocol):
    """What physics and drawing are asked for; `World` and the arm's `ArmWorld` are such."""

    seed: int

    @property
    def time(self) -> float: ...
    def reset(self, seed: int) -> None: ...
    def step(self, dt: float) -> None: ...
    def close(self) -> None: ...


def sensor_qos(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)


class SimulatedRobot(Node):
    """What every simulated robot's node does. `start` begins physics and drawing, `stop` ends both.

    Publishes: with `publish_clock`, `/clock`; `publish_state` does the rest.
    Services: `~/reset`, to the next scene or to that of the parameter `seed`.

    Attributes:
        tick_s: Simulated seconds from one `publish_state` to the next.

    Args:
        name: The node's.
        parameters: As PARAMETERS.

    Raises:
        ValueError: For a bad parameter.
    """

    tick_s = TICK_S

    def __init__(self, name: str, parameters: Parameters) -> None:
        super().__init__(name)
        self._parameters_known = parameters
        self._options = {name: self._option(name) for name in parameters}
        self._ending = threading.Event()  # asked to end, or a thread failed
        self._failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        timed = self._options["publish_clock"]
        self._clock_out = self.create_publisher(Clock, "/clock", 1) if timed else None
        self.create_service(Trigger, "~/reset", self._on_reset)
        self._next_seed: int | None = None  # set and not yet taken
        self.add_on_set_parameters_callback(self._on_parameters)

    # What a robot has of its own

    @property
    def simulated(self) -> SimulatedWorld:
        """The world that is stepped and drawn."""
        raise NotImplementedError

    def images(self) -> Iterator[tuple[Publisher, str, Pixels]]:
        """Publisher, frame and pixels of each camera's next image: called in one thread always."""
        raise NotImplementedError

    def publish_state(self, stamp: Time, ticks: int) -> None:
        """What the robot's drivers and sensors say, once a tick."""
        raise NotImplementedError

    def things(self) -> list[str]:
        """The names of the scene's things."""
        raise NotImplementedError

    def _option(self, name: str) -> Any:
        default, _, _, meaning = self._parameters_known[name]
        try:
            value = self.declare_parameter(name, default).value
        except rclpy.exceptions.InvalidParameterTypeException as problem:
            raise ValueError(
                f"parameter {name} ({meaning}) has the wrong type; give a {type(default).__name__}"
            ) from problem
        self._check(name, value)
        return value

    def _check(self, name: str, value: Any) -> None:
        _, least, most, meaning = self._parameters_known[name]
        if not math.isfinite(value) or not least <= value <= most:
            raise ValueError(f"parameter {name} ({meaning}) is {value}; give {least:g} to {most:g}")

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name in self._parameters_known and parameter.name != "seed":
                reason = (
                    f"parameter {parameter.name} holds from the start on; "
                    "start the simulator again with another"
                )
                return SetParametersResult(successful=False, reason=reason)
        for parameter in parameters:
            if parameter.name == "seed" and parameter.value is not None:
                try:
                    self._check("seed", parameter.value)
                except ValueError as problem:
                    return SetParametersResult(successful=False, reason=str(problem))
                self._next_seed = parameter.value
        return SetParametersResult(successful=True)

    def obey(self, command: Callable[..., None], *values: Any) -> None:
        """Call one of the world's drivers; what it refuses is said, at most once a second."""
        try:
            command(*values)
        except ValueError as problem:
            self.get_logger().error(str(problem), throttle_duration_sec=1.0)

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        seed = self.simulated.seed + 1 if self._next_seed is None else self._next_seed
        self._next_seed = None
        self.simulated.reset(seed)
        response.success = True
        response.message = f"scene {seed}: {', '.join(self.things())}"
        return response

    # Threads

    def loops(self) -> Mapping[str, Callable[[], None]]:
        """What goes on until the end, by name."""
        return {"physics": self._physics, "camera": self._camera}

    def start(self) -> None:
        """Begin physics and drawing, each in a thread of its own."""
        for name, body in self.loops().items():
            thread = threading.Thread(target=self._guarded, args=(body,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End both threads, and wait for them."""
        self._ending.set()
        for thread in self._threads:
            thread.join(timeout=3.0)

    @property
    def ended(self) -> bool:
        """Whether a thread failed."""
        return self._ending.is_set()

    @property
    def failure(self) -> BaseException | None:
        """What ended a thread before its time."""
        return self._failure

    def _guarded(self, body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as problem:
            # a dead thread must end the process, not leave half a robot
            if not self._ending.is_set():
                self._failure = problem
                self._ending.set()

    def _physics(self) -> None:
        next_tick = time.monotonic()
        ticks = 0
        period = self.tick_s / self._options["real_time_factor"]
        while not self._ending.is_set():
            self.simulated.step(self.tick_s)
            ticks += 1
            stamp = self._stamp()
            if self._clock_out is not None:
                self._clock_out.publish(Clock(clock=stamp))
            self.publish_state(stamp, ticks)
            next_tick += period
            late = time.monotonic() - next_tick
            if late > MAX_CATCH_UP_S:  # the machine was asleep or starved: do not race
                next_tick += late
            self._ending.wait(max(0.0, -late))  # a sleep that `stop` ends at once

    def _camera(self) -> None:
        period = 1.0 / self._options["camera_rate"]
        due = time.monotonic()
        size = (self._options["height"], self._options["width"])
        noise = sensor_noise(size, self._options["seed"])
        try:
            while not self._ending.is_set():
                stamp = self._stamp()
                for publisher, frame, pixels in self.images():
                    if pixels.ndim == 3:  # not depth
                        pixels = cv2.add(pixels, next(noise))
                    message = image_message(pixels, frame, stamp)
                    if not self._ending.is_set():
                        publisher.publish(message)
                # one image late is made up for; a longer gap is not followed by a burst
                due = max(due + period, time.monotonic() - period)
                self._ending.wait(max(0.0, due - time.monotonic()))
        finally:
            self.simulated.close()  # here: a renderer belongs to the thread that draws

    def _stamp(self) -> Time:
        if self._clock_out is not None:
            nanoseconds = round(self.simulated.time * 1e9)
            return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
        stamp: Time = self.get_clock().now().to_msg()
        return stamp


def sensor_noise(size: tuple[int, int], seed: int) -> Iterator[Pixels]:
    """Noise of 0 to 2 to add to images of (height, width): two of them are never the same.

    Without it a robot that stands looks like a frozen camera.
    """
    random = np.random.default_rng(seed)
    # eight images of it, drawn once and taken in turn
    return itertools.cycle(random.integers(0, 3, (8, *size, 3), np.uint8))


def trajectory_points(
    trajectory: JointTrajectory, joints: Sequence[str]
) -> tuple[list[float], Pixels]:
    """When each point is due, s from now, and its positions, in the order of `joints`.

    A point that does not have them all, or others, is left out: with fewer rows than times, a
    driver refuses the whole, and holds.
    """
    names = list(trajectory.joint_names)
    times = []
    rows = []
    for point in trajectory.points:
        due = point.time_from_start
        times.append(due.sec + due.nanosec * 1e-9)
        if sorted(names) == sorted(joints) and len(point.positions) == len(names):
            positions = dict(zip(names, point.positions))
            rows.append([positions[name] for name in joints])
    return times, np.array(rows, float).reshape(-1, len(joints))


def joint_state(joints: Mapping[str, float], stamp: Time) -> JointState:
    """The joints' positions as a message."""
    message = JointState(name=list(joints), position=array.array("d", joints.values()))
    message.header.stamp = stamp
    return message


def image_message(pixels: Pixels, frame: str, stamp: Time) -> Image:
    """An image (height x width x 3, rgb8, or height x width, m) as a message."""
    height, width = pixels.shape[:2]
    encoding = "rgb8" if pixels.ndim == 3 else "32FC1"
    message = Image(height=height, width=width, encoding=encoding, step=pixels[0].nbytes)
    message.is_bigendian = sys.byteorder == "big"
    message.header.frame_id = frame
    message.header.stamp = stamp
    # An array.array is taken as it is; of any other sequence rclpy checks each byte.
    data = array.array("B")
    data.frombytes(pixels.tobytes())
    message.data = data
    return message


class Simulator(SimulatedRobot):
    """The cart in its room.

    Publishes: `/camera/image_raw`, `/scan`, `/odom`, `/joint_states`; `/sim/objects`, the truth for
    whoever judges; with `publish_clock`, `/clock`.
    Subscribes: `/cmd_vel` (Twist; with `stamped`, TwistStamped), `/gripper_controller/commands`.

    Raises:
        ValueError: For a bad parameter.
        RuntimeError: MuJoCo is missing, or cannot draw here.
    """

    def __init__(self) -> None:
        super().__init__("simulator", PARAMETERS)
        self._world = World(self._options["seed"], self._options["width"], self._options["height"])
        self._image = self.create_publisher(Image, "/camera/image_raw", sensor_qos(1))
        self._scan = self.create_publisher(LaserScan, "/scan", sensor_qos(5))
        self._odom = self.create_publisher(Odometry, "/odom", 10)
        self._joints = self.create_publisher(JointState, "/joint_states", 10)
        self._objects = self.create_publisher(MarkerArray, "/sim/objects", 1)
        if self._options["stamped"]:
            self.create_subscription(TwistStamped, "/cmd_vel", self._on_stamped, 1)
        else:
            self.create_subscription(Twist, "/cmd_vel", self._on_twist, 1)
        self.create_subscription(
            Float64MultiArray, "/gripper_controller/commands", self._on_gripper, 1
        )

    @property
    def simulated(self) -> World:
        return self._world

    def images(self) -> Iterator[tuple[Publisher, str, Pixels]]:
        """The front camera's."""
        yield self._image, "camera_optical_frame", self._world.render()

    def things(self) -> list[str]:
        return [placed.name for placed in self._world.scene.objects]

    # Commands

    def _on_twist(self, twist: Twist) -> None:
        linear = twist.linear.x
        # Axes that the robot does not have are ignored, but nonsense there makes all of the command
        # nonsense: the driver stops.
        for value in (twist.linear.y, twist.linear.z, twist.angular.x, twist.angular.y):
            if not math.isfinite(value):
                linear += value
        self.obey(self._world.command, linear, twist.angular.z)

    def _on_stamped(self, twist: TwistStamped) -> None:
        self._on_twist(twist.twist)

    def _on_gripper(self, message: Float64MultiArray) -> None:
        if len(message.data) != 1:
            self.get_logger().error(
                f"the gripper holds: its command has {len(message.data)} values; "
                "send one, the opening in metres",
                throttle_duration_sec=1.0,
            )
            return
        self.obey(self._world.command_gripper, message.data[0])

    # Messages

    def publish_state(self, stamp: Time, ticks: int) -> None:
        """Odometry and joints; now and then scan and objects."""
        self._publish_odometry(stamp)
        self._joints.publish(joint_state(self._world.joint_states(), stamp))
        if ticks % SCAN_EVERY_TICKS == 0:
            self._publish_scan(stamp)
            self._publish_objects(stamp)

    def _publish_odometry(self, stamp: Time) -> None:
        odometry = self._world.odometry()
        message = Odometry(child_frame_id="base_link")
        message.header.stamp = stamp
        message.header.frame_id = "odom"
        message.pose.pose.position.x = odometry.x
        message.pose.pose.position.y = odometry.y
        message.pose.pose.orientation.z = math.sin(odometry.yaw / 2)
        message.pose.pose.orientation.w = math.cos(odometry.yaw / 2)
        message.twist.twist.linear.x = odometry.linear
        message.twist.twist.angular.z = odometry.angular
        self._odom.publish(message)

    def _publish_scan(self, stamp: Time) -> None:
        scan = self._world.scan()
        ranges = array.array("f")
        ranges.frombytes(np.ascontiguousarray(scan.ranges).tobytes())
        message = LaserScan(
            angle_min=scan.angle_min,
            angle_increment=scan.angle_increment,
            angle_max=scan.angle_min + scan.angle_increment * (len(scan.ranges) - 1),
            scan_time=TICK_S * SCAN_EVERY_TICKS,
            range_min=scan.range_min,
            range_max=scan.range_max,
            ranges=ranges,
        )
        message.header.stamp = stamp
        message.header.frame_id = "laser"
        self._scan.publish(message)

    def _publish_objects(self, stamp: Time) -> None:
        state = self._world.state()
        markers = MarkerArray()
        for index, thing in enumerate(state.objects):
            markers.markers.append(object_marker(stamp, thing, index, "odom"))
        place = (state.x, state.y, 0.0)
        robot = thing_marker(stamp, "robot", len(state.objects), place, state.yaw, "odom")
        robot.type = Marker.ARROW
        robot.scale.x = 0.3
        robot.scale.y = 0.05
        robot.scale.z = 0.05
        robot.text = state.held or ""  # by this a demo sees what the gripper holds
        markers.markers.append(robot)
        self._objects.publish(markers)


def thing_marker(
    stamp: Time, name: str, index: int, place: tuple[float, float, float], yaw: float, frame: str
) -> Marker:
    """A marker of the scene's truth, without a type and a size, at `place` (m) in `frame`."""
    marker = Marker(ns=name, id=index)
    marker.header.stamp = stamp
    marker.header.frame_id = frame
    marker.pose.position.x, marker.pose.position.y, marker.pose.position.z = place
    marker.pose.orientation.z = math.sin(yaw / 2)
    marker.pose.orientation.w = math.cos(yaw / 2)
    marker.color.a = 1.0
    marker.lifetime.sec = 1  # a thing of the scene before does not stay in rviz
    return marker


def object_marker(stamp: Time, thing: ObjectState, index: int, frame: str) -> Marker:
    """The marker of an object of the scene."""
    marker = thing_marker(stamp, thing.name, index, (thing.x, thing.y, thing.z), thing.yaw, frame)
    marker.type = MARKER_TYPES[thing.shape]
    marker.scale.x = thing.size
    marker.scale.y = thing.size
    marker.scale.z = thing.height
    marker.color.r, marker.color.g, marker.color.b = RGB[thing.colour]
    return marker


def main(arguments: list[str] | None = None) -> NoReturn:
    """The cart's node: run until SIGINT or SIGTERM, and exit with 0."""
    run(Simulator, arguments)


def run(make_node: Callable[[], SimulatedRobot], arguments: list[str] | None) -> NoReturn:
    """Run a simulated robot until SIGINT or SIGTERM, and exit with 0.

    A bad parameter or a failure exits with 1 and a sentence.
    """
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    # only noted: shutting rclpy down in a handler can wait for itself for ever
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: signals.append(received))
    code = 0
    node = None
    try:
        node = make_node()
        node.start()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not signals and not node.ended and not process_identity.orphaned():
            executor.spin_once(timeout_sec=0.1)
    except ExternalShutdownException:
        pass
    except (ValueError, RuntimeError) as problem:
        print(f"simulator: {problem}", file=sys.stderr)
        code = 1
    finally:
        if node is not None:
            node.stop()
    if node is not None and node.failure is not None:
        if isinstance(node.failure, (ValueError, RuntimeError)):
            print(f"simulator: {node.failure}", file=sys.stderr)
        else:
            traceback.print_exception(node.failure)
        code = 1
    rclpy.try_shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # at once: freeing the drawing library's threads and the interpreter takes a while
    os._exit(code)


if __name__ == "__main__":
    main()
