"""safety_validator: what the gate says is what the wire sees."""
import time

import numpy as np
import pytest
from gate_robot import Robot, standing_after
from std_msgs.msg import Bool

from vla_ros.nodes.common.qos import EVENTS, LATCHED, SENSOR
from vla_ros.safety.rules import RULES
from vla_ros_msgs.msg import Fault, Halt, SafetyReport


def test_disarmed_it_says_zero_at_its_rate(around):
    robot = Robot(around)
    robot.say("go")
    robot.twists.clear()
    start = time.monotonic()
    time.sleep(1.0)
    lost = around.machine.lost(start)
    assert 30 - 50 * lost <= len(robot.twists) <= 90 + 70 * lost  # 50 periods and 20 actions; a busy machine loses some
    assert all(twist.linear.x == 0.0 for twist in robot.twists)
    assert robot.reports[-1].state == SafetyReport.DISARMED
    assert not robot.grips  # nobody commanded the gripper


def test_armed_and_told_the_robot_moves_within_its_limits(around):
    robot = Robot(around).moving()
    around.wait(lambda: robot.grips and robot.grips[-1].data[0] == pytest.approx(0.05))  # 0.5 open is 0.05 m
    report = robot.reports[-1]
    assert report.state == SafetyReport.ACTIVE
    assert report.channels == ["linear.x", "angular.z", "gripper"]
    assert report.instruction_id == robot.instruction_id
    time.sleep(0.2)
    assert max(twist.linear.x for twist in robot.twists) == pytest.approx(0.3)


def test_the_stop_topic_is_obeyed_at_once(around):
    robot = Robot(around).moving()
    start = time.monotonic()
    robot.stops.publish(Bool(data=True))
    assert standing_after(robot, start) < 0.2 + around.late(start)
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED)
    assert "pressed" in robot.reports[-1].reason
    assert not robot.call("arm").success
    assert "release it first" in robot.call("reset").message
    robot.stops.publish(Bool(data=False))
    around.wait(lambda: not robot.node._inputs.stop_pressed)
    assert robot.call("reset").success
    around.wait(lambda: robot.reports[-1].state == SafetyReport.DISARMED)


def test_the_stop_service_stops_at_once_and_answers(around):
    robot = Robot(around).moving()
    start = time.monotonic()
    answer = robot.call("stop")
    assert answer.success and answer.message == "stopped: the stop was asked for by service; reset, then arm"
    assert standing_after(robot, start) < 0.3 + around.late(start)
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED)
    assert not robot.call("arm").success
    assert robot.call("reset").success


@pytest.mark.parametrize("values", [{"linear.x": float("nan"), "gripper": 0.5}, {"linear.x": 1.5, "gripper": 0.5},
                                    {"wings": 0.1}, {}])
def test_a_bad_or_missing_action_stops_the_robot(around, values):
    robot = Robot(around).moving()
    faults = around.hear(Fault, "fault", EVENTS)
    robot.values = values
    around.wait(lambda: robot.twists[-1].linear.x == 0.0)
    # which may be heard before its report
    around.wait(lambda: robot.reports[-1].verdict == SafetyReport.HELD and robot.reports[-1].reason)
    if values:
        around.wait(lambda: faults)
        assert (faults[0].kind, faults[0].source) == ("action", "safety_validator")
        assert "the gate refuses what the policy wants" in faults[0].text
    assert all(np.isfinite(twist.linear.x) for twist in robot.twists)


def test_a_stop_pressed_while_it_was_down_is_not_missed(around):
    robot = Robot(around).moving()
    robot.node.trigger_deactivate()
    robot.stops.publish(Bool(data=True))
    around.wait(lambda: robot.node._buttons.pressed)
    robot.node.trigger_cleanup()
    robot.node.trigger_configure()
    robot.node.trigger_activate()
    around.wait(lambda: {"node inference", "/odom"} <= set(robot.node._inputs.seen) and robot.node._inputs.readings)
    assert "the stop is pressed" in robot.call("arm").message
    assert "release it first" in robot.call("reset").message


def test_stopped_it_stays_stopped_through_cleanup_and_configure(around):
    robot = Robot(around).moving()
    robot.stops.publish(Bool(data=True))
    robot.stops.publish(Bool(data=False))
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED and not robot.node._buttons.pressed)
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        getattr(robot.node, f"trigger_{transition}")()
    robot.reports.clear()
    around.wait(lambda: robot.reports)
    assert robot.reports[-1].state == SafetyReport.STOPPED
    assert robot.call("reset").success


def test_a_stop_button_that_publishes_best_effort_is_heard(around):
    robot = Robot(around).moving()
    button = around.speaker(Bool, "stop", SENSOR)
    around.wait(lambda: button.get_subscription_count())
    button.publish(Bool(data=True))
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED)


def test_the_supervisor_s_halt_latches_and_outlasts_a_reset(around):
    robot = Robot(around).moving()
    halt = around.speaker(Halt, "halt", LATCHED)
    halt.publish(Halt(halted=True, reason="inference failed three times"))
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED)
    assert "inference failed three times" in robot.call("reset").message
    halt.publish(Halt())
    around.wait(lambda: not robot.node._inputs.halt)
    assert robot.call("reset").success


@pytest.mark.parametrize("halt", [Halt(halted=True), Halt(reason="no flag")],
                         ids=["no reason", "no flag"])
def test_half_a_halt_is_one(around, halt):
    robot = Robot(around).moving()
    around.speaker(Halt, "halt", LATCHED).publish(halt)
    around.wait(lambda: robot.reports[-1].state == SafetyReport.STOPPED)
    assert (halt.reason or "the supervisor gives no reason") in robot.call("reset").message


def test_every_rule_is_counted_in_diagnostics(around):
    robot = Robot(around).moving()
    values = robot.node.diagnose()
    assert {f"rule {rule.name}" for rule in RULES} <= set(values)
    assert int(values["rule rate_limit"]) > 0 and values["rule hard_bounds"] == "0"
