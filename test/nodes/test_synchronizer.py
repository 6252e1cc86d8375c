"""synchronizer: what the policy sees belongs together."""
import math
import time

import numpy as np
import pytest
from geometry_msgs.msg import Quaternion, WrenchStamped
from nav_msgs.msg import Odometry
from robots import TWO, robot_file
from sensor_msgs.msg import Image, Imu, JointState
from std_msgs.msg import Float64MultiArray

from vla_ros.core.robot_state import IMU, JOINT_STATE, NUMBERS, ODOMETRY, WRENCH
from vla_ros.core.state_numbers import odometry_state, published_numbers
from vla_ros.core.types import Instruction as CoreInstruction
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, IMAGES, LATCHED
from vla_ros.nodes.synchronizer import Synchronizer
from vla_ros_msgs.msg import Instruction, Observation

IMAGE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


class Wires:
    def __init__(self, around, cameras=("camera",), heard=None):
        self.cameras = cameras
        topics = [f"{camera}/frame" for camera in cameras] if len(cameras) > 1 else ["frame"]
        self.observations = around.hear(Observation, "observation", IMAGES)
        self.frames = [around.speaker(Image, topic, IMAGES) for topic in topics]
        self.instructions = around.speaker(Instruction, "instruction/accepted", LATCHED)
        self.odometry = around.speaker(Odometry, "/odom", EVENTS)
        self.joints = around.speaker(JointState, "/joint_states", EVENTS)
        listened = self.frames if heard is None else [self.frames[camera] for camera in heard]
        around.wait(lambda: all(s.get_subscription_count() for s in [*listened, self.instructions]))

    def show(self, stamp=None, camera=0, name=""):
        stamp = time.time_ns() if stamp is None else stamp
        self.frames[camera].publish(convert.image_message(IMAGE, stamp, name or self.cameras[camera]))
        return stamp

    def say(self, text, instruction_id=1):
        self.instructions.publish(convert.instruction_message(CoreInstruction(time.time_ns(), instruction_id, text)))


def test_an_observation_holds_image_words_and_state(around):
    around.start(Synchronizer)
    wires = Wires(around)
    joints = JointState(name=["gripper_joint", "broken"], position=[0.05, float("nan")])
    odometry = Odometry()
    odometry.pose.pose.position.x = 1.5
    odometry.pose.pose.orientation.z = odometry.pose.pose.orientation.w = 0.5**0.5
    wires.joints.publish(joints)
    wires.odometry.publish(odometry)
    wires.say("go", 9)
    time.sleep(0.2)
    stamp = wires.show()
    seen = convert.observation(around.wait(lambda: wires.observations and wires.observations[-1]))
    assert (seen.stamp, seen.instruction.instruction_id, seen.instruction.text) == (stamp, 9, "go")
    assert (seen.images["camera"] == IMAGE).all()
    assert seen.state["odom.x"] == 1.5
    assert seen.state["odom.yaw"] == pytest.approx(np.pi / 2)
    assert seen.state["gripper_joint"] == pytest.approx(0.05)
    assert list(seen.ages) == list(seen.state) and min(seen.ages.values()) > 0.1  # of 0.2 s
    assert "broken" not in seen.state


class Robot:
    """Two publishers of joint states, as an arm and its gripper often have, and the frames that ask for the state."""

    def __init__(self, around, **parameters):
        joints = {"topic": "/joint_states", "type": JOINT_STATE, "names": ["elbow", "finger", "wrist"], "unit": "rad"}
        file = robot_file(state=[joints, {"topic": "/odom", "type": ODOMETRY}])
        self.around, self.node = around, around.start(Synchronizer, robot_file=file, **parameters)
        self.wires = Wires(around)
        self.gripper = around.speaker(JointState, "/joint_states", EVENTS)
        around.wait(lambda: self.gripper.get_subscription_count())
        self.wires.say("go")

    def state(self):
        """Of an observation from after what was published so far was read."""
        time.sleep(0.1)
        stamp = self.wires.show()
        seen = self.around.wait(lambda: [convert.observation(one) for one in self.wires.observations
                                         if convert.stamp_ns(one.header.stamp) == stamp])
        return seen[-1].state


