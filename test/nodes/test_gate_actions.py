"""Outputs that are actions: one goal at a time, a real server of each kind, and one sentence for each way that it fails."""
import time

import pytest
import rclpy
from control_interfaces import import_control_msgs
from gate_robot import Robot
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from robots import SIM, robot_file

from vla_ros.nodes.gate import goals as goals_module
from vla_ros_msgs.msg import SafetyReport

GRIP = "/gripper_controller/gripper_cmd"
PATIENCE_S = 15.0  # for what comes by itself, on a machine that is busy


@pytest.fixture(scope="module", autouse=True)
def control_msgs():
    import_control_msgs()


def outputs(kind="GripperCommand", **more):
    import yaml
    twist = yaml.safe_load(SIM.read_text())["outputs"][0]
    return [twist, {"topic": GRIP, "type": f"control_msgs/action/{kind}", "channels": ["gripper"], **more}]


class Controller:
    """A gripper's action server, in a context of its own, as a driver's process; it never waits for anybody."""

    def __init__(self, kind="GripperCommand", accepts=True, cancels=True, seconds=0.2, aborts=False, answers=True):
        import control_msgs.action
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("gripper_driver", context=self.context)
        self.accepts, self.cancels, self.seconds, self.aborts, self.answers = accepts, cancels, seconds, aborts, answers
        self.goals, self.events, self.most, self.running = [], [], 0, []
        self.over = False
        group = ReentrantCallbackGroup()
        self.server = ActionServer(
            self.node, getattr(control_msgs.action, kind), GRIP, self.execute, callback_group=group,
            goal_callback=self.on_goal, cancel_callback=self.on_cancel, handle_accepted_callback=self.on_accepted)
        self.executor = MultiThreadedExecutor(4, context=self.context)
        self.executor.add_node(self.node)
        import threading
        self.thread = threading.Thread(target=self.spin, daemon=True)
        self.thread.start()

    def spin(self):
        while not self.over:
            self.executor.spin_once(timeout_sec=0.02)

    def on_goal(self, goal):
        self.goals.append(goal)
        end = time.monotonic() + 4.0
        while not self.answers and not self.over and time.monotonic() < end:
            time.sleep(0.01)
        return GoalResponse.ACCEPT if self.accepts else GoalResponse.REJECT

    def on_cancel(self, handle):
        self.events.append("cancel")
        return CancelResponse.ACCEPT if self.cancels else CancelResponse.REJECT

    def on_accepted(self, handle):
        self.running.append(handle)
        handle.execute()

    def execute(self, handle):
        end = time.monotonic() + self.seconds
        while time.monotonic() < end and not self.over:
            going = [other for other in self.running if other.is_active]
            self.most = max(self.most, len(going))
            if handle.is_cancel_requested:
                handle.canceled()
                self.events.append("canceled")
                return self.server.action_type.Result()
            time.sleep(0.005)
        if not self.over and handle.is_active:
            handle.abort() if self.aborts else handle.succeed()
        return self.server.action_type.Result()

    def values(self):
        return [goal.command.position for goal in self.goals]

    def die(self):
        """As a process that ends: without a word about its goals."""
        self.server.destroy()
        self.over = True
        self.thread.join(timeout=5.0)
        self.executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def served():
    """Makes controllers, and ends them."""
    made = []

    def make(*options, **more):
        made.append(Controller(*options, **more))
        return made[-1]
    yield make
    for controller in made:
        if not controller.over:
            controller.die()


def robot(around, **more):
    made = Robot(around, robot_file(outputs=outputs(**more)), cameras=["camera"])
    made.values = {"linear.x": 0.0, "angular.z": 0.0, "gripper": 0.9}  # it stands at 0.5
    return made


def grips(made, value):
    made.values = {**made.values, "gripper": value}


def armed(made):
    made.around.wait(lambda: made.call("arm").success)
    made.say("go")
    return made


def says(made, text):
    """The robot holds, with `text` in the reason, and diagnostics say so."""
    made.around.wait(lambda: made.reports[-1].rule == "listeners" and text in made.reports[-1].reason, 8.0)
    assert made.reports[-1].state != SafetyReport.ACTIVE
    return made


def test_a_gripper_that_moves_is_sent_a_few_goals_and_one_that_holds_none(around, served):
    controller = served()
    made = armed(robot(around))
    around.wait(lambda: controller.values() and controller.values()[-1] == pytest.approx(0.09))  # 0.9 x scale 0.10
    count = len(controller.goals)
    assert count <= 12  # not one in each of its periods
    time.sleep(1.0)
    assert len(controller.goals) == count
    grips(made, 0.92)  # within the step, and it comes to rest there
    around.wait(lambda: controller.values()[-1] == pytest.approx(0.092))
    assert len(controller.goals) == count + 1


