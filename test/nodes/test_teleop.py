"""teleop and the gate on the wire: a person takes the robot with a stick, lets go, and gives it back."""
import time

import numpy as np
import pytest
from gate_robot import SIM, Robot, standing_after
from geometry_msgs.msg import Twist, TwistStamped
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState, Joy
from spinning import Spinning
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from vla_ros.core.types import ActionChunk as CoreChunk
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, LATEST
from vla_ros.nodes.teleop import Teleop
from vla_ros_msgs.msg import ActionChunk, SafetyReport

ARM = SIM.replace("sim.yaml", "diffdrive_arm.yaml")


class Person:
    """The gate with a policy that drives, the node teleop in a thread of its own, and who holds the sticks."""

    def __init__(self, around, **parameters):
        self.around = around
        self.robot = Robot(around, teleop=True)
        self.resets = []
        self.reset_answer = True
        around.node.create_service(Trigger, "inference/reset_policy", self.on_reset)
        overrides = [Parameter(name, value=value) for name, value in {"robot_file": SIM, **parameters}.items()]
        self.node = Teleop(parameter_overrides=overrides)
        self.node.trigger_configure()
        assert self.node.state == "inactive", self.node.problem
        self.node.trigger_activate()
        around.at_end.append(Spinning(self.node).close)
        self.twists = around.speaker(Twist, "teleop_twist", EVENTS)
        self.joys = around.speaker(Joy, "joy", EVENTS)
        self.joints = around.speaker(JointState, "teleop_joints", EVENTS)
        self.rows = around.hear(ActionChunk, "teleop/action_chunk", LATEST)
        self.twist = self.joy = None  # what is said at 20 Hz
        self.stamped = True
        around.node.create_timer(0.05, self.live)
        around.wait(lambda: self.node._rows.get_subscription_count() == 2 and self.twists.get_subscription_count()
                    and self.joys.get_subscription_count())

    def on_reset(self, request, response):
        self.resets.append(time.monotonic())
        response.success, response.message = self.reset_answer, "it says so"
        return response

    def live(self):
        if self.twist is not None:
            message = Twist()
            message.linear.x, message.angular.z = self.twist
            self.twists.publish(message)
        if self.joy is not None:
            axes, buttons = self.joy
            message = Joy(axes=[float(axis) for axis in axes], buttons=list(buttons))
            if self.stamped:
                message.header.stamp = convert.time_message(time.time_ns())
            self.joys.publish(message)

    def shows(self, axes, buttons):
        """The gamepad says so until the node has heard it for 0.15 s."""
        self.joy = axes, buttons
        since = time.monotonic_ns()
        self.around.wait(lambda: self.node._stick._deadmen["joy"].heard > since + 150_000_000)

    @property
    def report(self):
        return self.robot.reports[-1]

    def has_it(self):
        return self.report.control_source == "teleop"

    def driving(self, speed=0.2):
        """At the speed that a person asked for."""
        self.robot.moving()
        self.twist = (speed, 0.0)
        self.around.wait(lambda: self.has_it() and abs(self.robot.twists[-1].linear.x - speed) < 1e-3)
        return self

    def give_back(self):
        return self.around.call("teleop/give_back")


def test_a_twist_takes_the_robot_from_the_policy_without_a_jump_and_silence_holds_it(around):
    person = Person(around)
    person.robot.moving()
    begin = len(person.robot.reports)
    person.driving(-0.2)
    reports = person.robot.reports[begin:]
    steps = np.diff([report.emitted[0] for report in reports])
    times = np.diff([convert.stamp_ns(report.header.stamp) / 1e9 for report in reports])
    # The brake's; a stamp is taken a little after its tick began. A hold is left out: after a stall of the machine it brakes
    # by the stall's length, which the stamps need not show.
    moves = np.array([report.state == SafetyReport.ACTIVE for report in reports[1:]])
    assert moves.any() and (np.abs(steps) <= 3.0 * (times + 0.02))[moves].all()
    assert person.report.instruction_id == person.report.sequence == 0
    start = time.monotonic()
    person.twist = None
    assert standing_after(person.robot, start) < 0.7 + around.late(start)
    around.wait(lambda: person.report.state == SafetyReport.HOLDING)
    assert person.report.rule == "teleop_stick" and person.has_it()


def test_only_a_give_back_returns_it_and_the_policy_is_reset_before(around):
    person = Person(around).driving()
    answer = person.give_back()
    assert not answer.success and "let it go first" in answer.message
    person.twist = (0.0, 0.0)  # a stick at rest is let go
    around.wait(lambda: person.report.rule == "teleop_stick")
    time.sleep(0.3)
    assert person.has_it() and not person.resets
    answer = person.give_back()
    assert answer.success and "the policy has the robot again" in answer.message
    assert len(person.resets) == 1
    around.wait(lambda: not person.has_it() and person.robot.twists[-1].linear.x > 0.29)


