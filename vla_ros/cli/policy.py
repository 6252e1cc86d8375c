"""`vla policy`: what a policy file means for a robot file, before anything moves."""

from __future__ import annotations

import argparse

from vla_ros.cli import show_findings


def arguments(parser: argparse.ArgumentParser) -> None:
    words = parser.add_subparsers(dest="word", metavar="WORD", required=True)
    check = words.add_parser(
        "check",
        help="hold a policy file against a robot file: what feeds what, and do the numbers fit?",
        description="Holds a policy file against a robot file, and says what feeds what. Nothing "
        "is moved, and no robot needs to run.",
    )
    check.add_argument("robot", metavar="ROBOT", help="a robot file, as config/robots/so101.yaml")
    check.add_argument(
        "policy", metavar="POLICY", help="a policy file, as config/policies/builtin.yaml"
    )
    check.add_argument("--json", action="store_true", help="the same as one JSON object")


def run(options: argparse.Namespace) -> int:
    """0: nothing is wrong. Raises ValueError for a file that contradicts itself."""
    from vla_ros.core.policy_file import load_policy_file
    from vla_ros.core.robot import load_robot
    from vla_ros.policies.check import check_policy

    robot = load_robot(options.robot)
    return show_findings(check_policy(robot, load_policy_file(options.policy)), options.json)
