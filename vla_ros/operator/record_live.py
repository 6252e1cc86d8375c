"""`vla record` on a robot: what the suite sees and its gate sends, as the node `recorder`.

Its death changes nothing for the robot: no node waits for it, and the gate does not require it.
"""

from __future__ import annotations

import argparse
import math
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_ros.datasets.contract import contract
from vla_ros.datasets.recorder import Answer, LiveRecorder, SentCommand
from vla_ros.nodes.common import convert
from vla_ros.nodes.common.qos import EVENTS, FEEDBACK
from vla_ros.operator.asked_parameters import ask_texts
from vla_ros.operator.client import spinning, wait_for
from vla_ros.operator.session import Interrupt
from vla_ros.operator.terminal_keys import TerminalKeys
from vla_ros_msgs.msg import Observation, SafetyReport

# deep: a frame that takes longer to encode costs no other one
IMAGES = QoSProfile(depth=30, reliability=ReliabilityPolicy.BEST_EFFORT)
# The gate's commands at 50 Hz: none may be missing, four seconds of them may wait.
REPORTS = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
NODE = "recorder"
DIAGNOSTICS_PERIOD_S = 1.0
KEY_PERIOD_S = 0.05
# key -> the service of the same meaning; "n" asks for a note
KEYS = {
    "r": "start",
    "k": "stop",
    "d": "discard",
    "a": "again",
    "s": "success",
    "f": "failure",
}
NOTE_KEY = "n"
KEYS_HELP = "r record, k keep, d discard, a again, s success, f failure, n note"


def live(arguments: argparse.Namespace, interrupt: Interrupt) -> int:
    """Record until Ctrl-C, or until there are as many episodes as were asked for.

    Returns:
        0 where something was recorded, or nothing was to be appended; else 1.
    """
    base = arguments.namespace.rstrip("/")
    with spinning(NODE, base or "/") as node, TerminalKeys() as keys:
        recorder = LiveRecorder(
            arguments.out,
            arguments.fps,
            arguments.robot or "unknown",
            lambda line: print(line, flush=True),
            append=arguments.append,
            by_hand=arguments.by_hand,
        )
        tap = RecorderNode(node, recorder, arguments.out)
        try:
            if not wait_for(lambda: tap.reports > 0 or _interrupted(interrupt), arguments.wait):
                print(f"nobody publishes {base}/safety_report; does the suite run in this domain?")
                return 1
            print(_how(arguments, base, keys), flush=True)
            # now, while what arrives is recorded already: it may take two seconds
            recorder.contract = asked_contract(node, base, arguments.fps)
            while tap.problem is None and not _interrupted(interrupt):
                if arguments.episodes and recorder.saved >= arguments.episodes:
                    break
                _on_key(keys.wait(KEY_PERIOD_S), keys, tap)
        finally:
            tap.close()
    if isinstance(tap.problem, OSError):
        raise ValueError(
            f"cannot go on recording in {arguments.out}: {tap.problem}; the {recorder.saved} "
            "episodes before are whole; make room, and go on with --append"
        ) from tap.problem
    if tap.problem is not None:
        raise tap.problem
    print(
        f"{recorder.saved} episodes, {recorder.saved_frames} frames in {arguments.out}; "
        f"{recorder.lost} frames lost, {recorder.dropped} episodes dropped"
    )
    return 0 if recorder.saved or arguments.append else 1


def _how(arguments: argparse.Namespace, base: str, keys: TerminalKeys) -> str:
    """What begins an episode, for the person at the terminal."""
    begins = "`vla arm` and `vla say` begin an episode"
    if arguments.by_hand:
        begins = f"{base}/record/start begins an episode"
    if keys.there:
        begins += f"; keys: {KEYS_HELP}"
    return f"recording at {arguments.fps} frames a second; {begins}; Ctrl-C ends it all"


def _on_key(key: str, keys: TerminalKeys, tap: RecorderNode) -> None:
    if key in KEYS:
        print(tap.ask(KEYS[key])[1], flush=True)
    elif key == NOTE_KEY:
        print(tap.note(keys.line("note: ")), flush=True)
    elif key.strip():
        print(KEYS_HELP, flush=True)


def _interrupted(interrupt: Interrupt) -> bool:
    try:
        interrupt.check()
    except KeyboardInterrupt:
        return True
    return False


def asked_contract(node: Node, base: str, fps: int) -> dict[str, Any]:
    """What the running nodes say they were started with, read from the files that they name."""
    gate = ask_texts(node, f"{base}/safety_validator", ["robot_file"])
    drives = ask_texts(node, f"{base}/inference", ["policy_file", "policy"])
    return contract(
        gate.get("robot_file", ""), drives.get("policy_file", ""), drives.get("policy", ""), fps
    )