def test_a_policy_that_cannot_be_reset_gets_nothing_back(around):
    person = Person(around).driving()
    person.twist = None
    around.wait(lambda: person.report.rule == "teleop_stick")
    person.reset_answer = False
    answer = person.give_back()
    assert not answer.success and "could not be reset" in answer.message
    time.sleep(0.2)
    assert person.has_it()


def test_what_nobody_took_is_not_given_back_and_the_policy_not_reset(around):
    person = Person(around)
    person.robot.moving()
    answer = person.give_back()
    assert not answer.success and "nobody took" in answer.message
    assert not person.resets


def test_a_gamepad_drives_while_its_deadman_is_held(around):
    person = Person(around)
    person.robot.moving()
    person.joy = [0.0, 1.0], [0] * 8  # pushed, and the deadman let go
    time.sleep(0.3)
    assert not person.has_it()
    person.shows([0.0, 0.0], [0] * 8)
    person.joy = [0.0, 0.0], [0] * 4 + [1] + [0] * 3
    around.wait(lambda: person.has_it() and person.report.state == SafetyReport.ACTIVE and person.robot.twists[-1].linear.x == 0.0)
    person.joy = [0.0, -1.0], [0] * 4 + [1] + [0] * 3
    around.wait(lambda: person.robot.twists[-1].linear.x < -0.2)
    person.joy = [0.0, -1.0], [0] * 8  # let go with the stick still pushed
    around.wait(lambda: person.robot.twists[-1].linear.x == 0.0)
    assert person.has_it() and person.report.rule == "teleop_stick"


def test_a_stick_that_floats_when_its_deadman_is_pressed_takes_the_robot_and_moves_it_once_it_was_at_rest(around):
    person = Person(around)
    person.robot.moving()
    person.shows([0.0, -1.0], [0] * 8)
    person.joy = [0.0, -1.0], [0] * 4 + [1]
    around.wait(lambda: person.has_it() and person.robot.twists[-1].linear.x == 0.0)
    around.wait(lambda: around.said("not at rest"))
    time.sleep(0.3)
    assert all(twist.linear.x >= 0.0 for twist in person.robot.twists)
    person.shows([0.0, 0.0], [0] * 4 + [1])
    person.joy = [0.0, -1.0], [0] * 4 + [1]
    around.wait(lambda: person.robot.twists[-1].linear.x < -0.2)


def test_a_gamepad_that_repeats_its_last_message_holds_until_its_deadman_is_pressed_again(around):
    person = Person(around)
    person.robot.moving()
    held = [0.0, 0.0], [0] * 4 + [1]
    person.shows([0.0, 0.0], [0] * 8)
    person.joy = held
    around.wait(person.has_it)
    person.joy = None
    message = Joy(axes=[0.0, 0.3], buttons=[0, 0, 0, 0, 1])
    message.header.stamp = convert.time_message(time.time_ns())
    timer = around.node.create_timer(0.05, lambda: person.joys.publish(message))
    around.wait(lambda: person.report.rule == "teleop_stick")
    assert "old" in person.report.reason
    around.node.destroy_timer(timer)


def holds(person, seconds=1.0):
    """The person has the robot, and nothing moves it, for all of that time."""
    person.around.wait(lambda: person.has_it() and person.robot.twists[-1].linear.x == 0.0
                       and person.robot.reports[-1].emitted[0] == 0.0)  # it has braked, and said so
    begin, reports = len(person.robot.reports), person.robot.reports
    end = time.monotonic() + seconds
    person.around.wait(lambda: time.monotonic() > end)
    assert {report.control_source for report in reports[begin:]} == {"teleop"}
    return all(report.emitted[0] == 0.0 for report in reports[begin:])


def pressed(person, axes=(0.0, 0.0)):
    person.robot.moving()
    person.shows([0.0, 0.0], [0] * 8)
    person.joy = list(axes), [0] * 4 + [1]
    return person


def test_under_a_held_deadman_whose_axes_are_not_there_no_policy_drives(around):
    person = pressed(Person(around, joy_axes=["linear.x=7"]))
    assert holds(person)
    assert "number 7 of 2" in person.node.problem
    answer = person.give_back()
    assert not answer.success and "let it go first" in answer.message


