"""`vla disarm`: let the robot move no more."""

from __future__ import annotations

import argparse

from vla_ros.cli.argument_types import of_running_nodes as arguments

__all__ = ["arguments", "run"]


def run(options: argparse.Namespace) -> int:
    """0: done; 1: refused, and why."""
    from vla_ros.operator.client import ask_gate

    return ask_gate("disarm", options.namespace, options.wait)
