"""`vla stop`: press the stop, or let go of it."""

from __future__ import annotations

import argparse
import time

from vla_ros.cli.argument_types import of_running_nodes


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--release",
        action="store_true",
        help="let go of the stop; it stays latched until `vla reset`",
    )
    of_running_nodes(parser)


def run(options: argparse.Namespace) -> int:
    """Press the stop, or let go of it; 0: it is done, 1: nobody confirms it."""
    from vla_ros.operator.client import Operator, spinning, wait_for
    from vla_ros_msgs.msg import SafetyReport

    with spinning("vla_stop") as node:
        operator = Operator(node, options.namespace)
        base = options.namespace.rstrip("/")
        reports: list[SafetyReport] = []
        node.create_subscription(SafetyReport, f"{base}/safety_report", reports.append, 1)
        if not wait_for(operator.stop_heard, options.wait):
            print(f"nobody listens to {base}/stop; does the suite run in this domain?")
            return 1
        operator.press_stop(not options.release)
        if options.release:
            # nothing confirms a release: the gate stays STOPPED until it is reset
            time.sleep(0.2)  # a publisher that leaves at once takes its message along
            print("the stop is released; `vla reset` and `vla arm` let the robot move again")
            return 0
        if not wait_for(lambda: bool(reports) and reports[-1].state == SafetyReport.STOPPED, 2.0):
            print("the stop was sent, but the gate did not confirm it within 2 s")
            return 1
        print(f"stopped: {reports[-1].reason}")
        return 0