def test_joint_states_of_two_publishers_are_one_state(around):
    robot = Robot(around, state_timeout=5.0)
    robot.gripper.publish(JointState(name=["finger"], position=[0.04]))
    for i in range(30):
        robot.wires.joints.publish(JointState(name=["elbow", "wrist"], position=[0.5, 0.01 * i]))
    robot.wires.joints.publish(JointState())
    robot.wires.joints.publish(JointState(name=["elbow", "wrist"], velocity=[1.0, 2.0]))
    state = robot.state()
    assert list(state) == ["elbow", "finger", "wrist"]
    assert list(state.values()) == pytest.approx([0.5, 0.04, 0.29])
    assert robot.node.stats.drops["bad /joint_states"] == 2  # no positions


def test_a_joint_state_that_contradicts_itself_changes_nothing_and_is_counted(around):
    robot = Robot(around, state_timeout=5.0)
    robot.wires.joints.publish(JointState(name=["elbow", "wrist"], position=[0.5, 0.6]))
    robot.wires.joints.publish(JointState(name=["base", "elbow", "wrist"], position=[0.1, 0.2]))
    robot.wires.joints.publish(JointState(name=["elbow", "elbow"], position=[0.1, 0.2]))
    assert robot.state() == pytest.approx({"elbow": 0.5, "wrist": 0.6})
    assert robot.node.stats.drops["bad /joint_states"] == 2


def test_what_was_not_heard_of_for_long_leaves_the_state_and_diagnostics_say_so(around):
    robot = Robot(around, state_timeout=0.4, fault_after=60.0)
    robot.gripper.publish(JointState(name=["finger"], position=[0.04]))
    robot.wires.odometry.publish(Odometry())
    state = robot.state()  # once: a second look may come after state_timeout
    assert "finger" in state and "odom.x" in state
    end = time.monotonic() + 0.8
    while time.monotonic() < end:
        robot.wires.joints.publish(JointState(name=["elbow"], position=[0.5]))
        time.sleep(0.02)
    assert robot.state() == {"elbow": 0.5}
    said = around.wait(lambda: robot.node.problem)
    assert "without 'finger' (" in said and "'odom.x' (" in said and "0.4 s (state_timeout)" in said
    robot.gripper.publish(JointState(name=["finger"], position=[0.05]))
    robot.wires.odometry.publish(Odometry())
    robot.wires.joints.publish(JointState(name=["elbow"], position=[0.5]))
    assert set(robot.state()) >= {"elbow", "finger", "odom.x"}


def test_odometry_that_cannot_be_true_is_refused_and_the_last_good_one_stays(around):
    robot = Robot(around, state_timeout=5.0)
    for message in (odometry(x=1.0), odometry(x=2.0, quaternion=(0.0, 0.0, 0.0, 0.0)), odometry(x=math.nan)):
        robot.wires.odometry.publish(message)
        time.sleep(0.1)  # the newest is read, fifty times a second
    assert robot.state()["odom.x"] == 1.0
    assert robot.node.stats.drops["bad /odom"] == 2


def odometry(x=0.0, yaw=0.0, quaternion=None, twist=(0.0, 0.0, 0.0), frame="odom", child="base_link"):
    message = Odometry(child_frame_id=child)
    message.header.frame_id = frame
    message.pose.pose.position.x = x
    q = message.pose.pose.orientation
    q.x, q.y, q.z, q.w = quaternion or (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))
    message.twist.twist.linear.x, message.twist.twist.linear.y, message.twist.twist.angular.z = twist
    return message