class RecorderNode:
    """The recorder on the wire. An error ends the recording instead of the thread that spins.

    Subscribed topics:
        observation (vla_ros_msgs/Observation): what the policy sees.
        safety_report (vla_ros_msgs/SafetyReport): what the gate was asked for and sent, and who
        had the robot.
        record/note (std_msgs/String): a note to the episode under way, or to the last one.

    Published topics:
        /diagnostics (diagnostic_msgs/DiagnosticArray): what it does, once a second.
        feedback (std_msgs/String): with which episode a note was kept.

    Services:
        record/start, record/stop (keeps the episode), record/discard, record/again,
        record/success, record/failure (std_srvs/Trigger).
    """

    def __init__(self, node: Node, recorder: LiveRecorder, dataset: str) -> None:
        self._node = node
        self._recorder = recorder
        self._dataset = dataset
        self._lock = threading.Lock()  # keys come from another thread than messages
        self._closed = False
        self.reports = 0
        self.problem: Exception | None = None
        self._words: Mapping[str, Callable[[], Answer]] = {
            "start": recorder.start,
            "stop": recorder.stop,
            "discard": recorder.discard,
            "again": recorder.again,
            "success": partial(recorder.mark, True),
            "failure": partial(recorder.mark, False),
        }
        node.create_subscription(
            Observation, "observation", self._guarded(self._on_observation), IMAGES
        )
        node.create_subscription(
            SafetyReport, "safety_report", self._guarded(self._on_report), REPORTS
        )
        node.create_subscription(String, "record/note", self._on_note, EVENTS)
        for word in self._words:
            node.create_service(Trigger, f"record/{word}", partial(self._answer, word))
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", EVENTS)
        self._feedback = node.create_publisher(String, "feedback", FEEDBACK)
        node.create_timer(DIAGNOSTICS_PERIOD_S, self._report)

    def ask(self, word: str) -> Answer:
        """Do what one of the services is for; whether it was done, and a sentence."""
        with self._lock:
            if self._closed or self.problem is not None:
                return False, "the recording has ended"
            try:
                return self._words[word]()
            except Exception as problem:
                self.problem = problem
                return False, f"the recording has ended: {problem}"

    def note(self, text: str) -> str:
        """Keep a note; a sentence says with which episode."""
        with self._lock:
            if self._closed or self.problem is not None:
                return "the recording has ended"
            try:
                return self._recorder.note(text)
            except OSError as problem:
                return f"the note could not be kept: {problem}"

    def close(self) -> None:
        """Save the episode that is on, and finish the dataset; what comes later is passed over."""
        with self._lock:
            self._closed = True
            # on a full disk the episode is lost anyhow, and closing would fail over and over
            if not isinstance(self.problem, OSError):
                try:
                    self._recorder.close()
                except OSError as problem:
                    self.problem = problem

    def _guarded(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """`callback`, until one of them has failed."""

        def call(message: Any) -> None:
            with self._lock:
                if self.problem is None and not self._closed:
                    try:
                        callback(message)
                    except Exception as problem:
                        self.problem = problem

        return call

    def _answer(self, word: str, _: Any, response: Any) -> Any:
        response.success, response.message = self.ask(word)
        return response

    def _on_note(self, message: String) -> None:
        sentence = self.note(message.data)
        self._node.get_logger().info(sentence)
        self._feedback.publish(String(data=sentence))

    def _on_observation(self, message: Observation) -> None:
        self._recorder.on_observation(convert.observation(message))

    def _on_report(self, message: SafetyReport) -> None:
        self.reports += 1
        self._recorder.on_report(
            SentCommand(
                convert.stamp_ns(message.header.stamp),
                message.state == SafetyReport.ACTIVE,
                message.instruction_id,
                _finite(message.channels, message.emitted),
                _finite(message.channels, message.requested),
                message.control_source or "policy",
            )
        )

    def _report(self) -> None:
        recorder = self._recorder
        with self._lock:
            values = {
                "recording": "yes" if recorder.recording else "no",
                "episode": str(recorder.episode),
                "frames": str(recorder.length),
                "seconds": f"{recorder.seconds:.1f}",
                "episodes saved": str(recorder.saved),
                "dataset": str(self._dataset),
                "control_source": recorder.control_source,
            }
        status = DiagnosticStatus(
            name=self._node.get_fully_qualified_name(),
            level=DiagnosticStatus.OK,
            message="recording" if recorder.recording else "ready",
            hardware_id="none",
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        if self.problem is not None:
            status.level = DiagnosticStatus.ERROR
            status.message = str(self.problem)
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def _finite(channels: Any, values: Any) -> dict[str, float]:
    """Channel -> value, without those that are NaN: nothing was asked for, or sent."""
    named: dict[str, float] = {}
    for name, value in zip(channels, values):
        if math.isfinite(value):
            named[name] = value
    return named