def test_one_goal_is_under_way_and_a_newer_one_ends_the_old(around, served):
    controller = served(seconds=20.0)  # it does not preempt by itself
    made = armed(robot(around, step=0.2))
    around.wait(lambda: controller.values() and controller.values()[-1] == pytest.approx(0.09))
    grips(made, 1.0)
    around.wait(lambda: controller.values()[-1] == pytest.approx(0.1))
    around.wait(lambda: len([goal for goal in controller.running if goal.is_active]) == 1)
    assert controller.most <= 2 and "canceled" in controller.events


@pytest.mark.parametrize("how", ["stop", "disarm", "deactivate"])
def test_a_stop_cancels_the_goal_once_it_is_sent_and_sends_no_other(around, served, how):
    controller = served(seconds=20.0)
    made = armed(robot(around))
    around.wait(lambda: controller.running and controller.values()[-1] == pytest.approx(0.09))
    if how == "stop":
        from std_msgs.msg import Bool
        made.stops.publish(Bool(data=True))
    elif how == "disarm":
        made.call("disarm")
    else:
        made.node.trigger_deactivate()
    around.wait(lambda: not [goal for goal in controller.running if goal.is_active])
    count = len(controller.goals), len(controller.events)
    time.sleep(0.5)
    assert (len(controller.goals), len(controller.events)) == count


def test_a_stop_does_not_wait_for_an_executor(around, served):
    """The watchdog's own thread cancels: the callbacks of the node hang meanwhile."""
    controller = served(seconds=20.0)
    made = armed(robot(around))
    around.wait(lambda: controller.running and controller.values()[-1] == pytest.approx(0.09))
    made.node.add_timer(0.01, lambda: time.sleep(1.0))
    time.sleep(0.1)
    since = time.monotonic()
    with made.node._lock:
        made.node._gate.latch("for the test")
    around.wait(lambda: "cancel" in controller.events)
    assert time.monotonic() - since < 0.5 + around.late(since)


def test_a_goal_that_was_never_answered_is_cancelled_as_well(around, served):
    controller = served(answers=False)
    made = armed(robot(around))
    around.wait(lambda: controller.goals)
    made.call("disarm")
    controller.answers, controller.seconds = True, 20.0  # it takes the goal only now
    around.wait(lambda: controller.running)
    around.wait(lambda: not [goal for goal in controller.running if goal.is_active])


def test_without_a_server_the_robot_is_not_armed(around):
    made = robot(around)
    answer = made.call("arm")
    assert not answer.success and f"nobody serves {GRIP} (control_msgs/action/GripperCommand); is its controller running?" in answer.message


def test_a_server_of_another_type_is_named(around, served):
    served("ParallelGripperCommand")
    made = robot(around)
    around.wait(lambda: "is served as control_msgs/action/ParallelGripperCommand" in made.call("arm").message)


def test_a_server_that_rejects_holds_the_robot_until_a_person_speaks_again(around, served):
    controller = served(accepts=False)
    made = armed(robot(around))
    says(made, "rejects the goal")
    time.sleep(2.0)
    assert len(controller.goals) <= 2 and made.reports[-1].rule == "instruction_match"
    controller.accepts = True
    made.say("go on")
    around.wait(lambda: made.reports[-1].state == SafetyReport.ACTIVE)
    around.wait(lambda: controller.running)


def test_a_server_that_never_answers_holds_the_robot(around, served):
    controller = served(answers=False)
    made = armed(robot(around))
    says(made, "did not answer a goal within 1 s")
    goals = made.node._outputs.goals[GRIP]
    assert len(controller.goals) == 1 and not goals._send._pending_requests


def test_a_server_that_dies_in_the_middle_of_a_goal_holds_the_robot(around, served):
    controller = served(seconds=20.0)
    made = armed(robot(around))
    around.wait(lambda: controller.running)
    controller.die()
    says(made, "its server is gone in the middle of a goal")
    again = served()
    around.wait(lambda: made.reports[-1].rule == "instruction_match")
    made.say("go on")
    around.wait(lambda: again.values() and again.values()[-1] == pytest.approx(0.09))


def test_a_server_whose_restart_nobody_saw_holds_the_robot_until_a_person_speaks_again(around, served):
    controller = served(seconds=20.0)
    made = armed(robot(around))
    around.wait(lambda: controller.running)
    begin = len(made.reports)
    again = served()  # there before the gate looks: it never sees that there is none
    around.wait(lambda: any("is served anew: its controller was started again" in report.reason
                            for report in made.reports[begin:]), PATIENCE_S)
    controller.die()
    around.wait(lambda: made.reports[-1].rule == "instruction_match")
    made.say("go on")
    around.wait(lambda: again.values() and again.values()[-1] == pytest.approx(0.09), PATIENCE_S)