@pytest.mark.parametrize("yaw", [0.0, 0.5, math.pi / 2, 3.0, -2.0])
@pytest.mark.parametrize("frame, child, turned", [
    ("odom", "base_link", False), ("odom", "", False), ("", "", False), ("map", "robot/base_footprint", False),
    ("odom", "odom", True), ("/odom", "odom", True), ("world", "world", True), ("lab", "lab", True),
    ("", "odom", True), ("", "r2/odom", True),
])
def test_the_speed_is_the_base_s_whichever_frame_it_comes_in(yaw, frame, child, turned):
    """0.3 m/s ahead, as the base or as the world sees it."""
    twist = (0.3 * math.cos(yaw), 0.3 * math.sin(yaw), 0.2) if turned else (0.3, 0.0, 0.2)
    state = odometry_state(odometry(yaw=yaw, twist=twist, frame=frame, child=child))
    assert state == pytest.approx(
        {"odom.x": 0.0, "odom.y": 0.0, "odom.yaw": yaw, "linear.x": 0.3, "angular.z": 0.2}, abs=1e-9)


def test_a_robot_on_a_slope_drives_along_its_own_axis():
    """Pitched 0.5 rad, yawed 90 degrees: ahead is (0, cos, -sin) in the world."""
    half, quarter = 0.25, math.pi / 4
    q = (-math.sin(quarter) * math.sin(half), math.cos(quarter) * math.sin(half), math.sin(quarter) * math.cos(half),
         math.cos(quarter) * math.cos(half))
    message = odometry(quaternion=q, frame="odom", child="odom")
    message.twist.twist.linear.y, message.twist.twist.linear.z = 0.3 * math.cos(0.5), -0.3 * math.sin(0.5)
    assert odometry_state(message)["linear.x"] == pytest.approx(0.3)


@pytest.mark.parametrize("message, says", [
    (odometry(frame="odom", child="map"), "twist is in 'map', its pose in 'odom'"),
    (odometry(frame="map", child="robot/odom"), "twist is in 'robot/odom', its pose in 'map'"),
    (odometry(quaternion=(0.0, 0.0, 0.0, 0.0)), "w=0 has length 0"),
    (odometry(quaternion=(0.0, 0.0, 0.7, 0.0)), "has length 0.7"),
    (odometry(quaternion=(0.0, 0.0, 0.3, 1.0)), "has length 1.04403"),
    (odometry(quaternion=(0.0, 0.0, 2.0, 2.0)), "has length 2.8"),
    (odometry(quaternion=(math.nan, 0.0, 0.0, 1.0)), "has length nan"),
    (odometry(quaternion=(0.0, math.inf, 0.0, 1.0)), "has length inf"),
    (odometry(x=math.nan), "says nan for odom.x"),
    (odometry(twist=(math.inf, 0.0, 0.0)), "says inf for linear.x"),
    (odometry(twist=(0.1, math.nan, 0.0), child="odom"), "says nan for linear.x"),
])
def test_odometry_that_nobody_can_read_right_is_refused_in_a_sentence(message, says):
    with pytest.raises(ValueError) as error:
        odometry_state(message)
    assert says in str(error.value)


def test_a_quaternion_that_is_rounded_is_normalised():
    state = odometry_state(odometry(quaternion=(0.0, 0.0, 0.704, 0.704)))
    assert state["odom.yaw"] == pytest.approx(math.pi / 2)
    still = odometry_state(odometry(yaw=0.4, quaternion=tuple(1.004 * c for c in (0.0, 0.0, 0.6, 0.8))))
    assert still["odom.yaw"] == pytest.approx(2 * math.atan2(0.6, 0.8))


def test_a_frame_of_another_camera_is_refused_and_counted(around):
    """A remapping was forgotten: both cameras' frames come on one topic."""
    node = around.start(Synchronizer, robot_file=robot_file(cameras=TWO))
    wires = Wires(around, ("front", "wrist"))
    wires.say("go")
    wires.show(camera=0)
    wires.show(camera=1, name="front")
    around.wait(lambda: node.stats.drops["another camera's frame"])
    time.sleep(0.2)
    assert not wires.observations and node.diagnose()["waiting for"] == "no image from 'wrist'"
    wires.show(camera=1)
    wires.show(camera=0)
    around.wait(lambda: wires.observations)


