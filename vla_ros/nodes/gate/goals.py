"""An action that the gate commands: one goal at a time, sent and cancelled without waiting.

It is spoken by the services and the status topic that every action has, not by rclpy's
ActionClient: so the watchdog's own thread sends and cancels, whatever the executor does, and a goal
can be cancelled that was not yet answered.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from action_msgs.srv import CancelGoal
from rclpy.task import Future

from vla_ros.core.robot import Robot
from vla_ros.core.robot_channels import Channel
from vla_ros.core.robot_outputs import FOLLOW_TRAJECTORY, Output
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.qos import LATCHED
from vla_ros.nodes.common.reader import Reader
from vla_ros.nodes.gate.output_messages import output_class, output_goal

ANSWER_TIMEOUT_NS = 1_000_000_000  # a server that takes longer is not there
GOAL_INTERVAL_NS = 100_000_000  # between two goals: a server plans anew for each
REST_TIME_NS = 100_000_000  # a value that stays for so long has arrived: the goal is exactly there
CANCEL_INTERVAL_NS = 100_000_000  # between two cancels, until one of them is answered
# What went wrong is reported for so long: the look for listeners comes twice a second.
TROUBLE_TIME_NS = 1_500_000_000
MAX_STATUS_BYTES = 1 << 16
ENDED = {GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED}


@dataclass
class Goal:
    """A goal that was sent. Times in steady ns."""

    number: bytes  # its UUID
    values: Mapping[str, float]  # channel -> where to, in its unit
    sent: int
    answer: Future | None  # None: it was answered, or no longer counts
    accepted: bool = False
    ended: bool = False


class Goals:
    """Follows the values that the gate emits with goals of one action.

    Every call returns at once, from whichever thread holds the gate's lock.

    Args:
        node: the gate's.
        robot: whose output.
        output: one that is an action.

    Raises:
        ValueError: the action's package is not installed, or its time_from_start is too short.
    """

    def __init__(self, node: ManagedNode, robot: Robot, output: Output) -> None:
        self.output = output
        self._robot = robot
        self._channels: tuple[Channel, ...] = tuple(map(robot.channel, output.channels))
        service = output_class(output).Impl.SendGoalService
        interval_s = GOAL_INTERVAL_NS / 1e9
        self._ahead_s = output.time_from_start or 2.0 * interval_s
        if self._ahead_s < interval_s:
            raise ValueError(
                f"output '{output.topic}': time_from_start is {self._ahead_s:g} s; a goal is sent "
                f"every {interval_s:g} s: give at least that"
            )
        name = output.topic
        self._send = node.add_client(service, f"{name}/_action/send_goal")
        self._cancel = node.add_client(CancelGoal, f"{name}/_action/cancel_goal")
        self._status: Reader = node.add_reader(
            GoalStatusArray, f"{name}/_action/status", LATCHED, most_bytes=MAX_STATUS_BYTES
        )
        self._request = service.Request
        self.goal: Goal | None = None
        self._before: Goal | None = None  # the one that it replaces
        self._values: Mapping[str, float] = {}  # emitted last
        self._since = 0  # they have been the same
        self._failed = False  # the last goal came to nothing: only motion sends another
        self._may_run = False  # something may be under way that no cancel has ended
        self._cancelled: Future | None = None
        self._cancel_sent = 0
        self._stirred = 0  # when a goal was last sent, answered, or said to run
        self._cancel_began = 0
        self._trouble = ("", 0)
        self.sent = 0  # goals

    # -- what the gate asks for --------------------------------------------------------
    def follow(self, values: Mapping[str, float], moves: bool) -> None:
        """Sends a goal where `values` (channel -> value in its unit) ask for a new one.

        Args:
            values: what the gate emits.
            moves: the policy moves the robot; else it holds, and what failed is not tried again.
        """
        if self._cancel_began:  # the last stop is not over for the server
            self.cancel()
            return
        now = time.monotonic_ns()
        self._look(now)
        if values != self._values:
            self._values = dict(values)
            self._since = now
        if self._is_due(now, moves):
            self._send_goal(now)

    def cancel(self) -> None:
        """Ends whatever the action's server does, ours or not, until it has answered that.

        Nothing is asked of it before this gate has sent a goal.
        """
        now = time.monotonic_ns()
        self._before = None  # all are cancelled
        self._look(now)
        self._failed = True
        if not self._may_run:
            return
        self._cancel_began = self._cancel_began or now
        if self._cancel_answered():
            self._may_run = False
            self._cancel_began = 0
        elif now - self._cancel_sent > CANCEL_INTERVAL_NS:
            self._forget(self._cancel, self._cancelled)
            # Neither an id nor a time: all goals.
            self._cancelled = self._cancel.call_async(CancelGoal.Request())
            self._cancel_sent = now

    @property
    def running(self) -> bool:
        """Whether the robot may still follow a goal."""
        return self._may_run and self.goal is not None and not self.goal.ended

    def lose(self) -> None:
        """The server is gone, and what it was asked for with it."""
        self._failed = True
        if self.goal is not None:
            self.goal.ended = True

    def troubles(self) -> list[str]:
        """What went wrong lately, a sentence."""
        if self._cancel_began:
            return [
                f"{self.output.topic} ({self.output.type}) has not ended the goal that a stop "
                "cancelled; look at its controller"
            ]
        sentence, when = self._trouble
        return [sentence] if sentence and time.monotonic_ns() - when < TROUBLE_TIME_NS else []

    # -- inside ------------------------------------------------------------------------
    def _is_due(self, now: int, moves: bool) -> bool:
        goal = self.goal
        if goal is not None and (goal.answer or now - goal.sent < GOAL_INTERVAL_NS):
            return False  # one at a time
        if goal is None or self._failed:
            return moves and not self.troubles()
        rests = now - self._since >= REST_TIME_NS
        for channel in self._channels:
            away = abs(self._values[channel.name] - goal.values[channel.name])
            if away > self.output.step_of(channel) or (rests and away > 0.0):
                return True
        return False

    def _send_goal(self, now: int) -> None:
        before = self.goal
        number = uuid.uuid4().bytes
        request = self._request()
        request.goal_id.uuid = list(number)
        sent = {}
        for channel in self._channels:
            sent[channel.name] = channel.sent(self._values[channel.name])
        request.goal = output_goal(self._robot, self.output, sent, self._reach_s(before))
        self.goal = Goal(number, self._values, now, None)
        self._stirred = now
        self._failed = False
        # From here on: a request that raises may have left nevertheless.
        self._may_run = True
        self.goal.answer = self._send.call_async(request)
        self.sent += 1
        self._before = before

    def _end_before(self) -> None:
        """Most servers end the old goal when they accept a new one; the others are told to."""
        if self._before is None or self._before.ended:
            return
        request = CancelGoal.Request()
        request.goal_info.goal_id.uuid = list(self._before.number)
        self._before = None
        self._forget(self._cancel, self._cancelled)
        self._cancelled = self._cancel.call_async(request)

    def look(self) -> None:
        """Takes what the server says of its goals."""
        for message in self._status.take():
            self._take(message)

    def _look(self, now: int) -> None:
        """What the server says, and what it should have said by now."""
        self.look()
        goal = self.goal
        if goal is None or goal.answer is None:
            return
        if goal.answer.done():
            answer = goal.answer.result()
            goal.answer = None
            self._stirred = now
            self._end_before()
            goal.accepted = answer is not None and answer.accepted
            if not goal.accepted:
                goal.ended = True
                self._fail("rejects the goal", now)
        elif now - goal.sent > ANSWER_TIMEOUT_NS:
            self._forget(self._send, goal.answer)
            goal.answer = None
            self._fail(f"did not answer a goal within {ANSWER_TIMEOUT_NS / 1e9:g} s", now)

    def _take(self, message: GoalStatusArray) -> None:
        """Which of the last two goals run, and which have ended."""
        for status in message.status_list:
            number = bytes(status.goal_info.goal_id.uuid)
            if status.status not in ENDED:
                # Accepted after all: too late for an answer, or for the cancel.
                if self.goal is not None and self.goal.number == number:
                    self.goal.accepted = True
                    self._note_motion(status.status)
                continue
            for goal in (self.goal, self._before):
                if goal is not None and goal.number == number and not goal.ended:
                    goal.ended = True
                    self._note_end(goal, status.status)

    def _note_motion(self, status: int) -> None:
        self._may_run = True
        if status != GoalStatus.STATUS_CANCELING:
            self._stirred = time.monotonic_ns()

    def _note_end(self, goal: Goal, status: int) -> None:
        # A gripper that meets what it grips may call that aborted: it is what was wanted.
        aborted = status == GoalStatus.STATUS_ABORTED and self.output.type == FOLLOW_TRAJECTORY
        if aborted and goal is self.goal:
            self._fail("aborted its goal", time.monotonic_ns())

    def _cancel_answered(self) -> bool:
        """Whether a cancel that was sent after the goal was answered has ended all goals."""
        future = self._cancelled
        if future is None or not future.done():
            return False
        waits = self.goal is not None and self.goal.answer is not None
        if waits or self._cancel_sent < self._stirred:
            self._cancelled = None  # a goal may have begun after that cancel: once more
            return False
        answer = future.result()
        self._cancelled = None
        goal = self.goal
        if answer is None or goal is None:
            return answer is not None
        # Whatever code the server gives: a goal that runs is among those that it ends.
        ends = {bytes(info.goal_id.uuid) for info in answer.goals_canceling}
        return goal.ended or not goal.accepted or goal.number in ends

    def _fail(self, what: str, now: int) -> None:
        self._failed = True
        self._complain(what, now)

    def _complain(self, what: str, now: int) -> None:
        output = self.output
        values = ", ".join(f"{name}={value:.3g}" for name, value in self._values.items())
        self._trouble = (
            f"{output.topic} ({output.type}) {what} ({values}); look at its controller",
            now,
        )

    @staticmethod
    def _forget(client: Any, future: Future | None) -> None:
        """No longer waits for an answer: rclpy would keep it for ever."""
        if future is not None and not future.done():
            client.remove_pending_request(future)

    def _reach_s(self, before: Goal | None) -> float:
        """How long the way to the goal takes: what waited for an answer must not be made up for."""
        longest = self._ahead_s
        if before is None:
            return longest
        for channel in self._channels:
            way = abs(self._values[channel.name] - before.values[channel.name])
            longest = max(longest, way / channel.max_speed)
        return longest