def test_a_button_that_was_held_as_teleop_started_holds_the_robot_and_drives_it_after_it_was_let_go(around):
    person = Person(around)
    person.robot.moving()
    person.joy = [0.0, -1.0], [0] * 4 + [1]
    assert holds(person)
    person.shows([0.0, 0.0], [0] * 5)
    person.shows([0.0, 0.0], [0] * 4 + [1])
    person.joy = [0.0, -1.0], [0] * 4 + [1]
    around.wait(lambda: person.robot.twists[-1].linear.x < -0.2)


def test_a_second_gamepad_holds_the_robot_and_once_it_is_gone_the_deadman_is_let_go_first(around):
    person = Person(around)
    person.robot.moving()
    other = around.speaker(Joy, "joy", EVENTS)
    around.wait(lambda: around.said("2 nodes publish joy"))
    pressed(person, (0.0, -1.0))
    assert holds(person)
    around.node.destroy_publisher(other)
    around.wait(lambda: not person.node._rivals)
    assert holds(person)


def test_a_second_twist_holds_the_robot_and_once_it_is_gone_the_first_is_let_go_first(around):
    person = Person(around).driving()
    other = around.speaker(Twist, "teleop_twist", EVENTS)
    around.wait(lambda: person.report.rule == "teleop_stick")
    around.node.destroy_publisher(other)
    around.wait(lambda: not person.node._rivals)
    assert holds(person)
    person.twist = (0.0, 0.0)
    time.sleep(0.2)
    person.twist = (0.2, 0.0)
    around.wait(lambda: person.robot.twists[-1].linear.x > 0.19)


def test_a_teleop_that_is_deactivated_and_activated_again_waits_for_the_stick_to_be_let_go(around):
    person = Person(around, stick_timeout=1.0)
    around.wait(lambda: person.node._stick._deadmen["teleop_twist"].ready)
    person.driving().node.trigger_deactivate()
    around.wait(lambda: person.report.rule == "teleop_stick")
    time.sleep(1.5)  # longer than a silence that lets go: it heard nothing, though the stick goes on
    person.twist = None
    time.sleep(0.3)  # until nothing is on its way
    person.node.trigger_activate()
    time.sleep(0.3)  # its first looks fall into a pause between two messages
    person.twist = (0.2, 0.0)
    assert holds(person)


def test_a_deadman_that_is_pressed_while_the_policy_is_reset_keeps_the_robot(around):
    person = pressed(Person(around))
    around.wait(person.has_it)
    person.joy = [0.0, 0.0], [0] * 8
    around.wait(lambda: not person.node._stick.held)
    answered = person.on_reset

    def press_meanwhile(request, response):
        message = Joy(axes=[0.0, 0.0], buttons=[0, 0, 0, 0, 1])
        message.header.stamp = convert.time_message(time.time_ns())
        person.joys.publish(message)
        time.sleep(0.15)
        return answered(request, response)
    person.joy = None
    for service in around.node.services:
        if service.srv_name.endswith("inference/reset_policy"):
            service.callback = press_meanwhile
    answer = person.give_back()
    assert not answer.success and "pressed meanwhile" in answer.message
    assert holds(person, 0.3)


def test_a_gamepad_that_hangs_as_it_jogs_is_let_go(around):
    person = Person(around, joy_axes=["gripper=1:0.01"], stuck_stick_limit=1.0)
    pressed(person)
    around.wait(person.has_it)
    begin = person.robot.grips[-1].data[0]
    person.joy = [0.0, -1.0], [0] * 4 + [1]  # stamped anew each time
    around.wait(lambda: "does it hang" in person.node.problem)
    assert person.robot.grips[-1].data[0] < begin
    around.wait(lambda: person.report.rule == "teleop_stick")
    person.joy = [0.0, -0.5], [0] * 4 + [1]
    assert holds(person, 0.5)


@pytest.mark.parametrize("axes, buttons, says", [([0.0], [0] * 5, "number 1 of 1"), ([0.0, 0.0], [0] * 4, "joy_deadman is number 4")])
def test_a_gamepad_of_another_kind_is_refused_with_a_sentence(around, axes, buttons, says):
    person = Person(around)
    person.joy = axes, buttons
    around.wait(lambda: says in person.node.problem)


def test_two_publishers_of_one_stick_are_both_refused(around):
    person = Person(around).driving()
    other = around.speaker(Twist, "teleop_twist", EVENTS)
    around.wait(lambda: person.report.rule == "teleop_stick")
    assert person.has_it()
    around.wait(lambda: around.said("2 nodes publish teleop_twist"))
    around.node.destroy_publisher(other)
    around.wait(lambda: not person.node._rivals)
    time.sleep(0.3)
    assert person.report.rule == "teleop_stick"  # it is pushed still, and was not let go
    person.twist = None
    time.sleep(1.3)  # silent for long enough to have been let go
    person.twist = (0.2, 0.0)
    around.wait(lambda: person.robot.twists[-1].linear.x > 0.19)


