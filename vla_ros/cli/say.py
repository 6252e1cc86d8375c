"""`vla say`: tell the robot what to do, in words."""

from __future__ import annotations

import argparse

from vla_ros.cli.argument_types import of_running_nodes


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="+", help='for example "go to the red block"; "stop" cancels'
    )
    of_running_nodes(parser)


def run(options: argparse.Namespace) -> int:
    """`vla say`: publish once, print what comes back; 0 when the words became a instruction."""
    from std_msgs.msg import String

    from vla_ros.operator.client import LATCHED, STATES, Operator, spinning, wait_for
    from vla_ros_msgs.msg import Instruction, SafetyReport

    text = " ".join(options.words)
    instructions: list[Instruction] = []
    feedback: list[str] = []
    reports: list[SafetyReport] = []
    with spinning("vla_say") as node:
        operator = Operator(node, options.namespace)
        base = options.namespace.rstrip("/")
        node.create_subscription(
            Instruction, f"{base}/instruction/accepted", instructions.append, LATCHED
        )
        node.create_subscription(
            String, f"{base}/feedback", lambda message: feedback.append(message.data), 10
        )
        node.create_subscription(SafetyReport, f"{base}/safety_report", reports.append, 1)
        if not wait_for(operator.heard, options.wait):
            print(
                f"nobody listens to {base}/instruction; does the suite run in this domain, and is "
                "it active?"
            )
            return 1
        # the latched one, so that it is not taken for an answer
        wait_for(lambda: bool(instructions), 0.5)
        wait_for(lambda: bool(reports), 0.3)
        before = instructions[-1].instruction_id if instructions else 0
        feedback.clear()
        operator.say(text)
        accepted = wait_for(
            lambda: bool(instructions) and instructions[-1].instruction_id > before, 2.0
        )
        wait_for(lambda: bool(feedback), 0.3 if accepted else 1.0)
        for line in feedback:
            print(line)
        if not accepted:
            print(
                f"'{text}' did not become a instruction" + ("" if feedback else "; nobody said why")
            )
            return 1
        instruction = instructions[-1]
        print(
            f"accepted: '{instruction.text}'"
            if instruction.text
            else "accepted: no instruction, the robot holds"
        )
        if (
            instruction.text
            and reports
            and reports[-1].state in (SafetyReport.DISARMED, SafetyReport.STOPPED)
        ):
            state = STATES[reports[-1].state]
            first = "`vla reset`, then " if state == "STOPPED" else ""
            print(
                f"the gate is {state} ({reports[-1].reason}): {first}`vla arm`, then say it again"
            )
        return 0
