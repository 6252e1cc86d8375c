"""safety_validator: who else speaks where it does, and who listens there."""
from pathlib import Path

import pytest
import rclpy
from gate_robot import SIM, Robot
from geometry_msgs.msg import Twist, TwistStamped
from std_msgs.msg import Float64MultiArray

from vla_ros.nodes.common.qos import LATCHED, LATEST
from vla_ros.nodes.safety_validator import SafetyValidator
from vla_ros_msgs.msg import SafetyReport


def ignore(message):
    """Not a builtin such as print: on Python 3.10 rclpy finds no signature in one."""


@pytest.fixture
def twin(around):
    """A node of the gate's own name, without a heartbeat."""
    node = rclpy.create_node("safety_validator", namespace=around.node.get_namespace())
    yield node
    node.destroy_node()


def test_a_publisher_of_the_gate_s_own_name_is_known_by_its_gid(around, twin):
    robot = Robot(around).moving()
    publisher = twin.create_publisher(Twist, "/cmd_vel", LATEST)
    around.wait(lambda: robot.reports[-1].rule == "exclusive_publisher")
    robot.call("disarm")
    assert "/cmd_vel from /safety_validator" in robot.call("arm").message
    twin.destroy_publisher(publisher)
    around.wait(lambda: robot.call("arm").success)


def test_one_that_was_there_before_is_a_gate_that_died_until_it_speaks(around, twin):
    publisher = twin.create_publisher(Twist, "/cmd_vel", LATEST)
    robot = Robot(around).moving()
    for _ in range(30):
        publisher.publish(Twist())
    around.wait(lambda: robot.reports[-1].rule == "exclusive_publisher")
    robot.call("disarm")
    assert not robot.call("arm").success


def test_where_the_gate_may_not_listen_one_that_was_there_before_counts_until_dds_forgets_it(around, twin, monkeypatch):
    read = SafetyValidator.add_reader

    def forbidden(node, kind, topic, *options, **more):
        if topic == "/cmd_vel":
            raise RuntimeError("not allowed by the enclave")
        return read(node, kind, topic, *options, **more)
    monkeypatch.setattr(SafetyValidator, "add_reader", forbidden)
    publisher = twin.create_publisher(Twist, "/cmd_vel", LATEST)
    robot = Robot(around)
    assert "/cmd_vel from /safety_validator" in robot.call("arm").message
    assert robot.reports[-1].state == SafetyReport.DISARMED
    twin.destroy_publisher(publisher)
    around.wait(lambda: robot.call("arm").success)


def test_after_a_cleanup_and_a_configure_the_gate_still_knows_itself(around):
    robot = Robot(around)
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        getattr(robot.node, f"trigger_{transition}")()
    robot.node._look_for_others()
    assert not robot.node._inputs.other_publishers


@pytest.fixture
def driver():
    """A process of its own, as DDS sees it: one alone cannot have two types on a topic."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("driver", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def deaf(around, driver, kind):
    """A robot whose base listens for `kind` on /cmd_vel, or (None) not at all."""
    robot = Robot(around)
    for subscription in list(around.node.subscriptions):
        if subscription.topic_name == "/cmd_vel":
            around.node.destroy_subscription(subscription)
    around.wait(lambda: robot.node._inputs.missing_listeners)
    if kind:
        driver.create_subscription(kind, "/cmd_vel", ignore, LATEST)
        around.wait(lambda: "nobody" not in "".join(robot.node._inputs.missing_listeners))
    return robot


@pytest.mark.parametrize("kind, says", [
    (None, "nobody listens to /cmd_vel (geometry_msgs/msg/Twist); is the driver running?"),
    (TwistStamped, "/driver listens to /cmd_vel for geometry_msgs/msg/TwistStamped, which the gate does not send; change the type")])
def test_a_robot_that_does_not_listen_is_not_armed_and_diagnostics_say_so(around, driver, kind, says):
    robot = deaf(around, driver, kind)
    answers = []
    around.wait(lambda: answers.append(robot.call("arm")) or says in answers[-1].message)  # a busy machine's silence comes first
    assert not any(answer.success for answer in answers)
    around.wait(lambda: says in robot.node.problem)
    for subscription in list(driver.subscriptions):
        driver.destroy_subscription(subscription)
    around.node.create_subscription(Twist, "/cmd_vel", ignore, LATEST)
    around.wait(lambda: robot.call("arm").success)
    around.wait(lambda: not robot.node.problem)


def test_a_driver_of_another_type_beside_one_that_listens_is_named(around, driver):
    """A recorder that takes everything must not pass for the robot."""
    robot = Robot(around)
    driver.create_subscription(TwistStamped, "/cmd_vel", ignore, LATEST)
    around.wait(lambda: "/driver listens to /cmd_vel for geometry_msgs/msg/TwistStamped" in "".join(
        robot.node._inputs.missing_listeners))
    assert "/driver listens to /cmd_vel for geometry_msgs/msg/TwistStamped" in robot.call("arm").message


def test_a_driver_whose_qos_never_takes_a_command_is_named(around, driver):
    robot = deaf(around, driver, None)
    driver.create_subscription(Twist, "/cmd_vel", ignore, LATCHED)
    around.wait(lambda: "not with a QoS that takes" in robot.call("arm").message)


def test_who_only_looks_on_is_no_driver(around):
    robot = deaf(around, None, None)
    recorder = rclpy.create_node("rosbag2_recorder")
    recorder.create_subscription(Twist, "/cmd_vel", ignore, LATEST)
    around.wait(lambda: any("recorder" in info.node_name
                            for info in robot.node.get_subscriptions_info_by_topic("/cmd_vel")))
    assert "nobody listens to /cmd_vel" in robot.call("arm").message
    recorder.destroy_node()


def test_a_driver_that_was_started_again_takes_a_person(around, driver):
    robot = deaf(around, driver, Twist)
    robot.node._look_for_others()
    around.wait(lambda: robot.call("arm").success)
    robot.say("go")
    around.wait(lambda: robot.reports[-1].state == SafetyReport.ACTIVE)
    driver.create_subscription(Twist, "/cmd_vel", ignore, LATEST)  # the one before is still in the graph
    around.wait(lambda: robot.reports[-1].rule == "instruction_match")
    assert "/driver listens to /cmd_vel (geometry_msgs/msg/Twist) anew" in robot.reports[-1].reason
    robot.say("go on")
    around.wait(lambda: robot.reports[-1].state == SafetyReport.ACTIVE)


def test_an_output_whose_type_nobody_takes_is_named_beside_one_that_is_heard(around, tmp_path):
    path = tmp_path / "robot.yaml"
    path.write_text(Path(SIM).read_text().replace("/gripper_controller/commands", "/hand/commands"))
    robot = Robot(around, str(path))
    assert "nobody listens to /hand/commands" in robot.call("arm").message
    around.node.create_subscription(Float64MultiArray, "/hand/commands", ignore, LATEST)
    around.wait(lambda: robot.call("arm").success)
