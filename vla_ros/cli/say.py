"""`vla say`: tell the robot what to do, in words."""

from __future__ import annotations

import argparse
import unicodedata

from vla_ros.cli.argument_types import of_running_nodes

STOPPED = ("stopped", "a person has the robot")  # how command_ingest answers words that stop


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="+", help='for example "go to the red block"; "stop" cancels'
    )
    of_running_nodes(parser)


def run(options: argparse.Namespace) -> int:
    """Say the words until they are answered; 0: they became an instruction, or stopped one."""
    from std_msgs.msg import String

    from vla_ros.operator.client import (
        LATCHED,
        SAY_AGAIN_S,
        STATES,
        Operator,
        repeat_until,
        spinning,
        wait_for,
    )
    from vla_ros_msgs.msg import Instruction, SafetyReport

    text = " ".join(options.words)  # so that quotes may be left out
    words = " ".join(unicodedata.normalize("NFC", text).split())  # as command_ingest accepts them
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
                f"nobody listens to {base}/instruction; "
                "does the suite run in this domain, and is it active?"
            )
            return 1
        # the latched ones of before, so that they are not taken for an answer
        wait_for(lambda: bool(instructions), 0.5)
        wait_for(lambda: bool(reports), 0.3)
        before = instructions[-1].instruction_id if instructions else 0
        feedback.clear()

        def accepted() -> bool:
            newest = instructions[-1] if instructions else None
            # by its words too: the latched one of before may come late
            return newest is not None and newest.instruction_id > before and newest.text == words

        def answered() -> bool:
            return accepted() or bool(feedback)

        repeat_until(answered, lambda: operator.say(text), SAY_AGAIN_S, options.wait)
        # a refusal's reason is worth more patience than a remark
        wait_for(lambda: accepted() and bool(feedback), 0.3 if accepted() else 1.0)
        for line in feedback:
            if line != f"accepted: {words}":
                print(line)
        if not accepted():
            if any(line.startswith(STOPPED) for line in feedback):
                return 0
            reason = "" if feedback else "; nobody said why"
            print(f"'{text}' did not become an instruction{reason}")
            return 1
        print(f"accepted: '{words}'")
        state = STATES[reports[-1].state] if reports else ""
        # An instruction from before the arming moves nothing: the usual first surprise.
        if state in ("DISARMED", "STOPPED"):
            first = "`vla reset`, then " if state == "STOPPED" else ""
            print(
                f"the gate is {state} ({reports[-1].reason}): {first}`vla arm`, then say it again"
            )
        return 0
