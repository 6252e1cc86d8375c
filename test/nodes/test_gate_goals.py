"""The goals of one action, answer by answer: no order of answers leaves a goal under way after a stop."""
from types import SimpleNamespace

import pytest

rclpy = pytest.importorskip("rclpy", reason="the node tests need ROS 2 (rclpy)")

from action_msgs.msg import GoalInfo, GoalStatus, GoalStatusArray
from action_msgs.srv import CancelGoal
from control_interfaces import import_control_msgs
from rclpy.task import Future

from vla_ros.core.robot import parse_robot
from vla_ros.nodes.gate import goals as goals_module
from vla_ros.nodes.gate.goals import Goals

GRIPPER = {"unit": "1", "bounds": [0.0, 1.0], "limits": [0.0, 1.0], "max_speed": 2.0, "on_stop": "hold_commanded"}


class Client:
    """Keeps what is asked for; a test answers."""

    def __init__(self):
        self.requests, self.futures, self.forgotten = [], [], []

    def call_async(self, request):
        self.requests.append(request)
        self.futures.append(Future())
        return self.futures[-1]

    def remove_pending_request(self, future):
        self.forgotten.append(future)


class Server:
    """A node's clients of an action, and its status."""

    def __init__(self, monkeypatch, **more):
        import_control_msgs()
        self.clients, self.said = {}, []
        robot = parse_robot({"name": "r", "channels": {"gripper": GRIPPER}, "outputs": [
            {"topic": "/grip", "type": "control_msgs/action/GripperCommand", "channels": ["gripper"], **more}]})
        self.goals = Goals(self, robot, robot.outputs[0])
        for name in ("CANCEL_INTERVAL_NS", "GOAL_INTERVAL_NS"):
            monkeypatch.setattr(goals_module, name, -1)
        self.sends, self.cancels = self.clients["/grip/_action/send_goal"], self.clients["/grip/_action/cancel_goal"]

    def add_client(self, kind, name):
        return self.clients.setdefault(name, Client())

    def add_reader(self, kind, topic, qos, most_bytes):
        def take():
            said, self.said = self.said, []
            return iter(said)
        return SimpleNamespace(take=take)

    def follow(self, value, moves=True):
        self.goals.follow({"gripper": value}, moves)

    def accept(self, accepted=True):
        self.sends.futures[-1].set_result(SimpleNamespace(accepted=accepted))

    def end_all(self, *numbers):
        infos = []
        for number in numbers:
            infos.append(GoalInfo())
            infos[-1].goal_id.uuid = list(number)
        self.cancels.futures[-1].set_result(CancelGoal.Response(goals_canceling=infos))

    def say(self, status, number=None):
        message = GoalStatus(status=status)
        message.goal_info.goal_id.uuid = list(number or self.goals.goal.number)
        self.said.append(GoalStatusArray(status_list=[message]))


@pytest.fixture
def server(monkeypatch):
    return Server(monkeypatch)


def test_before_a_goal_was_sent_nothing_is_cancelled(server):
    server.goals.cancel()
    assert not server.cancels.requests and not server.goals.troubles()


def test_a_stop_asks_for_all_goals_until_that_is_answered(server):
    server.follow(0.5)
    server.accept()
    for count in (1, 2, 3):
        server.goals.cancel()
        assert len(server.cancels.requests) == count
    assert not any(server.cancels.requests[0].goal_info.goal_id.uuid)
    assert server.cancels.forgotten == server.cancels.futures[:2]  # rclpy would keep them for ever
    server.end_all(server.goals.goal.number)
    for _ in range(3):
        server.goals.cancel()
    assert len(server.cancels.requests) == 3 and not server.goals.troubles()


def test_a_goal_that_is_accepted_after_the_cancel_s_answer_is_cancelled_once_more(server):
    server.follow(0.5)
    server.goals.cancel()
    server.end_all()  # there is nothing yet that it could end
    server.goals.cancel()
    server.goals.cancel()
    server.accept()
    server.goals.cancel()
    server.end_all()
    server.goals.cancel()
    assert server.goals.troubles() and len(server.cancels.requests) >= 3
    server.goals.cancel()
    server.end_all(server.goals.goal.number)
    server.goals.cancel()
    assert not server.goals.troubles()


