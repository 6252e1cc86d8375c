"""`vla stop`: press the stop, or let go of it."""

from __future__ import annotations

import argparse

from vla_ros.cli.argument_types import of_running_nodes

RELEASED_FOR_S = 0.5  # that it is let go of, once the gate is heard


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--release",
        action="store_true",
        help="let go of the stop; it stays latched until `vla reset`",
    )
    of_running_nodes(parser)


def run(options: argparse.Namespace) -> int:
    """Press the stop, or let go of it; 0: it is done, 1: nobody confirms it."""
    from vla_ros.operator.client import PRESS_AGAIN_S, Operator, repeat_until, spinning
    from vla_ros_msgs.msg import SafetyReport

    with spinning("vla_stop") as node:
        operator = Operator(node, options.namespace)
        base = options.namespace.rstrip("/")
        reports: list[SafetyReport] = []
        node.create_subscription(SafetyReport, f"{base}/safety_report", reports.append, 1)

        def press() -> None:
            operator.press_stop(not options.release)

        def stopped() -> bool:
            return bool(reports) and reports[-1].state == SafetyReport.STOPPED

        # Pressed until the gate says that it stopped: others may listen before the gate does.
        confirmed = (lambda: bool(reports)) if options.release else stopped
        if not repeat_until(confirmed, press, PRESS_AGAIN_S, options.wait):
            why = f"the gate did not confirm it within {options.wait:g} s"
            if not operator.stop_heard():
                why = f"nobody listens to {base}/stop; does the suite run in this domain?"
            if options.release:
                print(f"the stop is not released: {why}")
            else:
                print(f"NOT STOPPED: {why}; use the robot's own emergency stop")
            return 1
        # nothing confirms a release, and a press may be overtaken by a report from before it
        repeat_until(lambda: False, press, PRESS_AGAIN_S, RELEASED_FOR_S)
        if options.release:
            print("the stop is released; `vla reset` and `vla arm` let the robot move again")
        else:
            print(f"stopped: {reports[-1].reason}")
        return 0
