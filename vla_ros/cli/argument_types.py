"""The kinds of arguments that several verbs take."""

from __future__ import annotations

import argparse
import re


def positive(text: str) -> float:
    """A number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < 1e6:  # NaN too, and what would be weeks
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds; give one above 0")
    return value


def seed(text: str) -> int:
    """A whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no seed; give a whole number from 0 on")
    return int(text)


def namespace(text: str) -> str:
    """A ROS namespace; "/" or empty: the outermost one."""
    if not re.fullmatch(r"/?|(/?[A-Za-z_][A-Za-z0-9_]*)(/[A-Za-z_][A-Za-z0-9_]*)*/?", text):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no namespace; give names joined by /, as in /vla or /left/vla"
        )
    return text


def of_running_nodes(parser: argparse.ArgumentParser) -> None:
    """Arguments that say where the nodes are that the verb talks to."""
    parser.add_argument(
        "--namespace",
        default="/vla",
        type=namespace,
        help="where the suite's nodes are (default %(default)s)",
    )
    parser.add_argument(
        "--wait",
        type=positive,
        default=5.0,
        metavar="S",
        help="how long to look for the suite (default %(default)g seconds)",
    )