def test_a_goal_that_runs_long_after_it_was_given_up_is_cancelled(server, monkeypatch):
    monkeypatch.setattr(goals_module, "ANSWER_TIMEOUT_NS", -1)
    server.follow(0.5)
    server.goals.cancel()
    server.end_all()
    server.goals.cancel()
    count = len(server.cancels.requests)
    server.say(GoalStatus.STATUS_EXECUTING)
    server.goals.cancel()
    assert len(server.cancels.requests) == count + 1


def test_after_a_stop_that_is_not_over_no_goal_is_sent(server):
    server.follow(0.5)
    server.accept()
    server.goals.cancel()
    server.follow(0.9)
    assert len(server.sends.requests) == 1 and len(server.cancels.requests) == 2
    server.end_all(server.goals.goal.number)
    server.follow(0.9)
    server.follow(0.9)
    assert len(server.sends.requests) == 2


@pytest.mark.parametrize("value, sent", [(0.549, 1), (0.5499, 1), (0.551, 2), (0.449, 2)])
def test_a_new_goal_is_sent_beyond_the_step(server, value, sent):
    server.follow(0.5)
    server.accept()
    server.follow(value)
    assert len(server.sends.requests) == sent


def test_a_value_that_has_come_to_rest_beside_the_goal_is_sent_once(server, monkeypatch):
    server.follow(0.5)
    server.accept()
    monkeypatch.setattr(goals_module, "REST_TIME_NS", 0)
    for _ in range(5):
        server.follow(0.52)
        if not server.sends.futures[-1].done():
            server.accept()
    assert [request.goal.command.position for request in server.sends.requests] == [0.5, 0.52]


def test_while_a_goal_is_not_answered_none_is_sent_and_then_only_the_newest(server):
    for value in (0.1, 0.5, 0.9):
        server.follow(value)
    assert len(server.sends.requests) == 1
    server.accept()
    server.follow(0.9)
    assert server.sends.requests[-1].goal.command.position == 0.9


def test_the_old_goal_is_ended_when_the_new_one_is_answered_and_not_if_it_has_ended(server):
    server.follow(0.1)
    server.accept()
    old = server.goals.goal.number
    server.follow(0.5)
    assert not server.cancels.requests
    server.accept()
    server.follow(0.5)
    assert bytes(server.cancels.requests[0].goal_info.goal_id.uuid) == old
    newer = server.goals.goal.number
    server.follow(0.9)
    server.say(GoalStatus.STATUS_CANCELED, newer)  # the server has preempted it
    server.accept()
    server.follow(0.9)
    assert len(server.cancels.requests) == 1


def test_what_failed_is_tried_again_only_where_the_robot_moves(server, monkeypatch):
    server.follow(0.5)
    server.accept(False)
    server.follow(0.5)
    assert "rejects the goal (gripper=0.5)" in server.goals.troubles()[0]
    server.follow(0.5)
    assert len(server.sends.requests) == 1
    monkeypatch.setattr(goals_module, "TROUBLE_TIME_NS", -1)
    server.follow(0.5, moves=False)
    assert len(server.sends.requests) == 1
    server.follow(0.5)
    assert len(server.sends.requests) == 2


def test_an_answer_that_never_comes_is_given_up(server, monkeypatch):
    server.follow(0.5)
    server.follow(0.5)
    assert not server.goals.troubles()
    monkeypatch.setattr(goals_module, "ANSWER_TIMEOUT_NS", -1)
    server.follow(0.5)
    assert "did not answer a goal" in server.goals.troubles()[0]
    assert server.sends.forgotten == server.sends.futures


def test_max_effort_is_the_file_s(monkeypatch):
    server = Server(monkeypatch, max_effort=15.0)
    server.follow(0.5)
    assert server.sends.requests[0].goal.command.max_effort == 15.0
