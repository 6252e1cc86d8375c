"""The gate with the rule of CONTRIBUTING.md's recipe, and an IMU. `test_rule_recipe.py` runs this beside the nodes' tests."""
import math
import time

from gate_robot import Robot
from rclpy.parameter import Parameter
from sensor_msgs.msg import Imu

from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import SENSOR
from vla_ros_msgs.msg import SafetyReport

NOT_HEARD = "nothing was heard from /imu/data yet"


class InertialUnit:
    """Twenty messages a second, once it `speaks`; the base tilts by `angle`, rad."""

    def __init__(self, around):
        self._publisher = around.speaker(Imu, "/imu/data", SENSOR)
        self.speaks, self.angle = False, 0.1
        around.node.create_timer(0.05, self.publish)

    def publish(self):
        if self.speaks:
            message = Imu()
            message.header.stamp = convert.time_message(time.time_ns())
            message.orientation.x = math.sin(self.angle / 2.0)
            message.orientation.w = math.cos(self.angle / 2.0)
            self._publisher.publish(message)


def says(robot, *parts):
    """Waits until the gate's newest report holds the parts of a sentence."""
    robot.around.wait(lambda: all(part in robot.reports[-1].reason for part in parts))
    return robot.reports[-1]


def active(robot):
    robot.around.wait(lambda: robot.reports[-1].state == SafetyReport.ACTIVE)


def test_it_does_not_arm_before_the_imu_was_heard(around):
    robot, imu = Robot(around), InertialUnit(around)
    around.wait(lambda: around.node.count_subscribers("/imu/data") == 1)
    around.wait(lambda: NOT_HEARD in robot.call("arm").message)  # not before all else was heard
    imu.speaks = True
    around.wait(lambda: robot.node._inputs.messages)
    robot.moving()


def test_it_holds_while_the_imu_is_silent_or_says_nothing_and_goes_on(around):
    robot, imu = Robot(around, lost_after=30.0), InertialUnit(around)
    imu.speaks = True
    around.wait(lambda: robot.node._inputs.messages)
    robot.moving()
    imu.speaks = False
    assert says(robot, "what /imu/data says is", "s old; at most 0.3 s").rule == "tilt"
    assert robot.reports[-1].state == SafetyReport.HOLDING
    imu.speaks = True
    active(robot)
    imu.angle = math.nan
    assert says(robot, "/imu/data says nothing: its orientation is no unit quaternion").rule == "tilt"
    assert robot.node.problem.startswith("/imu/data: ")
    imu.angle = 0.34
    active(robot)
    assert not robot.node.problem


def test_it_stops_above_the_limit_and_no_looser_one_is_taken_while_it_is_armed(around):
    robot, imu = Robot(around), InertialUnit(around)
    imu.speaks = True
    around.wait(lambda: robot.node._inputs.messages)
    robot.moving()
    refused, = robot.node.set_parameters([Parameter("max_tilt", value=0.5)])
    assert not refused.successful and "max_tilt (rad) 0.5 (now 0.35) is looser than now" in refused.reason
    imu.angle = 0.4
    assert says(robot, "the base tilts by 0.40 rad; at most 0.35 rad").state == SafetyReport.STOPPED
    around.wait(lambda: robot.twists[-1].linear.x == 0.0)


def test_what_was_heard_before_it_became_active_does_not_count(around):
    robot, imu = Robot(around), InertialUnit(around)
    imu.speaks = True
    around.wait(lambda: robot.node._inputs.messages)
    imu.speaks = False
    time.sleep(0.1)
    robot.node.trigger_deactivate()
    robot.node.trigger_activate()
    around.wait(lambda: "/odom" in robot.node._inputs.seen and robot.node._inputs.readings
                and "node inference" in robot.node._inputs.seen)
    around.wait(lambda: NOT_HEARD in robot.call("arm").message)  # not before all else was heard
