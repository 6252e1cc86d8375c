"""`vla record` on a robot: what the suite sees and its gate sends, an episode an instruction."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile, ReliabilityPolicy

from vla_ros.datasets.recorder import LiveRecorder, SentCommand
from vla_ros.nodes.common import convert
from vla_ros.operator.client import spinning, wait_for
from vla_ros.operator.session import Interrupt
from vla_ros_msgs.msg import Observation, SafetyReport

# deep: a frame that takes longer to encode costs no other one
IMAGES = QoSProfile(depth=30, reliability=ReliabilityPolicy.BEST_EFFORT)
# The gate's commands at 50 Hz: none may be missing, four seconds of them may wait.
REPORTS = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)


def live(arguments: argparse.Namespace, interrupt: Interrupt) -> int:
    """Record until Ctrl-C, or until there are as many episodes as were asked for.

    Returns:
        0 where something was recorded, else 1.
    """
    base = arguments.namespace.rstrip("/")
    recorder = LiveRecorder(
        arguments.out, arguments.fps, arguments.robot, lambda line: print(line, flush=True)
    )
    tap = Tap(recorder)
    try:
        with spinning("vla_record") as node:
            node.create_subscription(
                Observation, f"{base}/observation", tap.guarded(tap.observation), IMAGES
            )
            node.create_subscription(
                SafetyReport, f"{base}/safety_report", tap.guarded(tap.report), REPORTS
            )
            if not wait_for(lambda: tap.reports > 0 or _interrupted(interrupt), arguments.wait):
                print(f"nobody publishes {base}/safety_report; does the suite run in this domain?")
                return 1
            print(
                f"recording at {arguments.fps} frames a second; "
                "`vla arm` and `vla say` begin an episode, Ctrl-C ends it all",
                flush=True,
            )
            while tap.problem is None and not _interrupted(interrupt):
                if arguments.episodes and recorder.episodes >= arguments.episodes:
                    break
                time.sleep(0.05)
    finally:
        recorder.close()  # only now: the thread that calls it has ended
    if tap.problem is not None:
        raise tap.problem
    print(
        f"{recorder.episodes} episodes, {recorder.frames} frames in {arguments.out}; "
        f"{recorder.lost} frames lost, {recorder.dropped} episodes dropped"
    )
    return 0 if recorder.episodes else 1


def _interrupted(interrupt: Interrupt) -> bool:
    try:
        interrupt.check()
    except KeyboardInterrupt:
        return True
    return False


class Tap:
    """The callbacks. An error ends the recording instead of the thread that calls them."""

    def __init__(self, recorder: LiveRecorder) -> None:
        self._recorder = recorder
        self.reports = 0
        self.problem: Exception | None = None

    def guarded(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """`callback`, until one of them has failed."""

        def call(message: Any) -> None:
            if self.problem is None:
                try:
                    callback(message)
                except Exception as problem:
                    self.problem = problem

        return call

    def observation(self, message: Observation) -> None:
        """What the policy saw."""
        self._recorder.on_observation(convert.observation(message))

    def report(self, message: SafetyReport) -> None:
        """What the gate sent to the robot."""
        self.reports += 1
        values = {}
        for name, value in zip(message.channels, message.emitted):
            if math.isfinite(value):  # NaN: nothing was sent on this channel
                values[name] = value
        stamp = convert.stamp_ns(message.header.stamp)
        active = message.state == SafetyReport.ACTIVE
        self._recorder.on_report(SentCommand(stamp, active, message.instruction_id, values))
