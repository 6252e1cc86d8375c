"""A person takes the simulated cart from its policy and gives it back, with a script for a person.

    python3 -m vla_ros.demo.takeover

Says what the gate reports at each seam: who has the robot, how fast it is, and the largest step
between two commands.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from geometry_msgs.msg import Twist
from std_srvs.srv import Trigger

from vla_ros.core.types import POLICY, TELEOP
from vla_ros.nodes.common.qos import EVENTS
from vla_ros.operator.client import Operator, spinning, wait_for
from vla_ros.operator.processes import ProcessGroup, node_command, suite_environment, suite_nodes
from vla_ros_msgs.msg import SafetyReport

NAMESPACE = "/vla"
SEED = 3  # a room with a red block
START_S = 180.0  # until everything runs, on a slow machine
WORDS = "go to the red block"
FAST = 0.1  # m/s or rad/s: it drives
BACKWARDS_M_S = -0.1
MESSAGE_PERIOD_S = 0.05


class Seams:
    """The gate's reports, and the largest step of what it emitted since the last look."""

    def __init__(self) -> None:
        self.report: SafetyReport | None = None
        self._steps = [0.0, 0.0]  # of linear.x (m/s) and angular.z (rad/s)

    def take(self, report: SafetyReport) -> None:
        """A report came."""
        before = self.report
        self.report = report
        if before is not None:
            for i in range(2):
                step = abs(report.emitted[i] - before.emitted[i])
                self._steps[i] = max(self._steps[i], step)

    def line(self, what: str) -> str:
        """What happened, and what the gate said of it."""
        report = self.report
        assert report is not None
        forward, turning = report.emitted[:2]
        steps = f"{self._steps[0]:.3f} m/s, {self._steps[1]:.3f} rad/s"
        self._steps = [0.0, 0.0]
        return (
            f"{what}: {report.control_source} has the robot, {forward:+.2f} m/s "
            f"{turning:+.2f} rad/s; largest step {steps}. {report.reason}"
        )

    def speed(self, source: str) -> float:
        """Of the two, the larger (m/s, rad/s); NaN where another one has the robot."""
        report = self.report
        if report is None or report.control_source != source:
            return math.nan
        return max(abs(report.emitted[0]), abs(report.emitted[1]))


def main() -> int:
    """0: each seam came, one after the other; 1: one did not."""
    with tempfile.TemporaryDirectory() as folder, ProcessGroup() as group:
        commands = {
            "simulator": node_command("simulator", parameters={"seed": SEED}),
            **suite_nodes("color_servo", namespace=NAMESPACE, teleop=True),
        }
        for name, command in commands.items():
            group.start(name, command, suite_environment(), Path(folder) / f"{name}.log")
        with spinning("person") as node:
            seams = Seams()
            operator = Operator(node, NAMESPACE)
            node.create_subscription(SafetyReport, f"{NAMESPACE}/safety_report", seams.take, EVENTS)
            stick = node.create_publisher(Twist, f"{NAMESPACE}/teleop_twist", EVENTS)
            give_back = node.create_client(Trigger, f"{NAMESPACE}/teleop/give_back")

            def expect(what: str, condition: Callable[[], bool], seconds: float) -> None:
                if not wait_for(condition, seconds):
                    raise TimeoutError(f"not within {seconds:g} s: {what}; {seams.report}")
                print(seams.line(what), flush=True)

            def push(speed: float) -> Callable[[], bool]:
                def pushed() -> bool:
                    message = Twist()
                    message.linear.x = speed
                    stick.publish(message)
                    time.sleep(MESSAGE_PERIOD_S)
                    report = seams.report
                    return report is not None and abs(report.emitted[0] - speed) < 0.001

                return pushed

            try:
                expect("armed", lambda: operator.call("arm", 2.0)[0], START_S)
                operator.say(WORDS)
                expect("the policy drives", lambda: seams.speed(POLICY) > FAST, 30.0)
                expect("a person drives", push(BACKWARDS_M_S), 10.0)
                expect("the person let go", lambda: seams.speed(TELEOP) == 0.0, 5.0)
                give_back.wait_for_service(5.0)
                answer = give_back.call_async(Trigger.Request())
                expect("given back", answer.done, 5.0)
                print(answer.result().message)
                expect("the policy drives again", lambda: seams.speed(POLICY) > FAST, 10.0)
            except TimeoutError as error:
                print(error, file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
