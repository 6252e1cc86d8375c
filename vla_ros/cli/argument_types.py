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


def of_listening(parser: argparse._ActionsContainer, when: str = "") -> None:
    """How long to listen to a robot; `when` begins the help, as in "with --live: "."""
    parser.add_argument(
        "--seconds",
        type=positive,
        default=3.0,
        metavar="S",
        help=f"{when}how long to listen (default %(default)g)",
    )
    parser.add_argument(
        "--wait",
        type=positive,
        default=5.0,
        metavar="S",
        help=f"{when}how long to look for the robot (default %(default)g seconds)",
    )


def image_size(text: str) -> tuple[int, int]:
    """Width and height of a camera's image: "320x240" -> (320, 240). Raises ValueError."""
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    if match is not None:
        width, height = map(int, match.groups())
        if 16 <= width <= 1920 and 16 <= height <= 1920:
            return width, height
    raise ValueError(
        f"camera is '{text}'; give width x height in pixels, 16 to 1920 each, as in 320x240"
    )