def test_only_the_cameras_that_the_policy_looks_through_are_waited_for(around):
    around.start(Synchronizer, robot_file=robot_file(cameras=TWO), cameras=["wrist"])
    wires = Wires(around, ("front", "wrist"), heard=[1])
    wires.say("go")
    wires.show(camera=1)
    assert around.wait(lambda: wires.observations)[-1].cameras == ["wrist"]


def test_an_arm_without_a_base_waits_for_no_odometry(around):
    joints = {"topic": "/joint_states", "type": JOINT_STATE, "names": ["elbow"], "unit": "rad"}
    around.start(Synchronizer, robot_file=robot_file(state=[joints]))
    wires = Wires(around)
    around.wait(lambda: wires.joints.get_subscription_count())
    assert not wires.odometry.get_subscription_count()


def test_every_kind_of_state_is_named_as_the_file_says(around):
    state = [{"topic": "/gripper", "type": NUMBERS, "names": ["opening", "force"], "unit": "0..100"},
             {"topic": "/wrist/wrench", "type": WRENCH, "names": {"push": "force.z"}, "scale": -1.0},
             {"topic": "/imu/data", "type": IMU, "names": ["yaw", "angular_velocity.z"]},
             {"topic": "/joint_states", "type": JOINT_STATE, "names": {"left_elbow": "elbow"}, "unit": "deg", "wraps": True}]
    node = around.start(Synchronizer, robot_file=robot_file(state=state))
    wires = Wires(around)
    gripper = around.speaker(Float64MultiArray, "/gripper", EVENTS)
    wrench = around.speaker(WrenchStamped, "/wrist/wrench", EVENTS)
    imu = around.speaker(Imu, "/imu/data", EVENTS)
    around.wait(lambda: all(each.get_subscription_count() for each in (gripper, wrench, imu, wires.joints)))
    gripper.publish(Float64MultiArray(data=[50.0]))
    around.wait(lambda: node.stats.drops["bad /gripper"] == 1)
    gripper.publish(Float64MultiArray(data=[50.0, 10.0]))
    force, turned = WrenchStamped(), Imu()
    force.wrench.force.z = 4.0
    turned.orientation.z = turned.orientation.w = 0.5**0.5
    turned.angular_velocity.z = 0.25
    wrench.publish(force)
    imu.publish(turned)
    wires.joints.publish(JointState(name=["elbow"], position=[270.0]))
    time.sleep(0.2)
    wires.say("go")
    time.sleep(0.1)
    wires.show()
    seen = convert.observation(around.wait(lambda: wires.observations and wires.observations[-1]))
    assert list(seen.state) == ["opening", "force", "push", "yaw", "angular_velocity.z", "left_elbow"]
    assert list(seen.state.values()) == pytest.approx([0.5, 0.1, -4.0, math.pi / 2, 0.25, -math.pi / 2])


def test_an_imu_that_says_it_has_no_orientation_is_refused_where_one_is_asked_for():
    imu = Imu()
    imu.orientation_covariance[0] = -1.0
    assert published_numbers(IMU, imu, ["angular_velocity.z"])["angular_velocity.z"] == 0.0
    with pytest.raises(ValueError, match="the IMU says that it has no orientation"):
        published_numbers(IMU, imu, ["yaw"])
    imu.orientation_covariance[0] = 0.0
    with pytest.raises(ValueError, match="the IMU's orientation .* has length 0"):
        published_numbers(IMU, Imu(orientation=Quaternion(w=0.0)), ["yaw"])


