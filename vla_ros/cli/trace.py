"""`vla trace`: where the time goes from a camera's image to the robot's command."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vla_ros.cli import wide_console
from vla_ros.cli.argument_types import of_running_nodes, positive
from vla_ros.core.drawing import drawing

if TYPE_CHECKING:
    from vla_ros.operator.tracing import ObservationWay

SHARES = (50, 95, 99, 100)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds",
        type=positive,
        default=10.0,
        metavar="S",
        help="how long to listen (default %(default)g)",
    )
    parser.add_argument(
        "--out",
        default="trace",
        metavar="NAME",
        help="writes NAME.json, for chrome://tracing or ui.perfetto.dev, and NAME.png "
        "(default %(default)s)",
    )
    of_running_nodes(parser)


def run(options: argparse.Namespace) -> int:
    """0: at least one observation became a command; 1: none did."""
    from vla_ros.operator.client import spinning, wait_for
    from vla_ros.operator.trace_view import draw
    from vla_ros.operator.tracing import Listener, chrome_events

    with spinning("vla_trace") as node:
        # Chunks only flow while inference is active: before that there is nothing to trace.
        base = options.namespace.rstrip("/")
        if not wait_for(lambda: node.count_publishers(f"{base}/action_chunk") > 0, options.wait):
            print(
                f"nobody publishes on {base}/action_chunk within {options.wait:g} s; does the "
                "suite run in this domain, and is it active?"
            )
            return 1
        time.sleep(0.5)  # until the graph has shown all nodes and their topics
        listener = Listener(node, options.namespace)
        listener.listen(options.seconds)
        ways = listener.trace.complete()
        heard = len(listener.trace.ways)
    # An empty picture would look like a fast suite.
    if not ways:
        print(
            f"{heard} observations were heard, and none became a command; is the gate armed, and "
            "does an instruction hold?"
        )
        return 1
    trace = Path(f"{options.out}.json")
    image = Path(f"{options.out}.png")
    trace.parent.mkdir(parents=True, exist_ok=True)
    trace.write_text(json.dumps({"traceEvents": chrome_events(ways)}), encoding="utf-8")
    with drawing(image):
        draw(ways, image)
    table(ways)
    print(f"{len(ways)} of {heard} observations became a command; written: {trace}, {image}")
    return 0


def table(ways: Sequence[ObservationWay]) -> None:
    """Percentiles of each stage, ms."""
    import numpy as np
    from rich.table import Table

    from vla_ros.operator.trace_view import durations

    rows = Table("ms", *(f"p{share}" if share < 100 else "most" for share in SHARES))
    for stage, values in durations(ways).items():
        rows.add_row(stage, *(f"{value:.2f}" for value in np.percentile(values, SHARES)))
    wide_console().print(rows)
