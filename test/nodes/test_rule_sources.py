"""The topics that rules declare, in the gate's node: subscribed, converted, and in doubt until they say something."""
import math
import time

import pytest
from gate_robot import SIM, Robot
from std_msgs.msg import Float64, Header

from vla_ros.nodes import safety_validator
from vla_ros.nodes.common.qos import SENSOR
from vla_ros.nodes.gate import gate_settings
from vla_ros.nodes.gate.rule_sources import heard, message_class
from vla_ros.nodes.safety_validator import SafetyValidator
from vla_ros.safety import gate
from vla_ros.safety.rule import Heard, Source, held, rule
from vla_ros.safety.settings import Limit
from vla_ros_msgs.msg import SafetyReport

TIMEOUT = Limit("load_timeout", 0.3, "a load cell silent for longer holds", "s", 0.02, 10.0)


def load_of(message):
    if message.data < 0.0:
        raise ValueError(f"it gives {message.data} N; a load is not negative")
    return message.data


LOAD = Source("/load", "std_msgs/msg/Float64", load_of, TIMEOUT)


@rule(holds_when="the load is too large", sources=(LOAD,), arming=True)
def load(inputs):
    return held("load", "too heavy") if inputs.value(LOAD) > 50.0 else None


class Scales:
    """A load cell at 20 Hz, once it has `newtons` to say."""

    def __init__(self, around):
        self._publisher, self.newtons = around.speaker(Float64, "/load", SENSOR), None
        around.node.create_timer(0.05, self.publish)

    def publish(self):
        if self.newtons is not None:
            self._publisher.publish(Float64(data=self.newtons))


@pytest.fixture
def weighed(around, monkeypatch):
    """A robot whose gate has the rule, and its load cell."""
    for module in (safety_validator, gate_settings, gate):
        monkeypatch.setattr(module, "RULES", (load, *module.RULES))
    return Robot(around, lost_after=30.0), Scales(around)


def test_the_gate_holds_until_the_topic_was_heard_and_whenever_it_says_nothing(weighed):
    robot, scales = weighed
    assert robot.call("arm").message == "nothing was heard from /load yet"
    scales.newtons = 10.0
    robot.around.wait(lambda: robot.node._inputs.messages)
    robot.moving()
    for newtons, says in ((60.0, "too heavy"), (math.nan, "/load says nan"), (-1.0, "a load is not negative"),
                          (None, "what /load says is")):
        scales.newtons = newtons
        robot.around.wait(lambda says=says: says in robot.reports[-1].reason)
        assert (robot.reports[-1].rule, robot.reports[-1].state) == ("load", SafetyReport.HOLDING)
        scales.newtons = 10.0
        robot.around.wait(lambda: robot.reports[-1].state == SafetyReport.ACTIVE)
    assert robot.node.stats.drops["bad /load"] > 0 and not robot.node.problem


def test_what_was_heard_before_it_became_active_does_not_count(weighed):
    robot, scales = weighed
    scales.newtons = 10.0
    robot.around.wait(lambda: robot.node._inputs.messages)
    robot.node.trigger_deactivate()
    time.sleep(0.2)  # the load cell goes on
    scales.newtons = None
    time.sleep(0.2)
    robot.node.trigger_activate()
    robot.around.wait(lambda: "/odom" in robot.node._inputs.seen and robot.node._inputs.readings
                      and "node inference" in robot.node._inputs.seen)
    assert robot.call("arm").message == "nothing was heard from /load yet"


def test_after_a_loss_the_instruction_is_given_again(around, monkeypatch):
    for module in (safety_validator, gate_settings, gate):
        monkeypatch.setattr(module, "RULES", (load, *module.RULES))
    robot, scales = Robot(around), Scales(around)
    scales.newtons = 10.0
    around.wait(lambda: robot.node._inputs.messages)
    robot.moving()
    scales.newtons = None
    time.sleep(1.2)
    scales.newtons = 10.0
    around.wait(lambda: robot.reports[-1].reason == "/load was lost; give the instruction again")


def test_a_type_that_is_not_installed_is_refused_with_the_rule_and_the_topic(around, monkeypatch):
    for name in ("no_such_msgs/msg/Imu", "std_msgs/msg/Floaty", "std_msgs/Float64", "Float64"):
        wrong = rule(holds_when="-", sources=(Source("/load", name, load_of, TIMEOUT),))(load.check)
        monkeypatch.setattr(safety_validator, "RULES", (wrong,))
        node = around.make(SafetyValidator, robot_file=SIM)
        node.trigger_configure()
        assert f"rule 'load' listens to /load as '{name}', which is not installed" in node.problem
        node.destroy_node()
        around.under_test.remove(node)
    assert message_class(load, LOAD) is Float64


def test_a_message_is_as_old_as_its_stamp_where_it_has_one():
    stamped = Source("/stamped", "std_msgs/msg/Header", lambda message: 1.0, TIMEOUT)
    message = type("Stamped", (), {"header": Header()})
    message.header.stamp.sec = 5
    assert heard(stamped, message, 7) == Heard(1.0, 7, 5_000_000_000)
    assert heard(LOAD, Float64(data=2.0), 7) == Heard(2.0, 7, None)


@pytest.mark.parametrize("error", [ValueError("no"), ZeroDivisionError("no"), AttributeError("no")])
def test_whatever_a_conversion_raises_the_message_says_nothing(error):
    def convert(message):
        raise error
    assert heard(Source("/load", "std_msgs/msg/Float64", convert, TIMEOUT), Float64(), 7) == Heard(None, 7, None, "no")