def test_without_words_there_is_no_observation(around):
    node = around.start(Synchronizer)
    wires = Wires(around)
    wires.show()
    around.wait(lambda: "frame camera" in node.stats.rates)
    wires.say("")
    wires.show()
    time.sleep(0.2)
    assert not wires.observations
    assert node.diagnose()["waiting for"] == "no instruction"


def test_words_said_before_it_was_active_hold(around):
    node = around.make(Synchronizer)
    around.spin()
    node.trigger_configure()
    wires = Wires(around)
    wires.say("go")
    time.sleep(0.3)
    node.trigger_activate()
    wires.show()
    around.wait(lambda: wires.observations)


def test_two_cameras_pair(around):
    around.start(Synchronizer, robot_file=robot_file(cameras=TWO))
    wires = Wires(around, ("front", "wrist"))
    wires.say("go")
    stamp = wires.show(camera=0)
    time.sleep(0.1)
    assert not wires.observations
    wires.show(stamp + 20_000_000, camera=1)
    seen = around.wait(lambda: wires.observations and wires.observations[-1])
    assert seen.cameras == ["front", "wrist"]
    assert convert.stamp_ns(seen.skew) == 20_000_000


def test_a_slow_camera_whose_images_come_late_is_paired_all_the_same(around):
    around.start(Synchronizer, robot_file=robot_file(cameras=TWO))
    wires = Wires(around, ("front", "wrist"))
    wires.say("go")
    stamp = time.time_ns() - 250_000_000
    for i in range(22):
        wires.show(stamp + i * 11_000_000, camera=0)
        time.sleep(0.005)
    wires.show(stamp + 1_000_000, camera=1)
    seen = around.wait(lambda: wires.observations and wires.observations[-1])
    assert convert.stamp_ns(seen.skew) == 1_000_000


@pytest.mark.parametrize("ahead, pairs", [(0.3, True), (3.0, False)])
def test_an_image_far_ahead_of_the_clock_does_not_block_those_that_follow(around, ahead, pairs):
    node = around.start(Synchronizer)
    wires = Wires(around)
    wires.say("go")
    wires.show(time.time_ns() + round(ahead * 1e9))
    time.sleep(0.2)
    assert len(wires.observations) == pairs
    assert node.diagnose().get("dropped: image from the future", "0") == str(int(not pairs))
    time.sleep(0.3)
    stamp = wires.show()
    around.wait(lambda: any(convert.stamp_ns(one.header.stamp) == stamp for one in wires.observations))


def test_strict_needs_words_near_the_image(around):
    node = around.start(Synchronizer, mode="strict")
    wires = Wires(around)
    wires.say("go")
    time.sleep(0.25)
    wires.show()
    around.wait(lambda: "apart" in node.diagnose()["waiting for"])
    assert not wires.observations
    wires.say("go", 2)
    wires.show()
    around.wait(lambda: wires.observations)


def test_an_instruction_expires_and_the_operator_hears_of_it_once(around):
    around.start(Synchronizer, instruction_ttl=0.2)
    wires = Wires(around)
    wires.say("go")
    wires.show()
    around.wait(lambda: wires.observations)
    time.sleep(0.25)
    for _ in range(5):
        wires.show()
        time.sleep(0.02)
    around.wait(lambda: around.said("it holds for 0.2 s"))
    assert sum("it holds for" in message.data for message in around.feedback) == 1


@pytest.mark.parametrize("parameters, says", [
    ({"mode": "loose"}, "'mode' is 'loose'; use one of latched, strict"),
    ({"max_skew": -0.1}, "'max_skew' is -0.1"),
    ({"cameras": ["a"]}, "parameter 'cameras' holds 'a'; robot 'sim' has camera"),
    ({"robot_file": robot_file(cameras=None)}, "robot 'sim' has no camera in its file"),
    ({"buffer": 0}, "'buffer' is 0"),
])
def test_a_bad_parameter_fails_configure_with_a_sentence(around, parameters, says):
    node = around.make(Synchronizer, **parameters)
    node.trigger_configure()
    assert node.state == "unconfigured" and says in node.problem