def test_a_stop_after_a_server_was_started_again_is_over_when_the_new_one_has_answered(around, served):
    controller = served(seconds=20.0)
    made = armed(robot(around))
    around.wait(lambda: controller.running)
    controller.die()
    says(made, "its server is gone")
    served()
    made.call("disarm")
    around.wait(lambda: made.call("arm").success, PATIENCE_S)


def test_a_server_that_refuses_a_cancel_is_named_and_the_robot_not_armed_again(around, served):
    controller = served(seconds=20.0, cancels=False)
    made = armed(robot(around))
    around.wait(lambda: controller.running)
    made.call("disarm")
    around.wait(lambda: "has not ended the goal that a stop cancelled" in made.node.problem)
    answer = made.call("arm")
    assert not answer.success and "has not ended the goal that a stop cancelled" in answer.message
    goals = made.node._outputs.goals[GRIP]
    assert len(goals._cancel._pending_requests) <= 1
    controller.cancels = True
    around.wait(lambda: made.call("arm").success, PATIENCE_S)


def test_a_gripper_that_meets_what_it_grips_may_call_that_aborted(around, served):
    controller = served(aborts=True)
    made = armed(robot(around))
    around.wait(lambda: controller.values() and controller.values()[-1] == pytest.approx(0.09))
    time.sleep(1.0)
    assert made.reports[-1].state == SafetyReport.ACTIVE


def test_parallel_grippers_are_sent_their_joints_by_name(around, served):
    controller = served("ParallelGripperCommand")
    armed(robot(around, kind="ParallelGripperCommand", max_effort=40.0))
    around.wait(lambda: controller.goals)
    around.wait(lambda: controller.goals[-1].command.position[0] == pytest.approx(0.09))
    assert list(controller.goals[-1].command.name) == ["gripper_joint"]
    assert list(controller.goals[-1].command.effort) == [40.0]


def test_a_trajectory_that_is_aborted_holds_the_robot(around, served):
    controller = served("FollowJointTrajectory", aborts=True)
    made = armed(robot(around, kind="FollowJointTrajectory"))
    says(made, "aborted its goal")
    goal = controller.goals[0].trajectory
    assert list(goal.joint_names) == ["gripper_joint"] and goal.points[0].time_from_start.nanosec == 200_000_000


def test_what_waited_for_an_answer_is_not_made_up_for(around, served):
    """A way that took longer than a goal's time is given the time that it takes at max_speed."""
    controller = served("FollowJointTrajectory", answers=False)
    made = armed(robot(around, kind="FollowJointTrajectory", time_from_start=0.1))
    around.wait(lambda: controller.goals)
    time.sleep(0.4)
    controller.answers = True
    around.wait(lambda: len(controller.goals) > 1)
    first, second = (goal.trajectory.points[0] for goal in controller.goals[:2])
    seconds = second.time_from_start.sec + second.time_from_start.nanosec * 1e-9
    way = abs(second.positions[0] - first.positions[0]) / 0.10
    assert way > 0.3 and seconds == pytest.approx(way / 2.0, rel=1e-3)  # max_speed is 2.0
    assert made.node.state == "active"


@pytest.mark.parametrize("kind, more, says", [
    ("FollowJointTrajectory", {"time_from_start": 0.05}, "time_from_start is 0.05 s; a goal is sent every 0.1 s"),
])
def test_what_cannot_be_followed_is_refused_at_configure(around, kind, more, says):
    from vla_ros.nodes.safety_validator import SafetyValidator
    node = around.make(SafetyValidator, robot_file=robot_file(outputs=outputs(kind, **more)))
    node.trigger_configure()
    assert node.state == "unconfigured" and says in node.problem


def test_without_control_msgs_configure_fails_with_a_sentence(around, monkeypatch):
    import sys

    from vla_ros.nodes.safety_validator import SafetyValidator
    monkeypatch.setitem(sys.modules, "control_msgs.action", None)
    node = around.make(SafetyValidator, robot_file=robot_file(outputs=outputs()))
    node.trigger_configure()
    assert node.state == "unconfigured"
    assert f"output '{GRIP}' is a control_msgs/action/GripperCommand, which is not installed" in node.problem


def test_answer_times_are_those_that_the_documents_name():
    assert goals_module.ANSWER_TIMEOUT_NS == 1_000_000_000
