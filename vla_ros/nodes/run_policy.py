"""Serves the action RunPolicy: a behaviour tree gives an instruction, and learns how it ended.

What ends a goal is decided in policy_run.py. A goal changes nothing but the instruction: it arms
nothing, and its end takes its instruction back, as a stop word does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import RCLError
from std_msgs.msg import Bool

from vla_ros.core.instructions import RateLimit
from vla_ros.core.robot_fields import topic_name
from vla_ros.nodes.common.base import ManagedNode
from vla_ros.nodes.common.convert import stamp_ns
from vla_ros.nodes.common.qos import WATCHED, WORDS, WORDS_LOOSE
from vla_ros.nodes.policy_run import (
    CANCELED,
    DONE,
    REFUSED,
    STOPPED,
    GateTick,
    PolicyRun,
)
from vla_ros.safety.gate import State
from vla_ros.safety.rule import Verdict
from vla_ros_msgs.action import RunPolicy
from vla_ros_msgs.msg import ActionChunk, SafetyReport

PERIOD_S = 0.1  # between two looks at the gate's reports, and two feedbacks
MOST_BYTES = 80 << 10  # of a report or a chunk; what is larger is none
MAX_ANSWERS_HZ = 5.0  # to the operator; whoever sends the goals gets each
RESULT_TIMEOUT_S = 60  # how long a result is kept for who asks late


class Instructions(Protocol):
    """Who gives the instructions: command_ingest."""

    def check_words(self, text: str) -> None:
        """Raises ValueError for words that it does not accept; a stop word among them stops."""
        ...

    def give_instruction(self, text: str) -> int:
        """Gives the instruction; returns its id. Raises ValueError where it does not accept it."""
        ...

    def take_back(self, instruction_id: int) -> None:
        """Takes that instruction back, where it still holds."""
        ...


class _GoalServer(ActionServer):
    """An ActionServer whose goals run until `end` is called, with no callback that waits meanwhile.

    rclpy's own way is a coroutine that awaits a future, which its EventsExecutor asks over and
    over as fast as it can.
    """

    def __init__(
        self, node: Any, name: str, on_goal: Callable[[Any], None], **options: Any
    ) -> None:
        self._on_goal = on_goal
        super().__init__(node, RunPolicy, name, lambda goal: RunPolicy.Result(), **options)

    async def execute(self, taken_data: dict[str, Any]) -> None:
        """Answers what clients ask for; one that is gone before its answer costs no other's.

        rclpy before 3.3.12 (Humble) raises there, which would end the process.
        """
        for kind, taken in taken_data.items():
            try:
                await super().execute({kind: taken})
            except RCLError as error:
                if self._node.context.ok():
                    self._node.reject("a client of run_policy that is gone", error)

    def notify_execute(self, goal_handle: Any, execute_callback: Any) -> None:
        """rclpy says that a goal was accepted and is executing."""
        self._on_goal(goal_handle)

    def add_future(self, future: Any) -> None:
        """Not for the executor: who waits for the result is answered in `end`."""

    def remove_future(self, future: Any) -> None: ...

    def end(self, goal_handle: Any, result: RunPolicy.Result) -> None:
        """Sends the goal's result, with the status that belongs to it.

        At once: as a task of the executor it would be lost where the node shuts down.
        """

        def execute(goal_handle: Any) -> RunPolicy.Result:
            if result.outcome == DONE:
                goal_handle.succeed()
            elif goal_handle.is_cancel_requested and result.outcome == CANCELED:
                goal_handle.canceled()
            else:
                goal_handle.abort()
            return result

        with suppress(StopIteration):  # a coroutine that awaits nothing
            self._execute_goal(execute, goal_handle).send(None)


class RunPolicyServer:
    """Follows one goal at a time; another one is refused meanwhile.

    A goal that is refused is accepted first, as an action can, and ends at once: only a result has
    room for a sentence. The executor's thread calls everything; the main thread of a process that
    ends calls `stop`.

    Args:
        node: whose action it is.
        instructions: who gives them.
    """

    def __init__(self, node: ManagedNode, instructions: Instructions) -> None:
        self._node = node
        self._instructions = instructions
        self._lock = threading.RLock()  # of what follows; a stop word in a goal enters it twice
        self._goal: Any = None  # rclpy's handle of the goal that runs
        self._run: PolicyRun | None = None
        self._success: list[Any] = []  # subscriptions
        self._answers = RateLimit(MAX_ANSWERS_HZ)
        self._reports = node.add_reader(
            SafetyReport, "safety_report", WATCHED, most_bytes=MOST_BYTES
        )
        self._chunks = node.add_reader(ActionChunk, "action_chunk", WATCHED, most_bytes=MOST_BYTES)
        self._server = _GoalServer(
            node,
            "run_policy",
            lambda goal: node.guard(self._locked, self._on_goal, goal),
            cancel_callback=lambda goal: self._locked(self._on_cancel, goal),
            result_timeout=RESULT_TIMEOUT_S,
        )
        node.keep_action_server(self._server)
        node.add_timer(PERIOD_S, lambda: self._locked(self._look))

    def _locked(self, callback: Callable[..., Any], *arguments: Any) -> Any:
        with self._lock:
            return callback(*arguments)

    # -- what the node says ------------------------------------------------------------
    def note_operator(self, text: str) -> None:
        """A person gave an instruction, which then holds; empty: said a stop word."""
        with self._lock:
            if self._run is not None:
                self._run.note_operator(text)
                self._end_where_over()

    def stop(self, why: str) -> None:
        """Ends the goal that runs, if one does."""
        with self._lock:
            if self._run is not None:
                self._run.finish(STOPPED, why)
                self._end_where_over()

    # -- a goal ------------------------------------------------------------------------
    def _on_goal(self, goal: Any) -> None:
        """Accepted by rclpy. It runs, or ends at once."""
        run = PolicyRun(time.monotonic_ns(), stamp_ns(goal.request.time_limit))
        try:
            self._check(goal.request)
            # Only what the gate says from now on counts.
            self._reports.discard()
            self._chunks.discard()
            if goal.request.success_topic:
                self._hear_success(goal.request.success_topic)
        except Exception as error:  # whatever it was, nobody else would end the goal
            run.finish(REFUSED, str(error))
            self._send_result(goal, run)
            return
        # Last: from here on, the looks follow it.
        self._goal = goal
        self._run = run

    def _check(self, request: RunPolicy.Goal) -> None:
        """Raises ValueError for a goal that cannot run now, whatever the gate says."""
        node = self._node
        if not node.active:
            raise ValueError(f"{node.get_name()} is {node.state}, not active")
        # Before the rest: a stop word stops, whatever else is wrong with the goal.
        self._instructions.check_words(request.prompt)
        if self._run is not None:
            raise ValueError(
                f"a goal is running already: '{self._goal.request.prompt}'; cancel it first"
            )
        limit = stamp_ns(request.time_limit)
        if limit < 0:
            raise ValueError(f"time_limit is {limit / 1e9:g} s; give 0 or more")
        if request.success_topic:
            topic_name(request.success_topic, "success_topic")
        elif not limit:
            raise ValueError("nothing would end the goal; give a time_limit or a success_topic")

    def _hear_success(self, topic: str) -> None:
        """Raises ValueError where it cannot be subscribed to: it has another type here, say."""

        def heard(message: Bool) -> None:
            self._locked(self._on_success, message)

        try:
            for qos in (WORDS, WORDS_LOOSE):
                subscription = self._node.create_subscription(Bool, topic, heard, qos)
                self._success.append(subscription)
        except Exception as error:
            self._stop_hearing()
            raise ValueError(
                f"success_topic '{topic}' cannot be heard as a std_msgs/Bool: {error}"
            ) from error

    def _stop_hearing(self) -> None:
        for subscription in self._success:
            self._node.destroy_subscription(subscription)
        self._success.clear()

    def _on_success(self, message: Bool) -> None:
        """The next look ends the goal, and with it this subscription."""
        if message.data and self._run is not None:
            self._run.note_success(self._goal.request.success_topic)

    def _on_cancel(self, goal: Any) -> CancelResponse:
        """Before the goal is told that it is cancelled: the robot is on its way to a stop."""
        if self._run is None or goal != self._goal:
            return CancelResponse.REJECT
        self._run.finish(CANCELED, "the goal was canceled")
        self._node.guard(self._take_back)
        return CancelResponse.ACCEPT  # the next look sends the result

    def _look(self) -> None:
        """Ten times a second: what the gate did, and whether that ends the goal."""
        run = self._run
        goal = self._goal
        if run is None or goal is None:
            return
        for chunk in self._chunks.take():
            run.count.note_chunk(
                stamp_ns(chunk.step), len(chunk.values) // max(1, len(chunk.channels))
            )
        for message in self._reports.take():
            self._note_report(run, message)
        run.look(time.monotonic_ns())
        if run.may_start:
            self._start(run)
        if run.report is not None and run.end is None:
            goal.publish_feedback(
                RunPolicy.Feedback(
                    state=int(run.report.state),
                    reason=run.report.reason,
                    rows_executed=run.count.rows,
                )
            )
        self._end_where_over()

    def _note_report(self, run: PolicyRun, message: SafetyReport) -> None:
        try:
            run.note_report(_gate_tick(message), time.monotonic_ns())
        except ValueError as error:  # a state or a verdict that there is not
            run.finish(STOPPED, f"the gate's report makes no sense: {error}")

    def _start(self, run: PolicyRun) -> None:
        try:
            number = self._instructions.give_instruction(self._goal.request.prompt)
        except ValueError as error:
            run.finish(REFUSED, str(error))
        else:
            run.start(number, time.monotonic_ns())

    def _end_where_over(self) -> None:
        """Takes the instruction back and sends the result, where the goal has ended."""
        run = self._run
        if run is None or run.end is None:
            return
        self._take_back()  # first: whatever fails after it, the robot is on its way to a stop
        goal = self._goal
        self._run = None
        self._goal = None
        self._send_result(goal, run)
        self._stop_hearing()

    def _take_back(self) -> None:
        if self._run is not None and self._run.instruction_id is not None:
            self._instructions.take_back(self._run.instruction_id)

    def _send_result(self, goal: Any, run: PolicyRun) -> None:
        assert run.end is not None
        outcome = run.end.outcome
        self._server.end(
            goal,
            RunPolicy.Result(outcome=outcome, why=run.end.why, rows_executed=run.count.rows),
        )
        if self._answers.allow(time.monotonic_ns()):
            self._node.get_logger().info(f"run_policy: {outcome}: {run.end.why}")
            self._node.notify_operator(f"run_policy: {outcome}: {run.end.why}")


def _gate_tick(message: SafetyReport) -> GateTick:
    return GateTick(
        State(message.state),
        Verdict(message.verdict),
        message.reason,
        message.instruction_id,
        message.sequence,
        stamp_ns(message.age),
        message.control_source,
    )
