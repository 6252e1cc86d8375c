"""`vla markers`: shows in RViz and Foxglove what the gate sees and what the policy plans."""

from __future__ import annotations

import argparse

from vla_ros.cli.argument_types import of_running_nodes


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--robot-file", default="", metavar="FILE", help="the robot (default: as the gate says)"
    )
    parser.add_argument(
        "--rate", type=float, default=5.0, metavar="HZ", help="how often (default %(default)g)"
    )
    of_running_nodes(parser)


def run(options: argparse.Namespace) -> int:
    """0: ended with Ctrl-C. Raises ValueError where nobody says which robot it is."""
    if not 0.1 <= options.rate <= 50.0:  # NaN too
        raise ValueError(f"the rate is {options.rate:g} a second; give 0.1 to 50")
    from vla_ros.operator.markers import show
    from vla_ros.operator.session import Interrupt

    with Interrupt() as interrupt:
        return show(options.namespace, options.robot_file, options.rate, interrupt)
