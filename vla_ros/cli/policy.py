"""`vla policy`: what a policy file means for a robot, before anything moves."""

from __future__ import annotations

import argparse

from vla_ros.cli import show_findings
from vla_ros.cli.argument_types import of_listening


def arguments(parser: argparse.ArgumentParser) -> None:
    words = parser.add_subparsers(dest="word", metavar="WORD", required=True)
    check = words.add_parser(
        "check",
        help="hold a policy file against a robot file, a dataset and the robot that runs",
        description="Holds a policy file against a robot file, and says what feeds what; with "
        "--data against what the policy learned from, with --live against the robot that runs. "
        "Nothing is moved.",
    )
    check.add_argument("robot", metavar="ROBOT", help="a robot file, as config/robots/so101.yaml")
    check.add_argument(
        "policy", metavar="POLICY", help="a policy file, as config/policies/builtin.yaml"
    )
    check.add_argument(
        "--data", metavar="DATASET", help="the folder of the LeRobot dataset that it learned from"
    )
    check.add_argument(
        "--live",
        action="store_true",
        help="listen to the robot's drivers, and measure the policy's latency here",
    )
    check.add_argument(
        "--instruction",
        metavar="TEXT",
        default="",
        help="with --live: words that the policy knows (default: the dataset's)",
    )
    of_listening(check, "with --live: ")
    check.add_argument("--json", action="store_true", help="the same as one JSON object")


def run(options: argparse.Namespace) -> int:
    """0: nothing is wrong. Raises ValueError for a file that contradicts itself."""
    from vla_ros.cli.policy_evidence import gate_limits
    from vla_ros.core.policy_file import load_policy_file
    from vla_ros.core.robot import load_robot
    from vla_ros.policies import file_spec
    from vla_ros.policies.check import check_horizon, check_policy, training_ranges
    from vla_ros.policies.check_verdict import not_looked_at, verdict

    robot = load_robot(options.robot)
    file = load_policy_file(options.policy)
    spec = file_spec(file)
    known = training_ranges(file)
    seen = known
    data = None
    of_data = []
    if options.data:
        from vla_ros.cli.policy_evidence import training_data
        from vla_ros.policies.check_data import check_data
        from vla_ros.policies.training_data import data_ranges, policy_columns

        data = training_data(options.data)
        columns = policy_columns(file, spec, data)
        seen = data_ranges(data, columns, known)
        of_data = check_data(robot, file, data, known)
    findings = [*check_policy(robot, file, seen), *of_data]
    if not options.live:
        limits = gate_limits({})
    else:
        from vla_ros.cli.policy_evidence import listen
        from vla_ros.policies.check_live import check_latency, check_live

        live, limits = listen(robot, options.seconds, options.wait)
        findings += check_live(robot, file, live, seen, data)
        words = options.instruction or (data.task if data else "")
        findings += check_latency(robot, file, live, limits, words)
    findings += check_horizon(spec, file.horizon, limits.max_age, limits.where)
    findings += not_looked_at(known, data is not None, options.live)
    return show_findings(findings, options.json, verdict(findings))