def test_two_processes_that_send_rows_are_both_refused(around):
    person = Person(around).driving()
    other = around.speaker(ActionChunk, "teleop/action_chunk", LATEST)

    def say():
        other.publish(convert.chunk_message(CoreChunk(time.time_ns(), 10**15, ("linear.x", "angular.z"),
                                                      np.array([[0.4, 0.0]], np.float32), 100_000_000, 1, process="other")))
    timer = around.node.create_timer(0.05, say)
    around.wait(lambda: person.report.rule == "teleop_source")
    around.node.destroy_timer(timer)
    assert max(twist.linear.x for twist in person.robot.twists) <= 0.3 + 1e-6


def test_joints_are_jogged_and_a_name_that_the_robot_lacks_is_refused_by_the_gate(around):
    person = Person(around)
    person.robot.moving()
    grip = person.robot.grips[-1].data[0]

    def say(name, velocity):
        person.joints.publish(JointState(name=[name], velocity=[velocity]))
    timer = around.node.create_timer(0.05, lambda: say("gripper_joint", -0.05))
    around.wait(lambda: person.has_it() and person.robot.grips[-1].data[0] < grip - 0.01)
    around.node.destroy_timer(timer)
    around.wait(lambda: person.report.rule == "teleop_stick")
    timer = around.node.create_timer(0.05, lambda: say("wing", 1.0))
    around.wait(lambda: person.report.rule == "chunk_shape")
    assert "no channel 'wing'" in person.report.reason
    around.node.destroy_timer(timer)


def test_a_base_that_takes_twists_with_stamps_is_told_so_and_their_stamps_are_the_rows(around):
    node = around.start(Teleop, robot_file=ARM)
    twists = around.speaker(TwistStamped, "teleop_twist", EVENTS)
    rows = around.hear(ActionChunk, "teleop/action_chunk", LATEST)
    around.wait(lambda: twists.get_subscription_count() and node._rows.get_subscription_count())
    message = TwistStamped()
    message.header.stamp = convert.time_message(time.time_ns() - 123_000_000)

    def is_let_go():
        twists.publish(message)
        return "teleop_twist" in node._heard
    around.wait(is_let_go)
    message.twist.linear.x = 0.1

    def arrives():
        twists.publish(message)
        return rows
    around.wait(arrives)
    assert rows[0].header.stamp == message.header.stamp
    assert list(rows[0].channels) == ["linear.x", "angular.z"] and rows[0].instruction_id > 0
    assert rows[0].policy == "teleop" and rows[0].process == node._life
    around.wait(lambda: rows[-1].instruction_id == 0)  # silence lets go


def test_the_stop_latches_and_a_person_presses_again_after_the_arming(around):
    person = Person(around).driving()
    person.robot.stops.publish(Bool(data=True))
    around.wait(lambda: person.report.state == SafetyReport.STOPPED)
    around.wait(lambda: not person.node._stick.press)  # it is over for teleop as well, whatever gaps there are in what it says
    person.robot.stops.publish(Bool(data=False))
    around.wait(lambda: not person.robot.node._inputs.stop_pressed)
    assert person.robot.call("reset").success
    assert "a person has the robot" in person.robot.call("arm").message
    time.sleep(0.3)
    assert person.robot.twists[-1].linear.x == 0.0 and person.has_it()
    person.twist = None
    time.sleep(0.4)
    person.twist = (0.2, 0.0)
    time.sleep(0.4)  # a gap in what it says is no letting go of it
    assert person.robot.twists[-1].linear.x == 0.0 and person.has_it()
    person.twist = (0.0, 0.0)
    time.sleep(0.2)
    person.twist = (0.2, 0.0)
    around.wait(lambda: person.robot.twists[-1].linear.x > 0.19)


def test_a_gate_without_the_parameter_hears_no_stick_and_gives_nothing_back(around):
    robot = Robot(around).moving()
    rows = around.speaker(ActionChunk, "teleop/action_chunk", LATEST)
    assert not rows.get_subscription_count()
    names = {service.srv_name for service in robot.node.services}
    assert not [name for name in names if name.endswith("give_back")]
    assert robot.reports[-1].control_source == "policy"


@pytest.mark.parametrize("parameters, says", [({"joy_axes": ["wings=1"]}, "no channel 'wings'"),
                                              ({"joy_buttons": ["gripper"]}, "channel=index")])
def test_a_bad_parameter_makes_configure_fail_with_a_sentence(around, parameters, says):
    node = around.make(Teleop, robot_file=SIM, **parameters)
    node.trigger_configure()
    assert node.state == "unconfigured" and says in node.problem
