"""The simulator as a process: topics, rates, commands, the driver's time-out, and how it ends."""
from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="the node tests need ROS 2 (rclpy)")
pytest.importorskip("mujoco", reason="the simulator needs MuJoCo")

from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState, LaserScan
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from vla_ros.nodes.common.convert import stamp_ns
from vla_ros.sim.node import MAX_CATCH_UP_S
from vla_ros.sim.scene import sample_scene

BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
TOPICS = {
    "/camera/image_raw": (Image, BEST_EFFORT), "/scan": (LaserScan, BEST_EFFORT), "/odom": (Odometry, 10),
    "/joint_states": (JointState, 10), "/sim/objects": (MarkerArray, 1), "/clock": (Clock, 1),
}


class Robot:
    """A simulator process and a node beside it that hears everything."""

    module = "vla_ros.sim.node"
    topics: dict[str, tuple[Any, Any]] = TOPICS

    def __init__(self, context: Any, machine: Any, *parameters: str) -> None:
        self.machine = machine
        arguments = [argument for parameter in parameters for argument in ("-p", parameter)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module, "--ros-args", *arguments],
            env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.node = rclpy.create_node("side_clearance", context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self.last: dict[str, Any] = {}
        self.times: dict[str, list[float]] = {topic: [] for topic in self.topics}
        for topic, (kind, qos) in self.topics.items():
            self.node.create_subscription(kind, topic, self._keeper(topic), qos)

    def _keeper(self, topic: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            self.last[topic] = message
            self.times[topic].append(time.monotonic())
        return keep

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)

    def wait(self, condition: Callable[[], bool], seconds: float = 20.0) -> bool:
        began = time.monotonic()
        while time.monotonic() < began + seconds or time.monotonic() < began + seconds + self.machine.lost(began):
            if condition():
                return True
            if self.process.poll() is not None:
                output = self.process.communicate()[0]
                if "cannot draw" in output:
                    pytest.skip(f"neither EGL nor OSMesa draws here: {output[-300:]}")
                pytest.fail(f"the simulator ended with {self.process.returncode}: {output[-2000:]}")
            self._executor.spin_once(timeout_sec=0.05)
        return False

    @property
    def speed(self) -> float:
        return float(self.last["/odom"].twist.twist.linear.x)

    def end(self, number: int) -> tuple[int, str, float]:
        """Send a signal; returns the exit code, all output and the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=10)
        return self.process.returncode, output, time.monotonic() - began

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # killed, it leaves this process memory that it shares half written
            try:
                self.process.communicate(timeout=10.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.communicate()
        self._executor.shutdown()
        self.node.destroy_node()


@pytest.fixture
def context() -> Iterator[Any]:
    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    rclpy.try_shutdown(context=context)


@pytest.fixture
def robot(context: Any, machine: Any, request: pytest.FixtureRequest) -> Iterator[Robot]:
    robot = Robot(context, machine, *getattr(request, "param", ()))
    assert robot.wait(lambda: {"/camera/image_raw", "/scan", "/odom", "/sim/objects"} <= set(robot.last))
    yield robot
    robot.close()


def rate(times: list[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0])


def most(hertz: float, seconds: float, queue: int = 10) -> float:
    """The rate that is heard at most: a starved simulator catches up, and a full queue may have waited."""
    return hertz * (1.0 + MAX_CATCH_UP_S / seconds) + queue / seconds


def test_topics_their_rates_and_their_contents(robot: Robot) -> None:
    for times in robot.times.values():
        times.clear()
    began = time.monotonic()
    robot.spin(3.0)
    given = 1.0 - robot.machine.lost(began) / (time.monotonic() - began)  # of the time, by the machine
    # A busy machine is as much slower with one topic as with another.
    odometry = rate(robot.times["/odom"])
    assert 25 * given < odometry < most(50, 3.0)
    assert rate(robot.times["/joint_states"]) == pytest.approx(odometry, rel=0.1)
    assert rate(robot.times["/scan"]) == pytest.approx(odometry / 5, rel=0.25)
    assert rate(robot.times["/sim/objects"]) == pytest.approx(odometry / 5, rel=0.25)
    assert 5 * given < rate(robot.times["/camera/image_raw"]) < 33
    assert not robot.times["/clock"]

    image, scan, odom = (robot.last[topic] for topic in ("/camera/image_raw", "/scan", "/odom"))
    assert (image.height, image.width, image.step, image.encoding) == (480, 640, 1920, "rgb8")
    assert len(image.data) == 480 * 1920 and image.header.frame_id == "camera_optical_frame"
    now = robot.node.get_clock().now().nanoseconds
    # By the clock on the wall: a busy machine draws and hands on an image in seconds.
    assert abs(now - image.header.stamp.sec * 10**9 - image.header.stamp.nanosec) < 20 * 10**9
    assert len(scan.ranges) == 180 and scan.header.frame_id == "laser" and min(scan.ranges) > scan.range_min
    assert (odom.header.frame_id, odom.child_frame_id) == ("odom", "base_link")
    assert list(robot.last["/joint_states"].name) == ["left_wheel_joint", "right_wheel_joint", "gripper_joint"]
    scene = sample_scene(0)
    names = [marker.ns for marker in robot.last["/sim/objects"].markers]
    assert names == [*(placed.name for placed in scene.objects), "robot"]


def test_it_obeys_and_stops_by_itself_when_commands_stop(robot: Robot) -> None:
    commands = robot.node.create_publisher(Twist, "/cmd_vel", 1)
    assert robot.wait(lambda: commands.get_subscription_count() > 0)
    twist = Twist()
    twist.angular.z = 0.4
    commands.publish(twist)
    assert robot.wait(lambda: robot.last["/odom"].twist.twist.angular.z > 0.35, 0.5)
    began = time.monotonic()
    assert robot.wait(lambda: abs(robot.last["/odom"].twist.twist.angular.z) < 0.02, 3.0)
    assert 0.2 < time.monotonic() - began < 1.2 + robot.machine.late(began)


def test_wild_commands_stop_it_with_a_sentence(robot: Robot) -> None:
    commands = robot.node.create_publisher(Twist, "/cmd_vel", 1)
    gripper = robot.node.create_publisher(Float64MultiArray, "/gripper_controller/commands", 1)
    assert robot.wait(lambda: commands.get_subscription_count() > 0 and gripper.get_subscription_count() > 0)
    twist = Twist()
    twist.linear.x = 0.3
    commands.publish(twist)
    assert robot.wait(lambda: robot.speed > 0.1, 0.5)
    twist.linear.x = math.nan
    commands.publish(twist)
    assert robot.wait(lambda: abs(robot.speed) < 0.02, 0.4)
    gripper.publish(Float64MultiArray(data=[0.02]))
    assert robot.wait(lambda: robot.last["/joint_states"].position[2] < 0.03, 3.0)
    gripper.publish(Float64MultiArray(data=[math.inf]))
    gripper.publish(Float64MultiArray(data=[]))
    robot.spin(0.5)
    assert robot.last["/joint_states"].position[2] == pytest.approx(0.02, abs=0.005)
    code, output, _ = robot.end(signal.SIGINT)
    assert code == 0 and "told linear nan m/s" in output and "the gripper holds" in output


@pytest.mark.parametrize("robot", [("seed:=3", "stamped:=true", "publish_clock:=true", "width:=320", "height:=240")],
                         indirect=True)
def test_other_parameters_and_the_next_scene(robot: Robot) -> None:
    assert robot.wait(lambda: "/clock" in robot.last)
    assert (robot.last["/camera/image_raw"].height, robot.last["/camera/image_raw"].width) == (240, 320)
    assert robot.last["/odom"].header.stamp.sec < 60  # simulated time began at zero
    commands = robot.node.create_publisher(TwistStamped, "/cmd_vel", 1)
    assert robot.wait(lambda: commands.get_subscription_count() > 0)
    twist = TwistStamped()
    twist.twist.angular.z = 0.4
    commands.publish(twist)
    assert robot.wait(lambda: robot.last["/odom"].twist.twist.angular.z > 0.2, 0.5)
    before = robot.last["/clock"].clock
    client = robot.node.create_client(Trigger, "/simulator/reset")
    assert client.wait_for_service(5.0)
    answer = client.call_async(Trigger.Request())
    assert robot.wait(answer.done, 5.0) and answer.result().message.startswith("scene 4: ")
    names = [placed.name for placed in sample_scene(4).objects]
    assert robot.wait(lambda: [marker.ns for marker in robot.last["/sim/objects"].markers][:-1] == names)
    assert robot.wait(lambda: stamp_ns(robot.last["/clock"].clock) > stamp_ns(before))

    # A scene of one's choice, once; what cannot be is refused, and changes nothing.
    settable = robot.node.create_client(SetParameters, "/simulator/set_parameters")
    assert settable.wait_for_service(5.0)
    for name, value, sentence in (("seed", 41, ""), ("seed", -1, "parameter seed (which scene) is -1; give 0"),
                                  ("width", 640, "parameter width holds from the start on")):
        wanted = Parameter(name, value=value).to_parameter_msg()
        said = settable.call_async(SetParameters.Request(parameters=[wanted]))
        assert robot.wait(said.done, 5.0)
        assert said.result().results[0].successful == (not sentence)
        assert said.result().results[0].reason.startswith(sentence)
    for seed in (41, 42):
        answer = client.call_async(Trigger.Request())
        assert robot.wait(answer.done, 5.0) and answer.result().message.startswith(f"scene {seed}: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_at_once_and_cleanly(robot: Robot, number: int) -> None:
    code, output, seconds = robot.end(number)
    assert code == 0 and "Traceback" not in output and seconds < 3.0


@pytest.mark.parametrize("parameter, said", [
    ("camera_rate:=-3.0", "camera_rate (images a second) is -3.0"), ("camera_rate:=.nan", "camera_rate"),
    ("seed:=abc", "seed (which scene) has the wrong type"), ("width:=5", "width"),
    ("real_time_factor:=0.0", "real_time_factor"),
])
def test_a_bad_parameter_ends_it_with_a_sentence(parameter: str, said: str) -> None:
    ended = subprocess.run([sys.executable, "-m", "vla_ros.sim.node", "--ros-args", "-p", parameter],
                           capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert said in ended.stderr and "Traceback" not in ended.stderr
