"""synchronizer: what the policy sees belongs together."""
import time

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image, JointState

from vla_ros.core.types import Command as CoreCommand
from vla_ros.nodes import convert
from vla_ros.nodes.qos import EVENTS, LATCHED, PICTURES
from vla_ros.nodes.synchronizer import Synchronizer
from vla_ros_msgs.msg import Command, Observation

PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


class Wires:
    def __init__(self, around, topics=("frame",)):
        self.observations = around.hear(Observation, "observation", PICTURES)
        self.frames = [around.speaker(Image, topic, PICTURES) for topic in topics]
        self.commands = around.speaker(Command, "command", LATCHED)
        self.odometry = around.speaker(Odometry, "/odom", EVENTS)
        self.joints = around.speaker(JointState, "/joint_states", EVENTS)
        around.wait(lambda: all(s.get_subscription_count() for s in [*self.frames, self.commands]))

    def show(self, stamp=None, camera=0):
        stamp = time.time_ns() if stamp is None else stamp
        self.frames[camera].publish(convert.image_message(PICTURE, stamp, "optical"))
        return stamp

    def say(self, text, generation=1):
        self.commands.publish(convert.command_message(CoreCommand(time.time_ns(), generation, text)))


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
    assert (seen.stamp, seen.command.generation, seen.command.text) == (stamp, 9, "go")
    assert (seen.images["camera"] == PICTURE).all()
    assert seen.state["odom.x"] == 1.5
    assert seen.state["odom.yaw"] == pytest.approx(np.pi / 2)
    assert seen.state["gripper_joint"] == pytest.approx(0.05)
    assert "broken" not in seen.state


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
    around.start(Synchronizer, cameras=["front", "wrist"], frame_topics=["front/frame", "wrist/frame"])
    wires = Wires(around, ("front/frame", "wrist/frame"))
    wires.say("go")
    stamp = wires.show(camera=0)
    time.sleep(0.1)
    assert not wires.observations
    wires.show(stamp + 20_000_000, camera=1)
    seen = around.wait(lambda: wires.observations and wires.observations[-1])
    assert seen.cameras == ["front", "wrist"]
    assert convert.stamp_ns(seen.skew) == 20_000_000


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
    around.start(Synchronizer, command_ttl=0.2)
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
    ({"cameras": ["a", "b"]}, "give one topic for each of cameras ['a', 'b']"),
    ({"buffer": 0}, "'buffer' is 0"),
])
def test_a_bad_parameter_fails_configure_with_a_sentence(around, parameters, says):
    node = around.make(Synchronizer, **parameters)
    node.trigger_configure()
    assert node.stage == "unconfigured" and says in node.trouble
